"""The way to a server: TLS, tokens, redirects, proxies, slow lines; and that no secret is told."""

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import pytest
import trustme

from model.settings import StyleSettings
from serving import network, wire
from serving.__main__ import main
from serving.client import StyleTransferClient
from serving.contract import HEADERS_VARIABLE, SERVER_VARIABLE, TOKEN_VARIABLE
from serving.errors import AccessDenied, InvalidInput, InvalidResponse, ServingUnavailable, StyleTransferError
from serving.network import Remote
from serving.request import Request
from serving.transports import connect, served_versions
from tests.lines import line
from tests.served import Served
from tests.serving.fakes import CONTENT, STYLE

WAYS = ("grpc", "http")
SECRET = "Zm9yIHRlc3Rz"  # noqa: S105 - only of these tests
ACCESS: dict[str, Any] = {"token": SECRET, "headers": {"X-Tenant": "blue"}}
REQUEST = Request(CONTENT, [STYLE], StyleSettings(size=56, smallest_size=28, steps=12))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def undisturbed(served: Served) -> bytes:
    return image(served.grpc)


def image(server: str, **options: Any) -> bytes:
    with StyleTransferClient(server, **options) as client:
        *_, last = client.run(REQUEST)
    return last.image


class Web(ThreadingHTTPServer):
    """A web server that gives every call one answer.

    Attributes:
      address: where it listens.
      answer: status, headers and body.
      calls: method, and headers by lowercase name, of each call.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"{}")
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append((self.command, {k.lower(): v for k, v in self.headers.items()}))
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
        yield web
        web.shutdown()


def describe(server: str, **options: Any) -> Any:
    with StyleTransferClient(server, **options) as client:
        return client.describe()


# TLS


@pytest.mark.parametrize("way", WAYS)
def test_a_run_over_tls_with_a_private_authority_on_a_slow_line(
    served: Served, undisturbed: bytes, authority: trustme.CA, ca: str, way: str
) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    with line(served.address(way), certificate=certificate, bytes_per_s=1e6, delay_s=0.3) as encrypted:
        assert encrypted.address.startswith(f"{way}s://")
        assert image(encrypted.address, ca=ca, token=SECRET) == undisturbed
        assert served_versions(encrypted.address, ca=ca) == served_versions(served.address(way))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("host", "known", "reason"),
    [("127.0.0.1", False, "certificate"), ("elsewhere.example", True, r"IP address mismatch|Hostname Verification")],
)
def test_a_certificate_that_does_not_verify_is_told_at_once(
    served: Served, authority: trustme.CA, ca: str, way: str, host: str, known: bool, reason: str
) -> None:
    issuer = authority if known else trustme.CA()
    retries: list[StyleTransferError] = []
    with line(served.address(way), certificate=issuer.issue_cert(host)) as encrypted:
        sentence = rf"^The certificate of {encrypted.address} does not verify \(.*({reason}).*\): set `ca`"
        with StyleTransferClient(encrypted.address, ca=ca) as client, pytest.raises(AccessDenied, match=sentence):
            list(client.run(REQUEST, on_retry=retries.append))
        with pytest.raises(AccessDenied, match=sentence):
            served_versions(encrypted.address, ca=ca)
    assert not retries


# Tokens and headers


def test_every_call_carries_token_and_headers_and_nothing_of_netrc(
    web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for access in (ACCESS, {}):
        if not access:  # the same from the environment
            monkeypatch.setenv(TOKEN_VARIABLE, SECRET)
            monkeypatch.setenv(HEADERS_VARIABLE, "\n X-Tenant:  blue \n")
        for call in (describe, served_versions):
            with pytest.raises(InvalidResponse):
                call(web.address, **access)
    assert [method for method, _ in web.calls] == ["POST", "GET"] * 2
    for _, sent in web.calls:
        assert (sent["authorization"], sent["x-tenant"]) == (f"Bearer {SECRET}", "blue")


def test_calls_over_grpc_carry_them_as_metadata() -> None:
    sent: list[Any] = []
    handler = grpc.unary_unary_rpc_method_handler(lambda _, call: sent.append(dict(call.invocation_metadata())) or b"")
    server = grpc.server(futures.ThreadPoolExecutor(1))
    for service, method in (path.split("/")[1:] for path in (wire.PREDICT, wire.MODEL_STATUS)):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    address = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with pytest.raises(InvalidResponse):
        describe(address, **ACCESS)
    assert served_versions(address, **ACCESS) == []
    server.stop(0).wait()
    assert [(one["authorization"], one["x-tenant"]) for one in sent] == [(f"Bearer {SECRET}", "blue")] * 2


@pytest.mark.timeout(30)
def test_a_connection_that_is_not_made_is_given_up_before_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes connections and says nothing in TLS's handshake."""
    monkeypatch.setattr(network, "CONNECT_S", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ServingUnavailable, match=r"^No server answers"),
    ):
        connect(f"https://127.0.0.1:{silent.getsockname()[1]}").versions(timeout_s=90)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("host", ["localhost", "127.8.8.8", "[::1]"])
def test_a_token_may_go_to_this_machine_unencrypted(way: str, host: str) -> None:
    connect(f"{way}://{host}:1", token=SECRET).close()
    connect(f"{way}s://model.example:1", token=SECRET).close()


