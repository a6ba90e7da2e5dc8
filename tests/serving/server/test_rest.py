"""REST over real HTTP: routes, codes and sentences. What bodies may hold is in test_json_tensor."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import pytest

from serving.server.messages import left_out
from serving.server.servable import Servable
from tests.serving.server.conftest import CALL_S, Client


@pytest.mark.parametrize("route", [":predict", "/versions/123:predict", "/versions/00123:PREDICT"])
def test_predict(half_plus_two: Client, route: str) -> None:
    for name in ({}, {"signature_name": ""}, {"signature_name": "serving_default"}):
        response = half_plus_two.post({"instances": [[1.0], [5]], **name}, route)
        assert (response.status_code, response.json()) == (200, {"predictions": [[2.5], [4.5]]})
        assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({"instances": [{"a": 1.5, "b": "é"}]}, {"predictions": [{"c": 3.0, "d_bytes": {"b64": "w6k="}}]}),
        ({"inputs": {"a": [1], "b": ["x"]}}, {"outputs": {"c": [2.0], "d_bytes": [{"b64": "eA=="}]}}),
    ],
)
def test_answer_has_the_format_of_the_request(sent: dict[str, Any], answered: dict[str, Any], zoo: Client) -> None:
    assert zoo.post({"signature_name": "two", **sent}).json() == answered


MALFORMED, LEFT_OUT = "Malformed request: {}", left_out("{}")


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        ("POST /v1/models/a%20%C3%A9:predict", 404, "Servable not found for request: Latest(a é)"),
        ("POST /v1/models/zoo/versions/99:predict", 404, "Servable not found for request: Specific(zoo, 99)"),
        ("GET /v1/models/zoo?a=b", 404, "Could not find any versions of model zoo?a=b"),  # the query is of the path
        ("GET /v1/models/zoo/versions/99", 404, "Could not find version 99 of model zoo"),
        ("POST /v1/models/zoo:predict?x=1", 400, MALFORMED),
        ("POST /v1/models/zoo/versions/x:predict", 400, MALFORMED),
        (f"POST /v1/models/zoo/versions/{'9' * 5000}:predict", 400, MALFORMED),
        ("GET /v1/models/zoo:predict", 400, MALFORMED),
        ("PUT /v1/models/zoo", 400, MALFORMED),
        ("POST /v1/models/zoo:classify", 404, LEFT_OUT),
        ("POST /v1/models/zoo/labels/stable:predict", 404, LEFT_OUT),
        ("GET /v1/models/zoo/labels/stable/metadata", 404, LEFT_OUT),
        ("GET /monitoring/prometheus/metrics", 404, LEFT_OUT),
    ],
    ids=lambda value: str(value)[:60],
)
def test_route_that_leads_nowhere(zoo: Client, request_: str, status: int, error: str) -> None:
    response = zoo.rest(*request_.split(), data=b"not even JSON")
    assert (response.status_code, response.json()) == (status, {"error": error.format(request_)})
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("{", 400, "JSON Parse error: "),
        ('{"inputs": 1}', 400, 'Serving signature name: "serving_default" not found in signature def'),
        ('{"signature_name": "ragged", "instances": [1, 2]}', 400, "Tensor name: z has inconsistent batch size: 1"),
        ('{"signature_name": "careful", "instances": ["long text"]}', 400, "assertion failed: [`x` must be short. "),
        ('{"signature_name": "identity_float16", "inputs": 1}', 501, "Conversion of JSON Value: 1 to type: float16"),
    ],
)
def test_body_that_is_wrong(zoo: Client, body: str, status: int, error: str) -> None:
    response = zoo.post(body)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert response.json()["error"].startswith(error)


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [("Content-Encoding", "gzip", 501), ("Origin", "https://example.com", 403), ("Origin", "null", 403)],
)
def test_compressed_body_and_web_page_are_refused(header: str, value: str, status: int, zoo: Client) -> None:
    body = '{"signature_name": "scalar", "inputs": 1}'
    assert zoo.rest("POST", "/v1/models/zoo:predict", data=body, headers={header: value}).status_code == status
    answer = zoo.rest("GET", "/v1/models/zoo", headers={header: value})
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("tail", ["", "/versions/123"])
def test_status(half_plus_two: Client, tail: str) -> None:
    status = {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    response = half_plus_two.get(tail)
    assert (response.status_code, response.json()) == (200, {"model_version_status": [status]})


def test_metadata(half_plus_two: Client) -> None:
    dims = [{"size": "-1", "name": ""}, {"size": "1", "name": ""}]

    def info(name: str) -> dict[str, Any]:
        return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": name}

    signature = {
        "inputs": {"x": info("x:0")},
        "outputs": {"y": info("y:0")},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    assert half_plus_two.get("/versions/123/metadata").json() == {
        "model_spec": {"name": "half_plus_two", "signature_name": "", "version": "123"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
    }


@pytest.mark.parametrize("chunked", [False, True])
def test_body_that_is_too_long_is_refused(zoo: Client, chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.server.rest.MAX_MESSAGE_BYTES", 100)
    body = b'{"signature_name": "scalar", "inputs": 1}'
    assert zoo.post(body.ljust(100)).status_code == 200
    data = iter([body.ljust(50), b" " * 51]) if chunked else body.ljust(101)
    response = zoo.rest("POST", "/v1/models/zoo:predict", data=data)
    error = "The request must be at most 100 bytes long. Received: more."
    assert (response.status_code, response.json()) == (413, {"error": error})


def test_nothing_is_read_of_a_request_that_is_refused_by_its_route(zoo: Client) -> None:
    connection = http.client.HTTPConnection(urlsplit(zoo.url).netloc, timeout=CALL_S)
    connection.putrequest("POST", "/v1/models/nothing:predict")
    connection.putheader("Content-Length", "1000000000")
    connection.endheaders()  # and never a byte of them
    assert connection.getresponse().status == 404
    connection.close()


def test_fault_of_the_server_shows_no_traceback(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Servable, "predict", lambda *_, **__: {}["a secret of the implementation"])
    response = zoo.post({"signature_name": "scalar", "inputs": 1})
    assert (response.status_code, response.json()) == (500, {"error": "Internal error: KeyError"})
