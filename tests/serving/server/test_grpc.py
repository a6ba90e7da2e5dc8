"""gRPC over a real channel: codes and sentences. What a right Predict is answered is in test_bodies."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from serving.server.admission import MAX_MESSAGE_BYTES
from serving.server.grpc_service import HEALTH_MESSAGES, NOT_SERVING, SERVING
from serving.server.servable import Servable
from serving.wire import PREDICT
from tests import processes
from tests.serving.server.conftest import CALL_S, Client, failure, fill_spec

FLOATS = np.float32([[1], [5]])


def test_answer_says_what_answered(half_plus_two: Client) -> None:
    spec = half_plus_two.predict(half_plus_two.request(x=FLOATS)).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("half_plus_two", 123, "serving_default")


def test_output_filter_chooses_the_outputs(zoo: Client) -> None:
    response = zoo.predict(zoo.request("ragged", outputs=("z",), x=np.float32([7, 8])))
    assert list(response.outputs) == ["z"]


def test_large_messages_pass_both_ways(zoo: Client) -> None:
    picture = b"\0\1\2\3" * 5_000_000  # 20 MB; gRPC's own limit is 4 MiB
    assert zoo.run("identity_bytes", x=np.array([picture], dtype=object))["y_bytes"][0] == picture


def test_answer_that_is_too_long_for_grpc_is_refused(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    request = zoo.request("identity_bytes", x=np.array(b"x" * 100, object))
    length = zoo.predict(request).ByteSize()
    monkeypatch.setattr("serving.server.grpc_service.MAX_MESSAGE_BYTES", length)
    assert zoo.predict(request).outputs["y_bytes"].string_val[0] == b"x" * 100
    request.inputs["x"].string_val[0] += b"x"
    assert failure(lambda: zoo.predict(request)) == ("RESOURCE_EXHAUSTED", TOO_LONG)


TOO_LONG = "The answer is more than the 2 GiB that gRPC can carry."
FREE_GIB = 15  # both ends together hold a message up to six times, and 3 are for whoever else is there


@pytest.mark.soak
def test_longest_messages_there_can_be(zoo: Client) -> None:
    if (free_gib := processes.free_memory_mb() * 1e6 / 2**30) < FREE_GIB:
        pytest.skip(f"wants {FREE_GIB} GiB of free memory; there are {free_gib:.1f}")

    def message(length: int, signature: str) -> bytes:
        request = zoo.request(signature, x=np.int32(0))
        request.inputs["x"].dtype = types_pb2.DT_STRING
        request.inputs["x"].string_val.append(bytes(length))
        return request.SerializeToString()

    call = zoo.channel.unary_unary(PREDICT)
    longest = MAX_MESSAGE_BYTES - (len(message(2**28, "measure")) - 2**28)  # the framing is the same from there on
    answer = predict_pb2.PredictResponse.FromString(call(message(longest, "measure"), timeout=300))
    assert answer.outputs["length"].int_val[0] == longest
    code, text = failure(lambda: call(message(longest - 8, "identity_bytes"), timeout=300))
    assert (code, text) == ("RESOURCE_EXHAUSTED", TOO_LONG)
    code, text = failure(lambda: call(bytes(MAX_MESSAGE_BYTES + 1), timeout=300))
    assert (code, text[:44]) == ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (21")


def test_nothing_holds_a_request_while_it_runs(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[object] = []
    run = Servable.predict

    def watched_run(*arguments: Any) -> Any:
        frame = sys._getframe(1)
        while frame is not None:
            for value in frame.f_locals.values():
                held.extend(item for item in (value if isinstance(value, (list, tuple)) else [value]))
            frame = frame.f_back
        return run(*arguments)

    monkeypatch.setattr(Servable, "predict", watched_run)
    zoo.run("measure", x=np.array(b"x", object))
    assert held
    assert not [item for item in held if isinstance(item, predict_pb2.PredictRequest)]


NOBODY = "Servable not found for request: "
SIZE = "input size does not match signature: "
MISSING = "not found in request and no default value provided. Inputs expected to be in the request"


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ({"name": None}, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"name": "", "version": 1}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"name": "m"}, "NOT_FOUND", f"{NOBODY}Latest(m)"),
        ({"version": 99}, "NOT_FOUND", f"{NOBODY}Specific(zoo, 99)"),
        ({"version": 0}, "NOT_FOUND", f"{NOBODY}Specific(zoo, 0)"),
    ],
)
def test_model_that_is_not_there(zoo: Client, spec: dict[str, Any], code: str, text: str) -> None:
    request = zoo.request(x=FLOATS)
    request.ClearField("model_spec")
    fill_spec(request, **{"name": "zoo", **spec})
    assert failure(lambda: zoo.predict(request)) == (code, text)
    assert failure(lambda: zoo.metadata("signature_def", **spec)) == (code, text)
    code, text = failure(lambda: zoo.status(**spec))
    assert text.startswith(("Missing ModelSpec", "Could not find any versions of model ", "Could not find version "))


@pytest.mark.parametrize(
    ("signature", "inputs", "outputs", "text"),
    [
        ("two", {}, (), f"{SIZE}0!=2 len({{}}) != len({{a,b}}). Sent extra: {{}}. Missing but required: {{a,b}}."),
        ("scalar", {"x": 1, "a": 1}, (), f"{SIZE}2!=1 len({{a,x}}) != len({{x}}). Sent extra: {{a}}. Missing but "),
        ("scalar", {"a": 1}, (), f"Signature input alias: x(feed name: scalar_x:0) {MISSING} {{a}}, or default in"),
        ("default", {"n": 1}, (), f"Signature input alias: x(feed name: default_x:0) {MISSING} {{n}}, or default in"),
        ("default", {"x": 1, "m": 1}, (), "Inputs contains invalid name. Used request inputs: x, request input: m,x"),
        ("scalar", {"x": True}, (), "Expects arg[0] to be float but bool is provided"),
        ("scalar", {"x": b"a"}, (), "Expects arg[0] to be float but string is provided"),
        ("scalar", {"x": 1}, ("z",), "output tensor alias not found in signature: z Outputs expected to be in the set"),
        ("scalar", {"x": 1}, ("y", "y"), "duplicate output tensor alias: y"),
        ("careful", {"x": [9]}, (), "assertion failed: [`x` must be below 5. Received: ] [9]\n\t [[{{"),
        ("__saved_model_init_op", {}, (), "Tried to fetch data for 'NoOp', which produces no output."),
    ],
)
def test_call_that_does_not_fit_the_signature(
    zoo: Client, signature: str, inputs: dict[str, Any], outputs: tuple[str, ...], text: str
) -> None:
    arrays = {name: np.float32(value) if type(value) in (int, list) else value for name, value in inputs.items()}
    code, found = failure(lambda: zoo.predict(zoo.request(signature, outputs, **arrays)))
    assert code == "INVALID_ARGUMENT"
    assert found.startswith(text)


def test_unknown_signature_is_named_and_a_long_text_is_cut(zoo: Client) -> None:
    sentence = 'Serving signature key "{}" not found.'
    for name in ("", "nothing"):
        expected = sentence.format(name or "serving_default")
        assert failure(lambda name=name: zoo.run(name)) == ("FAILED_PRECONDITION", expected)
    assert failure(lambda: zoo.run("n" * 2000))[1] == sentence.format("n" * 2000)[:1024] + "...TRUNCATED"


def test_damaged_tensor_is_an_invalid_argument(half_plus_two: Client) -> None:
    request = half_plus_two.request(x=FLOATS)
    request.inputs["x"].tensor_content = b"12345"
    assert failure(lambda: half_plus_two.predict(request)) == ("INVALID_ARGUMENT", "tensor parsing error: x")


def test_status(half_plus_two: Client) -> None:
    for spec in ({}, {"version": 123}):
        (version,) = half_plus_two.status(**spec).model_version_status
        assert (version.version, version.state, version.status.error_code) == (123, 30, 0)  # 30: AVAILABLE


def test_metadata(zoo: Client) -> None:
    response = zoo.metadata("signature_def")
    assert (response.model_spec.name, response.model_spec.version.value) == ("zoo", 1)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert sorted(signatures.signature_def["two"].inputs) == ["a", "b"]
    none = "GetModelMetadataRequest must specify at least one metadata_field"
    assert failure(zoo.metadata) == ("INVALID_ARGUMENT", none)
    assert failure(lambda: zoo.metadata("x")) == ("INVALID_ARGUMENT", "Metadata field x is not supported")


def test_fault_of_the_server_shows_no_traceback(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Servable, "predict", lambda *_: {}["a secret of the implementation"])
    assert failure(lambda: zoo.run("scalar", x=np.float32(1))) == ("INTERNAL", "Internal error: KeyError")


def check_health(client: Client, service: str = "") -> int:
    method = client.channel.unary_unary(
        "/grpc.health.v1.Health/Check", response_deserializer=HEALTH_MESSAGES["Response"].FromString
    )
    request = HEALTH_MESSAGES["Request"](service=service)
    return int(method(request.SerializeToString(), timeout=CALL_S).status)


def test_health(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("", "ModelService", "PredictionService"):
        assert check_health(zoo, service) == SERVING
    assert failure(lambda: check_health(zoo, "other")) == ("NOT_FOUND", "service name unknown")
    monkeypatch.setattr(type(zoo.app.manager), "ready", False)
    assert check_health(zoo) == NOT_SERVING
