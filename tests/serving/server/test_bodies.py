"""What a right Predict call is answered: one table, asked over gRPC and over REST by columns and by rows.

The ideas are those of TensorFlow Serving's own tests (json_tensor_test, predict_impl_test); models and cases are ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.server.conftest import Client, failure


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
]


@pytest.fixture
def clients(half_plus_two: Client, zoo: Client) -> dict[str, Client]:
    return {"half_plus_two": half_plus_two, "zoo": zoo}


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


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.complex64], ids=lambda dtype: dtype.name)
def test_dtype_that_json_has_not_travels_over_grpc_alone(dtype: tf.DType, zoo: Client) -> None:
    array = np.array([1, 0], dtype.as_numpy_dtype)
    answer = zoo.run(f"identity_{dtype.name}", x=array)["y"]
    assert (answer.dtype, answer.tolist()) == (array.dtype, array.tolist())
    response = zoo.post({"signature_name": f"identity_{dtype.name}", "inputs": 1})
    assert (response.status_code, response.json()) == (
        501,
        {"error": f"Conversion of JSON Value: 1 to type: {dtype.name}"},
    )


def test_bytes_that_are_no_text_travel_as_base64(zoo: Client) -> None:
    picture = b"\0\xff\0"
    assert zoo.run("identity_bytes", x=np.array([picture], object))["y_bytes"].tolist() == [picture]
    response = zoo.post({"signature_name": "identity_bytes", "instances": [{"b64": "AP8A"}]})
    assert response.json() == {"predictions": [{"b64": "AP8A"}]}


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("[16777217, 3, 0.1]", "[16777216.0, 3.0, 0.1]"),  # an integer that float32 cannot hold is rounded
        ("[1e39, -1e39, 1e999]", "[Infinity, -Infinity, Infinity]"),  # beyond the range is infinite
        (f"[{10**400}, {2**70}]", "[Infinity, 1.1805916e+21]"),
        ("[NaN, Infinity, -Infinity]", "[NaN, Infinity, -Infinity]"),
    ],
)
def test_numbers_are_read_and_written_as_tensorflow_serving_does(sent: str, answered: str, zoo: Client) -> None:
    response = zoo.post(f'{{"signature_name": "identity_float32", "instances": {sent}}}')
    assert (response.status_code, response.text) == (200, f'{{"predictions": {answered}}}')


def test_declared_default_is_filled_in_over_grpc_alone(zoo: Client) -> None:
    assert zoo.run("default", x=np.float32([1]))["y"].tolist() == [4]
    assert zoo.run("default", x=np.float32([1]), n=np.int32(5))["y"].tolist() == [6]
    response = zoo.post({"signature_name": "default", "inputs": {"x": [1]}})
    assert (response.status_code, response.json()) == (400, {"error": "Missing named input: n in 'inputs' object."})


@pytest.mark.parametrize("depth", [50, 254, 900, 100_000])
def test_nesting_does_no_harm(depth: int, zoo: Client) -> None:
    for body in ("[" * depth + "1" + "]" * depth, "[" * depth, '{"inputs":' * depth + "1" + "}" * depth):
        response = zoo.post(f'{{"signature_name": "identity_float32", "inputs": {body}}}')
        assert response.status_code in {200, 400}
        assert list(response.json()) in (["outputs"], ["error"])


@pytest.mark.parametrize("rank", [32, 33, 64])
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
