"""REST over real HTTP: routes, codes and sentences. What bodies may hold is in test_json_tensor."""

from unittest.mock import ANY

import pytest

from serving.server.messages import left_out
from serving.server.servable import Servable
from tests.serving.server.conftest import Client, rest


@pytest.mark.parametrize("route", [":predict", "/versions/1:predict", "/versions/001:PREDICT"])
def test_predict(zoo: Client, route: str) -> None:
    for name in ({}, {"signature_name": ""}, {"signature_name": "serving_default"}):
        answer = zoo.post({"instances": [[1.0], [5]], **name}, route)
        assert answer == (200, {"predictions": [[2.5], [4.5]]})


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
        ("PUT /v1/models/zoo", 400, MALFORMED),
        ("POST /v1/models/zoo:classify", 404, LEFT_OUT),
        ("POST /v1/models/zoo/labels/stable:predict", 404, LEFT_OUT),
        ("GET /v1/models/zoo/labels/stable/metadata", 404, LEFT_OUT),
        ("GET /monitoring/prometheus/metrics", 404, LEFT_OUT),
    ],
    ids=lambda value: str(value)[:60],
)
def test_route_that_leads_nowhere(zoo: Client, request_: str, status: int, error: str) -> None:
    method, target = request_.split()
    assert rest(zoo.url, method, target, b"not even JSON") == (status, {"error": error.format(request_)})


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("{", 400, "JSON Parse error: "),
        ('{"signature_name": "n", "inputs": 1}', 400, 'Serving signature name: "n" not found in signature def'),
        ('{"signature_name": "careful", "instances": ["long text"]}', 400, "assertion failed: [`x` must be short. "),
        ('{"signature_name": "identity_float16", "inputs": 1}', 501, "Conversion of JSON Value: 1 to type: float16"),
    ],
)
def test_body_that_is_wrong(zoo: Client, body: str, status: int, error: str) -> None:
    found, document = zoo.post(body)
    assert (found, list(document)) == (status, ["error"])
    assert document["error"].startswith(error)


@pytest.mark.parametrize(
    ("header", "status"),
    [({"Content_Encoding": "gzip"}, 501), ({"Origin": "https://example.com"}, 403), ({"Origin": "null"}, 403)],
)
def test_compressed_body_and_web_page_are_refused(header: dict[str, str], status: int, zoo: Client) -> None:
    assert zoo.post({"signature_name": "scalar", "inputs": 1}, **header)[0] == status
    assert zoo.get(**header)[0] == 200  # and `rest` finds no header that would let a page read it


@pytest.mark.parametrize("tail", ["", "/versions/1"])
def test_status(zoo: Client, tail: str) -> None:
    status = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert zoo.get(tail) == (200, {"model_version_status": [status]})


def test_metadata(zoo: Client) -> None:
    status, document = zoo.get("/versions/1/metadata")
    assert status == 200
    assert document["model_spec"] == {"name": "zoo", "signature_name": "", "version": "1"}
    dims = [{"size": "-1", "name": ""}, {"size": "1", "name": ""}]
    tensor = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": ANY}
    assert document["metadata"]["signature_def"]["signature_def"]["serving_default"] == {
        "inputs": {"x": tensor},
        "outputs": {"y": tensor},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }


@pytest.mark.parametrize("chunked", [False, True])
def test_body_that_is_too_long_is_refused(zoo: Client, chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.server.rest.MAX_MESSAGE_BYTES", 100)
    body = b'{"signature_name": "scalar", "inputs": 1}'
    assert zoo.post(body.ljust(100))[0] == 200
    too_long = iter([body.ljust(50), b" " * 51]) if chunked else body.ljust(101)
    error = "The request must be at most 100 bytes long. Received: more."
    assert zoo.post(too_long) == (413, {"error": error})


def test_nothing_is_read_of_a_request_that_is_refused_by_its_route(zoo: Client) -> None:
    # Of which never a byte comes.
    assert rest(zoo.url, "POST", "/v1/models/nothing:predict", Content_Length="1000000000")[0] == 404


def test_fault_of_the_server_shows_no_traceback(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Servable, "predict", lambda *_, **__: {}["a secret of the implementation"])
    answer = zoo.post({"signature_name": "scalar", "inputs": 1})
    assert answer == (500, {"error": "Internal error: KeyError"})
