"""The three ways to a model give the same, right and wrong alike; and what is said when there is no way."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any
from unittest import mock

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from model.contract import SIGNATURES
from serving import wire
from serving.endpoints import TRANSIENT, Endpoints, RetryPolicy
from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    InvalidResponse,
    ModelNotFound,
    Overloaded,
    ServingFailed,
    ServingUnavailable,
    StyleTransferError,
    clean,
)
from serving.responses import check_response
from serving.transports import LocalTransport, RestTransport, Transport, connect, served_versions
from tests.conftest import encode, smooth_picture
from tests.ports import free_port
from tests.served import Served

CONTENT, STYLE = encode(smooth_picture(40, 56, 1)), encode(smooth_picture(50, 40, 2))
WAYS = ("grpc", "http", "path")
TEXT = "size=56,smallest_size=28,steps=6"


@functools.cache
def transport(served: Served, way: str) -> Transport:
    return connect(served.address(way))


def stylize(way: Transport, **inputs: Any) -> dict[str, Any]:
    defaults = {"content_bytes": [CONTENT], "style_bytes": [[STYLE]], "settings": [TEXT]}
    return way.predict("stylize", {**defaults, **inputs}, timeout_s=60)


@pytest.fixture(scope="module")
def by_grpc(served: Served) -> dict[str, Any]:
    return stylize(transport(served, "grpc"))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_picture_and_losses(served: Served, way: str, by_grpc: dict[str, Any]) -> None:
    outputs = stylize(transport(served, way))
    assert outputs["image_bytes"][0] == by_grpc["image_bytes"][0]
    np.testing.assert_allclose(outputs["losses"], by_grpc["losses"], rtol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_what_the_contract_says(served: Served, way: str) -> None:
    inputs = {
        "content_bytes": [CONTENT], "style_bytes": [[STYLE]], "settings": [TEXT], "state_bytes": [b""],
        "take_steps": [2],
    }  # fmt: skip
    outputs = transport(served, way).predict("advance", inputs, timeout_s=60)
    assert set(outputs) == {tensor.name for tensor in SIGNATURES["advance"].outputs}
    for tensor in SIGNATURES["advance"].outputs:
        assert outputs[tensor.name].dtype == (object if tensor.dtype == "string" else tensor.dtype)
        assert outputs[tensor.name].ndim == len(tensor.shape)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"settings": ["size=9"]}, "`size` must be an integer from 16 to 4096. Received: 9"),
        ({"settings": ["größe=9"]}, "größe=9"),
        ({"content_bytes": [b"text"]}, "`content_bytes` must be a JPEG or PNG picture. Received: 4 bytes"),
        ({"style_bytes": [[STYLE] * 9]}, "`style_bytes` must hold 1 to 8 styles for each content picture. Received: 9"),
        ({"settings": ["style_layers=block5_conv4"]}, "block3_conv1"),
        ({"settings": ["style_layers=block5_conv4"]}, "). Received: block5_conv4"),
    ],
)
def test_every_way_refuses_in_the_same_words(served: Served, way: str, inputs: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        stylize(transport(served, way), **inputs)
    assert message in str(failure.value)
    assert "{{" not in str(failure.value)


@pytest.mark.parametrize("way", WAYS)
def test_closing_twice_does_no_harm(served: Served, way: str) -> None:
    once = connect(served.address(way))
    once.close()
    once.close()


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_an_unknown_model_is_not_found(served: Served, way: str) -> None:
    with pytest.raises(ModelNotFound, match="nosuch"):
        stylize(connect(served.address(way), "nosuch"))


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_nobody_there_is_said_in_one_sentence(scheme: str) -> None:
    server = f"{scheme}://127.0.0.1:{free_port()}"
    with pytest.raises(ServingUnavailable) as failure:
        connect(server).predict("describe", {"settings": [""]}, timeout_s=10)
    assert str(failure.value) == f"No server answers at {server}."


@pytest.mark.parametrize("server", ["ftp://host:1", "grpc://", "://x"])
def test_an_address_of_no_known_kind_is_refused(server: str) -> None:
    with pytest.raises(InvalidInput, match="`server` must be grpc://HOST:PORT"):
        connect(server)


def test_a_path_without_a_model_is_refused(tmp_path: Any) -> None:
    with pytest.raises(InvalidInput, match="must be the path of a SavedModel"):
        LocalTransport(tmp_path)


def test_another_model_than_ours_is_refused(tmp_path: Any) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(InvalidInput, match=r"must be a model of this project. Received: .*, without `stylize`"):
        stylize(LocalTransport(tmp_path))


@pytest.fixture
def answering() -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """A server that answers every POST with what is put in the list."""
    answers: list[tuple[int, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE"), (500, "INTERNAL")],
)
def test_http_errors_become_ours(answering: Any, status: int, code: str) -> None:
    server, answers = answering
    answers.append((status, json.dumps({"error": "because"}).encode()))
    with pytest.raises(StyleTransferError, match="because") as failure:
        stylize(connect(server))
    assert failure.value.code == code


@pytest.mark.parametrize("body", [b'{"error": "The request must be shorter."}', b"<html>413 Request Entity Too Large"])
def test_a_request_that_is_too_long_is_not_repeated(answering: Any, body: bytes) -> None:
    server, answers = answering
    answers.append((413, body))
    with pytest.raises(ServingFailed, match=f"more than {server} takes in one call"):
        Endpoints([connect(server)], RetryPolicy()).predict("describe", {"settings": [""]}, timeout_s=30)


def test_a_message_beyond_what_grpc_carries_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(message: Any) -> bytes:  # as protobuf does with more than 2 GiB
        raise ValueError("exceeds maximum protobuf size of 2GB")

    monkeypatch.setattr(wire.PredictRequest, "SerializeToString", refuse)
    with pytest.raises(ServingFailed, match="takes in one call"):
        stylize(connect("grpc://127.0.0.1:1"))


BODIES = (
    b"<html>",
    b"",
    b"[]",
    b"[" * 100_000,
    b"\xff\xfe",
    b'{"outputs": 3}',
    b'{"outputs": {"image_bytes": ["x"]}}',
    b'{"outputs": {"image_bytes": [{"b64": "!"}], "losses": 3}}',
    b'{"outputs": {"image_bytes": [{"b64": null}], "losses": 3}}',
    b'{"outputs": {"image_bytes": [], "losses": [[1], 2]}}',
    b'{"outputs": {"image_bytes": [3], "losses": 1e999}}',
)


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_garbage_is_an_invalid_response(answering: Any, body: bytes) -> None:
    server, answers = answering
    answers.append((200, body))
    with pytest.raises(InvalidResponse), contextlib.closing(connect(server)) as way:
        check_response("stylize", stylize(way))


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_gateway_without_json_means_that_its_server_is_away(answering: Any, status: int) -> None:
    server, answers = answering
    answers.append((status, b"<html>"))
    with pytest.raises(TRANSIENT, match=f"answered HTTP {status}") as failure:
        stylize(connect(server))
    assert not isinstance(failure.value, InvalidResponse)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["outputs", "image_bytes", "losses", "b64", "x"]), inner, max_size=3)
    ),
)


@given(json_values)
def test_any_json_is_a_response_or_an_error_of_ours(value: Any) -> None:
    way = RestTransport("http://127.0.0.1:1", "m")
    body = json.dumps({"outputs": value}).encode()
    with mock.patch.object(way, "_post", return_value=(200, body)), contextlib.suppress(InvalidResponse):
        check_response("stylize", stylize(way))


class Answers(grpc.GenericRpcHandler):
    """Answers every call with some bytes, or with a status."""

    def __init__(self) -> None:
        self.body: bytes | None = b""
        self.status = grpc.StatusCode.OK
        self.details = ""

    def service(self, details: Any) -> Any:
        def answer(_: bytes, context: grpc.ServicerContext) -> bytes | None:
            if self.status is not grpc.StatusCode.OK:
                context.abort(self.status, self.details)
            return self.body

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture(scope="module")
def answering_grpc() -> Iterator[tuple[Transport, Answers]]:
    """A transport to a server that answers with what is put into it."""
    answers = Answers()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((answers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with contextlib.closing(connect(f"grpc://127.0.0.1:{port}")) as way:
        yield way, answers
    server.stop(0).wait()


def ask(
    answering_grpc: tuple[Transport, Answers], body: bytes, status: Any = grpc.StatusCode.OK, details: str = ""
) -> Any:
    way, answers = answering_grpc
    answers.body, answers.status, answers.details = body, status, details
    answer = stylize(way)
    check_response("stylize", answer)
    return answer


@pytest.mark.parametrize(
    ("status", "details", "error"),
    [
        ("UNAVAILABLE", "is loading", ServingUnavailable),
        ("UNAVAILABLE", "Socket closed", ServingUnavailable),
        ("INTERNAL", "Received RST_STREAM with error code 2", ServingUnavailable),
        ("UNKNOWN", "Stream removed", ServingUnavailable),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineExceeded),
        ("RESOURCE_EXHAUSTED", "the queue is full", Overloaded),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (20 vs. 10)", ServingFailed),
        ("INVALID_ARGUMENT", "`size` must be", InvalidInput),
        ("INTERNAL", "cuDNN launch failure", ServingFailed),
    ],
)
def test_grpc_errors_become_ours(answering_grpc: Any, status: str, details: str, error: type) -> None:
    with pytest.raises(error) as failure:
        ask(answering_grpc, b"", grpc.StatusCode[status], details)
    assert type(failure.value) is error


def response(**tensors: Any) -> bytes:
    message = wire.PredictResponse()
    for name, (dtype, shape, values) in tensors.items():
        proto = message.outputs[name]
        proto.dtype = dtype
        for size in shape:
            proto.tensor_shape.dim.add(size=size)
        if values and isinstance(values[0], bytes):
            proto.string_val.extend(values)
        else:
            proto.float_val.extend(values)
    return message.SerializeToString()


GOOD_IMAGE, GOOD_LOSSES, GOOD_STOPPED = (7, [1], [b"x"]), (1, [1, 1, 4], [0.5]), (7, [1], [b""])


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"image_bytes": GOOD_IMAGE},
        {"image_bytes": GOOD_IMAGE, "losses": (7, [1], [b"x"])},
        {"image_bytes": (1, [1], [1.0]), "losses": GOOD_LOSSES},
        {"image_bytes": (7, [2], [b"x"]), "losses": GOOD_LOSSES},
        {"image_bytes": GOOD_IMAGE, "losses": (1, [1, -1, 4], [0.5])},
        {"image_bytes": GOOD_IMAGE, "losses": (1, [1, 2**40, 4], [0.5])},
        {"image_bytes": GOOD_IMAGE, "losses": (1, [1, 1, 4], [0.5] * 5)},
        {"image_bytes": GOOD_IMAGE, "losses": (1, [1, 1, 4], [])},
        {"image_bytes": GOOD_IMAGE, "losses": (1, [1, 4], [0.5])},
    ],
)
def test_a_message_that_breaks_the_contract_is_an_invalid_response(answering_grpc: Any, outputs: Any) -> None:
    with pytest.raises(InvalidResponse):
        ask(answering_grpc, response(**outputs, stopped=GOOD_STOPPED))


def test_a_message_that_keeps_the_contract_is_a_response(answering_grpc: Any) -> None:
    answer = ask(answering_grpc, response(image_bytes=GOOD_IMAGE, losses=GOOD_LOSSES, stopped=GOOD_STOPPED))
    assert answer["losses"].tolist() == [[[0.5] * 4]]


GOOD = response(image_bytes=GOOD_IMAGE, losses=GOOD_LOSSES, stopped=GOOD_STOPPED)


@given(st.binary(max_size=60) | st.tuples(st.integers(0, len(GOOD) - 1), st.integers(1, 255)))
def test_any_bytes_are_a_response_or_an_error_of_ours(answering_grpc: Any, damage: Any) -> None:
    if isinstance(damage, tuple):
        index, flip = damage
        body = GOOD[:index] + bytes([GOOD[index] ^ flip]) + GOOD[index + 1 :]
    else:
        body = damage
    with contextlib.suppress(InvalidResponse):
        ask(answering_grpc, body)


@pytest.mark.parametrize(
    "values", [np.float32([[1, 2], [2, 2]]), np.float32([[3, 3], [3, 3]]), np.zeros((1, 0), np.float32)]
)
def test_tensors_are_read_however_they_are_packed(values: Any) -> None:
    tensor = next(t for t in SIGNATURES["stylize"].outputs if t.name == "losses")
    for proto in (
        tf.make_tensor_proto(values),
        tf.compat.v1.make_tensor_proto(values.tolist(), tf.float32, values.shape),
    ):
        ours = wire.Tensor.FromString(proto.SerializeToString())
        np.testing.assert_array_equal(wire.from_proto(ours, tensor), values)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("assertion failed: [`a` must be b.]\n\t [[{{node x/Assert}}]]", "`a` must be b."),
        ("Graph execution error:\n\nassertion failed: [`a` [1]]\n\t [[{{function_node f}}{{node x}}]]", "`a` [1]"),
        ("assertion failed: [caf\\303\\251 \\'x\\']", "café 'x'"),
        ("jpeg::Uncompress failed.\n\t [[{{node x}}]]", "jpeg::Uncompress failed."),
        ("", "The server gave no reason."),
    ],
)
def test_messages_lose_what_tensorflow_wraps_around_them(message: str, sentence: str) -> None:
    assert clean(message) == sentence


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_a_server_tells_which_versions_are_ready(served: Served, way: str) -> None:
    versions = served_versions(served.address(way))
    assert versions == sorted(versions, reverse=True)
    assert versions[0] >= 1


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_what_gives_no_status_is_unavailable(served: Served, way: str) -> None:
    with pytest.raises(ServingUnavailable, match="gave no status of the model"):
        served_versions(served.address(way), "another_model")
    with pytest.raises(ServingUnavailable, match="gave no status of the model"):
        served_versions(f"{way}://127.0.0.1:{free_port()}", timeout_s=5)
