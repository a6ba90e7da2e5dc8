"""JSON values <-> arrays, case by case."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from serving.errors import InvalidInput
from serving.server import json_tensor


def objects(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def parsed(text: str | bytes, **dtypes: tf.DType) -> dict[str, np.ndarray]:
    infos = {name: meta_graph_pb2.TensorInfo(dtype=dtype.as_datatype_enum) for name, dtype in dtypes.items()}
    return json_tensor.to_arrays(json_tensor.parse(text if isinstance(text, bytes) else text.encode()), infos)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (3, tf.float32, np.float32(3)),
        ([1, 2.5], tf.float32, np.float32([1, 2.5])),
        (2**24 + 1, tf.float32, np.float32(2**24)),
        ([1e39, -1e39], tf.float32, np.float32([np.inf, -np.inf])),
        ([[1], [2]], tf.int32, np.int32([[1], [2]])),
        ([], tf.float32, np.zeros(0, np.float32)),
        ([[], []], tf.int32, np.zeros((2, 0), np.int32)),
        ([True, False], tf.bool, np.array([True, False])),
        ("é", tf.string, np.array("é".encode(), object)),
        (["a", {"b64": "AAE="}], tf.string, objects(b"a", b"\0\1")),
        ({"b64": "AAE"}, tf.string, np.array(b"\0\1", object)),
        ({"b64": "AA\nE="}, tf.string, np.array(b"\0\1", object)),
        ({"b64": ""}, tf.string, np.array(b"", object)),
        ([], tf.string, objects()),
    ],
)
def test_value_becomes_an_array(value: Any, dtype: tf.DType, expected: np.ndarray) -> None:
    array = json_tensor.to_array(value, dtype)
    assert (array.dtype, array.shape, array.tolist()) == (expected.dtype, expected.shape, expected.tolist())


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ("x", tf.float32, 'JSON Value: "x" Type: String is not of expected type: float'),
        (True, tf.float32, "JSON Value: true Type: True is not of expected type: float"),
        (None, tf.int32, "JSON Value: null Type: Null is not of expected type: int32"),
        (1.0, tf.int32, "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        (True, tf.int32, "JSON Value: true Type: True is not of expected type: int32"),
        (2**31, tf.int32, "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        (1, tf.bool, "JSON Value: 1 Type: Number is not of expected type: bool"),
        (1, tf.string, "JSON Value: 1 Type: Number is not of expected type: string"),
        ({"a": 1}, tf.int32, 'JSON Value: {"a": 1} Type: Object is not of expected type: int32'),
        ({"b64": 1}, tf.string, 'JSON Value: {"b64": 1} Type: Object is not of expected type: string'),
        (
            {"b64": "", "x": 1},
            tf.string,
            'JSON Value: {"b64": "", "x": 1} Type: Object is not of expected type: string',
        ),
        ({"b64": "?"}, tf.string, "Unable to base64 decode"),
        ({"b64": "AA-_"}, tf.string, "Unable to base64 decode"),
        ({"b64": "é"}, tf.string, "Unable to base64 decode"),
        ("\ud800", tf.string, "JSON Parse error: The surrogate pair in string is invalid."),
        ([[1], 2], tf.int32, "JSON Value: [1] Type: Array is not of expected type: int32"),
        ([1, [2]], tf.int32, "JSON Value: [2] Type: Array is not of expected type: int32"),
        ([["a"], ["b", "c"]], tf.string, 'JSON Value: ["a"] Type: Array is not of expected type: string'),
        ("x" * 1000, tf.float32, 'JSON Value: "' + "x" * 127 + "... Type: String is not of expected type: float"),
    ],
)
def test_value_is_refused(value: Any, dtype: tf.DType, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        json_tensor.to_array(value, dtype)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "dtypes", "expected"),
    [
        ('{"instances": [1, 2]}', {"x": tf.float32}, {"x": [1, 2]}),
        ('{"instances": [{"x": 1}, {"x": 2}]}', {"x": tf.float32}, {"x": [1, 2]}),
        ('{"instances": [{"b64": "AA=="}]}', {"x": tf.string}, {"x": [b"\0"]}),
        ('{"instances": [{"b64": 1}]}', {"b64": tf.int32}, {"b64": [1]}),
        (
            '{"instances": [{"x": [1], "y": 3}, {"x": [2], "y": 4}]}',
            {"x": tf.float32, "y": tf.int32},
            {"x": [[1], [2]], "y": [3, 4]},
        ),
        ('{"inputs": 1}', {"x": tf.float32}, {"x": 1}),
        ('{"inputs": {"b64": "AA=="}}', {"x": tf.string}, {"x": b"\0"}),
        ('{"inputs": {"x": [1]}}', {"x": tf.float32}, {"x": [1]}),
        ('{"inputs": {"x": 1, "y": [[2]], "more": 0}}', {"x": tf.float32, "y": tf.int32}, {"x": 1, "y": [[2]]}),
        ('  {"inputs": 1, "unknown": {}} trailing', {"x": tf.float32}, {"x": 1}),
        (b"\xef\xbb\xbf" + b'{"inputs": 1}', {"x": tf.float32}, {"x": 1}),
        (b'{"inputs": "\xff"}', {"x": tf.string}, {"x": b"\xff"}),
    ],
)
def test_body_is_read(text: str | bytes, dtypes: dict[str, tf.DType], expected: dict[str, Any]) -> None:
    assert {name: array.tolist() for name, array in parsed(text, **dtypes).items()} == expected


X, XY = {"x": tf.float32}, {"x": tf.float32, "y": tf.float32}


@pytest.mark.parametrize(
    ("text", "dtypes", "message"),
    [
        ("", X, "JSON Parse error: The document is empty"),
        (" \n", X, "JSON Parse error: The document is empty"),
        ("{", X, "JSON Parse error: .* at offset: 1"),
        ("[1]", X, r"JSON Value: \[1\] Is not object"),
        ("[" * 100_000, X, "JSON Parse error: "),
        ('{"signature_name": 1}', X, "'signature_name' key must be a string value"),
        ("{}", X, "must have one of the keys 'inputs' and 'instances'"),
        ('{"inputs": 1, "instances": [1]}', X, "must have one of the keys 'inputs' and 'instances'"),
        ('{"inputs": 1}', {}, "Failed to get input map for signature: DEFAULT"),
        ('{"instances": 1}', X, "JSON Value: 1 Excepting 'instances' to be an list/array"),
        ('{"instances": []}', X, "No values in 'instances' array"),
        ('{"instances": [1]}', XY, "expecting an object as multiple input tensors required"),
        ('{"instances": [{"x": 1}, 2]}', X, "Expecting object but got list at item 1 of input list"),
        ('{"instances": [1, {"x": 2}]}', X, "Expecting value/list but got object at item 1 of input list"),
        ('{"instances": [{"x": 1}]}', XY, "keys must be equal to: x,y"),
        ('{"instances": [{"x": 1, "z": 2}]}', X, "keys must be equal to: x"),
        ('{"instances": [1, "a"]}', X, 'JSON Value: "a" Type: String is not of expected type: float'),
        ('{"instances": [{"x": [1]}, {"x": [1, 2]}]}', X, r"JSON Value: \[1\] Type: Array is not of expected type"),
        ('{"inputs": 1}', XY, "inputs is a plain value/list, but expecting an object"),
        ('{"inputs": {"x": 1}}', XY, "Missing named input: y in 'inputs' object."),
    ],
)
def test_body_is_refused(text: str, dtypes: dict[str, tf.DType], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parsed(text, **dtypes)


@pytest.mark.parametrize(
    ("outputs", "row_format", "text"),
    [
        ({"y": np.float32(0.1)}, False, '{"outputs": 0.1}'),
        ({"y": np.float32([3, 1e-5, np.nan, -np.inf])}, True, '{"predictions": [3.0, 1e-05, NaN, -Infinity]}'),
        ({"y": np.zeros((0, 2), np.float32)}, True, '{"predictions": []}'),
        ({"y": objects('é"'.encode())}, True, '{"predictions": ["é\\""]}'),
        ({"y_bytes": objects(b"\0\1", b"")}, True, '{"predictions": [{"b64": "AAE="}, {"b64": ""}]}'),
        ({"b": np.int32([1, 2]), "a": np.int32([3, 4])}, True, '{"predictions": [{"a": 3, "b": 1}, {"a": 4, "b": 2}]}'),
        ({"b": np.int32(1), "a": np.int32([3, 4])}, False, '{"outputs": {"a": [3, 4], "b": 1}}'),
    ],
)
def test_arrays_become_json(outputs: dict[str, np.ndarray], row_format: bool, text: str) -> None:
    assert json_tensor.to_json(outputs, row_format).decode() == text


def test_text_output_that_is_no_utf8_goes_out_as_its_bytes() -> None:
    assert json_tensor.to_json({"y": objects(b"\xff")}, True) == b'{"predictions": ["\xff"]}'


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"y": np.float32(1)}, "Tensor name: y has no shape information"),
        (
            {"y": np.float32([1]), "z": np.float32([1, 2])},
            "Tensor name: z has inconsistent batch size: 2 expecting batch size: 1",
        ),
    ],
)
def test_arrays_that_are_no_rows(outputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        json_tensor.to_json(outputs, row_format=True)


def test_every_float_survives_the_text() -> None:
    array = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32)
    array = array[np.isfinite(array)]
    values = json.loads(json_tensor.to_json({"y": array}, row_format=True))["predictions"]
    assert np.float32(values).tolist() == array.tolist()


def test_large_picture_is_read_fast() -> None:
    picture = bytes(range(256)) * (30 * 4096)  # 31 MB, 42 MB as base64
    body = json.dumps({"instances": [{"b64": base64.b64encode(picture).decode()}]}).encode()
    started = time.monotonic()
    assert parsed(body, x=tf.string)["x"][0] == picture
    assert time.monotonic() - started < 5  # 0.3 s on an idle machine; quadratic work would take minutes
