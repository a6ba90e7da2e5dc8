"""The load balancer and the edge: a real nginx with docker/nginx/, before embedded servers. Nothing is lost."""

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import requests

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


def wait_until(condition: Callable[[], bool], seconds: float = CALL_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def adapt(folder: Path, name: str, changes: Mapping[str, str]) -> Path:
    """Writes docker/nginx/NAME to a folder with what differs outside of a container, by pattern; returns its path."""
    text = (DOCKER / "nginx" / name).read_text().replace(" /tmp/", f" {folder}/")
    for pattern, new in changes.items():
        text, found = re.subn(pattern, new, text)
        assert found, pattern
    path = folder / name
    path.write_text(text)
    return path


def upstream(server: str, ports: Sequence[int]) -> dict[str, str]:
    """Returns what puts servers at these ports in a server's place, all limits kept.

    Addresses need no resolver, and `resolve` no nginx that is later than Debian's.
    """
    servers = "\n".join(rf"  server 127.0.0.1:{port}\1" for port in ports)
    return {"resolver .*\n": "", f"  server {server} resolve(.*)": servers}


@contextlib.contextmanager
def running(configuration: Path, ports: Sequence[int]) -> Iterator[None]:
    """Runs nginx with a configuration, from the moment it listens at all of its ports."""
    # Debian has it where only root's PATH leads.
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or pytest.skip("there is no nginx")
    # Started by root, nginx would give its work to a user who may not look into the tests' folder.
    user = "user root; " if os.geteuid() == 0 else ""
    command = [nginx, "-c", str(configuration), "-p", str(configuration.parent), "-g", f"{user}daemon off;"]
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: all(map(listens, ports)))
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def balancing(folder: Path, servers: Sequence[tuple[int, int]], longest: str = "2g") -> Iterator[Balancer]:
    """Runs the load balancer, its files in a folder, before servers at these ports of gRPC and REST."""
    ports, log = (free_port(), free_port()), folder / "access.log"
    grpc_ports, rest_ports = zip(*servers, strict=True)
    adapt(folder, "upstreams.conf", upstream("serving:8500", grpc_ports) | upstream("serving:8501", rest_ports))
    changes = {
        "listen 8500": f"listen 127.0.0.1:{ports[0]}",
        "listen 8501": f"listen 127.0.0.1:{ports[1]}",
        "access_log off": f"log_format who '$status $upstream_addr'; access_log {log} who",
        "client_max_body_size 2g": f"client_max_body_size {longest}",
    }
    with running(adapt(folder, "nginx.conf", changes), ports):
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
    words = compose("compose.yaml")["services"]["serving"]["healthcheck"]["test"]
    codes = []
    for port in (replicas[0].ports[1], free_port()):
        command = [word.replace("127.0.0.1/8501", f"127.0.0.1/{port}") for word in words[1:]]
        codes.append(subprocess.run(command, capture_output=True, timeout=10, check=False).returncode)
    assert codes == [0, 1]


def test_one_channel_reaches_every_server(balancer: Balancer, replicas: list[Server]) -> None:
    def answered() -> Counter[str]:
        """Returns how many calls went well at each server, by its port."""
        lines = [line.split() for line in balancer.log.read_text().splitlines()]
        return Counter(upstream.rpartition(":")[2] for status, upstream in lines if status == "200")

    before = answered()
    with StyleTransferClient(balancer.grpc) as over_grpc, StyleTransferClient(balancer.http) as over_rest:
        for _ in range(6):
            over_grpc.describe()
            over_rest.describe()
    expected = before + Counter({str(port): 2 for replica in replicas for port in replica.ports})
    wait_until(lambda: answered() == expected)  # nginx writes its line after the caller has the answer


def test_the_model_says_on_what_it_runs_when_it_is_asked_as_verify_asks(balancer: Balancer) -> None:
    script = (DOCKER / "verify.sh").read_text()
    patterns = ("-d '(.*)'", r"\$rest(/[^\"]+)", "grep -qF '(.*)'")
    body, path, sought = (re.findall(pattern, script)[0] for pattern in patterns)
    answer = requests.post(balancer.http + path, body, timeout=CALL_S)
    assert sought.replace("GPU", "CPU") in answer.text


def test_a_message_that_is_too_long_is_said_to_be(replicas: list[Server], tmp_path: Path) -> None:
    with balancing(tmp_path, [replica.ports for replica in replicas], longest="64k") as balancer:
        for server in (balancer.grpc, balancer.http):
            with contextlib.closing(connect(server)) as way, pytest.raises(ServingFailed, match="are too large"):
                way.predict("describe", {"settings": ["x" * 1_000_000]}, timeout_s=20)


