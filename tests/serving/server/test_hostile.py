"""Requests that no person would write: no crash, no hang, no traceback, no 5xx for a client's mistake.

Some hundreds in `make test`, always the same; tens of thousands, ever new, in `make soak`. And whatever a request
names, the server opens no file and calls nobody: bytes come in requests, or not at all.

Clients that hold on to what the server has, connections, calls, memory, keep no other client out. All of them at once,
for minutes, are in test_attack.
"""

import contextlib
import json
import os
import socket
import string
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2

from serving.server import admission, connection, grpc_service, json_tensor
from serving.server import rest as rest_module
from serving.wire import MODEL_STATUS, PREDICT
from tests.served import ROOT
from tests.serving.server.conftest import CALL_S, Client, failure, rest, started, wait_until
from tests.serving.server.models import request
from tests.watching import witness

FEW = settings(max_examples=120, suppress_health_check=list(HealthCheck))  # a busy machine is no failure
MANY = settings(FEW, max_examples=6000, derandomize=False, database=None)

# A client's mistakes, and what the server may honestly not do. Never: UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS.
CODES = {
    *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE"),
    *("UNIMPLEMENTED", "RESOURCE_EXHAUSTED"),
}
STATUSES = {"GET": {200, 400, 404}, "POST": {200, 400, 404, 501}}

