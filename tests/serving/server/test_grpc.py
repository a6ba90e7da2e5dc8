"""gRPC over a real channel, as a client of tensorflow_model_server would see it."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server.flags import MAX_MESSAGE_BYTES
from serving.server.grpc_service import Incoming
from serving.server.servable import Servable
from serving.wire import PREDICT
from tests import processes
from tests.serving.server.conftest import CALL_S, Client, failure, fill_spec, wait_until
from tests.serving.server.models import IDENTITY_DTYPES

MIB = 2**20
FREE_GIB = 15  # both ends together hold a message up to six times, and 3 are for whoever else is there
MINUTES_S = 300
FLOATS = np.float32([[1], [5]])


def test_predict_and_the_model_spec_of_the_answer(half_plus_two: Client) -> None:
    response = half_plus_two.predict(half_plus_two.request(x=FLOATS))
    assert tf.make_ndarray(response.outputs["y"]).tolist() == [[2.5], [4.5]]
    assert list(response.outputs["y"].float_val) == [2.5, 4.5]  # typed fields, as TensorFlow Serving
    assert response.model_spec.name == "half_plus_two"
    assert response.model_spec.version.value == 123
    assert response.model_spec.signature_name == "serving_default"


@pytest.mark.parametrize("values", [np.float32([1, 3]), np.float32(1), np.float32([[1, 3]])])
def test_shapes_are_left_to_the_graph(half_plus_two: Client, values: np.ndarray) -> None:
    assert half_plus_two.run(x=values)["y"].tolist() == (values / 2 + 2).tolist()


@pytest.mark.parametrize("dtype", IDENTITY_DTYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("shape", [(), (2, 1), (0,)])
def test_identity_of_every_dtype(zoo: Client, dtype: tf.DType, shape: tuple[int, ...]) -> None:
    values = [b"\0a\0", b"\xff\0"] if dtype == tf.string else [1, 0]
    array = np.empty(int(np.prod(shape)), dtype=dtype.as_numpy_dtype)
    array[:] = values[: len(array)]
    proto = tf.make_tensor_proto(array.reshape(shape), dtype=dtype)
    answer = zoo.run(f"identity_{dtype.name}", x=proto)["y"]
    assert (answer.dtype, answer.shape, answer.tolist()) == (array.dtype, shape, array.reshape(shape).tolist())


def test_several_inputs_and_outputs(zoo: Client) -> None:
    answer = zoo.run("two", a=np.float32([1, 2]), b=np.array([b"x\0", b""], dtype=object))
    assert answer["c"].tolist() == [2, 4]
    assert answer["d_bytes"].tolist() == [b"x\0", b""]


def test_output_filter_chooses_the_outputs(zoo: Client) -> None:
    response = zoo.predict(zoo.request("ragged", outputs=("z",), x=np.float32([7, 8])))
    assert list(response.outputs) == ["z"]


def test_default_input_is_filled_in(zoo: Client) -> None:
    assert zoo.run("default", x=np.float32([1]))["y"].tolist() == [4]
    assert zoo.run("default", x=np.float32([1]), n=np.int32(5))["y"].tolist() == [6]


def test_large_messages_pass_both_ways(zoo: Client) -> None:
    picture = b"\0\1\2\3" * 5_000_000  # 20 MB; gRPC's own limit is 4 MiB
    assert zoo.run("identity_bytes", x=np.array([picture], dtype=object))["y_bytes"][0] == picture


@pytest.fixture
def call(zoo: Client) -> Callable[..., bytes]:
    """Predict from bytes to bytes, where there is memory for messages of 2 GiB."""
    free_gib = processes.free_memory_mb() * 1e6 / 2**30
    if free_gib < FREE_GIB:
        pytest.skip(f"wants {FREE_GIB} GiB of free memory; there are {free_gib:.1f}")
    return zoo.channel.unary_unary(PREDICT)


def measure(length: int) -> bytes:
    """A message that asks for the length of a string of so many bytes."""
    request = predict_pb2.PredictRequest()
    fill_spec(request, name="zoo")
    request.model_spec.signature_name = "measure"
    request.inputs["x"].dtype = types_pb2.DT_STRING
    request.inputs["x"].string_val.append(bytes(length))
    return request.SerializeToString()


@pytest.mark.soak
def test_request_that_is_a_byte_too_long_is_refused(call: Callable[..., bytes]) -> None:
    refusal = f"SERVER: Received message larger than max ({MAX_MESSAGE_BYTES + 1} vs. {MAX_MESSAGE_BYTES})"
    assert failure(lambda: call(bytes(MAX_MESSAGE_BYTES + 1), timeout=MINUTES_S)) == ("RESOURCE_EXHAUSTED", refusal)


@pytest.mark.soak
def test_longest_answer_there_can_be(zoo: Client, call: Callable[..., bytes]) -> None:
    def length_of_answer(mebibytes: int) -> int:
        request = zoo.request("repeat", ("y_bytes",), x=np.array(b"x" * MIB, object), times=np.int32(mebibytes))
        return len(call(request.SerializeToString(), timeout=MINUTES_S))

    framing = length_of_answer(256) - 256 * MIB
    assert length_of_answer(2047) == 2047 * MIB + framing
    code, text = failure(lambda: length_of_answer(2048))
    assert (code, text[:59]) == ("RESOURCE_EXHAUSTED", "The answer must be at most 2147483647 bytes long, which is ")


@pytest.mark.soak
def test_longest_request_there_can_be(call: Callable[..., bytes]) -> None:
    framing = len(measure(2**28)) - 2**28  # the same from there on
    message = measure(MAX_MESSAGE_BYTES - framing)
    assert len(message) == MAX_MESSAGE_BYTES
    answer = predict_pb2.PredictResponse.FromString(call(message, timeout=MINUTES_S))
    assert answer.outputs["length"].int_val[0] == MAX_MESSAGE_BYTES - framing


def test_answer_that_is_too_long_for_grpc_is_refused(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = zoo.predict(zoo.request("repeat", x=np.array(b"xy", object), times=np.int32(400))).ByteSize()
    monkeypatch.setattr("serving.server.grpc_service.MAX_MESSAGE_BYTES", limit)
    for times, length in ((401, limit + 2), (limit, 2 * limit + 4)):  # seen in the end, and from the pictures alone
        request = zoo.request("repeat", x=np.array(b"xy", object), times=np.int32(times))
        assert failure(lambda request=request: zoo.predict(request)) == (
            "RESOURCE_EXHAUSTED",
            f"The answer must be at most {limit} bytes long, which is what gRPC can carry. Received: {length}. "
            "An output_filter chooses among the outputs.",
        )
    request.output_filter.append("length")
    assert zoo.predict(request).outputs["length"].int_val[0] == 2
    request = zoo.request("repeat", x=np.array(b"xy", object), times=np.int32(400))
    assert len(zoo.predict(request).outputs["y_bytes"].string_val[0]) == 800


def test_nothing_holds_a_request_while_it_runs(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched:
        """A request that can be watched; protobuf's cannot."""

        def __init__(self, request: Any) -> None:
            self._request = request

        def __getattr__(self, name: str) -> Any:
            return getattr(self._request, name)

    taken: list[weakref.ref[Watched]] = []
    held: list[object] = []
    take, run = Incoming.take, Servable.run

    def watched_take(incoming: Incoming[Any]) -> Any:
        request = Watched(take(incoming))
        taken.append(weakref.ref(request))
        return request

    def watched_run(*arguments: Any) -> Any:
        held.extend(request() for request in taken)
        return run(*arguments)

    monkeypatch.setattr(Incoming, "take", watched_take)
    monkeypatch.setattr(Servable, "run", watched_run)
    zoo.run("measure", x=np.array(b"x", object))
    assert (len(taken), held) == (1, [None])


