"""Gzip, length limit, and what flags switch on: CORS, metrics, tensor content, the check of method names."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.server import http_body
from serving.server.metrics import BUCKETS_US, Metrics
from tests.serving.server.conftest import CALL_S, Client, failure, served, wait_until

BODY = {"signature_name": "scalar", "inputs": 1}
METRICS = "/monitoring/prometheus/metrics"


@pytest.fixture(scope="module")
def switched(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The zoo with everything on."""
    monitoring = tmp_path_factory.mktemp("config") / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with served(
        model_dir / "zoo",
        "zoo",
        rest_api_enable_cors_support=True,
        monitoring_config_file=str(monitoring),
        enable_serialization_as_tensor_content=True,
        enable_signature_method_name_check=True,
        max_request_bytes=100_000,
    ) as client:
        wait_until(lambda: client.app.ready)
        yield client


def zipped(client: Client, data: bytes, encoding: str = "gzip") -> requests.Response:
    return requests.post(f"{client.url}:predict", data=data, headers={"Content-Encoding": encoding}, timeout=CALL_S)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_gzip_request(zoo: Client, encoding: str) -> None:
    response = zipped(zoo, gzip.compress(json.dumps(BODY).encode()), encoding)
    assert (response.status_code, response.json()) == (200, {"outputs": 2.0})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not gzip at all",
        gzip.compress(json.dumps(BODY).encode(), mtime=0)[:-9],  # a name that both test processes give it
        zlib.compress(json.dumps(BODY).encode()),
    ],
)
def test_damaged_gzip_counts_as_an_empty_body(zoo: Client, data: bytes) -> None:
    response = zipped(zoo, data)
    assert (response.status_code, response.json()) == (400, {"error": "JSON Parse error: The document is empty"})


def test_gzip_is_inflated_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert http_body.MAX_INFLATED_BYTES == 100_000_000
    monkeypatch.setattr(http_body, "MAX_INFLATED_BYTES", 1000)
    assert len(http_body.inflate(gzip.compress(b"\0" * 1000))) == 1000
    assert http_body.inflate(gzip.compress(b"\0" * 1001)) == b""


def test_request_that_is_too_long_is_refused_unread(switched: Client) -> None:
    body = json.dumps({"signature_name": "identity_string", "inputs": "x" * 200_000}).encode()
    declared = requests.post(f"{switched.url}:predict", data=body, timeout=CALL_S)
    chunked = requests.post(f"{switched.url}:predict", data=iter([body[:90_000], body[90_000:]]), timeout=CALL_S)
    for response in (declared, chunked):
        assert response.status_code == 413
        assert response.json() == {"error": "The request must be at most 100000 bytes long. Received: more."}
    code, text = failure(lambda: switched.run("identity_string", x=np.array(["x" * 200_000], object)))
    assert code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in text
    assert switched.post(BODY).status_code == 200


def test_pages_of_other_origins_are_let_in_only_by_the_flag(zoo: Client, switched: Client) -> None:
    assert not [name for name in zoo.post(BODY).headers if name.startswith("Access-Control")]
    for response in (switched.post(BODY), switched.post("{"), switched.get(), switched.get("/nothing")):
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Access-Control-Allow-Methods"] == "POST, GET"
        assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://example.com", 200), ("http://localhost:3000", 200), ("null", 400), (None, 400)],
)
def test_question_of_a_browser(switched: Client, origin: str | None, status: int) -> None:
    headers = {} if origin is None else {"Origin": origin}
    response = requests.options(f"{switched.url}:predict", headers=headers, timeout=CALL_S)
    assert (response.status_code, response.content) == (status, b"")
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def metrics(client: Client) -> dict[str, float]:
    response = requests.get(f"http://127.0.0.1:{client.app.rest_port}{METRICS}", timeout=CALL_S)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_are_off_without_their_file(zoo: Client) -> None:
    assert requests.get(f"http://127.0.0.1:{zoo.app.rest_port}{METRICS}", timeout=CALL_S).status_code == 404


