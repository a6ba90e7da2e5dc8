"""The three ways to a model give the same, right and wrong alike; and what is said when there is no way."""

import contextlib
import json
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2

from model.contract import SIGNATURES
from serving import wire
from serving.errors import (
    AccessDenied,
    Cancelled,
    ConnectionLost,
    DeadlineExceeded,
    InvalidInput,
    InvalidResponse,
    ModelNotFound,
    Overloaded,
    ServingFailed,
    ServingUnavailable,
    StyleTransferError,
    TooLarge,
    clean,
    from_code,
)
from serving.network import Remote
from serving.responses import check_response
from serving.transports import LocalTransport, Pin, RestTransport, Transport, connect, served_versions
from tests.ports import free_port
from tests.served import Served
from tests.serving.fakes import CONTENT, STYLE

INPUTS = {"content_bytes": [CONTENT], "style_bytes": [[STYLE]], "settings": ["size=56,smallest_size=28,steps=6"]}


def advance(way: Transport, **inputs: Any) -> dict[str, Any]:
    return way.predict("advance", {**INPUTS, "state_bytes": [b""], "take_steps": [4], **inputs}, timeout_s=60)


def stylize(way: Transport) -> dict[str, Any]:
    return check_response("stylize", way.predict("stylize", INPUTS, timeout_s=60))


@pytest.fixture(scope="module")
def ways(served: Served) -> Iterator[dict[str, Transport]]:
    ways = {name: connect(getattr(served, name)) for name in ("grpc", "http", "path") if getattr(served, name)}
    yield ways
    for way in (*ways.values(), *ways.values()):  # closing twice does no harm
        way.close()


def test_every_way_gives_the_same_as_the_contract_says(ways: dict[str, Transport]) -> None:
    first, *others = (check_response("advance", advance(way)) for way in ways.values())
    assert first.keys() == {tensor.name for tensor in SIGNATURES["advance"].outputs}
    for other in others:
        for name, value in first.items():
            np.testing.assert_array_equal(other[name], value)


@pytest.mark.parametrize("name", ["grpc", "http"])
def test_a_pin_takes_the_newest_version_and_keeps_it(
    served: Served, ways: dict[str, Transport], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    way, pin, sent = ways[name], Pin(), []
    if name == "http":
        exchange = way._exchange
        monkeypatch.setattr(way, "_exchange", lambda *call: sent.append(call[1].rpartition("/")[2]) or exchange(*call))
    for _ in range(3):
        way.predict("describe", {"settings": [""]}, timeout_s=60, pin=pin)
    (newest, *_) = served_versions(getattr(served, name))
    assert pin == Pin(newest)
    assert sent == (["style_transfer", *[f"{newest}:predict"] * 3] if name == "http" else [])
    with pytest.raises(ModelNotFound):
        way.predict("describe", {"settings": [""]}, timeout_s=60, pin=Pin(newest + 1))


@pytest.mark.parametrize(("status", "error"), [(403, None), (404, None), (200, None), (503, ServingUnavailable)])
def test_where_only_predict_is_let_through_the_default_version_is_called(status: int, error: type | None) -> None:
    way, pin, sent = RestTransport(Remote("http://server"), "m"), Pin(), []

    def exchange(method: str, url: str, *_: Any) -> tuple[int, bytes, str]:
        sent.append(f"{method} {url}")
        return (status, b'{"error": ""}', "") if method == "GET" else (200, GOOD_JSON, "")

    way._exchange = exchange
    for _ in range(2):
        with pytest.raises(error) if error else contextlib.nullcontext():
            way.predict("stylize", INPUTS, timeout_s=60, pin=pin)
    url = "http://server/v1/models/m"
    assert sent == ([f"GET {url}"] * 2 if error else [f"GET {url}", *[f"POST {url}:predict"] * 2])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"settings": ["größe=9"]}, "größe=9"),
        ({"content_bytes": [b"text"]}, "`content_bytes` must be a JPEG or PNG picture. Received: 4 bytes"),
        ({"style_bytes": [[STYLE] * 9]}, "`style_bytes` must hold 1 to 8 styles for each content picture. Received: 9"),
        ({"settings": ["style_layers=block5_conv4"]}, "). Received: block5_conv4"),
    ],
)
def test_every_way_refuses_in_the_same_words(ways: dict[str, Transport], inputs: Any, message: str) -> None:
    for way in ways.values():
        with pytest.raises(InvalidInput) as failure:
            advance(way, **inputs)
        assert message in str(failure.value)
        assert "{{" not in str(failure.value)