@pytest.mark.parametrize(
    ("spec", "inputs", "outputs", "code", "text"),
    [
        ({"name": None}, {}, (), "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"name": "", "version": 1}, {}, (), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"name": "m"}, {}, (), "NOT_FOUND", "Servable not found for request: Latest(m)"),
        ({"version": 99}, {}, (), "NOT_FOUND", "Servable not found for request: Specific(half_plus_two, 99)"),
        ({"label": "L"}, {}, (), "INVALID_ARGUMENT", "Unrecognized servable version label: L"),
        (
            {},
            {},
            (),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            {},
            {"x": FLOATS, "a": FLOATS},
            (),
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({a,x}) != len({x}). Sent extra: {a}. "
            "Missing but required: {}.",
        ),
        (
            {},
            {"a": FLOATS},
            (),
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
            "Inputs expected to be in the request {a}, or default input alias set: ",
        ),
        ({}, {"x": np.array([True])}, (), "INVALID_ARGUMENT", "Expects arg[0] to be float but bool is provided"),
        ({}, {"x": np.array([b"a"])}, (), "INVALID_ARGUMENT", "Expects arg[0] to be float but string is provided"),
        (
            {},
            {"x": FLOATS},
            ("z",),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ),
        ({}, {"x": FLOATS}, ("y", "y"), "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
    ],
)
def test_failed_predict(
    half_plus_two: Client, spec: dict[str, Any], inputs: dict[str, Any], outputs: tuple[str, ...], code: str, text: str
) -> None:
    request = half_plus_two.request(outputs=outputs, **inputs)
    request.ClearField("model_spec")
    fill_spec(request, **{"name": "half_plus_two", **spec})
    assert failure(lambda: half_plus_two.predict(request)) == (code, text)


@pytest.mark.parametrize(
    ("signature", "inputs", "code", "text"),
    [
        ("nothing", {}, "FAILED_PRECONDITION", 'Serving signature key "nothing" not found.'),
        ("", {}, "FAILED_PRECONDITION", 'Serving signature key "serving_default" not found.'),
        (
            "__saved_model_init_op",
            {},
            "INVALID_ARGUMENT",
            "Tried to fetch data for 'NoOp', which produces no output.  To run to a node but not fetch any data, pass "
            "'NoOp' as an argument to the 'target_node_names' argument of the Session::Run API.",
        ),
        (
            "default",
            {"n": np.int32(1)},
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: default_x:0) not found in request and no default value provided. "
            "Inputs expected to be in the request {n}, or default input alias set: n",
        ),
        (
            "default",
            {"x": np.float32([1]), "m": np.int32(1)},
            "INVALID_ARGUMENT",
            "Inputs contains invalid name. Used request inputs: x, request input: m,x",
        ),
    ],
)
def test_failed_signature(zoo: Client, signature: str, inputs: dict[str, Any], code: str, text: str) -> None:
    assert failure(lambda: zoo.predict(zoo.request(signature, **inputs))) == (code, text)


def test_damaged_tensor_is_an_invalid_argument(half_plus_two: Client) -> None:
    request = half_plus_two.request(x=FLOATS)
    request.inputs["x"].tensor_content = b"12345"
    assert failure(lambda: half_plus_two.predict(request)) == ("INVALID_ARGUMENT", "tensor parsing error: x")


def test_failure_in_the_graph_keeps_its_text_and_is_cut(zoo: Client) -> None:
    code, text = failure(lambda: zoo.run("careful", x=np.float32([9])))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("assertion failed: [`x` must be below 5. Received: ] [9]\n\t [[{{")
    code, text = failure(lambda: zoo.run("n" * 2000, x=np.float32([9])))
    assert text == f'Serving signature key "{"n" * 2000}'[:1024] + "...TRUNCATED"


def test_deadline_stops_the_run(zoo: Client) -> None:
    started = time.monotonic()
    request = zoo.request("slow", seconds=np.float32(20))
    assert failure(lambda: zoo.predict(request, timeout=0.3))[0] == "DEADLINE_EXCEEDED"
    # One run at a time: this one is served, so the other is over.
    zoo.run("slow", seconds=np.float32(0))
    assert time.monotonic() - started < 5


def test_no_deadline_is_no_limit(zoo: Client) -> None:
    assert zoo.predict(zoo.request("slow", seconds=np.float32(0.2)), timeout=None).outputs["y"].bool_val[0]


def test_cancelled_call_frees_its_place_in_the_queue(zoo: Client) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(zoo.channel)
    running = stub.Predict.future(zoo.request("slow", seconds=np.float32(1.5)), timeout=CALL_S)
    wait_until(lambda: zoo.app.queue.admitted == 1)
    waiting = stub.Predict.future(zoo.request("slow", seconds=np.float32(20)), timeout=CALL_S)
    wait_until(lambda: zoo.app.queue.admitted == 2)
    waiting.cancel()
    running.result()
    started = time.monotonic()
    zoo.run("slow", seconds=np.float32(0))
    assert time.monotonic() - started < 5


def test_status(half_plus_two: Client) -> None:
    for spec in ({}, {"version": 123}, {"label": "whatever"}):
        (version,) = half_plus_two.status(**spec).model_version_status
        assert (version.version, version.state, version.status.error_code) == (123, 30, 0)  # 30: AVAILABLE


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ({"name": None}, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"name": "m"}, "NOT_FOUND", "Could not find any versions of model m"),
        ({"version": 99}, "NOT_FOUND", "Could not find version 99 of model half_plus_two"),
    ],
)
def test_failed_status(half_plus_two: Client, spec: dict[str, Any], code: str, text: str) -> None:
    assert failure(lambda: half_plus_two.status(**spec)) == (code, text)


def test_metadata(zoo: Client) -> None:
    response = zoo.metadata("signature_def")
    assert (response.model_spec.name, response.model_spec.version.value) == ("zoo", 1)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert {"two", "default", "slow"} < set(signatures.signature_def)
    assert sorted(signatures.signature_def["two"].inputs) == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "spec", "code", "text"),
    [
        (["signature_def"], {"name": None}, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ([], {}, "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"),
        (["x"], {}, "INVALID_ARGUMENT", "Metadata field x is not supported"),
        (["signature_def"], {"name": "m"}, "NOT_FOUND", "Servable not found for request: Latest(m)"),
    ],
)
def test_failed_metadata(zoo: Client, fields: list[str], spec: dict[str, Any], code: str, text: str) -> None:
    assert failure(lambda: zoo.metadata(*fields, **spec)) == (code, text)


def test_fault_of_the_server_shows_no_traceback(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("a secret of the implementation")

    monkeypatch.setattr("serving.server.core.ServerCore.predict", fail)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "zoo"
    assert failure(lambda: zoo.predict(request)) == ("INTERNAL", "Internal error: KeyError")
