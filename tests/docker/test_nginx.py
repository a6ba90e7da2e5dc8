"""The load balancer: a real nginx with docker/nginx/nginx.conf, before embedded servers. Nothing is lost."""

from __future__ import annotations

import http.server
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import requests
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2, model_service_pb2_grpc

from model.settings import StyleSettings
from serving.client import StyleTransferClient
from serving.contract import MODEL_NAME
from serving.endpoints import RetryPolicy
from serving.errors import ServingFailed, ServingUnavailable
from serving.request import Request
from serving.transports import connect
from tests.conftest import encode, smooth_picture
from tests.docker.balancer import Balancer, balancing, edge
from tests.docker.files import compose
from tests.ports import free_port
from tests.served import Server

CLIENTS = 32
CONTENT, STYLE = encode(smooth_picture(24, 32, 1)), encode(smooth_picture(28, 24, 2))
SETTINGS = StyleSettings(size=32, smallest_size=16, steps=24)
RETRIES = RetryPolicy(max_elapsed_s=240, max_backoff_s=1)  # a busy machine starts a server slowly
CHEAP = ("--enable_model_warmup=false", "--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=1")
CALL_S = 10.0


@pytest.fixture(scope="module")
def replicas(small_model: Path) -> Iterator[list[Server]]:
    replicas = [Server(small_model, *CHEAP) for _ in range(3)]
    try:
        for replica in replicas:
            replica.wait()
        yield replicas
    finally:
        for replica in replicas:
            replica.kill()


@pytest.fixture(scope="module")
def balancer(replicas: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    with balancing(tmp_path_factory.mktemp("nginx"), [replica.ports for replica in replicas]) as balancer:
        yield balancer


def picture(server: str) -> bytes:
    """Makes the picture, a chunk of steps in each call."""
    with StyleTransferClient(server, retry_policy=RETRIES) as client:
        *_, last = client.run(Request(CONTENT, [STYLE], SETTINGS))
    return last.image


def test_health_check_of_compose_sees_whether_a_server_is_available(replicas: list[Server]) -> None:
    _, *command = compose("compose.yaml")["services"]["serving"]["healthcheck"]["test"]

    def healthy(port: int) -> bool:
        words = [word.replace("127.0.0.1/8501", f"127.0.0.1/{port}") for word in command]
        return subprocess.run(words, capture_output=True, timeout=10, check=False).returncode == 0

    assert healthy(replicas[0].ports[1])
    assert not healthy(free_port())


def test_one_channel_reaches_every_server(balancer: Balancer, replicas: list[Server]) -> None:
    before = balancer.answered()
    with StyleTransferClient(balancer.grpc) as over_grpc, StyleTransferClient(balancer.http) as over_rest:
        for _ in range(6):
            over_grpc.describe()
            over_rest.describe()
    expected = before + Counter({port: 2 for replica in replicas for port in replica.ports})
    deadline = time.monotonic() + CALL_S
    while balancer.answered().total() < expected.total() and time.monotonic() < deadline:
        time.sleep(0.01)  # nginx writes its line after the caller has the answer
    assert balancer.answered() == expected


def test_a_message_that_is_too_long_is_said_to_be(replicas: list[Server], tmp_path: Path) -> None:
    shorter = {"client_max_body_size 2g": "client_max_body_size 64k"}
    with balancing(tmp_path, [replica.ports for replica in replicas], **shorter) as balancer:
        for server in (balancer.grpc, balancer.http):
            way = connect(server)
            with pytest.raises(ServingFailed, match=r"are more than .* takes in one call"):
                way.predict("describe", {"settings": ["x" * 1_000_000]}, timeout_s=20)
            way.close()


def test_servers_are_killed_one_after_another_and_nothing_is_lost(balancer: Balancer, replicas: list[Server]) -> None:
    undisturbed = picture(replicas[0].grpc)
    over = threading.Event()
    finished = [0] * CLIENTS

    def paint(index: int) -> set[bytes]:
        """Makes the picture again and again until the killing is over, and once after it has begun in any case."""
        pictures = set()
        while not (over.is_set() and pictures):
            pictures.add(picture((balancer.grpc, balancer.http)[index % 2]))
            finished[index] += 1
        return pictures

    def wait_for(more: int) -> None:
        goal = sum(finished) + more
        while sum(finished) < goal and not any(future.done() for future in futures):
            time.sleep(0.02)

    first, second, third = replicas
    with ThreadPoolExecutor(CLIENTS) as pool:
        futures = [pool.submit(paint, index) for index in range(CLIENTS)]
        try:
            wait_for(4)
            first.kill()  # two are left
            first.start()
            wait_for(4)
            second.kill()  # one is left, and perhaps the first again
            wait_for(4)
            first.wait()
            third.kill()  # the first is left, alone
            wait_for(4)
        finally:
            over.set()
        pictures = [future.result() for future in futures]
    assert all(finished)
    assert set().union(*pictures) == {undisturbed}


def test_only_what_callers_need_is_passed_on(balancer: Balancer) -> None:
    with grpc.insecure_channel(balancer.grpc.removeprefix("grpc://")) as channel:
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = MODEL_NAME
        assert models.GetModelStatus(request, timeout=CALL_S).model_version_status[0].version == 1
        with pytest.raises(grpc.RpcError) as refused:
            models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=CALL_S)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert requests.get(f"{balancer.http}/v1/models/{MODEL_NAME}", timeout=CALL_S).ok
    for path in ("/monitoring/prometheus/metrics", "/v1", "/"):
        assert requests.get(balancer.http + path, timeout=CALL_S).status_code == 404
    assert requests.get(f"{balancer.http}/healthz", timeout=CALL_S).json() == {"status": "ok"}


def test_without_servers_callers_are_told_in_a_sentence(tmp_path: Path) -> None:
    with balancing(tmp_path, [(free_port(), free_port())]) as balancer:
        for server in (balancer.grpc, balancer.http):
            with (
                StyleTransferClient(server) as client,
                pytest.raises(ServingUnavailable, match=r"^No model server is free or answers\.$"),
            ):
                client.describe()


class Page(http.server.BaseHTTPRequestHandler):
    """Shows who calls what headers came."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(self.headers).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_edge_lets_in_who_knows_the_password(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    password = subprocess.run(["openssl", "passwd", "-apr1", "secret"], check=True, capture_output=True, text=True)
    (tmp_path / "htpasswd").write_text(f"ann:{password.stdout}")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as page, edge(tmp_path, page.server_port) as url:
        threading.Thread(target=page.serve_forever, daemon=True).start()

        def call(auth: tuple[str, str] | None) -> requests.Response:
            return requests.get(url, auth=auth, verify=str(tmp_path / "tls.crt"), timeout=CALL_S)

        assert [call(auth).status_code for auth in (None, ("ann", "wrong"))] == [401, 401]
        answer = call(("ann", "secret"))
        assert answer.status_code == 200
        assert "X-Forwarded-Proto: https" in answer.text
        assert "Authorization" not in answer.text  # the password ends at the edge
        assert answer.headers["Strict-Transport-Security"]
        page.shutdown()
