"""Requests that no person would write: no crash, no hang, no traceback, and no 5xx for a client's mistake.

Some hundreds in `make test`, always the same; tens of thousands, ever new, in `make soak`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from serving.wire import PREDICT
from tests.serving.server.conftest import CALL_S, Client

# A busy machine is no failure.
CHECKS = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
FEW = settings(max_examples=120, derandomize=True, **CHECKS)
MANY = settings(max_examples=6000, **CHECKS)

# A client's mistakes, and what the server may honestly not do. Never: UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS.
CODES = {
    *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE"),
    *("UNIMPLEMENTED", "RESOURCE_EXHAUSTED"),
}
STATUSES = {"GET": {200, 400, 404}, "POST": {200, 400, 404, 501}}
SIGNATURES = (
    *("identity_float32", "identity_float16", "identity_int32", "identity_string", "identity_bytes", "two", "ragged"),
    *("scalar", "careful", "__saved_model_init_op", "nothing", ""),
)

signatures = st.sampled_from(SIGNATURES)
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
deep = st.builds(
    lambda name, depth, ends: f'{{"signature_name": "{name}", "inputs": {"[" * depth}{"]" * ends}}}'.encode(),
    *(signatures, st.integers(1, 5000), st.integers(0, 5000)),
)


def damaged(data: bytes, damage: list[tuple[int, bytes]]) -> bytes:
    """Returns the data with bytes put in, over others, at some places."""
    for place, piece in damage:
        place %= len(data) + 1
        data = data[:place] + piece + data[place + len(piece) :]
    return data


damages = st.just([]) | st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), max_size=3)
texts = st.builds(
    lambda value, escape: json.dumps(value, ensure_ascii=escape).encode("utf-8", "surrogatepass"),
    *(documents, st.booleans()),
)
bodies = st.builds(damaged, texts, damages) | deep | st.binary(max_size=40)
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
def predict_requests(draw: st.DrawFn) -> bytes:
    """A request for one of the models, more or less."""
    request = predict_pb2.PredictRequest(output_filter=draw(st.lists(st.sampled_from(["y", "z", "c"]), max_size=2)))
    if draw(st.integers(0, 9)):
        request.model_spec.name, request.model_spec.signature_name = draw(models), draw(signatures)
    if not draw(st.integers(0, 9)):
        request.model_spec.version.value = draw(st.sampled_from([1, 123, -1, 2**63 - 1]))
    for name in draw(st.lists(inputs, max_size=2)):
        request.inputs[name].CopyFrom(draw(protos()))
    return damaged(request.SerializeToString(), draw(damages))


def check_rest(zoo: Client, method: str, target: str, body: bytes) -> None:
    with contextlib.closing(http.client.HTTPConnection(urlsplit(zoo.url).netloc, timeout=CALL_S)) as connection:
        connection.request(method, f"/v1/models/{target}", body)
        response = connection.getresponse()
        document = json.loads(response.read())
    assert response.status in STATUSES[method], document
    assert response.status == 200 or list(document) == ["error"]
    assert "Traceback" not in str(document)


def check_grpc(zoo: Client, message: bytes) -> None:
    code, text = "OK", ""
    try:
        zoo.channel.unary_unary(PREDICT)(message, timeout=CALL_S)
    except grpc.RpcError as error:
        code, text = error.code().name, error.details()
    assert "Traceback" not in text
    try:
        predict_pb2.PredictRequest.FromString(message)
    except DecodeError:
        assert (code, text) == ("INTERNAL", "Exception deserializing request!")  # gRPC's own answer
    else:
        assert code in CODES, (code, text)


def few_and_many(check: Callable[..., None], **strategies: Any) -> tuple[Callable[..., None], Callable[..., None]]:
    """Makes two tests of a check: a quick one, and one for the soak."""
    return FEW(given(**strategies)(check)), pytest.mark.soak(MANY(given(**strategies)(check)))


test_rest, test_rest_at_length = few_and_many(
    check_rest, method=st.sampled_from(["POST", "POST", "POST", "GET"]), target=targets, body=bodies
)
test_grpc, test_grpc_at_length = few_and_many(check_grpc, message=predict_requests())
