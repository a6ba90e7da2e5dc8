"""What TensorFlow Serving has and this server has not: every way to it ends in a sentence that says who has it."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import requests

from tests.serving.server.conftest import CALL_S, Client, failure

SENTENCE = (
    " is not part of this server, which has Predict, metadata and status of one model. "
    "tensorflow_model_server, which serves the same SavedModel, has the rest of TensorFlow Serving."
)


@pytest.mark.parametrize(
    "method",
    [
        "tensorflow.serving.PredictionService/Classify",
        "tensorflow.serving.PredictionService/Regress",
        "tensorflow.serving.PredictionService/MultiInference",
        "tensorflow.serving.ModelService/HandleReloadConfigRequest",
        "grpc.health.v1.Health/Watch",
    ],
)
def test_grpc_method_is_unimplemented(method: str, zoo: Client) -> None:
    call = zoo.channel.unary_stream(f"/{method}")
    assert failure(lambda: list(call(b"", timeout=CALL_S))) == ("UNIMPLEMENTED", f"{method}{SENTENCE}")


def test_label_is_unimplemented(zoo: Client) -> None:
    request = zoo.request("scalar", x=np.float32(1))
    request.model_spec.version_label = "stable"
    assert failure(lambda: zoo.predict(request)) == ("UNIMPLEMENTED", f"A version label{SENTENCE}")


@pytest.mark.parametrize(
    "request_",
    [
        "POST /v1/models/zoo:classify",
        "POST /v1/models/zoo/versions/1:regress",
        "POST /v1/models/zoo/labels/stable:predict",
        "GET /v1/models/zoo/labels/stable/metadata",
        "GET /monitoring/prometheus/metrics",
        "GET /healthz",
    ],
)
def test_rest_route_is_not_found(request_: str, zoo: Client) -> None:
    method, _, path = request_.partition(" ")
    response = requests.request(method, f"http://127.0.0.1:{zoo.app.rest_port}{path}", json={}, timeout=CALL_S)
    assert (response.status_code, response.json()) == (404, {"error": f"{request_}{SENTENCE}"})


def test_gzip_is_unimplemented(zoo: Client) -> None:
    body, headers = gzip.compress(b'{"signature_name": "scalar", "inputs": 1}'), {"Content-Encoding": "gzip"}
    response = requests.post(f"{zoo.url}:predict", data=body, headers=headers, timeout=CALL_S)
    assert (response.status_code, response.json()) == (501, {"error": f"A compressed body{SENTENCE}"})


def test_no_page_of_another_origin_is_let_in(zoo: Client) -> None:
    answer = requests.get(zoo.url, headers={"Origin": "https://example.com"}, timeout=CALL_S)
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
