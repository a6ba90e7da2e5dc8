"""Requests that no person would write: no crash, no hang, no traceback, no 5xx for a client's mistake.

Some hundreds in `make test`, always the same; tens of thousands, ever new, in `make soak`. And whatever a request
names, the server opens no file and calls nobody: bytes come in requests, or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import string
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

from tests.served import ROOT
from tests.serving.server.conftest import Client, rest
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
