"""gRPC over a real channel: answers, codes and sentences."""

import weakref
from typing import Any

import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from serving.server import grpc_service, messages
from serving.server.admission import MAX_MESSAGE_BYTES
from serving.server.grpc_service import HEALTH_MESSAGES, NOT_SERVING, SERVING, GrpcService
from serving.server.messages import left_out
from serving.server.servable import Servable
from serving.wire import PREDICT
from tests import processes
from tests.serving.server.conftest import CALL_S, Client, failure
from tests.serving.server.models import request


def test_answer_holds_the_outputs_that_were_asked_for_and_says_what_answered(zoo: Client) -> None:
    response = zoo.predict(request("ragged", outputs=("z",), x=np.float32([7, 8])))
    assert list(response.outputs) == ["z"]
    spec = zoo.predict(request(x=[[1.0]])).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("zoo", 1, "serving_default")


@pytest.mark.parametrize("sent", [[[[1]], [[5]]], [[1, 5]], [], 1])
def test_shapes_are_the_graphs_to_check(sent: Any, zoo: Client) -> None:
    array = np.float32(sent)  # the signature says [-1, 1]
    assert zoo.run(x=array)["y"].tolist() == (array / 2 + 2).tolist()


def proto(dims: list[int], dtype: str = "DT_FLOAT", **fields: object) -> tensor_pb2.TensorProto:
    return tensor_pb2.TensorProto(dtype=dtype, tensor_shape={"dim": [{"size": size} for size in dims]}, **fields)


def test_numbers_come_one_by_one_as_bytes_or_once_for_all(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_REPEATED_ELEMENTS", 10)
    once, each = proto([2], float_val=[7]), proto([50], float_val=[7] * 50)
    for tensor, expected in ((once, [7, 7]), (each, [7] * 50), (np.float32([7, 8]), [7, 8])):
        assert zoo.run("identity_float32", x=tensor)["y"].tolist() == expected
    assert failure(lambda: zoo.run("identity_float32", x=proto([50], float_val=[7])))[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "tensor",
    [
        proto([-1], tensor_content=b"1234"),
        proto([2], tensor_content=b"123"),
        proto([], "DT_RESOURCE"),
        proto([1], "DT_INT8", int_val=[300]),
        proto([2**20, 2**20], float_val=[1]),  # few bytes that claim all memory
        proto([2**62, 4]),
        proto([2**20, 2**20], "DT_STRING"),
    ],
    ids=str,
)
def test_tensor_that_contradicts_itself_is_refused(tensor: tensor_pb2.TensorProto, zoo: Client) -> None:
    assert failure(lambda: zoo.run("scalar", x=tensor)) == ("INVALID_ARGUMENT", "tensor parsing error: x")


def test_strings_pass_both_ways_whole(zoo: Client) -> None:
    picture = b"\0\1\2\3" * 5_000_000  # 20 MB; gRPC's own limit is 4 MiB
    strings = [[picture, b"\0"], [b"a\0", b"\xff"]]
    assert zoo.run("identity_bytes", x=np.array(strings, object))["y_bytes"].tolist() == strings


def test_answer_that_is_too_long_for_grpc_is_refused(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    length = zoo.predict(request("identity_bytes", x=b"x" * 100)).ByteSize()
    monkeypatch.setattr("serving.server.grpc_service.MAX_MESSAGE_BYTES", length)
    assert zoo.run("identity_bytes", x=b"x" * 100)["y_bytes"] == b"x" * 100
    assert failure(lambda: zoo.run("identity_bytes", x=b"x" * 101)) == ("RESOURCE_EXHAUSTED", TOO_LONG)


TOO_LONG = "The response is larger than gRPC's limit of 2 GiB."
FREE_GIB = 15  # both ends together hold a message up to six times, and 3 are for whoever else is there


@pytest.mark.soak
def test_longest_messages_there_can_be(zoo: Client) -> None:
    if (free_gib := processes.free_memory_mb() * 1e6 / 2**30) < FREE_GIB:
        pytest.skip(f"wants {FREE_GIB} GiB of free memory; there are {free_gib:.1f}")

    def message(length: int, signature: str) -> bytes:
        tensor = tensor_pb2.TensorProto(dtype="DT_STRING", string_val=[bytes(length)])
        return request(signature, x=tensor).SerializeToString()

    call = zoo.channel.unary_unary(PREDICT)
    longest = MAX_MESSAGE_BYTES - (len(message(2**28, "measure")) - 2**28)  # the framing is the same from there on
    answer = predict_pb2.PredictResponse.FromString(call(message(longest, "measure"), timeout=300))
    assert answer.outputs["length"].int_val[0] == longest
    refusal = failure(lambda: call(message(longest - 8, "identity_bytes"), timeout=300))
    assert refusal == ("RESOURCE_EXHAUSTED", TOO_LONG)
    code, text = failure(lambda: call(bytes(MAX_MESSAGE_BYTES + 1), timeout=300))
    assert (code, text[:44]) == ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (21")


class Watched:
    """Stands for a request, which Python cannot watch."""

    def __init__(self, request: Any) -> None:
        self.request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)


class WatchedBytes(bytearray):
    """Stands for bytes likewise."""


def test_nothing_holds_a_request_while_it_runs(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[weakref.ref[Any]] = []
    held: list[object] = []

    def watch(thing: Any) -> Any:
        watched.append(weakref.ref(thing))
        return thing

    async def receive(service: GrpcService, context: Any) -> bytes:
        return watch(WatchedBytes(await _receive(service, context)))

    def parse(request_type: Any, box: list[Any]) -> Any:
        return watch(Watched(_parse(request_type, box)))

    def predict(*_: Any) -> dict[str, Any]:
        held.append([reference() for reference in watched])
        return {}

    _receive, _parse = GrpcService._receive, grpc_service._parse
    monkeypatch.setattr(GrpcService, "_receive", receive)
    monkeypatch.setattr(grpc_service, "_parse", parse)
    monkeypatch.setattr(Servable, "predict", predict)
    zoo.run("measure", x=b"x")
    assert held == [[None, None]]


NOBODY = "Servable not found for request: "
SIZE = "input size does not match signature: "
MISSING = "not found in request and no default value provided. Inputs expected to be in the request"


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        (None, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"name": "m"}, "NOT_FOUND", f"{NOBODY}Latest(m)"),
        ({"name": "zoo", "version": {}}, "NOT_FOUND", f"{NOBODY}Specific(zoo, 0)"),
        ({"name": "zoo", "version_label": "stable"}, "UNIMPLEMENTED", left_out("A version label")),
    ],
)
def test_model_that_is_not_there(zoo: Client, spec: dict[str, Any] | None, code: str, text: str) -> None:
    assert failure(lambda: zoo.predict(predict_pb2.PredictRequest(model_spec=spec))) == (code, text)
    assert failure(lambda: zoo.metadata(spec, "signature_def")) == (code, text)
    unknown = "Could not find any versions of model ", "Could not find version ", text
    assert failure(lambda: zoo.status(spec))[1].startswith(unknown)