def test_another_model_than_ours_is_refused(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(InvalidInput, match=r"must be a model of this project. Received: .* without `advance`"):
        advance(LocalTransport(tmp_path))


def test_a_message_beyond_what_grpc_carries_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = Mock(side_effect=ValueError("exceeds maximum protobuf size of 2GB"))
    monkeypatch.setattr(wire.PredictRequest, "SerializeToString", refuse)
    with pytest.raises(ServingFailed, match="too large for one call of"):
        stylize(connect("grpc://127.0.0.1:1"))


def rest(status: int, body: bytes) -> Transport:
    """A transport whose server answers with this."""
    way = RestTransport(Remote("http://server"), "m")
    way._exchange = lambda *_: (status, body, "")
    return way


TOO_SLOW = "larger --rest_api_timeout_in_ms, or call it by gRPC"
TOO_LONG = "too large for one call of http://server"


@pytest.mark.parametrize("body", [b'{"error": "because"}', b"<html>"])
@pytest.mark.parametrize(
    ("status", "error", "with_json", "without"),  # without JSON: a gateway whose server is away or slow
    [
        (400, InvalidInput, "because", None),
        (404, ModelNotFound, "because", None),
        (401, AccessDenied, "wants a token", "wants a token"),
        (403, AccessDenied, "wants a token", "wants a token"),
        (413, TooLarge, TOO_LONG, TOO_LONG),
        (429, Overloaded, "because", "answered HTTP 429"),
        (500, ServingFailed, "because", None),
        (502, ServingUnavailable, "because", "answered HTTP 502"),
        (503, ServingUnavailable, "because", "answered HTTP 503"),
        (504, DeadlineExceeded, TOO_SLOW, TOO_SLOW),
    ],
)
def test_http_errors_become_ours(status: int, body: bytes, error: type, with_json: str, without: str | None) -> None:
    words = without if body == b"<html>" else with_json
    with pytest.raises(StyleTransferError, match=words or "not JSON") as failure:
        stylize(rest(status, body))
    assert type(failure.value) is (error if words else InvalidResponse)


OUTPUTS = {"image_bytes": [{"b64": "eA=="}], "losses": [[[0.5] * 4]], "stopped": [{"b64": ""}]}
GOOD_JSON = json.dumps({"outputs": OUTPUTS}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"[" * 100_000, b"\xff\xfe", {"outputs": 3},
        *[{"outputs": OUTPUTS | {"image_bytes": [image]}} for image in (3, {"b64": "x"}, {"b64": None})],
        *[{"outputs": OUTPUTS | {"losses": losses}} for losses in (3, [[[1], 2]], 1e999)],
    ],
    ids=lambda body: str(body)[:60],
)  # fmt: skip
def test_garbage_over_rest_is_an_invalid_response(body: Any) -> None:
    with pytest.raises(InvalidResponse):
        stylize(rest(200, body if isinstance(body, bytes) else json.dumps(body).encode()))
    assert stylize(rest(200, GOOD_JSON))["image_bytes"].tolist() == [b"x"]


@pytest.fixture(scope="module")
def answering() -> Iterator[tuple[Transport, SimpleNamespace]]:
    """A transport to a gRPC server, and what it answers: some bytes, or a status."""
    answers = SimpleNamespace()

    def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
        if answers.status != "OK":
            context.abort(grpc.StatusCode[answers.status], answers.details)
        return answers.body

    _, service, method = wire.PREDICT.split("/")
    methods = {method: grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with contextlib.closing(connect(f"grpc://127.0.0.1:{port}")) as way:
        yield way, answers
    server.stop(0).wait()


def ask(answering: Any, body: bytes, status: str = "OK", details: str = "") -> dict[str, Any]:
    way, answers = answering
    answers.body, answers.status, answers.details = body, status, details
    return stylize(way)


@pytest.mark.parametrize(
    ("status", "details", "error"),
    [
        ("UNAVAILABLE", "is loading", ServingUnavailable),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: Connection reset by peer", ServingUnavailable),
        ("UNAVAILABLE", "Socket closed", ConnectionLost),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", ConnectionLost),
        ("UNAVAILABLE", "recvmsg:Connection timed out", ConnectionLost),
        ("UNAVAILABLE", "upstream connect error. reset reason: connection termination", ConnectionLost),
        ("CANCELLED", "the server stops and ends its calls", ServingUnavailable),
        ("INTERNAL", "Received RST_STREAM with error code 2", ConnectionLost),
        ("UNKNOWN", "Stream removed", ConnectionLost),
        ("CANCELLED", "Received RST_STREAM with error code 8", ConnectionLost),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineExceeded),
        ("RESOURCE_EXHAUSTED", "the queue is full", Overloaded),
        ("RESOURCE_EXHAUSTED", "OOM when allocating tensor with shape[9]", TooLarge),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (20 vs. 10)", TooLarge),
        ("UNAUTHENTICATED", "no token", AccessDenied),
        ("PERMISSION_DENIED", "not this token", AccessDenied),
        ("INVALID_ARGUMENT", "`size` must be", InvalidInput),
        ("NOT_FOUND", "no such model", ModelNotFound),
        ("INTERNAL", "cuDNN launch failure", ServingFailed),
    ],
)
def test_grpc_errors_become_ours(answering: Any, status: str, details: str, error: type) -> None:
    with pytest.raises(error) as failure:
        ask(answering, b"", status, details)
    assert type(failure.value) is error


