"""JSON values <-> arrays, case by case."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.errors import InvalidInput, ServingFailed
from serving.server import json_tensor, json_values

FLOAT, DOUBLE, INT8, INT32 = types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_INT8, types_pb2.DT_INT32
INT64, UINT64, BOOL, STRING = types_pb2.DT_INT64, types_pb2.DT_UINT64, types_pb2.DT_BOOL, types_pb2.DT_STRING


def infos(**dtypes: int) -> dict[str, meta_graph_pb2.TensorInfo]:
    return {name: meta_graph_pb2.TensorInfo(dtype=dtype) for name, dtype in dtypes.items()}


def objects(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def parsed(text: str | bytes, **dtypes: int) -> dict[str, np.ndarray]:
    body = text if isinstance(text, bytes) else text.encode()
    return json_tensor.tensors_of(json_tensor.parse_body(body), infos(**dtypes))


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (3, FLOAT, np.float32(3)),
        (0.1, DOUBLE, np.float64(0.1)),
        ([1, 2.5], FLOAT, np.float32([1, 2.5])),
        ([[1], [2]], INT32, np.int32([[1], [2]])),
        ([], FLOAT, np.zeros(0, np.float32)),
        ([[], []], INT32, np.zeros((2, 0), np.int32)),
        ([True, False], BOOL, np.array([True, False])),
        ([-128, 127], INT8, np.int8([-128, 127])),
        (2**64 - 1, UINT64, np.uint64(2**64 - 1)),
        (-(2**63), INT64, np.int64(-(2**63))),
        (2**24 - 1, FLOAT, np.float32(2**24 - 1)),
        (2**70, FLOAT, np.float32(2.0**70)),
        ("é", STRING, np.array("é".encode(), dtype=object)),
        (["a", {"b64": "AAE="}], STRING, objects(b"a", b"\0\1")),
        ({"b64": "AAE"}, STRING, np.array(b"\0\1", dtype=object)),
        ({"b64": "AA\nE="}, STRING, np.array(b"\0\1", dtype=object)),
        ({"b64": ""}, STRING, np.array(b"", dtype=object)),
        ([{"b64": "AAAA"}], STRING, objects(b"\0\0\0")),
    ],
)
def test_value_becomes_array(value: Any, dtype: int, expected: np.ndarray) -> None:
    array = json_values.to_array(value, dtype)
    assert array.dtype == np.asarray(expected).dtype
    assert array.shape == np.shape(expected)
    assert array.tolist() == np.asarray(expected).tolist()


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ("x", FLOAT, 'JSON Value: "x" Type: String is not of expected type: float'),
        (True, FLOAT, "JSON Value: true Type: True is not of expected type: float"),
        (None, INT32, "JSON Value: null Type: Null is not of expected type: int32"),
        (1.0, INT32, "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        (True, INT32, "JSON Value: true Type: True is not of expected type: int32"),
        (128, INT8, "JSON Value: 128 Type: Number is not of expected type: int8"),
        (2**63, INT64, f"JSON Value: {2**63} Type: Number is not of expected type: int64"),
        (1, BOOL, "JSON Value: 1 Type: Number is not of expected type: bool"),
        (1, STRING, "JSON Value: 1 Type: Number is not of expected type: string"),
        ({"a": 1}, INT32, 'JSON Value: {"a": 1} Type: Object is not of expected type: int32'),
        (2**24, FLOAT, f"Cannot convert JSON value: {2**24} to float without loss of precision."),
        (1e39, FLOAT, "Cannot convert JSON value: 1e+39 to float without loss of precision."),
        (10**400, FLOAT, 'Cannot convert JSON value: "(a huge integer)" to float without loss of precision.'),
        ({"b64": "?"}, STRING, "Unable to base64 decode"),
        ({"b64": "AA-_"}, STRING, "Unable to base64 decode"),
        ({"b64": "é"}, STRING, "Unable to base64 decode"),
        ({"b64": 1}, STRING, 'JSON Value: {"b64": 1} not formatted correctly for base64 data'),
        ({"b64": "", "x": 1}, STRING, 'JSON Value: {"b64": "", "x": 1} not formatted correctly for base64 data'),
        ("\ud800", STRING, "JSON Parse error: The surrogate pair in string is invalid."),
        ([[1], 2], INT32, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([1, [2]], INT32, "Encountered list at unexpected level: 1 expected < 1"),
        ([[1], [2, 3]], INT32, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ("x" * 1000, FLOAT, 'JSON Value: "' + "x" * 127 + "... Type: String is not of expected type: float"),
    ],
)
def test_value_is_refused(value: Any, dtype: int, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        json_values.to_array(value, dtype)
    assert str(caught.value) == message


def test_too_many_dimensions_are_refused() -> None:
    value: Any = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(InvalidInput, match="unexpected level"):
        json_values.to_array(value, INT32)


@pytest.mark.parametrize("dtype", [types_pb2.DT_HALF, types_pb2.DT_BFLOAT16, types_pb2.DT_COMPLEX64])
def test_dtype_without_json_form_is_unimplemented(dtype: int) -> None:
    with pytest.raises(ServingFailed, match=r"Conversion of JSON Value: 1 to type: ") as caught:
        json_values.to_array([1], dtype)
    assert caught.value.code == "UNIMPLEMENTED"


def test_numbers_that_json_does_not_know() -> None:
    array = parsed('{"inputs": [NaN, Infinity, -Infinity, 1e400]}', x=FLOAT)["x"]
    assert np.isnan(array[0])
    assert array[1:].tolist() == [np.inf, -np.inf, np.inf]


@pytest.mark.parametrize(
    ("text", "dtypes", "expected"),
    [
        ('{"instances": [1, 2]}', {"x": FLOAT}, {"x": [1, 2]}),
        ('{"instances": [{"x": 1}, {"x": 2}]}', {"x": FLOAT}, {"x": [1, 2]}),
        ('{"instances": [{"b64": "AA=="}]}', {"x": STRING}, {"x": [b"\0"]}),
        ('{"instances": [{"b64": 1}]}', {"b64": INT32}, {"b64": [1]}),
        (
            '{"instances": [{"x": [1], "y": 3}, {"x": [2], "y": 4}]}',
            {"x": FLOAT, "y": INT32},
            {"x": [[1], [2]], "y": [3, 4]},
        ),
        ('{"inputs": 1}', {"x": FLOAT}, {"x": 1}),
        ('{"inputs": {"b64": "AA=="}}', {"x": STRING}, {"x": b"\0"}),
        ('{"inputs": {"x": [1]}}', {"x": FLOAT}, {"x": [1]}),
        ('{"inputs": {"x": 1, "y": [[2], [3]], "more": 0}}', {"x": FLOAT, "y": INT32}, {"x": 1, "y": [[2], [3]]}),
        ('  {"inputs": 1, "unknown": {}} trailing', {"x": FLOAT}, {"x": 1}),
        (b"\xef\xbb\xbf" + b'{"inputs": 1}', {"x": FLOAT}, {"x": 1}),
        (b'{"inputs": "\xff"}', {"x": STRING}, {"x": b"\xff"}),
    ],
)
def test_body_is_read(text: str | bytes, dtypes: dict[str, int], expected: dict[str, Any]) -> None:
    assert {name: array.tolist() for name, array in parsed(text, **dtypes).items()} == expected


@pytest.mark.parametrize(
    ("text", "dtypes", "message"),
    [
        ("", {"x": FLOAT}, "JSON Parse error: The document is empty"),
        (" \n", {"x": FLOAT}, "JSON Parse error: The document is empty"),
        ("{", {"x": FLOAT}, "JSON Parse error: .* at offset: 1"),
        ("[1]", {"x": FLOAT}, r"JSON Value: \[1\] Is not object"),
        ("[" * 100_000, {"x": FLOAT}, "JSON Parse error: "),
        ('{"inputs": ' + "9" * 5000 + "}", {"x": FLOAT}, "JSON Parse error: "),
        ('{"signature_name": 1}', {"x": FLOAT}, "'signature_name' key must be a string value"),
        ("{}", {"x": FLOAT}, "Missing 'inputs' or 'instances' key"),
        ('{"inputs": 1, "instances": [1]}', {"x": FLOAT}, "expecting only one of 'inputs' or 'instances'"),
        ('{"inputs": 1}', {}, "Failed to get input map for signature: DEFAULT"),
        ('{"instances": 1}', {"x": FLOAT}, "JSON Value: 1 Excepting 'instances' to be an list/array"),
        ('{"instances": []}', {"x": FLOAT}, "No values in 'instances' array"),
        ('{"instances": [1]}', {"x": FLOAT, "y": FLOAT}, "instances is a plain list, but expecting list of objects"),
        ('{"instances": [{"x": 1}, 2]}', {"x": FLOAT}, "Expecting object but got list at item 1 of input list"),
        ('{"instances": [1, {"x": 2}]}', {"x": FLOAT}, "Expecting value/list but got object at item 1 of input list"),
        ('{"instances": [{"x": 1}]}', {"x": FLOAT, "y": FLOAT}, "keys must be equal to: x,y"),
        ('{"instances": [{"x": 1, "z": 2}]}', {"x": FLOAT}, "keys must be equal to: x"),
        (
            '{"instances": [1, "a"]}',
            {"x": FLOAT},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value",
        ),
        (
            '{"instances": [{"x": [1]}, {"x": [1, 2]}]}',
            {"x": FLOAT},
            r"element: 1 key: x .* Expecting shape \[1\] but got: \[2\]",
        ),
        ('{"inputs": 1}', {"x": FLOAT, "y": FLOAT}, "inputs is a plain value/list, but expecting an object"),
        ('{"inputs": {"x": 1}}', {"x": FLOAT, "y": FLOAT}, "Missing named input: y in 'inputs' object."),
    ],
)
def test_body_is_refused(text: str, dtypes: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parsed(text, **dtypes)


@pytest.mark.parametrize(
    ("outputs", "row_format", "text"),
    [
        ({"y": np.float32(0.1)}, False, '{"outputs": 0.1}'),
        (
            {"y": np.float32([3, 1e-5, np.nan, np.inf, -np.inf])},
            True,
            '{"predictions": [3.0, 1e-05, NaN, Infinity, -Infinity]}',
        ),
        ({"y": np.float64([[0.1]])}, True, '{"predictions": [[0.1]]}'),
        ({"y": np.array([True])}, True, '{"predictions": [true]}'),
        ({"y": np.uint64([2**64 - 1])}, True, f'{{"predictions": [{2**64 - 1}]}}'),
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
        ({}, "Cannot convert empty tensor map to JSON"),
    ],
)
def test_arrays_that_are_no_rows(outputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        json_tensor.to_json(outputs, row_format=True)


def test_half_cannot_be_written() -> None:
    with pytest.raises(ServingFailed, match="Failed to write JSON value"):
        json_tensor.to_json({"y": np.float16([1])}, row_format=True)


def test_every_float_survives_the_text() -> None:
    array = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32)
    array = array[np.isfinite(array)]
    values = json.loads(json_tensor.to_json({"y": array}, row_format=True))["predictions"]
    assert np.float32(values).tolist() == array.tolist()


def test_large_picture_is_read_fast() -> None:
    picture = bytes(range(256)) * (30 * 4096)  # 31 MB, 42 MB as base64
    body = json.dumps({"instances": [{"b64": base64.b64encode(picture).decode()}]}).encode()
    started = time.monotonic()
    assert parsed(body, x=STRING)["x"][0] == picture
    assert time.monotonic() - started < 5  # 0.3 s on an idle machine; quadratic work would take minutes