def test_metrics_count_under_the_names_of_tensorflow_serving(switched: Client) -> None:
    before = metrics(switched)
    for _ in range(3):
        switched.post(BODY)
    switched.post("{")
    switched.run("scalar", x=np.float32(1))
    after = metrics(switched)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown(':tensorflow:serving:request_count{model_name="zoo",status="OK"}') == 4
    assert grown(':tensorflow:serving:request_count{model_name="zoo",status="INVALID_ARGUMENT"}') == 1
    rest = 'model_name="zoo",API="predict",entrypoint="REST"'
    assert grown(f":tensorflow:serving:request_latency_count{{{rest}}}") == 3
    assert grown(f':tensorflow:serving:request_latency_bucket{{{rest},le="+Inf"}}') == 3
    assert grown(f":tensorflow:serving:request_latency_sum{{{rest}}}") > 0
    grpc_calls = 'model_name="zoo",API="Predict",entrypoint="GRPC"'
    assert grown(f":tensorflow:serving:request_latency_count{{{grpc_calls}}}") == 1
    run = 'model_name="zoo",API="Predict",runtime="TF1"'
    assert grown(f":tensorflow:serving:runtime_latency_count{{{run}}}") == 4


def test_metrics_show_what_runs_and_waits(switched: Client) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(switched.channel)
    asked = [switched.request("slow", seconds=np.float32(seconds)) for seconds in (1.0, 0.0, 0.0)]
    calls = [stub.Predict.future(request, timeout=CALL_S) for request in asked]
    wait_until(lambda: switched.app.queue.counts == (1, 2))
    page = metrics(switched)
    assert page[":style_transfer:serving:runs_running{}"] == 1
    assert page[":style_transfer:serving:runs_waiting{}"] == 2
    for call in calls:
        call.result()
    assert metrics(switched)[":style_transfer:serving:runs_waiting{}"] == 0


def test_metrics_do_not_grow_with_names_that_callers_make_up(switched: Client) -> None:
    url = switched.url.replace("zoo", 'made"up')
    assert requests.post(f"{url}:predict", data="{}", timeout=CALL_S).status_code == 404
    assert not [name for name in metrics(switched) if "made" in name]


def test_metrics_page() -> None:
    counted = Metrics()
    counted.record_request('a"b\\', "Predict", "GRPC", "NOT_FOUND", 1.0)
    counted.record_run("m", "Classify", 20e-6)
    page = counted.page({"runs": 2})
    assert "# TYPE :tensorflow:serving:request_count counter\n" in page
    assert ':tensorflow:serving:request_count{model_name="a\\"b\\\\",status="NOT_FOUND"} 1\n' in page
    assert "request_latency_count" not in page  # only of calls that went well
    assert "# TYPE :style_transfer:serving:runs gauge\n:style_transfer:serving:runs{} 2\n" in page
    buckets = re.findall(
        r'runtime_latency_bucket{model_name="m",API="Classify",runtime="TF1",le="([^"]+)"} (\d+)', page
    )
    assert [count for _, count in buckets] == ["0"] * 2 + ["1"] * (len(BUCKETS_US) - 1)
    assert [limit for limit, _ in buckets][:4] == ["10", "18", "32.4", "58.32"]
    assert page.endswith("\n")


def test_numbers_may_travel_as_tensor_content(switched: Client) -> None:
    response = switched.predict(switched.request("two", a=np.float32([1, 2]), b=np.array([b"x", b"y"], object)))
    assert response.outputs["c"].tensor_content == np.float32([2, 4]).tobytes()
    assert list(response.outputs["d_bytes"].string_val) == [b"x", b"y"]
    assert switched.run("two", a=np.float32([1]), b=np.array([b""], object))["c"].tolist() == [2]


def test_method_names_are_checked_by_the_flag(switched: Client) -> None:
    assert failure(lambda: switched.run("__saved_model_init_op")) == (
        "INTERNAL",
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
        "tensorflow/serving/classify, tensorflow/serving/regress}. Was: ",
    )
    response = switched.post({"signature_name": "scalar", "examples": [{}]}, ":classify")
    assert response.json()["error"] == (
        "Expected classification signature method_name to be tensorflow/serving/classify. "
        "Was: tensorflow/serving/predict"
    )
