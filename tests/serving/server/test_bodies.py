"""What a right Predict call is answered: one table, asked over gRPC and over REST by columns and by rows.

The ideas are those of TensorFlow Serving's own tests (json_tensor_test, predict_impl_test); models and cases are ours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.server.conftest import Client, failure


class Case(NamedTuple):
    """A call that all ways answer alike; strings stand for themselves."""

    signature: str  # of the zoo; "": half_plus_two's default
    inputs: dict[str, np.ndarray]
    outputs: dict[str, Any]
    rows: bool = True  # whether `instances` can say it too


def same(dtype: Any, *values: Any) -> Case:
    array = np.array(values, dtype)
    return Case(f"identity_{tf.as_dtype(array.dtype).name}", {"x": array}, {"y": array.tolist()})


CASES = {
    "the classic": Case("", {"x": np.float32([[1], [2]])}, {"y": [[2.5], [3.0]]}),
    # The declared shape is [-1, 1]; TensorFlow Serving does not check it, and the graph takes these too.
    "another rank": Case("", {"x": np.float32([[[1]], [[2]]])}, {"y": [[[2.5]], [[3.0]]]}),
    "another width": Case("", {"x": np.float32([[1, 3]])}, {"y": [[2.5, 3.5]]}),
    "a batch of none": Case("", {"x": np.zeros(0, np.float32)}, {"y": []}, rows=False),
    "a scalar": Case("scalar", {"x": np.float32(4)}, {"y": 5.0}, rows=False),
    "a vector for a scalar": Case("scalar", {"x": np.float32([4, 5])}, {"y": [5.0, 6.0]}),
    "other lengths": Case("ragged", {"x": np.float32([1, 2])}, {"y": [1, 2], "z": [1]}, rows=False),
    "two inputs, two outputs": Case(
        "two",
        {"a": np.float32([1.5, -2]), "b": np.array([b"x", "é".encode()], object)},
        {"c": [3.0, -4.0], "d_bytes": ["x", "é"]},
    ),
    "strings": Case(
        "identity_string",
        {"x": np.array(["", "\0\n\x7f", "é", "😀"], object)},
        {"y": ["", "\0\n\x7f", "é", "😀"]},
    ),
    "float32": same(np.float32, 0.5, -0.0, 3e8),
    "float64": same(np.float64, 1.7976931348623157e308, 5e-324, 0.1),
    "bool": same(np.bool_, True, False),
    **{
        name: same(name, np.iinfo(name).min, np.iinfo(name).max)
        for name in ("int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")
    },
    "rank 6": same(np.int32, [[[[[7]]]]]),
    "empty lists within": same(np.int32, [], []),
}

everything = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture
def client(case: Case, half_plus_two: Client, zoo: Client) -> Client:
    return zoo if case.signature else half_plus_two


def plain(array: np.ndarray) -> Any:
    """The JSON of an array, with strings as text."""
    if array.dtype != object:
        return array.tolist()
    return np.array([tf.compat.as_text(item) for item in array.reshape(-1)], object).reshape(array.shape).tolist()


def text_of(value: Any) -> Any:
    """JSON with {"b64": ...} as text."""
    if isinstance(value, dict) and set(value) == {"b64"}:
        return tf.io.decode_base64(value["b64"].rstrip("=").replace("+", "-").replace("/", "_")).numpy().decode()
    if isinstance(value, dict):
        return {name: text_of(item) for name, item in value.items()}
    return [text_of(item) for item in value] if isinstance(value, list) else value


@everything
def test_right_over_grpc(case: Case, client: Client) -> None:
    outputs = client.run(case.signature, **case.inputs)
    assert {name: plain(array) for name, array in outputs.items()} == case.outputs


@everything
def test_right_over_rest_by_columns(case: Case, client: Client) -> None:
    (alone, *more) = case.outputs.values()
    columns = {name: plain(array) for name, array in case.inputs.items()}
    for inputs in [columns, *(columns.values() if len(columns) == 1 else ())]:
        response = client.post({"signature_name": case.signature, "inputs": inputs})
        assert (response.status_code, text_of(response.json())) == (200, {"outputs": case.outputs if more else alone})


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.rows])
def test_right_over_rest_by_rows(case: Case, client: Client) -> None:
    def rows(columns: dict[str, Any], bare: bool) -> list[Any]:
        members = zip(*columns.values(), strict=True)
        return [member[0] if bare else dict(zip(columns, member, strict=True)) for member in members]

    columns = {name: plain(array) for name, array in case.inputs.items()}
    for bare in {False, len(columns) == 1}:
        response = client.post({"signature_name": case.signature, "instances": rows(columns, bare)})
        expected = {"predictions": rows(case.outputs, bare=len(case.outputs) == 1)}
        assert (response.status_code, text_of(response.json())) == (200, expected)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.complex64], ids=lambda dtype: dtype.name)
def test_dtype_that_json_has_not_travels_over_grpc_alone(dtype: tf.DType, zoo: Client) -> None:
    array = np.array([1, 0], dtype.as_numpy_dtype)
    answer = zoo.run(f"identity_{dtype.name}", x=array)["y"]
    assert (answer.dtype, answer.tolist()) == (array.dtype, array.tolist())
    response = zoo.post({"signature_name": f"identity_{dtype.name}", "inputs": 1})
    error = f"Conversion of JSON Value: 1 to type: {dtype.name}"
    assert (response.status_code, response.json()) == (501, {"error": error})


def test_bytes_that_are_no_text_travel_as_base64(zoo: Client) -> None:
    assert zoo.run("identity_bytes", x=np.array([b"\0\xff\0"], object))["y_bytes"].tolist() == [b"\0\xff\0"]
    response = zoo.post({"signature_name": "identity_bytes", "instances": [{"b64": "AP8A"}]})
    assert response.json() == {"predictions": [{"b64": "AP8A"}]}


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("[16777217, 3, 0.1, 1e-5]", "[16777216.0, 3.0, 0.1, 1e-05]"),  # what float32 cannot hold is rounded
        (f"[1e39, -1e39, 1e999, {10**400}]", "[Infinity, -Infinity, Infinity, Infinity]"),  # beyond it is infinite
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
        assert (response.status_code, list(response.json())) in ((200, ["outputs"]), (400, ["error"]))


@pytest.mark.parametrize("rank", [32, 33, 64])
def test_strings_of_many_dimensions_do_no_harm(rank: int, zoo: Client) -> None:
    strings = np.full((1,) * rank, b"x", object)
    body = {"signature_name": "identity_string", "inputs": plain(strings)}
    if rank <= 32:
        assert zoo.run("identity_string", x=strings)["y"].shape == strings.shape
        assert zoo.post(body).json() == {"outputs": body["inputs"]}
        return
    refusal = f"Tensor identity_string_x:0 must have at most 32 dimensions, since it is of strings. Received: {rank}"
    assert failure(lambda: zoo.run("identity_string", x=strings)) == ("INVALID_ARGUMENT", refusal)
    assert zoo.post(body).json() == {"error": refusal}
