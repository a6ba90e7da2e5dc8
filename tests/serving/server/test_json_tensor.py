"""JSON values <-> arrays: what is read, what is refused in which words, and what is written."""

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

F, I, B, S = tf.float32, tf.int32, tf.bool, tf.string  # noqa: E741
X, XY = {"x": F}, {"x": F, "y": I}


def parsed(text: str | bytes, **dtypes: tf.DType) -> dict[str, np.ndarray]:
    infos = {name: meta_graph_pb2.TensorInfo(dtype=dtype.as_datatype_enum) for name, dtype in dtypes.items()}
    return json_tensor.to_arrays(json_tensor.parse(text if isinstance(text, bytes) else text.encode()), infos)


@pytest.mark.parametrize(
    ("text", "dtypes", "expected"),
    [
        ('{"instances": [1, 2]}', X, {"x": [1, 2]}),
        ('{"instances": [{"x": 1}, {"x": 2}]}', X, {"x": [1, 2]}),
        ('{"instances": [{"b64": "AA=="}]}', {"x": S}, {"x": [b"\0"]}),
        ('{"instances": [{"b64": 1}]}', {"b64": I}, {"b64": [1]}),
        ('{"instances": [{"x": [1], "y": 3}, {"x": [2], "y": 4}]}', XY, {"x": [[1], [2]], "y": [3, 4]}),
        ('{"inputs": 1}', X, {"x": 1}),
        ('{"inputs": {"b64": "AA=="}}', {"x": S}, {"x": b"\0"}),
        ('{"inputs": {"x": 1, "y": [[2]], "more": 0}}', XY, {"x": 1, "y": [[2]]}),
        ('  {"inputs": 1, "unknown": {}} trailing', X, {"x": 1}),
        (b'\xef\xbb\xbf{"inputs": 1}', X, {"x": 1}),
        (b'{"inputs": "\xff"}', {"x": S}, {"x": b"\xff"}),
        ('{"inputs": [[], []]}', X, {"x": [[], []]}),
        ('{"inputs": ["a", {"b64": "AAE="}, {"b64": "AAE"}, {"b64": "AA\\nE="}, {"b64": ""}]}', {"x": S},
         {"x": [b"a", b"\0\1", b"\0\1", b"\0\1", b""]}),
    ],
)  # fmt: skip
def test_body_is_read(text: str | bytes, dtypes: dict[str, tf.DType], expected: dict[str, Any]) -> None:
    assert {name: array.tolist() for name, array in parsed(text, **dtypes).items()} == expected


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
        ('{"instances": [{"x": 1}, 2]}', X, "Expecting object but got list at item 1 of input list"),
        ('{"instances": [1, {"x": 2}]}', X, "Expecting value/list but got object at item 1 of input list"),
        ('{"instances": [{"x": 1}]}', XY, "keys must be equal to: x,y"),
        ('{"instances": [{"x": 1, "z": 2}]}', X, "keys must be equal to: x"),
        ('{"instances": [1]}', XY, "expecting an object as multiple input tensors required"),
        ('{"inputs": 1}', XY, "inputs is a plain value/list, but expecting an object"),
        ('{"inputs": {"x": 1}}', XY, "Missing named input: y in 'inputs' object."),
    ],
)
def test_body_is_refused(text: str, dtypes: dict[str, tf.DType], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parsed(text, **dtypes)


@pytest.mark.parametrize(
    ("value", "dtype", "quoted", "kind"),
    [
        ("x", F, '"x"', "String"),
        (True, F, "true", "True"),
        (None, I, "null", "Null"),
        (1.0, I, "1.0", "Number"),
        (2**31, I, "2147483648", "Number"),
        (1, B, "1", "Number"),
        (1, S, "1", "Number"),
        ({"b64": "", "x": 1}, S, '{"b64": "", "x": 1}', "Object"),
        ([[1], 2], I, "[1]", "Array"),
        ([1, [2]], I, "[2]", "Array"),
        ([["a"], ["b", "c"]], S, '["a"]', "Array"),
        ("x" * 1000, F, '"' + "x" * 127 + "...", "String"),
    ],
)
def test_value_of_another_type_is_refused(value: Any, dtype: tf.DType, quoted: str, kind: str) -> None:
    expected = {F: "float"}.get(dtype, dtype.name)
    with pytest.raises(InvalidInput) as caught:
        json_tensor.to_array(value, dtype)
    assert str(caught.value) == f"JSON Value: {quoted} Type: {kind} is not of expected type: {expected}"


@pytest.mark.parametrize("value", [{"b64": "?"}, {"b64": "AA-_"}, {"b64": "é"}, "\ud800"])
def test_damaged_string_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"Unable to base64 decode|The surrogate pair in string is invalid\."):
        json_tensor.to_array(value, S)


def objects(*values: bytes) -> np.ndarray:
    return np.array([*values, None], object)[:-1]


@pytest.mark.parametrize(
    ("outputs", "row_format", "text"),
    [
        ({"y": np.float32(0.1)}, False, '{"outputs": 0.1}'),
        ({"y": np.zeros((0, 2), np.float32)}, True, '{"predictions": []}'),
        ({"y": objects('é"'.encode(), b"\xff")}, True, '{"predictions": ["é\\"", "\udcff"]}'),
        ({"y_bytes": objects(b"\0\1", b"")}, True, '{"predictions": [{"b64": "AAE="}, {"b64": ""}]}'),
        ({"b": np.int32([1, 2]), "a": np.int32([3, 4])}, True, '{"predictions": [{"a": 3, "b": 1}, {"a": 4, "b": 2}]}'),
        ({"b": np.int32(1), "a": np.int32([3, 4])}, False, '{"outputs": {"a": [3, 4], "b": 1}}'),
    ],
)
def test_arrays_become_json(outputs: dict[str, np.ndarray], row_format: bool, text: str) -> None:
    assert json_tensor.to_json(outputs, row_format).decode("utf-8", "surrogateescape") == text


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (np.float32(1), "Tensor name: z has no shape information"),
        (np.float32([1, 2]), "Tensor name: z has inconsistent batch size: 2 expecting batch size: 1"),
    ],
)
def test_arrays_that_are_no_rows(second: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        json_tensor.to_json({"y": np.float32([1]), "z": second}, row_format=True)


def test_every_float_survives_the_text() -> None:
    array = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32)
    array = array[np.isfinite(array)]
    values = json.loads(json_tensor.to_json({"y": array}, row_format=True))["predictions"]
    assert np.float32(values).tolist() == array.tolist()


def test_large_picture_is_read_fast() -> None:
    picture = bytes(range(256)) * (30 * 4096)  # 31 MB, 42 MB as base64
    body = json.dumps({"instances": [{"b64": base64.b64encode(picture).decode()}]}).encode()
    started = time.monotonic()
    assert parsed(body, x=S)["x"][0] == picture
    assert time.monotonic() - started < 5  # 0.3 s on an idle machine; quadratic work would take minutes
