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
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

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

# A client's mistakes, and what the server may honestly not do. Never: UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS.
CODES = {
    *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE"),
    *("UNIMPLEMENTED", "RESOURCE_EXHAUSTED"),
}
STATUSES = {"GET": {200, 400, 404}, "POST": {200, 400, 404, 501}}

signatures = st.sampled_from(
    [
        *(f"identity_{dtype.name}" for dtype in IDENTITY_DTYPES),
        *("identity_bytes", "two", "ragged", "scalar", "careful", "default", "__saved_model_init_op", "nothing", ""),
    ]
)
models = st.sampled_from(["zoo", "zoo", "zoo", "nothing", ""])
inputs = st.sampled_from(["x", "a", "b", "n", "b64", "nothing"])

numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([2**24, 2**31, 2**53, 2**63, 2**64 - 1, 2**64, 10**400, -(2**63) - 1, 1e39, -0.0]),
)
leaves = st.one_of(
    *(st.none(), st.booleans(), numbers, st.text(max_size=20)),
    st.builds(lambda text: {"b64": text}, st.one_of(st.text(max_size=8), st.sampled_from(["AAE=", "AA", "?"]))),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(inputs, st.text(max_size=5)), inner, max_size=4)
    ),
    max_leaves=12,
)
names = {"signature_name": st.one_of(signatures, leaves)}
documents = st.one_of(
    values,
    st.fixed_dictionaries({}, optional={**names, "instances": values, "inputs": values}),
    st.fixed_dictionaries({"signature_name": signatures, "instances": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"signature_name": signatures, "inputs": values}),
)
damages = st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), max_size=3)


def damaged(data: bytes, damage: list[tuple[int, bytes]]) -> bytes:
    """Returns the data with bytes put in, over others, at some places."""
    for place, piece in damage:
        place %= len(data) + 1
        data = data[:place] + piece + data[place + len(piece) :]
    return data


bodies = st.one_of(
    st.builds(damaged, st.builds(lambda value: json.dumps(value).encode(), documents), damages),
    st.builds(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"), documents),
    st.builds(
        lambda depth, ends: b'{"inputs": ' + b"[" * depth + b"]" * ends, st.integers(1, 5000), st.integers(0, 5000)
    ),
    st.binary(max_size=40),
)
tails = st.sampled_from(["", "", "", "/versions/1", "/labels/stable", "/versions/9223372036854775808"])
routes = st.builds("{}{}:{}".format, models, tails, st.sampled_from(["predict", "predict", "classify", "explode"]))
targets = st.one_of(routes, st.text(string.ascii_letters + "%/:?#&=.0129", max_size=20))


@st.composite
def tensors(draw: st.DrawFn) -> tensor_pb2.TensorProto:
    """A tensor that may be right, or contradict itself."""
    proto = tensor_pb2.TensorProto()
    sizes = st.one_of(st.integers(0, 3), st.sampled_from([-1, 2**31, 2**62]))
    deep = st.builds(lambda rank, last: [1] * rank + [last], st.integers(20, 80), sizes)
    for size in draw(st.one_of(st.lists(sizes, max_size=3), deep)):
        proto.tensor_shape.dim.add(size=size)
    proto.dtype = draw(st.one_of(st.integers(0, 30), st.just(101)))  # every one there is, and a reference to floats
    if draw(st.booleans()):
        proto.tensor_content = draw(st.binary(max_size=24))
    fields = {
        **{f"{name}_val": st.floats(width=32) for name in ("float", "double", "scomplex")},
        **{f"{name}_val": st.integers(-(2**31), 2**31 - 1) for name in ("int", "int64", "half")},
        **{f"{name}_val": st.integers(0, 2**32 - 1) for name in ("uint32", "uint64")},
        **{"bool_val": st.booleans(), "string_val": st.binary(max_size=8)},
    }
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=2)):
        getattr(proto, name).extend(draw(st.lists(fields[name], max_size=4)))
    return proto


