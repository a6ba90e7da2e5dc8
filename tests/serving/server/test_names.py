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
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2, prediction_log_pb2
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from model import warmup
from model.contract import SIGNATURES
from serving.contract import GRPC_OPTIONS, MODEL_NAME
from tests.conftest import encode, smooth_picture
from tests.served import ROOT, Served
from tests.serving.server.conftest import CALL_S, failure
from tests.watching import Witness, witness


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Witness]:
    """A picture that the model would take, if it got at it."""
    (tmp_path / "canary").mkdir()
    file = tmp_path / "canary" / "1.png"
    file.write_bytes(encode(smooth_picture(32, 32)))
    with witness(file) as watching:
        yield watching


def names_of(canary: Witness, served: Served) -> list[str]:
    """The canary by all its names, as a program in the server's place would understand them."""
    relative = [os.path.relpath(canary.file, start) for start in (ROOT, served.address("path"))]
    return [str(canary.file), canary.file.as_uri(), *relative, f"{relative[0]}\0.png", canary.url]


def requests_with(name: str) -> Iterator[tuple[str, predict_pb2.PredictRequest]]:
    """Requests that are right but for one input, which is the name; and which input that is."""
    for signature in warmup.WARMED:
        log = prediction_log_pb2.PredictionLog.FromString(warmup.request_of(SIGNATURES[signature]))
        for tensor in SIGNATURES[signature].inputs:
            if tensor.dtype == "string":
                request = predict_pb2.PredictRequest.FromString(log.predict_log.request.SerializeToString())
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


def test_names_in_messages_are_never_followed(served: Served, canary: Witness) -> None:
    def refused(call: Callable[..., Any], request: Any, words: str = "") -> None:
        code, text = failure(lambda: call(request, timeout=CALL_S))
        assert code in {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}, (code, text)
        assert words in text

    with grpc.insecure_channel(served.grpc.removeprefix("grpc://"), options=GRPC_OPTIONS) as channel:
        prediction, models = PredictionServiceStub(channel), ModelServiceStub(channel)
        for name in names_of(canary, served):
            for alias, request in requests_with(name):
                refused(prediction.Predict, request, f"`{alias}")
            request.inputs["settings"].string_val[:] = [b""]
            for field in ("name", "version_label", "signature_name"):
                changed = predict_pb2.PredictRequest.FromString(request.SerializeToString())
                setattr(changed.model_spec, field, name)
                refused(prediction.Predict, changed)
            request.output_filter.append(name)
            refused(prediction.Predict, request)
            metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[name])
            metadata.model_spec.name = MODEL_NAME
            refused(prediction.GetModelMetadata, metadata)
            status = get_model_status_pb2.GetModelStatusRequest()
            status.model_spec.name = name
            refused(models.GetModelStatus, status)
    assert canary.saw() == set()


def test_names_in_bodies_and_routes_are_never_followed(served: Served, canary: Witness) -> None:
    # It sends a path as it is.
    with contextlib.closing(http.client.HTTPConnection(urlsplit(served.http).netloc, timeout=CALL_S)) as connection:

        def refused(method: str, path: str, body: bytes = b"") -> None:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status in {400, 404}, (path, answer.status, text)

        for name in names_of(canary, served):
            for _, request in requests_with(name):
                refused("POST", f"/v1/models/{MODEL_NAME}:predict", as_json(request))
            for part in (quote(name), quote(name, safe=""), quote(name, safe="").replace(".", "%2e")):
                for tail in (f"/{part}", f"/versions/{part}", f"/labels/{part}"):
                    refused("GET", f"/v1/models/{MODEL_NAME}{tail}/metadata")
                    refused("POST", f"/v1/models/{MODEL_NAME}{tail}:predict", as_json(request))
                for start in ("/v1/models/", "/v1/", "/", "//", "/monitoring/prometheus/metrics/"):
                    refused("GET", f"{start}{part}")
    assert canary.saw() == set()


def test_exported_graph_has_no_operation_that_reads_files_or_calls_out(served: Served) -> None:
    (path,) = Path(served.address("path")).glob("*/saved_model.pb")
    graph = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    reaching_out = ("File", "Reader", "Record", "Dataset", "PyFunc", "Rpc", "Remote", "Send", "Recv")
    own = {"MergeV2Checkpoints", "ShardedFilename"}  # the loader's, which no signature reaches
    assert {node.op for node in nodes if any(word in node.op for word in reaching_out)} <= own