GOOD = predict_pb2.PredictResponse(
    outputs={
        "image_bytes": tf.make_tensor_proto([b"x"]),
        "losses": tf.make_tensor_proto(np.full((1, 1, 4), 0.5, np.float32)),
        "stopped": tf.make_tensor_proto([b""]),
    }
).SerializeToString()


def test_garbage_over_grpc_is_an_invalid_response(answering: Any) -> None:
    assert ask(answering, GOOD)["losses"].tolist() == [[[0.5] * 4]]
    for body in (b"", b"<html>"):
        with pytest.raises(InvalidResponse):
            ask(answering, body)


@given(st.sampled_from([GOOD, GOOD_JSON]), st.integers(0, 500), st.binary(max_size=3))
def test_damaged_bytes_are_a_response_or_an_error_of_ours(
    answering: Any, good: bytes, place: int, noise: bytes
) -> None:
    place %= len(good)
    damaged = good[:place] + noise + good[place + max(1, len(noise)) :]
    with contextlib.suppress(InvalidResponse):
        stylize(rest(200, damaged)) if good is GOOD_JSON else ask(answering, damaged)


(LOSSES,) = (tensor for tensor in SIGNATURES["stylize"].outputs if tensor.name == "losses")


@pytest.mark.parametrize(
    "values", [np.float32([[1, 2], [2, 2]]), np.float32([[3, 3], [3, 3]]), np.zeros((1, 0), np.float32)]
)
def test_tensors_are_read_however_they_are_packed(values: Any) -> None:
    as_values = tf.compat.v1.make_tensor_proto(values.tolist(), tf.float32, values.shape)
    for proto in (tf.make_tensor_proto(values), as_values):
        ours = wire.Tensor.FromString(proto.SerializeToString())
        np.testing.assert_array_equal(wire.from_proto(ours, LOSSES), values)


@pytest.mark.parametrize(
    ("dtype", "shape", "values"),
    [(7, [1], [0.5]), (1, [1, -1], [0.5]), (1, [2**20, 2**20], [0.5]), (1, [4], [0.5] * 5), (1, [4], [])],
)
def test_a_tensor_that_contradicts_itself_is_refused(dtype: int, shape: list[int], values: list[float]) -> None:
    dims = [{"size": size} for size in shape]
    with pytest.raises(ValueError, match=r"dtype|reshape"):
        wire.from_proto(wire.Tensor(dtype=dtype, tensor_shape={"dim": dims}, float_val=values), LOSSES)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("assertion failed: [`a` must be b.]\n\t [[{{node x/Assert}}]]", "`a` must be b."),
        ("Graph execution error:\n\nassertion failed: [`a` [1]]\n\t [[{{function_node f}}{{node x}}]]", "`a` [1]"),
        ("assertion failed: [caf\\303\\251 \\'x\\']", "café 'x'"),
        ("jpeg::Uncompress failed.\n\t [[{{node x}}]]", "jpeg::Uncompress failed."),
        ("2 root error(s) found.\n  (0) INTERNAL: no cuDNN.\n\t [[{{node x}}]]\n  (1) CANCELLED: x", "no cuDNN."),
        ("", "The server gave no reason."),
    ],
)
def test_messages_lose_what_tensorflow_wraps_around_them(message: str, sentence: str) -> None:
    assert clean(message) == sentence


def test_memory_that_runs_out_is_told_once() -> None:
    oom = "2 root error(s) found.\n  (0) RESOURCE_EXHAUSTED: OOM when allocating x\n\t [[{{node a}}]]\n  (1) x"
    told = from_code("RESOURCE_EXHAUSTED", oom)  # at the server, and again at the client
    assert str(told) == str(from_code(told.code, clean(str(told))))
    assert str(told).endswith("too little memory for this call. Choose a smaller `size`. (OOM when allocating x)")


def test_a_closed_client_is_told() -> None:
    way = connect("grpc://127.0.0.1:1")
    way.close()
    with pytest.raises(Cancelled, match="The client was closed"):
        stylize(way)


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_a_server_tells_which_versions_are_ready(served: Served, way: str) -> None:
    assert served_versions(served.address(way))[-1] >= 1
    with pytest.raises(ModelNotFound, match="Could not find any versions of model nosuch"):
        served_versions(served.address(way), "nosuch", timeout_s=5)
    with pytest.raises(ServingUnavailable, match="No server answers at"):
        served_versions(f"{way}://127.0.0.1:{free_port()}", timeout_s=5)
