"""JSON bodies <-> arrays: what is read, what is refused in which words, and what is written."""

import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from serving.errors import InvalidInput, ServingFailed
from serving.server import json_tensor

F, I, B, S = tf.float32, tf.int32, tf.bool, tf.string  # noqa: E741
X, XY = {"x": F}, {"x": F, "y": I}
DEEP = {depth: "[" * depth + "1" + "]" * depth for depth in (900, 100_000)}


def parsed(text: str | bytes, **dtypes: tf.DType) -> dict[str, np.ndarray]:
    infos = {name: meta_graph_pb2.TensorInfo(dtype=dtype.as_datatype_enum) for name, dtype in dtypes.items()}
    return json_tensor.to_arrays(json_tensor.parse(text if isinstance(text, bytes) else text.encode()), infos)


@pytest.mark.parametrize(
    ("text", "dtypes", "expected"),
    [
        ('{"instances": [{"x": 1}, {"x": 2}]}', X, {"x": [1, 2]}),
        ('{"instances": [{"b64": "AA=="}]}', {"x": S}, {"x": [b"\0"]}),
        ('{"instances": [{"b64": 1}]}', {"b64": I}, {"b64": [1]}),
        ('{"instances": [{"x": [1], "y": 3}, {"x": [2], "y": 4}]}', XY, {"x": [[1], [2]], "y": [3, 4]}),
        ('{"inputs": {"x": 1, "y": [[2]], "more": 0}}', XY, {"x": 1, "y": [[2]]}),
        ('  {"inputs": 1, "unknown": {}} trailing', X, {"x": 1}),
        (b'\xef\xbb\xbf{"inputs": 1}', X, {"x": 1}),
        ('{"inputs": [[], []]}', X, {"x": [[], []]}),
        ('{"inputs": ["\\u0000\\n", "é", "😀"]}', {"x": S}, {"x": [b"\0\n", "é".encode(), "😀".encode()]}),
        ('{"inputs": ["a", {"b64": "AAE="}, {"b64": "AAE"}, {"b64": "AA\\nE="}, {"b64": ""}]}', {"x": S},
         {"x": [b"a", b"\0\1", b"\0\1", b"\0\1", b""]}),
        (f'{{"inputs": [16777217, 1e39, -1e39, {10**400}]}}', X, {"x": [2**24, np.inf, -np.inf, np.inf]}),
        ('{"inputs": [0, 18446744073709551615]}', {"x": tf.uint64}, {"x": [0, 2**64 - 1]}),
        ('{"inputs": [true, false]}', {"x": B}, {"x": [True, False]}),
    ],
)  # fmt: skip
def test_body_is_read(text: str | bytes, dtypes: dict[str, tf.DType], expected: dict[str, Any]) -> None:
    assert {name: array.tolist() for name, array in parsed(text, **dtypes).items()} == expected


@pytest.mark.parametrize(
    ("text", "dtypes", "message"),
    [
        (b'{"inputs": "\xff"}', {"x": S}, "JSON Parse error: "),
        ("[1]", X, "JSON Value: [1] Is not object"),
        (DEEP[100_000], X, "JSON Parse error: "),
        (f'{{"inputs": {DEEP[900]}}}', X, "Type: Array is not of expected type: float"),
        ('{"signature_name": 1}', X, "'signature_name' key must be a string value"),
        ('{"inputs": 1, "instances": [1]}', X, "must have one of the keys 'inputs' and 'instances'"),
        ('{"inputs": 1}', {}, "Failed to get input map for signature: DEFAULT"),
        ('{"instances": 1}', X, "JSON Value: 1 Excepting 'instances' to be an list/array"),
        ('{"instances": []}', X, "No values in 'instances' array"),
        ('{"instances": [{"x": 1}, 2]}', X, "Expecting object but got list at item 1 of input list"),
        ('{"instances": [1, {"x": 2}]}', X, "Expecting value/list but got object at item 1 of input list"),
        ('{"instances": [{"x": 1}]}', XY, "keys must be equal to: x,y"),
        ('{"inputs": 1}', XY, "inputs is a plain value/list, but expecting an object"),
        ('{"inputs": {"x": 1}}', XY, "Missing named input: y in 'inputs' object."),
        ('{"inputs": {"b64": "AA-_"}}', {"x": S}, "Unable to base64 decode"),
        ('{"inputs": "\\ud800"}', {"x": S}, "The surrogate pair in string is invalid."),
        ('{"inputs": true}', X, "JSON Value: true Type: True is not of expected type: float"),
        ('{"inputs": 1.0}', {"x": I}, "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ('{"inputs": -1}', {"x": tf.uint64}, "JSON Value: -1 Type: Number is not of expected type: uint64"),
        ('{"inputs": 1}', {"x": B}, "JSON Value: 1 Type: Number is not of expected type: bool"),
        ('{"inputs": [{"b64": "", "x": 1}]}', {"x": S}, '{"b64": "", "x": 1} Type: Object is not of expected type: st'),
        ('{"inputs": [[1], 2]}', {"x": I}, "JSON Value: [1] Type: Array is not of expected type: int32"),
        (f'{{"inputs": "{"y" * 999}"}}', X, f'JSON Value: "{"y" * 127}... Type: String is not of expected type: float'),
    ],
)
def test_body_is_refused(text: str | bytes, dtypes: dict[str, tf.DType], message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        parsed(text, **dtypes)


def test_dtype_that_json_cannot_hold_is_refused_both_ways() -> None:
    for dtype in (tf.float16, tf.bfloat16, tf.complex64):
        with pytest.raises(ServingFailed, match=f"Conversion of JSON Value: 1 to type: {dtype.name}"):
            parsed('{"inputs": 1}', x=dtype)
        with pytest.raises(ServingFailed, match=f"Failed to write JSON value for tensor: y of type: {dtype.name}"):
            json_tensor.to_json({"y": np.zeros(1, dtype.as_numpy_dtype)}, row_format=True)


def strings(*values: bytes) -> np.ndarray:
    return np.array([*values, None], object)[:-1]


@pytest.mark.parametrize(
    ("outputs", "row_format", "text"),
    [
        ({"y": np.float32(0.1)}, False, '{"outputs": 0.1}'),
        ({"y": np.float32([0.111553155, 1e-5])}, True, '{"predictions": [0.111553155, 1e-05]}'),  # nine digits
        ({"y": np.float32([np.nan, -np.inf])}, True, '{"predictions": [NaN, -Infinity]}'),
        ({"y": np.zeros((0, 2), np.float32)}, True, '{"predictions": []}'),
        ({"y": np.array([True, False])}, True, '{"predictions": [true, false]}'),
        ({"y": strings('é"'.encode(), b"\xff")}, True, '{"predictions": ["é\\"", "\ufffd"]}'),
        ({"y_bytes": strings(b"\0\1", b"")}, True, '{"predictions": [{"b64": "AAE="}, {"b64": ""}]}'),
        ({"b": np.int32([1, 2]), "a": np.int32([3, 4])}, True, '{"predictions": [{"a": 3, "b": 1}, {"a": 4, "b": 2}]}'),
        ({"b": np.int32(1), "a": np.int32([3, 4])}, False, '{"outputs": {"a": [3, 4], "b": 1}}'),
    ],
)  # fmt: skip
def test_arrays_become_json(outputs: dict[str, np.ndarray], row_format: bool, text: str) -> None:
    assert json_tensor.to_json(outputs, row_format).decode() == text
