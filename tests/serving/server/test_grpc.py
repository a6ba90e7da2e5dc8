"""gRPC over a real channel, as a client of tensorflow_model_server would see it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
)

from serving.server.app import MAX_MESSAGE_BYTES
from serving.server.grpc_service import HEALTH_MESSAGES, NOT_SERVING, SERVING, GrpcService
from serving.server.servable import Servable
from serving.wire import PREDICT
from tests import processes
from tests.serving.server.conftest import CALL_S, Client, failure, fill_spec, served

MIB = 2**20
FREE_GIB = 15  # both ends together hold a message up to six times, and 3 are for whoever else is there
MINUTES_S = 300
FLOATS = np.float32([[1], [5]])


def test_predict_and_the_model_spec_of_the_answer(half_plus_two: Client) -> None:
    response = half_plus_two.predict(half_plus_two.request(x=FLOATS))
    assert tf.make_ndarray(response.outputs["y"]).tolist() == [[2.5], [4.5]]
    assert response.model_spec.name == "half_plus_two"
    assert response.model_spec.version.value == 123
    assert response.model_spec.signature_name == "serving_default"


def test_output_filter_chooses_the_outputs(zoo: Client) -> None:
    response = zoo.predict(zoo.request("ragged", outputs=("z",), x=np.float32([7, 8])))
    assert list(response.outputs) == ["z"]


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
    assert (code, text) == ("RESOURCE_EXHAUSTED", "The answer is more than the 2 GiB that gRPC can carry.")


@pytest.mark.soak
def test_longest_request_there_can_be(call: Callable[..., bytes]) -> None:
    framing = len(measure(2**28)) - 2**28  # the same from there on
    message = measure(MAX_MESSAGE_BYTES - framing)
    assert len(message) == MAX_MESSAGE_BYTES
    answer = predict_pb2.PredictResponse.FromString(call(message, timeout=MINUTES_S))
    assert answer.outputs["length"].int_val[0] == MAX_MESSAGE_BYTES - framing


def test_nothing_holds_a_request_while_it_runs(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched:
        """A request that can be watched; protobuf's cannot."""

        def __init__(self, request: Any) -> None:
            self._request = request

        def __getattr__(self, name: str) -> Any:
            return getattr(self._request, name)

    watched: list[weakref.ref[Watched]] = []
    held: list[object] = []
    predict, run = GrpcService.predict, Servable.predict

    def watched_predict(service: GrpcService, box: list[Any], context: Any) -> Any:
        box[0] = Watched(box[0])
        watched.append(weakref.ref(box[0]))
        return predict(service, box, context)

    def watched_run(*arguments: Any) -> Any:
        held.extend(request() for request in watched)
        return run(*arguments)

    monkeypatch.setattr(GrpcService, "predict", watched_predict)
    monkeypatch.setattr(Servable, "predict", watched_run)
    with served(model_dir / "zoo", "zoo") as client:
        client.wait_until_available()
        client.run("measure", x=np.array(b"x", object))
    assert (len(watched), held) == (1, [None])


@pytest.mark.parametrize(
    ("spec", "inputs", "outputs", "code", "text"),
    [
        ({"name": None}, {}, (), "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"name": "", "version": 1}, {}, (), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"name": "m"}, {}, (), "NOT_FOUND", "Servable not found for request: Latest(m)"),
        ({"version": 99}, {}, (), "NOT_FOUND", "Servable not found for request: Specific(half_plus_two, 99)"),
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


def test_status(half_plus_two: Client) -> None:
    for spec in ({}, {"version": 123}):
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

    monkeypatch.setattr("serving.server.servable.Servable.predict", fail)
    assert failure(lambda: zoo.run("scalar", x=np.float32(1))) == ("INTERNAL", "Internal error: KeyError")


def check_health(client: Client, service: str = "") -> int:
    method = client.channel.unary_unary(
        "/grpc.health.v1.Health/Check", response_deserializer=HEALTH_MESSAGES["Response"].FromString
    )
    request = HEALTH_MESSAGES["Request"](service=service)
    return int(method(request.SerializeToString(), timeout=CALL_S).status)


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health_of_a_server_with_a_model(zoo: Client, service: str) -> None:
    assert check_health(zoo, service) == SERVING


def test_health_of_a_service_that_is_not_known(zoo: Client) -> None:
    assert failure(lambda: check_health(zoo, "other")) == ("NOT_FOUND", "service name unknown")


def test_health_of_a_server_without_a_model(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(zoo.app.manager), "ready", False)
    assert check_health(zoo) == NOT_SERVING
