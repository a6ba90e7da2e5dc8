"""JSON values <-> arrays, one tensor at a time: shapes, types and strings, as TensorFlow Serving reads and writes them.

A string tensor takes JSON strings (their UTF-8 bytes) and {"b64": ...}; an output whose name ends in `_bytes` is sent
as {"b64": ...}. NaN, Infinity and -Infinity are numbers both ways.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2

from serving.errors import InvalidInput, ServingFailed
from serving.server.tensor_proto import Array, dtype_name

BYTES_SUFFIX = "_bytes"
MAX_RANK = 64  # NumPy's limit
MAX_QUOTED = 128  # how much of a wrong value an error repeats, in characters

# The bytes of a body that are no UTF-8 survive in strings, as they do in TensorFlow Serving, which does not check.
ENCODING_ERRORS = "surrogateescape"

# dtype -> what NumPy calls it
_FLOATS: dict[int, Any] = {types_pb2.DT_FLOAT: np.float32, types_pb2.DT_DOUBLE: np.float64}
_INTEGERS: dict[int, Any] = {
    types_pb2.DT_INT8: np.int8,
    types_pb2.DT_UINT8: np.uint8,
    types_pb2.DT_INT16: np.int16,
    types_pb2.DT_INT32: np.int32,
    types_pb2.DT_UINT32: np.uint32,
    types_pb2.DT_INT64: np.int64,
    types_pb2.DT_UINT64: np.uint64,
}
_JSON_TYPES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}


def to_array(value: Any, dtype: int) -> Array:
    """Returns a scalar or an evenly nested list as an array.

    Args:
      value: what the JSON parser made: lists, strings, numbers, booleans, {"b64": ...} objects.
      dtype: TensorFlow's number of the dtype.

    Raises:
      InvalidInput: uneven nesting, or an element of another type.
      ServingFailed: UNIMPLEMENTED, the dtype cannot be written in JSON.
    """
    shape: list[int] = []
    leaves = [value]
    # Level by level instead of by recursion: no depth of nesting can exhaust the stack, and lists flatten in C.
    while leaves and isinstance(leaves[0], list):
        size = len(leaves[0])
        for item in leaves:
            if not isinstance(item, list):
                raise _level_error(item, len(shape), _rank(leaves[0]) + len(shape))
            if len(item) != size:
                raise InvalidInput(
                    f"Encountered list at unexpected size: {len(item)} at level: {len(shape)} expected size: {size}"
                )
        shape.append(size)
        leaves = list(chain.from_iterable(leaves))
    if len(shape) > MAX_RANK:
        raise InvalidInput(f"Encountered list at unexpected level: {MAX_RANK} expected < {MAX_RANK}")
    for item in leaves:
        if isinstance(item, list):
            raise InvalidInput(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return _convert(leaves, dtype).reshape(shape)


def to_value(name: str, array: Array) -> Any:
    """Returns an array as what json.dumps takes.

    Args:
      name: the output's name; one that ends in `_bytes` holds bytes, other strings are text.
      array: strings as an object array of bytes.

    Raises:
      ServingFailed: UNIMPLEMENTED, the dtype cannot be written in JSON.
    """
    if array.dtype == object:
        flat: list[Any] = array.reshape(-1).tolist()
        if name.endswith(BYTES_SUFFIX):
            texts: Iterable[Any] = ({"b64": base64.b64encode(item).decode("ascii")} for item in flat)
        else:
            texts = (item.decode("utf-8", ENCODING_ERRORS) for item in flat)
        return _nest(list(texts), array.shape)
    if array.dtype == np.float32:
        # Through text, so that 0.1 does not become 0.10000000149011612.
        return np.array([float(str(item)) for item in array.reshape(-1)]).reshape(array.shape).tolist()
    if array.dtype in (np.float64, np.bool_) or array.dtype in _INTEGERS.values():
        return array.tolist()
    raise ServingFailed(f"Failed to write JSON value for tensor: {name} of type: {array.dtype.name}", "UNIMPLEMENTED")


def is_base64(value: Any) -> bool:
    """Whether a JSON value is an encoded string: an object with that one key."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def to_bytes(leaf: Any) -> bytes:
    """Returns what a JSON string, or a {"b64": ...} object, stands for.

    Raises:
      InvalidInput: it is neither, or damaged.
    """
    if isinstance(leaf, str):
        try:
            return leaf.encode("utf-8", ENCODING_ERRORS)
        except UnicodeEncodeError:
            raise InvalidInput("JSON Parse error: The surrogate pair in string is invalid.") from None
    if not isinstance(leaf, dict):
        raise _type_error(leaf, types_pb2.DT_STRING)
    if not is_base64(leaf):
        raise InvalidInput(f"JSON Value: {quote(leaf)} not formatted correctly for base64 data")
    text = leaf["b64"]
    try:
        return _from_base64(text)
    except ValueError:
        try:
            return _from_base64("".join(text.split()))  # line breaks are allowed, and rare
        except ValueError:
            raise InvalidInput("Unable to base64 decode") from None


