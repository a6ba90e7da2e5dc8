"""TensorProto <-> NumPy arrays.

Strings are object arrays of `bytes` throughout: NumPy's own bytes dtype would cut trailing NULs off a picture.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.errors import InvalidInput, ServingFailed

Array: TypeAlias = npt.NDArray[Any]

# A proto may declare more elements than it carries (the last one is repeated). A few bytes could so claim all memory.
MAX_REPEATED_ELEMENTS = 1 << 22

# Which typed field holds a dtype's values, and the view of the array that it takes (None: the values themselves).
_FIELDS: dict[int, tuple[str, Any]] = {
    types_pb2.DT_FLOAT: ("float_val", None),
    types_pb2.DT_DOUBLE: ("double_val", None),
    types_pb2.DT_INT8: ("int_val", None),
    types_pb2.DT_INT16: ("int_val", None),
    types_pb2.DT_INT32: ("int_val", None),
    types_pb2.DT_UINT8: ("int_val", None),
    types_pb2.DT_UINT16: ("int_val", None),
    types_pb2.DT_INT64: ("int64_val", None),
    types_pb2.DT_UINT32: ("uint32_val", None),
    types_pb2.DT_UINT64: ("uint64_val", None),
    types_pb2.DT_BOOL: ("bool_val", None),
    types_pb2.DT_STRING: ("string_val", None),
    types_pb2.DT_HALF: ("half_val", np.uint16),
    types_pb2.DT_BFLOAT16: ("half_val", np.uint16),
    types_pb2.DT_COMPLEX64: ("scomplex_val", np.float32),
    types_pb2.DT_COMPLEX128: ("dcomplex_val", np.float64),
}

# Fields whose values are in a message byte for byte what they are in memory. Any other way would make a Python object
# of each number, ten times as long.
_PACKED_AS_THEY_ARE = {"float_val", "double_val", "bool_val", "scomplex_val", "dcomplex_val"}
_LENGTH_DELIMITED = 2  # protobuf's wire type of bytes and packed fields
_CHUNK = 1 << 16  # numbers that are Python objects at one time


def dtype_name(dtype: int) -> str:
    """Returns TensorFlow's C++ name of a dtype: `float`, `int32`, `string`, `half`."""
    return str(types_pb2.DataType.Name(dtype)).removeprefix("DT_").lower()


def dtype_name_of(array: Array) -> str:
    """Returns TensorFlow's C++ name of an array's dtype; arrays of objects hold strings."""
    return dtype_name(tf.as_dtype(array.dtype).as_datatype_enum)


def length(array: Array) -> int:
    """Returns how many bytes an array's values take in a message, but for their framing."""
    return sum(map(len, array.reshape(-1))) if array.dtype == object else array.nbytes


def decode(proto: tensor_pb2.TensorProto, alias: str) -> Array:
    """Returns the array that a TensorProto holds, in typed fields or in `tensor_content`.

    Args:
      proto: any dense tensor.
      alias: the input's name, for the error's text.

    Raises:
      InvalidInput: the proto contradicts itself, or its dtype cannot travel.
    """
    dims = [dim.size for dim in proto.tensor_shape.dim]
    failure = InvalidInput(f"tensor parsing error: {alias}")
    if proto.dtype not in _FIELDS or proto.tensor_shape.unknown_rank or any(size < 0 for size in dims):
        raise failure
    content = proto.tensor_content  # once: protobuf makes a copy of it each time
    if not content and math.prod(dims) > MAX_REPEATED_ELEMENTS:
        values, view = _FIELDS[proto.dtype]
        per_element = 2 if view in (np.float32, np.float64) else 1
        if len(getattr(proto, values)) < math.prod(dims) * per_element:
            raise failure
    try:
        if content:
            return np.frombuffer(content, tf.as_dtype(proto.dtype).as_numpy_dtype).reshape(dims)
        array: Array = tf.make_ndarray(proto)
    except (ValueError, TypeError, OverflowError, MemoryError):
        raise failure from None
    return array


def encode(array: Array, proto: tensor_pb2.TensorProto, as_content: bool = False) -> None:
    """Writes an array into an empty TensorProto.

    Args:
      array: strings as an object array of bytes.
      proto: what to fill.
      as_content: numbers as raw bytes; otherwise in typed fields, as TensorFlow Serving sends them by default.

    Raises:
      ServingFailed: the dtype cannot travel.
    """
    dtype = tf.as_dtype(array.dtype).as_datatype_enum
    if dtype not in _FIELDS:
        raise ServingFailed(f"Cannot send a tensor of type {dtype_name(dtype)}.", "UNIMPLEMENTED")
    proto.dtype = dtype
    proto.tensor_shape.SetInParent()  # a scalar's has no dimensions, but is there
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    name, view = _FIELDS[dtype]
    flat = np.ascontiguousarray(array).reshape(-1)
    if as_content and dtype != types_pb2.DT_STRING:
        proto.tensor_content = flat.tobytes()
    elif name in _PACKED_AS_THEY_ARE:
        _merge_packed(proto, name, flat.view(np.uint8).data)
    else:
        field = getattr(proto, name)
        values = flat if view is None else flat.view(view)
        for start in range(0, len(values), _CHUNK):
            field.extend(values[start : start + _CHUNK].tolist())


def _merge_packed(proto: tensor_pb2.TensorProto, name: str, values: memoryview) -> None:
    """Sets a repeated field to its values as they stand in a message."""
    head = bytearray([proto.DESCRIPTOR.fields_by_name[name].number << 3 | _LENGTH_DELIMITED])
    length = len(values)
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    proto.MergeFromString(b"".join([head, values]))