@st.composite
def predict_requests(draw: st.DrawFn) -> predict_pb2.PredictRequest:
    """A request for one of the models, more or less."""
    request = predict_pb2.PredictRequest(output_filter=draw(st.lists(st.sampled_from(["y", "z", "c"]), max_size=2)))
    if draw(st.integers(0, 9)):
        request.model_spec.name, request.model_spec.signature_name = draw(models), draw(signatures)
    if not draw(st.integers(0, 9)):
        request.model_spec.version.value = draw(st.sampled_from([1, 123, -1, 2**63 - 1]))
    for name in draw(st.lists(inputs, max_size=2)):
        request.inputs[name].CopyFrom(draw(tensors()))
    return request


def predict(channel: grpc.Channel, message: bytes) -> tuple[str, str]:
    """Returns the code, and the text of an error."""
    try:
        channel.unary_unary(PREDICT)(message, timeout=CALL_S)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


@pytest.fixture(scope="module")
def raw(model_dir: Path) -> Iterator[Client]:
    """A server that is still in its senses after all of it."""
    with served(model_dir / "zoo", "zoo") as client:
        client.wait_until_available()
        yield client
        assert client.run("scalar", x=tf.constant(1.0))["y"] == 2


def few_and_many(check: Callable[..., None], **strategies: Any) -> tuple[Callable[..., None], Callable[..., None]]:
    """Makes two tests of a check: a quick one, and one for the soak."""
    return FEW(given(**strategies)(check)), pytest.mark.soak(MANY(given(**strategies)(check)))


def check_rest(raw: Client, method: str, target: str, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", raw.app.rest_port, timeout=CALL_S)
    connection.request(method, f"/v1/models/{target}", body)
    response = connection.getresponse()
    document = json.loads(response.read().decode("utf-8", "replace"))
    connection.close()
    assert response.status in STATUSES[method], document
    assert response.status == 200 or list(document) == ["error"]
    assert "Traceback" not in str(document)


def check_grpc(raw: Client, request: predict_pb2.PredictRequest, damage: Any) -> None:
    message = damaged(request.SerializeToString(), damage)
    code, text = predict(raw.channel, message)
    assert "Traceback" not in text
    try:
        predict_pb2.PredictRequest.FromString(message)
    except DecodeError:
        assert (code, text) == ("INTERNAL", "Exception deserializing request!")  # gRPC's own answer
    else:
        assert code in CODES, (code, text)


def check_settings(served: Served, settings: bytes) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL_NAME, "describe"
    request.inputs["settings"].CopyFrom(tf.make_tensor_proto([settings], tf.string))
    with grpc.insecure_channel(served.grpc.removeprefix("grpc://")) as channel:
        code, text = predict(channel, request.SerializeToString())
    assert code in {"OK", "INVALID_ARGUMENT"}, text
    assert "Traceback" not in text


words = ["fine", "noise", "block1_conv1:1/block2_conv1", "block9:1", "/", "nan", "inf", "1e400", "0x1"]
setting = st.builds(
    "{}{}{}".format,
    st.sampled_from(["size", "steps", "preset", "style_layers", "seed", "start", "style_weight", "averaging", "x", ""]),
    st.sampled_from(["=", "=", "=", "==", " = ", ":", ""]),
    st.one_of(st.builds(str, numbers), st.sampled_from(words), st.text(max_size=6)),
)
texts = st.builds(lambda pairs: ",".join(pairs).encode("utf-8", "replace"), st.lists(setting, max_size=4))
recipes = st.builds(damaged, texts, st.one_of(st.just([]), damages))

test_rest, test_rest_at_length = few_and_many(
    check_rest, method=st.sampled_from(["POST", "POST", "POST", "GET"]), target=targets, body=bodies
)
test_grpc, test_grpc_at_length = few_and_many(
    check_grpc, request=predict_requests(), damage=st.one_of(st.just([]), damages)
)
test_settings, test_settings_at_length = few_and_many(check_settings, settings=recipes)