def type_name(value: Any) -> str:
    """Returns what TensorFlow Serving calls the type of a JSON value."""
    return str(value) if isinstance(value, bool) else _JSON_TYPES[type(value)]


def quote(value: Any) -> str:
    """Returns a JSON value for an error text, cut after MAX_QUOTED characters; a large one is not written whole."""
    text = ""
    for piece in json.JSONEncoder(ensure_ascii=False).iterencode(_shorten(value)):
        text += piece
        if len(text) > MAX_QUOTED:
            return text[:MAX_QUOTED] + "..."
    return text


def _convert(leaves: list[Any], dtype: int) -> Array:
    """Returns the elements of a tensor as a flat array."""
    if dtype == types_pb2.DT_STRING:
        array = np.empty(len(leaves), dtype=object)
        array[:] = [to_bytes(leaf) for leaf in leaves]
        return array
    if dtype == types_pb2.DT_BOOL:
        _check_types(leaves, {bool}, dtype)
        return np.array(leaves, dtype=np.bool_)
    if dtype in _FLOATS:
        _check_types(leaves, {int, float}, dtype)
        return _floats(leaves, dtype)
    if dtype in _INTEGERS:
        # 1.0 is no integer here, as in TensorFlow Serving.
        _check_types(leaves, {int}, dtype)
        limits = np.iinfo(_INTEGERS[dtype])
        if leaves and (min(leaves) < limits.min or max(leaves) > limits.max):
            raise _type_error(next(leaf for leaf in leaves if not limits.min <= leaf <= limits.max), dtype)
        return np.array(leaves, dtype=_INTEGERS[dtype])
    sample = quote(leaves[0]) if leaves else "[]"
    raise ServingFailed(f"Conversion of JSON Value: {sample} to type: {dtype_name(dtype)}", "UNIMPLEMENTED")


def _floats(leaves: list[Any], dtype: int) -> Array:
    """Returns numbers as floats; a value that the dtype cannot hold is an error, not an infinity."""
    kind = _FLOATS[dtype]
    # An integer token must be exact. One beyond 64 bits is a decimal to TensorFlow Serving's parser.
    exact = 2 ** (np.finfo(kind).nmant + 1) - 1
    largest = float(np.finfo(kind).max)
    for leaf in leaves:
        inexact = type(leaf) is int and exact < abs(leaf) < 2**64
        if inexact or (largest < abs(leaf) and leaf not in (np.inf, -np.inf)):
            raise InvalidInput(
                f"Cannot convert JSON value: {quote(leaf)} to {dtype_name(dtype)} without loss of precision."
            )
    return np.array(leaves, dtype=kind)


def _from_base64(text: str) -> bytes:
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)  # padding may be left out


def _nest(flat: list[Any], shape: tuple[int, ...]) -> Any:
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape).tolist()


def _check_types(leaves: list[Any], allowed: set[type], dtype: int) -> None:
    if not set(map(type, leaves)) <= allowed:
        raise _type_error(next(leaf for leaf in leaves if type(leaf) not in allowed), dtype)


def _type_error(value: Any, dtype: int) -> InvalidInput:
    kind = type_name(value)
    return InvalidInput(f"JSON Value: {quote(value)} Type: {kind} is not of expected type: {dtype_name(dtype)}")


def _level_error(value: Any, level: int, rank: int) -> InvalidInput:
    return InvalidInput(
        f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}"
    )


def _rank(value: Any) -> int:
    rank = 0
    while isinstance(value, list):
        rank += 1
        value = value[0] if value else None
    return rank


def _shorten(value: Any, depth: int = 8) -> Any:
    """Returns a value with long strings cut and long or deep lists thinned."""
    if isinstance(value, str):
        return value[: MAX_QUOTED + 1]
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 1024:
        return "(a huge integer)"
    if isinstance(value, (list, dict)) and depth == 0:
        return "..."
    if isinstance(value, list):
        return [_shorten(item, depth - 1) for item in value[:MAX_QUOTED]]
    if isinstance(value, dict):
        return {_shorten(key): _shorten(value[key], depth - 1) for key in list(value)[:MAX_QUOTED]}
    return value
