"""The load balancer and the edge: a real nginx with docker/nginx/, before embedded servers. Nothing is lost."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from tests.docker.files import DOCKER, compose
from tests.ports import free_port
from tests.served import Server

CLIENTS = 32
CONTENT, STYLE = encode(smooth_picture(24, 32, 1)), encode(smooth_picture(28, 24, 2))
SETTINGS = StyleSettings(size=32, smallest_size=16, steps=24)
RETRIES = RetryPolicy(max_elapsed_s=240, max_backoff_s=1)  # a busy machine starts a server slowly
CHEAP = ("--enable_model_warmup=false", "--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=1")
CALL_S = 10.0


@dataclass(frozen=True)
class Balancer:
    """A running nginx: its addresses, and the file to which it writes who answered what."""

    grpc: str
    http: str
    log: Path

    def answered(self) -> Counter[int]:
        """Returns how many calls went well at each server, by its port."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return Counter(int(upstream.rsplit(":", 1)[1]) for status, upstream in lines if status == "200")


def upstreams(folder: Path, name: str, ports: Mapping[str, Sequence[int]]) -> None:
    """Writes docker/nginx/NAME to a folder with servers at these ports in each server's place; all limits stay.

    Addresses need no resolver, and `resolve` no nginx that is later than Debian's.
    """
    text = re.sub(r"^resolver .*\n", "", (DOCKER / "nginx" / name).read_text(), flags=re.MULTILINE)
    for server, theirs in ports.items():
        before, options, after = re.split(rf"  server {server} resolve(.*;\n)", text)
        text = before + "".join(f"  server 127.0.0.1:{port}{options}" for port in theirs) + after
    (folder / name).write_text(text)


def configure(folder: Path, name: str, **replaced: str) -> Path:
    """Writes docker/nginx/NAME to a folder with what differs outside of a container, and returns its path."""
    text = (DOCKER / "nginx" / name).read_text().replace(" /tmp/", f" {folder}/")
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path


@contextlib.contextmanager
def running(configuration: Path, ports: Sequence[int]) -> Iterator[None]:
    """Runs nginx with a configuration, from the moment it listens at all of its ports."""
    # Debian has it where only root's PATH leads.
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or pytest.skip("there is no nginx")
    # Started by root, nginx would give its work to a user who may not look into the tests' folder.
    user = "user root; " if os.geteuid() == 0 else ""
    process = subprocess.Popen(
        [nginx, "-c", str(configuration), "-p", str(configuration.parent), "-g", f"{user}daemon off;"]
    )
    try:
        deadline = time.monotonic() + CALL_S
        for port in ports:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert process.poll() is None, "nginx ended"
                assert time.monotonic() < deadline, "nginx does not answer"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def balancing(folder: Path, servers: Sequence[tuple[int, int]], **replaced: str) -> Iterator[Balancer]:
    """Runs the load balancer before servers, by their ports of gRPC and REST.

    Args:
      folder: for its files.
      servers: their ports.
      replaced: what else to replace in its configuration, by what is there.
    """
    ports, log = (free_port(), free_port()), folder / "access.log"
    grpc_ports, rest_ports = zip(*servers, strict=True)
    upstreams(folder, "upstreams.conf", {"serving:8500": grpc_ports, "serving:8501": rest_ports})
    replaced |= {
        "listen 8500": f"listen 127.0.0.1:{ports[0]}",
        "listen 8501": f"listen 127.0.0.1:{ports[1]}",
        "access_log off": f"log_format who '$status $upstream_addr'; access_log {log} who",
    }
    with running(configure(folder, "nginx.conf", **replaced), ports):
        yield Balancer(f"grpc://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", log)


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


@pytest.mark.timeout(600)  # on a busy machine servers start slowly
def test_servers_are_killed_one_after_another_and_nothing_is_lost(balancer: Balancer, replicas: list[Server]) -> None:
    undisturbed = picture(replicas[0].grpc)
    over, finished = threading.Event(), threading.Semaphore(0)

    def paint(index: int) -> set[bytes]:
        """Makes the picture again and again until the killing is over, and once after it has begun in any case."""
        pictures = set()
        while not (over.is_set() and pictures):
            pictures.add(picture((balancer.grpc, balancer.http)[index % 2]))
            finished.release()
        return pictures

    def wait_for_pictures() -> None:
        while finished.acquire(blocking=False):
            pass  # these were finished before
        assert all(finished.acquire(timeout=RETRIES.max_elapsed_s) for _ in range(4))

    first, second, third = replicas
    with ThreadPoolExecutor(CLIENTS) as pool:
        futures = [pool.submit(paint, index) for index in range(CLIENTS)]
        try:
            wait_for_pictures()
            first.kill()  # two are left
            first.start()
            wait_for_pictures()
            second.kill()  # one is left, and perhaps the first again
            wait_for_pictures()
            first.wait()
            third.kill()  # the first is left, alone
            wait_for_pictures()
        finally:
            over.set()
    assert set().union(*(future.result() for future in futures)) == {undisturbed}


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
    port = free_port()

    def call(auth: tuple[str, str] | None) -> requests.Response:
        certificate = str(tmp_path / "tls.crt")
        return requests.get(f"https://127.0.0.1:{port}/", auth=auth, verify=certificate, timeout=CALL_S)

    moved = {"listen 8443": f"listen 127.0.0.1:{port}", "/etc/edge/": f"{tmp_path}/"}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        upstreams(tmp_path, "edge_upstream.conf", {"ui:8080": [page.server_port]})
        with running(configure(tmp_path, "edge.conf", **moved), [port]):
            assert [call(auth).status_code for auth in (None, ("ann", "wrong"))] == [401, 401]
            answer = call(("ann", "secret"))
        page.shutdown()
    assert answer.status_code == 200
    assert "X-Forwarded-Proto: https" in answer.text
    assert "Authorization" not in answer.text  # the password ends at the edge
    assert answer.headers["Strict-Transport-Security"]
