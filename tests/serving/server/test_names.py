"""Whatever a request names, the server opens no file and calls nobody: bytes come in requests, or not at all."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import grpc
import pytest
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from model import warmup
from model.contract import SIGNATURES
from serving.contract import GRPC_OPTIONS, MODEL_NAME
from tests.conftest import encode, smooth_picture
from tests.served import ROOT, Served
from tests.serving.server.conftest import CALL_S, failure
from tests.watching import Witness, witness

# A picture that the model would take, if it got at it.
PICTURE = encode(smooth_picture(32, 32))


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Witness]:
    (tmp_path / "canary").mkdir()
    file = tmp_path / "canary" / "1.png"
    file.write_bytes(PICTURE)
    with witness(file) as watching:
        yield watching


def names_of(canary: Witness, served: Served) -> list[str]:
    """The canary by all its names, as a program in the server's place would understand them."""
    relative = [os.path.relpath(canary.file, start) for start in (ROOT, served.address("path"))]
    return [str(canary.file), canary.file.as_uri(), *relative, f"{relative[0]}\0.png", canary.url]


@pytest.fixture
def channel(served: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.grpc.removeprefix("grpc://"), options=GRPC_OPTIONS) as opened:
        yield opened


def refused(call: Callable[[], Any], words: str = "") -> None:
    code, text = failure(call)
    assert code in {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}, (code, text)
    assert words in text


def requests_with(name: str) -> Iterator[tuple[str, predict_pb2.PredictRequest]]:
    """Requests that are right but for one input, which is the name; and which input that is."""
    for signature in warmup.WARMED:
        right = prediction_log_pb2.PredictionLog.FromString(
            warmup.request_of(SIGNATURES[signature])
        ).predict_log.request
        for tensor in SIGNATURES[signature].inputs:
            if tensor.dtype == "string":
                request = predict_pb2.PredictRequest()
                request.CopyFrom(right)
                request.model_spec.name = MODEL_NAME
                request.inputs[tensor.name].string_val[:] = [name.encode()]
                yield tensor.name, request


def as_json(request: predict_pb2.PredictRequest) -> bytes:
    def value(proto: Any) -> Any:
        (found,) = proto.int_val or [{"b64": base64.b64encode(text).decode()} for text in proto.string_val]
        for _ in proto.tensor_shape.dim:
            found = [found]
        return found

    inputs = {alias: value(proto) for alias, proto in request.inputs.items()}
    return json.dumps({"signature_name": request.model_spec.signature_name, "inputs": inputs}).encode()


def test_names_in_messages_are_never_followed(served: Served, channel: grpc.Channel, canary: Witness) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    for name in names_of(canary, served):
        for alias, request in requests_with(name):
            refused(lambda request=request: stub.Predict(request, timeout=CALL_S), f"`{alias}")
        right = request
        right.inputs["settings"].string_val[:] = [b""]
        for field in ("name", "version_label", "signature_name"):
            request = predict_pb2.PredictRequest.FromString(right.SerializeToString())
            setattr(request.model_spec, field, name)
            refused(lambda request=request: stub.Predict(request, timeout=CALL_S))
        right.output_filter.append(name)
        refused(lambda request=right: stub.Predict(request, timeout=CALL_S))
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[name])
        metadata.model_spec.name = MODEL_NAME
        refused(lambda request=metadata: stub.GetModelMetadata(request, timeout=CALL_S))
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = name
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        refused(lambda models=models, request=status: models.GetModelStatus(request, timeout=CALL_S))
    assert canary.saw() == set()


def test_names_in_bodies_and_routes_are_never_followed(served: Served, canary: Witness) -> None:
    # It sends a path as it is.
    with contextlib.closing(http.client.HTTPConnection(urlsplit(served.http).netloc, timeout=CALL_S)) as connection:

        def ask(method: str, path: str, body: bytes = b"") -> None:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status in {400, 404}, (path, answer.status, text)

        for name in names_of(canary, served):
            for _, request in requests_with(name):
                ask("POST", f"/v1/models/{MODEL_NAME}:predict", as_json(request))
            for part in (quote(name), quote(name, safe=""), quote(name, safe="").replace(".", "%2e")):
                for tail in (f"/{part}", f"/versions/{part}", f"/labels/{part}"):
                    ask("GET", f"/v1/models/{MODEL_NAME}{tail}/metadata")
                    ask("POST", f"/v1/models/{MODEL_NAME}{tail}:predict", as_json(request))
                for start in ("/v1/models/", "/v1/", "/", "//", "/monitoring/prometheus/metrics/"):
                    ask("GET", f"{start}{part}")
    assert canary.saw() == set()


def test_exported_graph_has_no_operation_that_reads_files_or_calls_out(served: Served) -> None:
    (path,) = Path(served.address("path")).glob("*/saved_model.pb")
    graph = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    reaching_out = ("File", "Reader", "Record", "Dataset", "PyFunc", "Rpc", "Remote", "Send", "Recv")
    assert {node.op for node in nodes if any(word in node.op for word in reaching_out)} <= {
        "MergeV2Checkpoints",
        "ShardedFilename",  # the loader's own, which no signature reaches
    }
