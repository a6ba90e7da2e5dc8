"""Bodies of REST predict calls <-> named arrays: TensorFlow Serving's two formats, with its error texts.

A request has `instances` (row format: one element per member of the batch) or `inputs` (columnar: whole tensors). Its
response has `predictions` or `outputs`. A string tensor takes JSON strings (their UTF-8 bytes) and {"b64": ...}; an
output whose name ends in `_bytes` is sent as {"b64": ...}. NaN and Infinity are valid numbers in both directions.
"""

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pybase64
import tensorflow as tf

from serving import wire
from serving.errors import InvalidInput, ServingFailed
from serving.server.servable import Array

MAX_QUOTED = 128  # characters of a wrong value that an error quotes

MAX_VALUES = 1 << 18  # of a body: Python reads them in a tenth of a second, in which the server does nothing else
VALUE_BYTES = 100  # memory of a JSON value, which may take two bytes in a body

# The JSON types for each of NumPy's kinds of dtypes.
_TYPES: dict[str, set[type]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}
_TYPE_NAMES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}
_INTEGER_DIGITS = 20  # longer integers exceed 64 bits; TensorFlow Serving's parser reads them as decimals
_DECODER = json.JSONDecoder(parse_int=lambda text: int(text) if len(text) <= _INTEGER_DIGITS else float(text))


def memory(body: bytes | bytearray) -> int:
    """Returns the memory that a body's values may take, without their text. Too many values raise InvalidInput."""
    values = 0
    for mark in b"[{,:":  # before each value but the first; some are in strings, but few in those of base64
        at = body.find(mark)
        while at >= 0:
            values += 1
            if values > MAX_VALUES:
                raise InvalidInput(
                    f"A body must have at most {MAX_VALUES} values. Received: more. Send pictures as files in base64, "
                    "or tensors over gRPC."
                )
            at = body.find(mark, at + 1)
    return values * VALUE_BYTES


def parse(body: bytes | bytearray) -> dict[str, Any]:
    """Returns the JSON object of a body. As in TensorFlow Serving, text after the object is ignored.

    Raises InvalidInput if the body is not a JSON object, or its `signature_name` is not a string.
    """
    try:
        document, _ = _DECODER.raw_decode(body.decode("utf-8-sig").lstrip())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"JSON Value: {_quote(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise InvalidInput(
            f"JSON Value: {_quote(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document


