"""Requests that no person would write: no crash, no hang, no traceback, and no 5xx for a client's mistake.

Some hundreds in `make test`, always the same; tens of thousands, ever new, in `make soak`.
"""

from __future__ import annotations

import http.client
import json
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.contract import MODEL_NAME
from serving.wire import PREDICT
from tests.served import Served
from tests.serving.server.conftest import CALL_S, Client, served
from tests.serving.server.models import IDENTITY_DTYPES

COMMON = {
    "deadline": None,  # a busy machine is no failure
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
}
FEW = settings(max_examples=120, derandomize=True, **COMMON)
MANY = settings(max_examples=6000, **COMMON)

SIGNATURES = [
    *(f"identity_{dtype.name}" for dtype in IDENTITY_DTYPES),
    *("identity_bytes", "two", "ragged", "scalar", "careful", "default", "__saved_model_init_op"),
    *("serving_default", "nothing", ""),
]
MODELS = ["zoo", "nothing", ""]
INPUTS = ["x", "a", "b", "n", "inputs", "b64", "nothing"]

# A client's mistakes, and what the server may honestly not do. Never: UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS.
ALLOWED_CODES = {
    *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    "RESOURCE_EXHAUSTED",
}
ALLOWED_STATUSES = {200, 400, 404, 413, 501}

numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([2**24, 2**31, 2**53, 2**63, 2**64 - 1, 2**64, 10**400, -(2**63) - 1, 1e39, -0.0]),
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.text(max_size=20),
    st.builds(lambda text: {"b64": text}, st.one_of(st.text(max_size=8), st.sampled_from(["AAE=", "AA", "?"]))),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(INPUTS), st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=12,
)
documents = st.one_of(
    values,
    st.fixed_dictionaries(
        {},
        optional={
            "signature_name": st.one_of(st.sampled_from(SIGNATURES), leaves),
            "instances": values,
            "inputs": values,
        },
    ),
    st.fixed_dictionaries({"signature_name": st.sampled_from(SIGNATURES), "instances": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"signature_name": st.sampled_from(SIGNATURES), "inputs": values}),
)
nested = st.builds(lambda depth, ends: "[" * depth + ("]" * depth if ends else ""), st.integers(1, 5000), st.booleans())
texts = st.builds(lambda document, ascii_only: json.dumps(document, ensure_ascii=ascii_only), documents, st.booleans())
damages = st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), max_size=3)


def damaged(data: bytes, damage: list[tuple[int, bytes]]) -> bytes:
    """Returns the data with bytes put in, over others, at some places."""
    for place, piece in damage:
        place %= len(data) + 1
        data = data[:place] + piece + data[place + len(piece) :]
    return data


bodies = st.one_of(
    st.builds(damaged, st.builds(str.encode, texts), st.one_of(st.just([]), damages)),
    st.builds(lambda text: b'{"inputs": ' + text.encode() + b"}", nested),
    st.binary(max_size=40),
)
routes = st.builds(
    "/v1/models/{}{}:{}".format,
    st.sampled_from(MODELS),
    st.sampled_from(["", "", "", "/versions/1", "/labels/stable", "/versions/9223372036854775808"]),
    st.sampled_from(["predict", "predict", "classify", "regress", "explode"]),
)
targets = st.one_of(
    routes,
    st.builds(lambda tail: f"/v1/models/{tail}", st.text(string.ascii_letters + "%/:?#&=.0129éÿ", max_size=20)),
)


def _dims(shape: list[int]) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@st.composite
def tensors(draw: st.DrawFn) -> tensor_pb2.TensorProto:
    """A tensor that may be right, or contradict itself."""
    sizes = st.one_of(st.integers(0, 3), st.sampled_from([-1, 2**31, 2**62]))
    deep = st.builds(lambda rank, last: [1] * rank + [last], st.integers(20, 80), sizes)
    proto = _dims(draw(st.one_of(st.lists(sizes, max_size=3), deep)))
    proto.dtype = draw(st.one_of(st.integers(0, 30), st.just(101)))  # every one there is, and a reference to floats
    if draw(st.booleans()):
        proto.tensor_content = draw(st.binary(max_size=24))
    fields = {
        "float_val": st.floats(width=32),
        "double_val": st.floats(),
        "int_val": st.integers(-(2**31), 2**31 - 1),
        "int64_val": st.integers(-(2**63), 2**63 - 1),
        "uint32_val": st.integers(0, 2**32 - 1),
        "uint64_val": st.integers(0, 2**64 - 1),
        "bool_val": st.booleans(),
        "string_val": st.binary(max_size=8),
        "half_val": st.integers(-(2**31), 2**31 - 1),
        "scomplex_val": st.floats(width=32),
    }
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=2)):
        getattr(proto, name).extend(draw(st.lists(fields[name], max_size=4)))
    return proto


