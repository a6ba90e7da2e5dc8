"""TensorProto <-> NumPy arrays, by TensorFlow's own functions.

Strings are object arrays of `bytes` throughout: NumPy's own bytes dtype would cut trailing NULs off a picture.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.errors import InvalidInput

Array: TypeAlias = npt.NDArray[Any]

# A proto may declare more elements than it carries (the last one is repeated). A few bytes could so claim all memory.
MAX_REPEATED_ELEMENTS = 1 << 22


def to_array(proto: tensor_pb2.TensorProto, alias: str) -> Array:
    """Returns the array that a TensorProto holds, in typed fields or in `tensor_content`.

    Args:
      proto: any dense tensor.
      alias: the input's name, for the error's text.

    Raises:
      InvalidInput: the proto contradicts itself, or holds what NumPy cannot.
    """
    dims = [dim.size for dim in proto.tensor_shape.dim]
    count = math.prod(dims)
    try:
        # An element takes a byte or more.
        if min(dims, default=0) < 0 or (count > MAX_REPEATED_ELEMENTS and proto.ByteSize() < count):
            raise ValueError
        array: Array = tf.make_ndarray(proto)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError):
        raise InvalidInput(f"tensor parsing error: {alias}") from None
    return array


def to_proto(array: Array) -> tensor_pb2.TensorProto:
    """Returns the TensorProto of an array; strings as an object array of bytes."""
    return tf.make_tensor_proto(array)