signatures = st.sampled_from(
    (
        *("identity_float32", "identity_float16", "identity_int32", "identity_string", "identity_bytes"),
        *("two", "ragged", "scalar", "careful", "__saved_model_init_op", "nothing", ""),
    )
)
inputs = st.sampled_from(["x", "a", "b", "b64", "nothing"])
numbers = st.integers() | st.floats() | st.sampled_from([2**24, 2**31, 2**53, 2**64, 10**400, -(2**63) - 1, 1e39, -0.0])
base64s = st.builds(lambda text: {"b64": text}, st.text(max_size=8) | st.sampled_from(["AAE=", "AA", "?"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20) | base64s,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(inputs | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
tensors = {"instances": st.lists(values, max_size=3) | values, "inputs": values}
documents = values | st.fixed_dictionaries({"signature_name": signatures | values}, optional=tensors)
texts = st.builds(
    lambda value, escape: json.dumps(value, ensure_ascii=escape).encode("utf-8", "surrogatepass"),
    *(documents, st.booleans()),
)
bodies = texts | st.binary(max_size=40)
models = st.sampled_from(["zoo", "zoo", "zoo", "nothing", ""])
tails = st.sampled_from(["", "", "", "/versions/1", "/labels/stable", "/versions/9223372036854775808"])
methods = st.sampled_from(["predict", "predict", "classify", "explode"])
targets = st.builds("{}{}:{}".format, models, tails, methods) | st.text(
    string.ascii_letters + "%/:?#&=.0129", max_size=20
)


@st.composite
def protos(draw: st.DrawFn) -> tensor_pb2.TensorProto:
    """A tensor that may be right, or contradict itself."""
    sizes = st.integers(0, 3) | st.sampled_from([-1, 2**31, 2**62])
    deep = st.builds(lambda rank, last: [1] * rank + [last], st.integers(20, 80), sizes)
    dims = [{"size": size} for size in draw(st.lists(sizes, max_size=3) | deep)]
    fields = {
        **{f"{name}_val": st.floats(width=32) for name in ("float", "double", "scomplex")},
        **{f"{name}_val": st.integers(-(2**31), 2**31 - 1) for name in ("int", "int64", "half")},
        **{f"{name}_val": st.integers(0, 2**32 - 1) for name in ("uint32", "uint64")},
        **{"bool_val": st.booleans(), "string_val": st.binary(max_size=8)},
    }
    chosen = draw(st.lists(st.sampled_from(sorted(fields)), max_size=2))
    return tensor_pb2.TensorProto(
        dtype=draw(st.integers(0, 30) | st.just(101)),  # every one there is, and a reference to floats
        tensor_shape={"dim": dims},
        tensor_content=draw(st.just(b"") | st.binary(max_size=24)),
        **{name: draw(st.lists(fields[name], max_size=4)) for name in chosen},
    )


@st.composite
def predict_requests(draw: st.DrawFn) -> predict_pb2.PredictRequest:
    """A request for one of the models, more or less."""
    message = predict_pb2.PredictRequest(output_filter=draw(st.lists(st.sampled_from(["y", "z", "c"]), max_size=2)))
    if draw(st.integers(0, 9)):
        message.model_spec.name, message.model_spec.signature_name = draw(models), draw(signatures)
    if not draw(st.integers(0, 9)):
        message.model_spec.version.value = draw(st.sampled_from([1, 123, -1, 2**63 - 1]))
    for name in draw(st.lists(inputs, max_size=2)):
        message.inputs[name].CopyFrom(draw(protos()))
    return message


def check_rest(zoo: Client, method: str, target: str, body: bytes) -> None:
    status, document = rest(zoo.url, method, f"/v1/models/{target}", body)
    assert status in STATUSES[method], document
    assert status == 200 or list(document) == ["error"]
    assert "Traceback" not in str(document)


def check_grpc(zoo: Client, message: predict_pb2.PredictRequest) -> None:
    code, text = "OK", ""
    try:
        zoo.predict(message)
    except grpc.RpcError as error:
        code, text = error.code().name, error.details()
    assert code in CODES, (code, text)
    assert "Traceback" not in text


def few_and_many(check: Callable[..., None], **strategies: Any) -> tuple[Callable[..., None], Callable[..., None]]:
    """Makes two tests of a check: a quick one, and one for the soak."""
    return FEW(given(**strategies)(check)), pytest.mark.soak(MANY(given(**strategies)(check)))


test_rest, test_rest_at_length = few_and_many(
    check_rest, method=st.sampled_from(["POST", "POST", "POST", "GET"]), target=targets, body=bodies
)
test_grpc, test_grpc_at_length = few_and_many(check_grpc, message=predict_requests())


def ask_for(zoo: Client, name: str) -> None:
    """Asks by both protocols with a name in each place where one may stand."""
    requests = [request("measure", x=name), request("measure", outputs=(name,), x=name)]
    for field in ("name", "version_label", "signature_name"):
        requests.append(request("measure", x=name))
        setattr(requests[-1].model_spec, field, name)
    calls = [partial(zoo.predict, message) for message in requests]
    calls += [partial(zoo.metadata, {"name": "zoo"}, name), partial(zoo.status, {"name": name})]
    for call in calls:
        with contextlib.suppress(grpc.RpcError):
            call()
    body = json.dumps({"signature_name": "measure", "inputs": name})
    parts = quote(name), quote(name, safe=""), quote(name, safe="").replace(".", "%2e")
    starts = "/v1/models/", "/v1/", "/", "//", "/v1/models/zoo/", "/v1/models/zoo/versions/", "/v1/models/zoo/labels/"
    for path in ("/v1/models/zoo", *(start + part for start in starts for part in parts)):
        for method, tail in (("POST", ":predict"), ("GET", ""), ("GET", "/metadata")):
            rest(zoo.url, method, path + tail, body)


def test_no_name_in_a_request_is_followed(zoo: Client, zoo_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "canary").mkdir()
    file = tmp_path / "canary" / "1.png"
    file.write_bytes(b"a picture")
    relative = [os.path.relpath(file, start) for start in (ROOT, zoo_dir)]
    with witness(file) as canary:
        # All its names, as a program in the server's place would understand them.
        for name in (str(file), file.as_uri(), *relative, f"{relative[0]}\0.png", canary.url):
            ask_for(zoo, name)
        assert canary.saw() == set()


def test_exported_graph_has_no_operation_that_reads_files_or_calls_out(small_model: Path) -> None:
    saved = saved_model_pb2.SavedModel.FromString((small_model / "1" / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    reaching_out = ("File", "Reader", "Record", "Dataset", "PyFunc", "Rpc", "Remote", "Send", "Recv")
    own = {"MergeV2Checkpoints", "ShardedFilename"}  # the loader's, which no signature reaches
    assert {node.op for node in nodes if any(word in node.op for word in reaching_out)} <= own


def post(body: bytes, length: int | None = None) -> bytes:
    """A predict request as it is sent, which may claim another length of its body."""
    head = b"POST /v1/models/zoo:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    return head % (len(body) if length is None else length) + body


def silent_calls(zoo: Client, count: int, method: str = PREDICT) -> list[grpc.Future]:
    """Calls that have begun and send no message."""
    calls = [zoo.channel.stream_unary(method).future(iter(threading.Event().wait, True), CALL_S) for _ in range(count)]
    wait_until(lambda: len(zoo.app.admission._arriving) >= min(count, admission.MAX_ARRIVING))
    return calls


def is_closed(connection: socket.socket) -> bool:
    """Waits for the end of a connection; returns whether it came without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def check_that_it_answers(zoo: Client) -> None:
    assert zoo.get()[0] == 200
    assert zoo.status({"name": "zoo"}).model_version_status
    assert zoo.run("scalar", x=1.0)["y"] == 2
    assert zoo.post({"signature_name": "scalar", "inputs": 1}) == (200, {"outputs": 2.0})


LATE = "The request was not received in time."


def test_calls_that_send_nothing_keep_nobody_out(zoo: Client) -> None:
    calls = silent_calls(zoo, 40)
    check_that_it_answers(zoo)
    for call in calls:
        call.cancel()
    wait_until(lambda: not zoo.app.admission._arriving)


@pytest.mark.parametrize("method", [PREDICT, MODEL_STATUS])
def test_call_that_sends_nothing_ends(zoo: Client, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_service, "MESSAGE_S", 0.1)
    (call,) = silent_calls(zoo, 1, method)
    assert failure(call.result) == ("DEADLINE_EXCEEDED", LATE)


def test_of_too_many_calls_that_send_nothing_the_oldest_ends(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_ARRIVING", 2)
    oldest, *others = silent_calls(zoo, 2) + silent_calls(zoo, 1)
    assert failure(oldest.result) == ("DEADLINE_EXCEEDED", LATE)
    assert not any(call.done() for call in others)
    for call in others:
        call.cancel()


def test_status_request_is_short(zoo: Client) -> None:
    text = "The request must be at most 65536 bytes long. Received: 65544."
    assert failure(lambda: zoo.status({"name": "x" * (65544 - 8)})) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize("message", [None, b"\xff"])
def test_call_without_a_request_is_refused(zoo: Client, message: bytes | None) -> None:
    call = zoo.channel.stream_unary(PREDICT)
    code, text = failure(lambda: call(iter([] if message is None else [message]), timeout=CALL_S))
    expected = "The message must be a PredictRequest." if message else "The call must hold a message. Received: none."
    assert (code, text) == ("INVALID_ARGUMENT", expected)


def test_of_too_many_idle_connections_the_oldest_is_closed(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_IDLE", 10)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(zoo.connection()) for _ in range(40)]
        opened += [stack.enter_context(zoo.connection(protocol="grpc")) for _ in range(40)]
        assert all(is_closed(one) for one in opened[:29])
        check_that_it_answers(zoo)


@pytest.mark.parametrize("sent", [b"", b"GET /v1/models/zoo HTTP/1.1\r\nHost: loc", post(b"{}") + b"POST /"])
def test_connection_whose_request_does_not_come_is_closed(
    zoo: Client, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STALL_S", 0.2)
    with zoo.connection(sent) as opened:
        while answer := opened.recv(1 << 16):
            assert answer.startswith((b"HTTP/1.1 400", b'{"error"'))


@pytest.mark.parametrize("trickling", [False, True])
def test_body_that_does_not_come_is_given_up(zoo: Client, trickling: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "STALL_S", 0.2)
    with zoo.connection(post(b"{", length=1000)) as opened:
        opened.settimeout(0.02 if trickling else CALL_S)
        answer = b""
        while not answer.endswith(b"}"):
            with contextlib.suppress(TimeoutError):
                answer += opened.recv(1 << 16)
            if trickling and not answer:
                opened.sendall(b" ")
    assert answer.startswith(b"HTTP/1.1 504")
    assert answer.endswith(json.dumps({"error": LATE}).encode())


def test_response_that_is_not_taken_is_given_up(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_S", 0.2)
    body = b'{"signature_name": "identity_string", "inputs": "%b"}' % (b"x" * 20_000_000)
    with zoo.connection(post(body)) as opened:
        wait_until(lambda: not zoo.app._rest.server_state.connections)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := opened.recv(1 << 20):
                received += len(piece)
    assert received < 20_000_000


def test_request_that_is_refused_may_be_sent_to_its_end(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_S", 0.2)
    with zoo.connection(post(b"", length=500_000).replace(b"zoo", b"away")) as opened:
        for _ in range(5):
            opened.sendall(bytes(100_000))
            time.sleep(0.1)
        assert opened.recv(1 << 16).startswith(b"HTTP/1.1 404")  # most clients read it only then


def test_all_requests_share_a_budget_of_bytes(zoo_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_BYTES_IN_FLIGHT", 2000)
    full = "All requests together may hold 2000 bytes, and this one is too large beside the others. Try again later."
    text = {"signature_name": "measure", "inputs": "x" * 1000}
    with started(zoo_dir) as client:
        assert client.post(text) == (200, {"outputs": 1000})
        with client.connection(post(b"{" + b" " * 1200, length=1300)):
            wait_until(lambda: client.app.admission._free_bytes < 1000)
            assert client.post(text) == (429, {"error": full})
            assert failure(lambda: client.run("measure", x="x" * 1000)) == ("RESOURCE_EXHAUSTED", full)
            assert client.run("measure", x="x")["length"] == 1
        wait_until(lambda: client.app.admission._free_bytes == 2000)
        assert client.post(text) == (200, {"outputs": 1000})
        # What Python makes of it, not what was sent, is too much.
        assert client.post({"signature_name": "identity_int32", "inputs": [[]] * 21}) == (429, {"error": full})


def test_values_of_a_body_are_counted_before_they_are_read(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_tensor, "MAX_VALUES", 100)
    for values, status in (([0] * 96, 200), ([0] * 97, 400), ([[]] * 50, 400), ({"x": [{}] * 99}, 400)):
        found, document = zoo.post({"signature_name": "identity_int32", "inputs": values})
        assert found == status, document
    assert document["error"].startswith("A body must have at most 100 values. Received: more.")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(
            (host, 200)
            for host in ("localhost", "127.0.0.1:8501", "127.1.2.3", "[::1]:80", "LOCALHOST:1", "a.localhost")
        ),
        *((host, 403) for host in ("evil.com", "evil.com:8501", "localhost.evil.com", "192.168.0.1", "[::1", "")),
    ],
)
def test_local_server_answers_to_local_names_alone(host: str, status: int, zoo: Client) -> None:
    for found, document in (zoo.get(Host=host), zoo.post({"signature_name": "scalar", "inputs": 1}, Host=host)):
        assert found == status
        refusal = f"The header `Host` must be localhost or a loopback address. Received: {host}. "
        assert status == 200 or document["error"].startswith(refusal)


def test_server_for_all_answers_to_every_name(zoo_dir: Path) -> None:
    with started(zoo_dir, "--host=0.0.0.0") as client:
        assert client.get(Host="example.com")[0] == 200