@pytest.mark.parametrize(
    ("server", "given", "sentence"),
    [
        *[
            (f"{way}://host", given, f"`token` must not cross the network unencrypted. Use {way}s:// in place of")
            for way in WAYS
            for given in ({"token": SECRET}, {"headers": {"AUTHORIZATION": f"Basic {SECRET}"}})
        ],
        ("https://host", {"token": f"{SECRET}\n"}, "`token` must be printable ASCII without spaces. Received: 13"),
        ("https://host", {"token": SECRET, "headers": {"Authorization": SECRET}}, "beside an Authorization header"),
        *[
            ("https://host", {"headers": {name: SECRET + end}}, f"a wrong name or value of `{name}`")
            for name, end in (("x-key", "é"), ("x-key-bin", ""), ("x key", ""))
        ],
        ("https://host", {"environment": f"X-Key: 1\n{SECRET}"}, "`NST_SERVING_HEADERS` must hold lines `Name: value`"),
        *[
            (f"{start}me:{SECRET}@host:1", {}, "`server` must hold no user name and no password")
            for start in ("https://", "http://x/", "ftp://", "")
        ],
        *[
            (f"{way}://host", {"ca": ca}, f"`ca` must be a PEM file of certificates. Received: {ca}")
            for way in ("grpcs", "https")
            for ca in ("/nosuch.pem", __file__)
        ],
    ],
)
def test_mistakes_are_one_sentence_that_repeats_no_secret(
    monkeypatch: pytest.MonkeyPatch, server: str, given: dict[str, Any], sentence: str
) -> None:
    monkeypatch.setenv(HEADERS_VARIABLE, given.pop("environment", ""))
    with pytest.raises(InvalidInput) as failure:
        connect(server, **given)
    assert sentence in str(failure.value)
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_and_a_missing_token_are_one_sentence_and_are_sent_once(web: Web, status: int) -> None:
    web.answer = status, {}, f'{{"error": "not {SECRET}"}}'.encode()
    for token, sentence in ((SECRET, "refused the token"), ("", "wants a token")):
        with pytest.raises(AccessDenied) as failure, StyleTransferClient(web.address, token=token) as client:
            list(client.run(REQUEST))
        assert str(failure.value).startswith(f"{web.address} {sentence} (HTTP {status})")
        assert SECRET not in str(failure.value)
    assert [method for method, _ in web.calls] == ["GET", "POST"] * 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_told_and_not_followed(web: Web, status: int) -> None:
    web.answer = status, {"Location": f"https://me:{SECRET}@login.example:444/sign-in?next={SECRET}"}, b""
    sentence = f"^{web.address} redirects to https://login.example:444/sign-in, and the client follows no redirects"
    for call in (describe, served_versions):
        with pytest.raises(AccessDenied, match=sentence) as failure:
            call(web.address)
        assert SECRET not in str(failure.value)
    assert len(web.calls) == 2


def test_no_secret_is_told(
    served: Served, web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """In no error, log, repr, run file or result, not even if the server repeats it."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(TOKEN_VARIABLE, SECRET)
    monkeypatch.setenv(HEADERS_VARIABLE, "X-Key: k3y-of-the-tests")
    monkeypatch.setenv(SERVER_VARIABLE, served.grpc)
    for name, data in (("content.png", CONTENT), ("style.png", STYLE)):
        (tmp_path / name).write_bytes(data)
    files = [str(tmp_path / name) for name in ("content.png", "style.png")]
    flags = ["-o", str(tmp_path / "out.png"), "--checkpoint", str(tmp_path / "out.run"), "--quiet"]
    assert main([*files, *flags, "--size=56", "--steps=4"]) == 0
    web.answer = 503, {}, json.dumps({"error": f"Bearer {SECRET} and k3y-of-the-tests are known"}).encode()
    assert main([*files, *flags, "--size=56", "--patience=1", f"--server={web.address}"]) == 1
    remote = Remote.of("https://host")
    with StyleTransferClient("https://host") as client:
        told = [caplog.text, *capfd.readouterr(), repr(remote), str(remote), repr(client), repr(vars(client))]
    assert "Bearer *** and *** are known" in "".join(told)
    for text in (*told, *(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())):
        assert SECRET not in text
        assert "k3y-of" not in text


# Proxies


@pytest.mark.parametrize("way", WAYS)
def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    served: Served, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with line(served.address(way), proxied=True) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        assert image(f"{way}://model.example:8500") == undisturbed
        assert set(proxy.wanted) == {"model.example:8500"}
    # The proxy is gone: whoever still asked it would fail.
    assert image(served.address(way)) == undisturbed
    assert served_versions(served.address(way))
    with pytest.raises(StyleTransferError):
        describe(f"{way}://model.example:8500")


# Slow lines


def test_threads_may_share_a_client_without_a_warning(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    together = threading.Barrier(20, timeout=60)
    web.answer, web.calls = (200, {}, b'{"model_version_status": []}'), Mock(append=lambda _: together.wait())
    with contextlib.closing(connect(web.address)) as way, futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: way.versions(), range(20)))
    assert not caplog.messages


def test_an_upload_may_take_longer_than_a_connection(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "CONNECT_S", 0.1)
    web.answer = 400, {}, b'{"error": "`settings` are too long"}'
    with line(web.address, bytes_per_s=30e6) as slow, contextlib.closing(connect(slow.address)) as way:
        for _ in range(2):  # on a new connection and on the old one
            with pytest.raises(InvalidInput, match="too long"):
                way.predict("describe", {"settings": ["x" * 20_000_000]}, timeout_s=60)