def test_servers_are_killed_one_after_another_and_nothing_is_lost(balancer: Balancer, replicas: list[Server]) -> None:
    undisturbed = picture(replicas[0].grpc)
    pictures: list[bytes] = []
    over = threading.Event()

    def paint(server: str) -> None:
        """Makes the picture again and again until the killing is over."""
        while not over.is_set():
            pictures.append(picture(server))

    def wait_for_pictures() -> None:
        before = len(pictures)
        wait_until(lambda: len(pictures) >= before + 4, RETRIES.max_elapsed_s)

    first, second, third = replicas
    with ThreadPoolExecutor(CLIENTS) as pool:
        done = pool.map(paint, [balancer.grpc, balancer.http] * (CLIENTS // 2))
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
    assert len(list(done)) == CLIENTS  # none of them raised
    assert set(pictures) == {undisturbed}


def test_only_what_callers_need_is_passed_on(balancer: Balancer) -> None:
    codes = {
        "PredictionService/GetModelMetadata": "INVALID_ARGUMENT",  # the server's word: it got an empty message
        "ModelService/GetModelStatus": "INVALID_ARGUMENT",
        "ModelService/HandleReloadConfigRequest": "PERMISSION_DENIED",
    }
    with grpc.insecure_channel(balancer.grpc.removeprefix("grpc://")) as channel:
        for method, code in codes.items():
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(f"/tensorflow.serving.{method}")(b"", timeout=CALL_S)
            assert refused.value.code().name == code, method
    paths = (f"/v1/models/{MODEL_NAME}", "/healthz", "/monitoring/prometheus/metrics", "/v1", "/")
    statuses = [requests.get(balancer.http + path, timeout=CALL_S).status_code for path in paths]
    assert statuses == [200, 200, 404, 404, 404]


def test_without_servers_callers_are_told_in_a_sentence(tmp_path: Path) -> None:
    with balancing(tmp_path, [(free_port(), free_port())]) as balancer:
        for server in (balancer.grpc, balancer.http):
            with (
                StyleTransferClient(server) as client,
                pytest.raises(ServingUnavailable, match=r"^No model server is free or answers\.$"),
            ):
                client.describe()


def test_bodies_over_rest_go_through_and_are_not_kept(tmp_path: Path) -> None:
    length = 64 << 20  # bytes; more than all sockets hold
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(CALL_S)
        with (
            balancing(tmp_path, [(free_port(), server.getsockname()[1])]) as balancer,
            socket.create_connection(("127.0.0.1", int(balancer.http.rpartition(":")[2]))) as caller,
        ):
            caller.settimeout(CALL_S)
            head = f"POST /v1/models/{MODEL_NAME}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n"
            caller.sendall(head.encode() + bytes(1_000_000))
            answering, _ = server.accept()  # before all of the body has come
            with answering:
                caller.sendall(bytes(1_000_000))
                answering.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    while answering.recv(1 << 20):
                        pass
                with pytest.raises(TimeoutError):  # the caller reads nothing, and nobody in its place
                    answering.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + bytes(length))


class Page(http.server.BaseHTTPRequestHandler):
    """Shows who calls what headers came."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(self.headers).encode())


def test_edge_lets_in_who_knows_the_password(tmp_path: Path) -> None:
    certificate = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
    certificate += "-addext subjectAltName=IP:127.0.0.1 -keyout tls.key -out tls.crt"
    subprocess.run(certificate.split(), cwd=tmp_path, check=True, capture_output=True)
    password = subprocess.run(["openssl", "passwd", "-apr1", "secret"], check=True, capture_output=True, text=True)
    (tmp_path / "htpasswd").write_text(f"ann:{password.stdout}")
    port = free_port()

    def call(auth: tuple[str, str] | None) -> requests.Response:
        return requests.get(f"https://127.0.0.1:{port}/", auth=auth, verify=str(tmp_path / "tls.crt"), timeout=CALL_S)

    changes = {"listen 8443": f"listen 127.0.0.1:{port}", "/etc/edge/": f"{tmp_path}/"}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        adapt(tmp_path, "edge_upstream.conf", upstream("ui:8080", [page.server_port]))
        with running(adapt(tmp_path, "edge.conf", changes), [port]):
            assert [call(auth).status_code for auth in (None, ("ann", "wrong"))] == [401, 401]
            answer = call(("ann", "secret"))
        page.shutdown()
    assert answer.status_code == 200
    assert "X-Forwarded-Proto: https" in answer.text
    assert "Authorization" not in answer.text  # the password ends at the edge
    assert answer.headers["Strict-Transport-Security"]
