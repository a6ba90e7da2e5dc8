"""REST over real HTTP, as a client of tensorflow_model_server would see it."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
import requests

from tests.serving.server.conftest import CALL_S, Client, served, wait_until


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [[1.0], [5]]}, {"predictions": [[2.5], [4.5]]}),
        ({"instances": [{"x": [1]}]}, {"predictions": [[2.5]]}),
        ({"inputs": [[1]]}, {"outputs": [[2.5]]}),
        ({"inputs": {"x": [[1]]}}, {"outputs": [[2.5]]}),
        ({"signature_name": "serving_default", "instances": [[0]]}, {"predictions": [[2.0]]}),
        ({"signature_name": "", "instances": [[0]]}, {"predictions": [[2.0]]}),
        # The declared shape is [-1, 1]; TensorFlow Serving does not check it, and the graph takes these too.
        ({"inputs": [1, 3]}, {"outputs": [2.5, 3.5]}),
        ({"inputs": 1}, {"outputs": 2.5}),
        ({"instances": [[1, 3]]}, {"predictions": [[2.5, 3.5]]}),
    ],
)
@pytest.mark.parametrize("route", [":predict", "/versions/123:predict", "/versions/00123:PREDICT"])
def test_predict(half_plus_two: Client, body: dict[str, Any], answer: dict[str, Any], route: str) -> None:
    response = half_plus_two.post(body, route)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == answer


@pytest.mark.parametrize(
    ("signature", "fields", "answer"),
    [
        (
            "two",
            {"instances": [{"a": 1, "b": {"b64": "AAE="}}, {"a": 2, "b": "x"}]},
            {"predictions": [{"c": 2.0, "d_bytes": {"b64": "AAE="}}, {"c": 4.0, "d_bytes": {"b64": "eA=="}}]},
        ),
        ("two", {"inputs": {"a": [1], "b": ["x"]}}, {"outputs": {"c": [2.0], "d_bytes": [{"b64": "eA=="}]}}),
        ("scalar", {"inputs": 2}, {"outputs": 3.0}),
        ("scalar", {"inputs": {"x": 2}}, {"outputs": 3.0}),
        ("ragged", {"inputs": [1, 2]}, {"outputs": {"y": [1.0, 2.0], "z": [1.0]}}),
        ("identity_bytes", {"inputs": {"b64": "AAA="}}, {"outputs": {"b64": "AAA="}}),
        ("identity_string", {"instances": ["é", {"b64": "eA=="}]}, {"predictions": ["é", "x"]}),
        ("identity_int64", {"inputs": [[2**62], [-1]]}, {"outputs": [[2**62], [-1]]}),
        ("identity_uint64", {"inputs": 2**64 - 1}, {"outputs": 2**64 - 1}),
        ("identity_uint8", {"instances": [[255], [0]]}, {"predictions": [[255], [0]]}),
        ("identity_bool", {"instances": [True, False]}, {"predictions": [True, False]}),
        ("identity_float64", {"inputs": 0.1}, {"outputs": 0.1}),
        ("default", {"inputs": {"x": [1], "n": 2}}, {"outputs": [3.0]}),
    ],
)
def test_signatures_and_dtypes(zoo: Client, signature: str, fields: dict[str, Any], answer: dict[str, Any]) -> None:
    response = zoo.post({"signature_name": signature, **fields})
    assert (response.status_code, response.json()) == (200, answer)


def test_not_a_number_goes_both_ways(zoo: Client) -> None:
    response = zoo.post('{"signature_name": "identity_float32", "instances": [NaN, -Infinity, 0.1]}')
    assert response.text == '{"predictions": [NaN, -Infinity, 0.1]}'


@pytest.mark.parametrize(
    ("route", "body", "status", "error"),
    [
        ("/v1/models/nothing:predict", "not even JSON", 404, "Servable not found for request: Latest(nothing)"),
        ("/v1/models/a%20%C3%A9:predict", "{}", 404, "Servable not found for request: Latest(a é)"),
        ("/v1/models/zoo/versions/99:predict", "{}", 404, "Servable not found for request: Specific(zoo, 99)"),
        ("/v1/models/zoo/labels/stable:predict", "{}", 400, "Unrecognized servable version label: stable"),
        ("/v1/models/zoo:predict", "{", 400, "JSON Parse error: "),
        (
            "/v1/models/zoo:predict",
            '{"inputs": 1}',
            400,
            'Serving signature name: "serving_default" not found in signa',
        ),
        (
            "/v1/models/zoo:predict",
            '{"signature_name": "x"}',
            400,
            'Serving signature name: "x" not found in signature def',
        ),
        (
            "/v1/models/zoo:predict",
            '{"signature_name": "default", "inputs": {"x": [1]}}',
            400,
            "Missing named input: n in 'inputs' object.",
        ),
        (
            "/v1/models/zoo:predict",
            '{"signature_name": "ragged", "instances": [1, 2]}',
            400,
            "Tensor name: z has inconsistent batch size: 1",
        ),
        (
            "/v1/models/zoo:predict",
            '{"signature_name": "careful", "instances": [9]}',
            400,
            "assertion failed: [`x` must be below 5. Received: ] [9]\n\t [[{{",
        ),
        (
            "/v1/models/zoo:predict",
            '{"signature_name": "two", "inputs": {"a": [1], "b": [[[1]]]}}',
            400,
            "JSON Value: 1 Type: Number is not of expected type: string",
        ),
        (
            "/v1/models/zoo:predict",
            '{"signature_name": "identity_float16", "inputs": 1}',
            501,
            "Conversion of JSON Value: 1",
        ),
        ("/v1/models/zoo:predict?x=1", "{}", 400, "Malformed request: POST /v1/models/zoo:predict?x=1"),
        ("/v1/models/zoo:explode", "{}", 400, "Malformed request: POST /v1/models/zoo:explode"),
        ("/v1/models/zoo", "{}", 400, "Malformed request: POST /v1/models/zoo"),
        ("/v1/models/zoo/versions/x:predict", "{}", 400, "Malformed request: POST /v1/models/zoo/versions/x:predict"),
        ("/v1/", "", 400, "Malformed request: POST /v1/"),
    ],
)
def test_failed_post(zoo: Client, route: str, body: str, status: int, error: str) -> None:
    response = requests.post(f"http://127.0.0.1:{zoo.app.rest_port}{route}", data=body.encode(), timeout=CALL_S)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith(error)


@pytest.mark.parametrize("tail", ["", "/versions/123", "/labels/whatever"])
def test_status(half_plus_two: Client, tail: str) -> None:
    response = half_plus_two.get(tail)
    assert response.status_code == 200
    assert response.json() == {
        "model_version_status": [
            {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }


@pytest.mark.parametrize("tail", ["/metadata", "/versions/123/metadata"])
def test_metadata(half_plus_two: Client, tail: str) -> None:
    response = half_plus_two.get(tail)
    dims = [{"size": "-1", "name": ""}, {"size": "1", "name": ""}]

    def info(name: str) -> dict[str, Any]:
        return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": name}

    assert response.status_code == 200
    assert response.json() == {
        "model_spec": {"name": "half_plus_two", "signature_name": "", "version": "123"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {"x": info("x:0")},
                        "outputs": {"y": info("y:0")},
                        "method_name": "tensorflow/serving/predict",
                        "defaults": {},
                    }
                }
            }
        },
    }


def test_metadata_lists_the_initialiser_and_the_defaults(zoo: Client) -> None:
    signatures = zoo.get("/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert "__saved_model_init_op" in signatures
    assert signatures["default"]["defaults"]["n"]["int_val"] == [3]


@pytest.mark.parametrize(
    ("route", "status", "error"),
    [
        ("/v1/models/nothing", 404, "Could not find any versions of model nothing"),
        ("/v1/models/zoo/versions/99", 404, "Could not find version 99 of model zoo"),
        ("/v1/models/nothing/metadata", 404, "Servable not found for request: Latest(nothing)"),
        ("/v1/models/zoo/labels/a/metadata", 400, "Unrecognized servable version label: a"),
        ("/v1/models", 400, "Missing model name in request."),
        ("/v1/models/zoo:predict", 400, "Malformed request: GET /v1/models/zoo:predict"),
        ("/v1/models/zoo/", 400, "Malformed request: GET /v1/models/zoo/"),
        ("/v1/models/zoo?a=b", 404, "Could not find any versions of model zoo?a=b"),  # the query is part of the path
    ],
)
def test_failed_get(zoo: Client, route: str, status: int, error: str) -> None:
    response = requests.get(f"http://127.0.0.1:{zoo.app.rest_port}{route}", timeout=CALL_S)
    assert (response.status_code, response.json()) == (status, {"error": error})


def test_version_beyond_int64_has_an_empty_answer(zoo: Client) -> None:
    response = zoo.post("{}", "/versions/9223372036854775808:predict")
    assert (response.status_code, response.content) == (400, b"")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_malformed(zoo: Client, method: str) -> None:
    response = requests.request(method, zoo.url, timeout=CALL_S)
    assert (response.status_code, response.json()) == (400, {"error": f"Malformed request: {method} /v1/models/zoo"})


def test_outside_v1_is_not_found(zoo: Client) -> None:
    response = requests.get(f"http://127.0.0.1:{zoo.app.rest_port}/healthz", timeout=CALL_S)
    assert response.status_code == 404
    assert not response.headers["Content-Type"].startswith("application/json")


def test_status_and_metadata_answer_at_once_while_a_run_is_going(zoo: Client) -> None:
    run = threading.Thread(target=zoo.run, args=("slow",), kwargs={"seconds": np.float32(1.5)})
    run.start()
    slowest = 0.0
    while run.is_alive():
        for ask in (zoo.get, zoo.status, lambda: zoo.get("/metadata"), lambda: zoo.metadata("signature_def")):
            started = time.monotonic()
            ask()
            slowest = max(slowest, time.monotonic() - started)
    assert slowest < 1.0  # a few ms on an idle machine; behind the run it would be up to 1.5 s


def test_flood_is_refused_and_the_admitted_are_served(model_dir: Any) -> None:
    with served(model_dir / "zoo", "zoo", max_queued_runs=2) as client:
        client.wait_until_available()
        statuses: list[int] = []

        def call(seconds: float) -> threading.Thread:
            body = {"signature_name": "slow", "inputs": seconds}
            thread = threading.Thread(target=lambda: statuses.append(client.post(body).status_code))
            thread.start()
            return thread

        admitted = [call(3)]  # runs while the others are refused, so it must come first
        wait_until(lambda: client.app.queue.admitted == 1)
        admitted += [call(0), call(0)]
        wait_until(lambda: client.app.queue.admitted == 3)
        for thread in [call(0) for _ in range(5)]:
            thread.join()
        assert statuses == [429] * 5
        for thread in admitted:
            thread.join()
        assert statuses == [429] * 5 + [200] * 3
        call(0).join()
        assert statuses[-1] == 200


def test_rest_timeout_stops_the_run(model_dir: Any) -> None:
    with served(model_dir / "zoo", "zoo", rest_api_timeout_in_ms=300) as client:
        client.wait_until_available()
        started = time.monotonic()
        response = client.post({"signature_name": "slow", "inputs": 20})
        assert (response.status_code, response.json()) == (504, {"error": "Timed out waiting for notification"})
        # One run at a time: this one is served, so the other is over.
        assert client.post({"signature_name": "slow", "inputs": 0}).status_code == 200
        assert time.monotonic() - started < 5


def test_fault_of_the_server_shows_no_traceback(zoo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("a secret of the implementation")

    monkeypatch.setattr("serving.server.core.ServerCore.predict", fail)
    response = zoo.post({"signature_name": "scalar", "inputs": 1})
    assert (response.status_code, response.json()) == (500, {"error": "Internal error: KeyError"})


def test_stopping_server_ends_what_runs_and_refuses_the_rest(model_dir: Any) -> None:
    with served(model_dir / "zoo", "zoo") as client:
        client.wait_until_available()
        responses: dict[str, requests.Response] = {}

        def call(name: str, seconds: float) -> threading.Thread:
            def post() -> None:
                responses[name] = client.post({"signature_name": "slow", "inputs": seconds})

            thread = threading.Thread(target=post)
            thread.start()
            return thread

        threads = [call("running", 1.5)]
        wait_until(lambda: client.app.queue.admitted == 1)
        threads.append(call("waiting", 0.0))
        wait_until(lambda: client.app.queue.admitted == 2)
        stopping = threading.Thread(target=client.app.stop)
        stopping.start()
        wait_until(lambda: "waiting" in responses)
        new = client.post({"signature_name": "scalar", "inputs": 1})
        assert (new.status_code, new.json()) == (503, {"error": "The server is stopping."})
        assert client.get().json()["model_version_status"][0]["state"] == "AVAILABLE"
        for thread in (*threads, stopping):
            thread.join(20)
        assert responses["waiting"].status_code == 503
        assert (responses["running"].status_code, responses["running"].json()) == (200, {"outputs": True})
        with pytest.raises(requests.ConnectionError):
            client.get()