@st.composite
def predict_requests(draw: st.DrawFn) -> predict_pb2.PredictRequest:
    """A request for one of the models, more or less."""
    request = predict_pb2.PredictRequest(output_filter=draw(st.lists(st.sampled_from(["y", "z", "c"]), max_size=2)))
    if draw(st.integers(0, 9)):
        request.model_spec.name = draw(st.sampled_from(["zoo", "zoo", *MODELS]))
        request.model_spec.signature_name = draw(st.sampled_from(SIGNATURES))
    if not draw(st.integers(0, 9)):
        request.model_spec.version.value = draw(st.sampled_from([1, 123, -1, 2**63 - 1]))
    if not draw(st.integers(0, 9)):
        request.model_spec.version_label = draw(st.text(max_size=5))
    for name in draw(st.lists(st.sampled_from(INPUTS), max_size=2)):
        request.inputs[name].CopyFrom(draw(tensors()))
    return request


class Raw:
    """Ways to the zoo for bytes that no client would send."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._connection = http.client.HTTPConnection("127.0.0.1", client.app.rest_port, timeout=CALL_S)

    def close(self) -> None:
        self._connection.close()

    def rest(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        try:
            self._connection.request(method, target, body)
            response = self._connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException:
            self._connection.close()
            raise

    def predict(self, message: bytes) -> tuple[str, str]:
        try:
            self.client.channel.unary_unary(PREDICT)(message, timeout=CALL_S)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", ""


@pytest.fixture(scope="module")
def raw(model_dir: Path) -> Iterator[Raw]:
    with served(model_dir / "zoo", "zoo") as client:
        client.wait_until_available()
        made = Raw(client)
        yield made
        made.close()
        assert client.run("scalar", x=tf.constant(1.0))["y"] == 2


def few_and_many(check: Callable[..., None], **strategies: Any) -> tuple[Callable[..., None], Callable[..., None]]:
    """Makes two tests of a check: a quick one, and one for the soak."""
    few = FEW(given(**strategies)(check))
    many = pytest.mark.soak(MANY(given(**strategies)(check)))
    return few, many


def check_rest(raw: Raw, target: str, body: bytes) -> None:
    target = target.encode("ascii", "ignore").decode()
    status, answer = raw.rest("POST", target, body)
    assert status in ALLOWED_STATUSES, (status, answer)
    document = json.loads(answer.decode("utf-8", "replace"))
    if status == 200:
        assert set(document) in ({"predictions"}, {"outputs"})
    else:
        assert set(document) == {"error"}
        assert "Traceback" not in document["error"]


def check_get(raw: Raw, target: str) -> None:
    status, answer = raw.rest("GET", target.encode("ascii", "ignore").decode(), b"")
    assert status in {200, 400, 404}, (status, answer)
    assert b"Traceback" not in answer


def check_predict(raw: Raw, request: predict_pb2.PredictRequest) -> None:
    code, text = raw.predict(request.SerializeToString())
    assert code in ALLOWED_CODES, (code, text)
    assert "Traceback" not in text


def check_bytes(raw: Raw, request: predict_pb2.PredictRequest, damage: Any) -> None:
    message = damaged(request.SerializeToString(), damage)
    code, text = raw.predict(message)
    try:
        predict_pb2.PredictRequest.FromString(message)
    except Exception:  # noqa: BLE001  # whatever protobuf says of bytes that are no message
        assert (code, text) == ("INTERNAL", "Exception deserializing request!")  # gRPC's own answer
    else:
        assert code in ALLOWED_CODES, (code, text)


def check_settings(served: Served, settings: bytes) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL_NAME, "describe"
    request.inputs["settings"].CopyFrom(tf.make_tensor_proto([settings], tf.string))
    with grpc.insecure_channel(served.grpc.removeprefix("grpc://")) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            (description,) = stub.Predict(request, timeout=CALL_S).outputs["description"].string_val
        except grpc.RpcError as error:
            code, text = error.code().name, error.details()
        else:
            code, text = "OK", description.decode()
            assert "settings" in json.loads(text)
    assert code in {"OK", "INVALID_ARGUMENT"}, text
    assert "Traceback" not in text


setting = st.builds(
    "{}{}{}".format,
    st.sampled_from(["size", "steps", "preset", "style_layers", "seed", "start", "style_weight", "averaging", "x", ""]),
    st.sampled_from(["=", "=", "=", "==", " = ", ":", ""]),
    st.one_of(
        st.builds(str, numbers),
        st.sampled_from(
            ["fine", "noise", "block1_conv1:1/block2_conv1", "block9:1", "/", "nan", "inf", "1e400", "0x1"]
        ),
        st.text(max_size=6),
    ),
)
recipes = st.builds(
    damaged,
    st.builds(lambda pairs: ",".join(pairs).encode("utf-8", "replace"), st.lists(setting, max_size=4)),
    st.one_of(st.just([]), damages),
)

test_rest_bodies, test_rest_bodies_at_length = few_and_many(check_rest, target=targets, body=bodies)
test_rest_gets, test_rest_gets_at_length = few_and_many(check_get, target=targets)
test_predict_requests, test_predict_requests_at_length = few_and_many(check_predict, request=predict_requests())
test_damaged_messages, test_damaged_messages_at_length = few_and_many(
    check_bytes, request=predict_requests(), damage=damages
)
test_settings, test_settings_at_length = few_and_many(check_settings, settings=recipes)