def to_arrays(document: Mapping[str, Any], infos: Mapping[str, Any]) -> dict[str, Array]:
    """Returns the input arrays of a body by alias; strings as object arrays of bytes.

    Raises InvalidInput if the values do not fit `infos`, the TensorInfos of the signature's inputs, of which REST needs
    all; ServingFailed (UNIMPLEMENTED) if an input's dtype cannot be written in JSON.
    """
    if not infos:
        raise InvalidInput(f"Failed to get input map for signature: {document.get('signature_name') or 'DEFAULT'}")
    if ("instances" in document) == ("inputs" in document):
        raise InvalidInput(f"JSON Value: {_quote(document)} must have one of the keys 'inputs' and 'instances'.")
    columns = _columns_of_rows(document["instances"], infos) if "instances" in document else document["inputs"]
    if not _is_named(columns):
        if len(infos) > 1:
            raise InvalidInput(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        columns = dict.fromkeys(infos, columns)
    for name in sorted(infos):
        if name not in columns:
            raise InvalidInput(f"Missing named input: {name} in 'inputs' object.")
    return {name: _to_array(columns[name], tf.as_dtype(info.dtype)) for name, info in infos.items()}


def to_json(outputs: Mapping[str, Array], row_format: bool) -> bytes:
    """Returns the body of a predict response; strings in `outputs` are object arrays of bytes.

    In row format, for a request with `instances`, all outputs must have the same first dimension. Raises ServingFailed
    (UNIMPLEMENTED) if an output's dtype cannot be written in JSON.
    """
    values = {name: _to_value(name, array) for name, array in sorted(outputs.items())}
    document: Any = next(iter(values.values())) if len(values) == 1 else values
    if row_format and len(values) > 1:
        document = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return wire.to_json({"predictions" if row_format else "outputs": document})


def error_body(message: str) -> bytes:
    """Returns the body of every failed call: exactly {"error": message}."""
    return json.dumps({"error": message}, ensure_ascii=False).encode("utf-8", "replace")


def _columns_of_rows(rows: Any, infos: Mapping[str, Any]) -> Any:
    """Returns the values of `instances` in the form of `inputs`."""
    if not isinstance(rows, list):
        raise InvalidInput(f"JSON Value: {_quote(rows)} Excepting 'instances' to be an list/array")
    if not rows:
        raise InvalidInput("JSON Value: [] No values in 'instances' array")
    named = _is_named(rows[0])
    for index, row in enumerate(rows):
        if _is_named(row) != named:
            got = "Expecting object but got list" if named else "Expecting value/list but got object"
            raise InvalidInput(f"{got} at item {index} of input list")
        if named and row.keys() != set(infos):
            raise InvalidInput(
                f"Failed to process element: {index} of 'instances' list. JSON object: {_quote(row)} keys must be "
                f"equal to: {','.join(sorted(infos))}"
            )
    return {name: [row[name] for row in rows] for name in infos} if named else rows


def _to_array(value: Any, dtype: tf.DType) -> Array:
    """Returns a scalar or an evenly nested list as an array."""
    leaves = np.array(value, dtype=object)  # with uneven nesting some elements are lists, and refused below
    target = np.dtype(dtype.as_numpy_dtype)
    if dtype == tf.string:
        return _each(_to_bytes, leaves)
    if target.kind not in _TYPES or target == np.float16:
        raise ServingFailed(f"Conversion of JSON Value: {_quote(value)} to type: {dtype.name}", "UNIMPLEMENTED")
    limits = np.iinfo(target) if target.kind in "iu" else None
    for leaf in leaves.reshape(-1):  # 1.0 is not an integer, True is not a number
        if type(leaf) not in _TYPES[target.kind] or (limits is not None and not limits.min <= leaf <= limits.max):
            raise _type_error(leaf, dtype)
    with np.errstate(over="ignore"):  # a float beyond the dtype's range becomes infinite
        return leaves.astype(target)


def _to_bytes(leaf: Any) -> bytes:
    """Returns the bytes of a JSON string or a {"b64": ...} object."""
    if isinstance(leaf, str):
        try:
            return leaf.encode()
        except UnicodeEncodeError:
            raise InvalidInput("JSON Parse error: The surrogate pair in string is invalid.") from None
    if not _is_base64(leaf):
        raise _type_error(leaf, tf.string)
    text = "".join(leaf["b64"].split())  # line breaks are allowed
    try:
        return pybase64.b64decode(text + "=" * (-len(text) % 4), validate=True)  # padding may be left out
    except ValueError:
        raise InvalidInput("Unable to base64 decode") from None


def _to_value(name: str, array: Array) -> Any:
    if array.dtype.kind not in ("O", *_TYPES) or array.dtype == np.float16:
        kind = array.dtype.name
        raise ServingFailed(f"Failed to write JSON value for tensor: {name} of type: {kind}", "UNIMPLEMENTED")
    if array.dtype == object and not name.endswith("_bytes"):
        array = _each(lambda item: item.decode("utf-8", "replace"), array)
    elif array.dtype == np.float32:
        array = array.astype(str).astype(float)  # 0.1, not 0.10000000149011612
    return array.tolist()


def _each(function: Callable[[Any], Any], array: Array) -> Array:
    return np.vectorize(function, otypes=[object])(array)


def _is_named(value: Any) -> bool:
    """Whether a JSON value is an object of named tensors."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _type_error(value: Any, dtype: tf.DType) -> InvalidInput:
    kind = str(value) if isinstance(value, bool) else _TYPE_NAMES[type(value)]
    expected = {"float32": "float", "float64": "double"}.get(dtype.name, dtype.name)
    return InvalidInput(f"JSON Value: {_quote(value)} Type: {kind} is not of expected type: {expected}")


def _quote(value: Any) -> str:
    """Returns the first characters of a JSON value, for an error; the rest of a large value is not even written."""
    pieces = json.JSONEncoder(ensure_ascii=False).iterencode(value)
    text = "".join(itertools.islice(pieces, MAX_QUOTED + 1))
    return text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "..."
