"""REST over real HTTP: routes, codes and sentences. What a right Predict is answered is in test_bodies."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
import requests

from serving.server.servable import Servable
from tests.serving.server.conftest import CALL_S, Client


@pytest.mark.parametrize("route", [":predict", "/versions/123:predict", "/versions/00123:PREDICT"])
@pytest.mark.parametrize("name", [{}, {"signature_name": ""}, {"signature_name": "serving_default"}])
def test_predict(half_plus_two: Client, name: dict[str, str], route: str) -> None:
    response = half_plus_two.post({"instances": [[1.0], [5]], **name}, route)
    assert (response.status_code, response.json()) == (200, {"predictions": [[2.5], [4.5]]})
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        ("POST /nothing:predict", 404, "Servable not found for request: Latest(nothing)"),
        ("POST /a%20%C3%A9:predict", 404, "Servable not found for request: Latest(a é)"),
        ("POST /zoo/versions/99:predict", 404, "Servable not found for request: Specific(zoo, 99)"),
        ("POST /zoo:predict?x=1", 400, "Malformed request: POST /v1/models/zoo:predict?x=1"),
        ("POST /zoo:explode", 400, "Malformed request: POST /v1/models/zoo:explode"),
        ("POST /zoo", 400, "Malformed request: POST /v1/models/zoo"),
        ("POST /zoo/versions/x:predict", 400, "Malformed request: POST /v1/models/zoo/versions/x:predict"),
        (f"POST /zoo/versions/{'9' * 5000}:predict", 400, "Malformed request: POST /v1/models/zoo/versions/9999"),
        ("GET /nothing", 404, "Could not find any versions of model nothing"),
        ("GET /zoo/versions/99", 404, "Could not find version 99 of model zoo"),
        ("GET /nothing/metadata", 404, "Servable not found for request: Latest(nothing)"),
        ("GET /zoo?a=b", 404, "Could not find any versions of model zoo?a=b"),  # the query is part of the path
        ("GET ", 400, "Malformed request: GET /v1/models"),
        ("GET /zoo:predict", 400, "Malformed request: GET /v1/models/zoo:predict"),
        ("GET /zoo/", 400, "Malformed request: GET /v1/models/zoo/"),
        ("PUT /zoo", 400, "Malformed request: PUT /v1/models/zoo"),
        ("DELETE /zoo:predict", 400, "Malformed request: DELETE /v1/models/zoo:predict"),
        ("OPTIONS /zoo", 400, "Malformed request: OPTIONS /v1/models/zoo"),
    ],
)
def test_route_that_leads_nowhere(zoo: Client, request_: str, status: int, error: str) -> None:
    method, _, route = request_.partition(" ")
    url = f"http://127.0.0.1:{zoo.app.rest_port}/v1/models{route}"
    response = requests.request(method, url, data=b"not even JSON", timeout=CALL_S)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert response.json()["error"].startswith(error)
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("{", "JSON Parse error: "),
        ('{"inputs": 1}', 'Serving signature name: "serving_default" not found in signature def'),
        ('{"signature_name": "x"}', 'Serving signature name: "x" not found in signature def'),
        ('{"signature_name": "ragged", "instances": [1, 2]}', "Tensor name: z has inconsistent batch size: 1"),
        ('{"signature_name": "careful", "instances": [9]}', "assertion failed: [`x` must be below 5. Received: ] [9]"),
    ],
)
def test_body_that_is_wrong(zoo: Client, body: str, error: str) -> None:
    response = zoo.post(body)
    assert (response.status_code, list(response.json())) == (400, ["error"])
    assert response.json()["error"].startswith(error)


@pytest.mark.parametrize("tail", ["", "/versions/123"])
def test_status(half_plus_two: Client, tail: str) -> None:
    status = {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    response = half_plus_two.get(tail)
    assert (response.status_code, response.json()) == (200, {"model_version_status": [status]})


@pytest.mark.parametrize("tail", ["/metadata", "/versions/123/metadata"])
def test_metadata(half_plus_two: Client, tail: str) -> None:
    dims = [{"size": "-1", "name": ""}, {"size": "1", "name": ""}]

    def info(name: str) -> dict[str, Any]:
        return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": name}

    signature = {
        "inputs": {"x": info("x:0")},
        "outputs": {"y": info("y:0")},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    assert half_plus_two.get(tail).json() == {
        "model_spec": {"name": "half_plus_two", "signature_name": "", "version": "123"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
    }


def test_metadata_lists_the_initialiser_and_the_defaults(zoo: Client) -> None:
    signatures = zoo.get("/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert "__saved_model_init_op" in signatures
    assert signatures["default"]["defaults"]["n"]["int_val"] == [3]


@pytest.mark.parametrize("chunked", [False, True])
def test_body_that_is_too_long_is_refused(zoo: Client, chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.server.rest.MAX_MESSAGE_BYTES", 100)
    body = b'{"signature_name": "scalar", "inputs": 1}'
    assert zoo.post(body.ljust(100)).status_code == 200
    data = iter([body.ljust(50), b" " * 51]) if chunked else body.ljust(101)
    response = requests.post(f"{zoo.url}:predict", data=data, timeout=CALL_S)
    error = "The request must be at most 100 bytes long. Received: more."
    assert (response.status_code, response.json()) == (413, {"error": error})


def test_nothing_is_read_of_a_request_that_is_refused_by_its_route(zoo: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", zoo.app.rest_port, timeout=CALL_S)
    connection.putrequest("POST", "/v1/models/nothing:predict")
    connection.putheader("Content-Length", "1000000000")
    connection.endheaders()  # and never a byte of them
    assert connection.getresponse().status == 404
    connection.close()


def test_fault_of_the_server_shows_no_traceback(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Servable, "predict", lambda *_, **__: {}["a secret of the implementation"])
    response = zoo.post({"signature_name": "scalar", "inputs": 1})
    assert (response.status_code, response.json()) == (500, {"error": "Internal error: KeyError"})
