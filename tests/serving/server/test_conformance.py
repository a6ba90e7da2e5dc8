"""TensorFlow Serving's contract, case by case: the same table asked over REST and over gRPC.

The ideas are those of its own tests (json_tensor_test, http_rest_api_handler_test, predict_impl_test,
tensorflow_model_server_test); models, cases and words are ours. What one adapter alone does is in test_rest, test_grpc,
test_json_tensor and test_examples.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import requests
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from tests.serving.server.conftest import CALL_S, Client, failure, fill_spec

HTTP = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "NOT_FOUND": 404, "UNIMPLEMENTED": 501}


@dataclass(frozen=True)
class Right:
    """A call that both adapters answer alike."""

    name: str
    model: str
    signature: str
    inputs: dict[str, Any]  # as JSON; strings stand for themselves
    dtypes: dict[str, Any]  # of the inputs, for gRPC
    outputs: dict[str, Any]
    rows: bool = True  # whether `instances` can say it too


RIGHT = [
    Right("the classic", "half_plus_two", "", {"x": [[1.0], [2.0]]}, {"x": np.float32}, {"y": [[2.5], [3.0]]}),
    Right("a batch of none", "half_plus_two", "", {"x": []}, {"x": np.float32}, {"y": []}, rows=False),
    Right("another rank", "half_plus_two", "", {"x": [[[1.0]], [[2.0]]]}, {"x": np.float32}, {"y": [[[2.5]], [[3.0]]]}),
    Right("a scalar", "zoo", "scalar", {"x": 4.0}, {"x": np.float32}, {"y": 5.0}, rows=False),
    Right("a vector for a scalar", "zoo", "scalar", {"x": [4.0, 5.0]}, {"x": np.float32}, {"y": [5.0, 6.0]}),
    Right("other lengths", "zoo", "ragged", {"x": [1.0, 2.0]}, {"x": np.float32}, {"y": [1, 2], "z": [1]}, rows=False),
    Right(
        "two inputs, two outputs",
        "zoo",
        "two",
        {"a": [1.5, -2.0], "b": ["x", "é"]},
        {"a": np.float32, "b": object},
        {"c": [3.0, -4.0], "d_bytes": ["x", "é"]},
    ),
    Right("an empty string", "zoo", "identity_string", {"x": [""]}, {"x": object}, {"y": [""]}),
    Right("control characters", "zoo", "identity_string", {"x": ["\0\n\x7f"]}, {"x": object}, {"y": ["\0\n\x7f"]}),
    Right("beyond the basic plane", "zoo", "identity_string", {"x": ["😀"]}, {"x": object}, {"y": ["😀"]}),
    Right("bool", "zoo", "identity_bool", {"x": [True, False]}, {"x": np.bool_}, {"y": [True, False]}),
    *(
        Right(
            f"limits of {name}",
            "zoo",
            f"identity_{name}",
            {"x": [int(np.iinfo(name).min), int(np.iinfo(name).max)]},
            {"x": np.dtype(name)},
            {"y": [int(np.iinfo(name).min), int(np.iinfo(name).max)]},
        )
        for name in ("int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")
    ),
    Right(
        "limits of float64",
        "zoo",
        "identity_float64",
        {"x": [1.7976931348623157e308, 5e-324, -0.0]},
        {"x": np.float64},
        {"y": [1.7976931348623157e308, 5e-324, -0.0]},
    ),
    Right("float", "zoo", "identity_float32", {"x": [0.5, -0.0, 3e8]}, {"x": np.float32}, {"y": [0.5, -0.0, 3e8]}),
    Right("rank 6", "zoo", "identity_int32", {"x": [[[[[[7]]]]]]}, {"x": np.int32}, {"y": [[[[[[7]]]]]]}),
    Right("empty lists within", "zoo", "identity_int32", {"x": [[], []]}, {"x": np.int32}, {"y": [[], []]}),
    Right("by name of the signature", "scorer", "features", {"inputs": [""]}, {"inputs": object}, {"outputs": [[0.0]]}),
]


@pytest.fixture
def clients(half_plus_two: Client, zoo: Client, scorer: Client) -> dict[str, Client]:
    return {"half_plus_two": half_plus_two, "zoo": zoo, "scorer": scorer}


def array_of(value: Any, dtype: Any) -> np.ndarray:
    if dtype is not object:
        return np.asarray(value, dtype)
    array = np.empty(np.shape(value), object)
    array.reshape(-1)[:] = [text.encode() for text in np.ravel(np.asarray(value, object))]
    return array


def plain(value: Any) -> Any:
    """Arrays of a gRPC answer as the JSON of a REST answer, with strings as text."""
    return json.loads(json.dumps(value.tolist(), default=bytes.decode))


def text_of(value: Any) -> Any:
    """JSON with {"b64": ...} as text."""
    if isinstance(value, dict) and set(value) == {"b64"}:
        return tf.io.decode_base64(value["b64"].rstrip("=").replace("+", "-").replace("/", "_")).numpy().decode()
    if isinstance(value, dict):
        return {name: text_of(item) for name, item in value.items()}
    return [text_of(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_right_over_grpc(case: Right, clients: dict[str, Client]) -> None:
    inputs = {name: array_of(value, case.dtypes[name]) for name, value in case.inputs.items()}
    outputs = clients[case.model].run(case.signature, **inputs)
    assert {name: plain(array) for name, array in outputs.items()} == case.outputs


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_right_over_rest_by_columns(case: Right, clients: dict[str, Client]) -> None:
    alone = len(case.outputs) == 1
    expected = next(iter(case.outputs.values())) if alone else case.outputs
    bodies = [{"inputs": case.inputs}]
    if len(case.inputs) == 1:
        bodies.append({"inputs": next(iter(case.inputs.values()))})
    for body in bodies:
        response = clients[case.model].post({"signature_name": case.signature, **body})
        assert (response.status_code, text_of(response.json())) == (200, {"outputs": expected})


@pytest.mark.parametrize("case", [case for case in RIGHT if case.rows], ids=lambda case: case.name)
def test_right_over_rest_by_rows(case: Right, clients: dict[str, Client]) -> None:
    def rows(columns: dict[str, Any], bare: bool) -> list[Any]:
        members = zip(*columns.values(), strict=True)
        return [member[0] if bare else dict(zip(columns, member, strict=True)) for member in members]

    expected = {"predictions": rows(case.outputs, bare=len(case.outputs) == 1)}
    for bare in {False, len(case.inputs) == 1}:
        body = {"signature_name": case.signature, "instances": rows(case.inputs, bare)}
        response = clients[case.model].post(body)
        assert (response.status_code, text_of(response.json())) == (200, expected)


@dataclass(frozen=True)
class Wrong:
    """A request that is refused before its inputs matter, in one code and text for both adapters."""

    name: str
    code: str
    text: str
    spec: dict[str, Any] = field(default_factory=dict)


WRONG = [
    Wrong("no such model", "NOT_FOUND", "Servable not found for request: Latest(m)", {"name": "m"}),
    Wrong("no such version", "NOT_FOUND", "Servable not found for request: Specific(zoo, 7)", {"version": 7}),
    Wrong("version 0", "NOT_FOUND", "Servable not found for request: Specific(zoo, 0)", {"version": 0}),
    Wrong("no such label", "INVALID_ARGUMENT", "Unrecognized servable version label: best", {"label": "best"}),
    Wrong(
        "label of no model", "INVALID_ARGUMENT", "Unrecognized servable version label: a", {"name": "m", "label": "a"}
    ),
]


def route(name: str = "zoo", version: int | None = None, label: str | None = None) -> str:
    tail = f"/versions/{version}" if version is not None else f"/labels/{label}" if label is not None else ""
    return f"/v1/models/{name}{tail}"


@pytest.mark.parametrize("method", ["predict", "classify", "regress"])
@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_wrong_over_rest(case: Wrong, method: str, zoo: Client) -> None:
    url = f"http://127.0.0.1:{zoo.app.rest_port}{route(**case.spec)}:{method}"
    response = requests.post(url, json={"signature_name": "scalar", "inputs": 1, "examples": [{}]}, timeout=CALL_S)
    assert (response.status_code, response.json()) == (HTTP[case.code], {"error": case.text})


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_wrong_over_grpc(case: Wrong, zoo: Client) -> None:
    request = zoo.request("scalar", x=np.float32(1))
    request.ClearField("model_spec")
    fill_spec(request, **{"name": "zoo", **case.spec})
    assert failure(lambda: zoo.predict(request)) == (case.code, case.text)
    assert failure(lambda: zoo.metadata("signature_def", **{"name": "zoo", **case.spec})) == (case.code, case.text)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ("[1.5]", "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        ('["1"]', 'JSON Value: "1" Type: String is not of expected type: int32'),
        ("[null]", "JSON Value: null Type: Null is not of expected type: int32"),
        ("[2147483648]", "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        ("[[1], [2, 3]]", "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ("[[1], 2]", "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    ],
)
def test_value_that_does_not_fit(values: str, text: str, zoo: Client) -> None:
    response = zoo.post(f'{{"signature_name": "identity_int32", "inputs": {values}}}')
    assert (response.status_code, response.json()) == (400, {"error": text})


@pytest.mark.parametrize("depth", [50, 254, 900, 100_000])
def test_nesting_does_no_harm(depth: int, zoo: Client) -> None:
    for body in ("[" * depth + "1" + "]" * depth, "[" * depth, '{"inputs":' * depth + "1" + "}" * depth):
        response = zoo.post(f'{{"signature_name": "identity_float32", "inputs": {body}}}')
        assert response.status_code in {200, 400}
        assert list(response.json()) in (["outputs"], ["error"])


@pytest.mark.parametrize("rank", [32, 33, 43, 64])
@pytest.mark.parametrize("size", [0, 1])
def test_strings_of_many_dimensions_do_no_harm(rank: int, size: int, zoo: Client) -> None:
    strings = np.full((1,) * (rank - 1) + (size,), b"x", object)
    body = {"signature_name": "identity_string", "inputs": plain(strings)}
    if rank <= 32:
        assert zoo.run("identity_string", x=strings)["y"].shape == strings.shape
        assert zoo.post(body).json() == {"outputs": body["inputs"]}
        return
    refusal = "Tensor identity_string_x:0 must have at most 32 dimensions, since it is of strings. Received: "
    assert failure(lambda: zoo.run("identity_string", x=strings)) == ("INVALID_ARGUMENT", f"{refusal}{rank}")
    response = zoo.post(body)
    assert (response.status_code, response.json()) == (400, {"error": f"{refusal}{rank}"})


@pytest.mark.parametrize(
    "number", ["1" + "0" * 400, "-1" + "0" * 5000, "1e999999999", "0." + "0" * 9999 + "1", "1" * 99]
)
@pytest.mark.parametrize("signature", ["identity_float32", "identity_float64", "identity_int64", "identity_string"])
def test_huge_numbers_do_no_harm(number: str, signature: str, zoo: Client) -> None:
    response = zoo.post(f'{{"signature_name": "{signature}", "inputs": {number}}}')
    assert response.status_code in {200, 400}
    assert len(response.text) < 500


def test_metadata_is_the_same_over_both(zoo: Client) -> None:
    over_rest = zoo.get("/metadata").json()["metadata"]["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    json_format.ParseDict(over_rest, signatures)
    over_grpc = get_model_metadata_pb2.SignatureDefMap()
    zoo.metadata("signature_def").metadata["signature_def"].Unpack(over_grpc)
    assert signatures == over_grpc


def test_status_is_the_same_over_both(zoo: Client) -> None:
    over_rest = json_format.ParseDict(zoo.get().json(), get_model_status_pb2.GetModelStatusResponse())
    assert over_rest == zoo.status()