@pytest.mark.parametrize(
    ("signature", "inputs", "outputs", "text"),
    [
        ("two", {}, (), f"{SIZE}0!=2 len({{}}) != len({{a,b}}). Sent extra: {{}}. Missing but required: {{a,b}}."),
        ("scalar", {"x": 1.0, "a": 1}, (), f"{SIZE}2!=1 len({{a,x}}) != len({{x}}). Sent extra: {{a}}. Missing but "),
        ("scalar", {"a": 1.0}, (), f"Signature input alias: x(feed name: scalar_x:0) {MISSING} {{a}}, or default in"),
        ("scalar", {"x": True}, (), "Expects arg[0] to be float but bool is provided"),
        ("scalar", {"x": 1.0}, ("z",), "output tensor alias not found in signature: z Outputs expected to be in the"),
        ("scalar", {"x": 1.0}, ("y", "y"), "duplicate output tensor alias: y"),
        ("careful", {"x": [b"\xff" * 5]}, (), "assertion failed: [`x` must be short. Received: ] [\ufffd"),
        ("identity_string", {"x": np.full((1,) * 33, b"x", object)}, (), "Tensor identity_string_x:0 must have at "),
        ("__saved_model_init_op", {}, (), "Tried to fetch data for 'NoOp', which produces no output."),
    ],
)
def test_call_that_does_not_fit_the_signature(
    zoo: Client, signature: str, inputs: dict[str, Any], outputs: tuple[str, ...], text: str
) -> None:
    code, found = failure(lambda: zoo.predict(request(signature, outputs, **inputs)))
    assert code == "INVALID_ARGUMENT"
    assert found.startswith(text)


def test_unknown_signature_is_named_and_a_long_text_is_cut(zoo: Client) -> None:
    sentence = 'Serving signature key "{}" not found.'
    assert failure(lambda: zoo.run("n")) == ("FAILED_PRECONDITION", sentence.format("n"))
    assert failure(lambda: zoo.run("n" * 2000))[1] == sentence.format("n" * 2000)[:1024] + "...TRUNCATED"
    for _ in range(4):  # of texts that are too long for gRPC it drops one in two
        assert failure(lambda: zoo.run("😀" * 2000)) == (
            "FAILED_PRECONDITION",
            f"{sentence[:23]}{'😀' * 250}...TRUNCATED",
        )


def test_metadata(zoo: Client) -> None:
    spec = {"name": "zoo"}
    response = zoo.metadata(spec, "signature_def")
    assert (response.model_spec.name, response.model_spec.version.value) == ("zoo", 1)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert sorted(signatures.signature_def["two"].inputs) == ["a", "b"]
    none = "GetModelMetadataRequest must specify at least one metadata_field"
    assert failure(lambda: zoo.metadata(spec)) == ("INVALID_ARGUMENT", none)
    assert failure(lambda: zoo.metadata(spec, "x")) == ("INVALID_ARGUMENT", "Metadata field x is not supported")


@pytest.mark.parametrize("method", ["tensorflow.serving.PredictionService/Classify", "grpc.health.v1.Health/Watch"])
def test_method_that_is_left_out_is_unimplemented(method: str, zoo: Client) -> None:
    call = zoo.channel.unary_stream(f"/{method}")
    assert failure(lambda: list(call(b"", timeout=CALL_S))) == ("UNIMPLEMENTED", left_out(method))


def test_fault_of_the_server_shows_no_traceback(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Servable, "predict", lambda *_: {}["a secret of the implementation"])
    assert failure(lambda: zoo.run("scalar", x=1.0)) == ("INTERNAL", "Internal error: KeyError")


def test_health(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_health(service: str) -> int:
        message = HEALTH_MESSAGES["Request"](service=service).SerializeToString()
        answer = zoo.channel.unary_unary("/grpc.health.v1.Health/Check")(message, timeout=CALL_S)
        return int(HEALTH_MESSAGES["Response"].FromString(answer).status)

    assert [check_health(name) for name in ("", "ModelService", "PredictionService")] == [SERVING] * 3
    assert failure(lambda: check_health("other")) == ("NOT_FOUND", "service name unknown")
    monkeypatch.setattr(type(zoo.app.manager), "ready", False)
    assert check_health("") == NOT_SERVING
