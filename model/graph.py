"""Helpers of graph code: checks of inputs, and functions that TensorFlow does not inline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def checked(value: tf.Tensor, condition: tf.Tensor, *message: str | tf.Tensor) -> tf.Tensor:
    """Returns the value once the condition holds; else fails the run with INVALID_ARGUMENT.

    TensorFlow Serving itself checks no shape or value. An assertion that nothing depends on may run too late: compute
    from the returned value, which waits for it.

    Args:
      value: any tensor.
      condition: bool scalar.
      message: parts of one sentence: the argument in backticks, what was expected, what was received. Tensors that
        are no strings are written as numbers.
    """
    parts = [
        part if isinstance(part, str) or part.dtype == tf.string else tf.strings.as_string(part) for part in message
    ]
    # The op itself: `tf.debugging.Assert` wraps it in a tf.cond, and a hundred of those double a graph's time to load.
    check = tf.raw_ops.Assert(condition=condition, data=[tf.strings.join(parts)], summarize=3)
    with tf.control_dependencies([check] if check is not None else []):  # eager code has no op to wait for
        return tf.identity(value)


def noinline(*specs: tf.TensorSpec) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a function a graph function that is traced, stored and optimised once, however often it is called.

    TensorFlow inlines an ordinary `tf.function` at every call and then optimises the whole, which takes about a
    millisecond for each op when a server first calls a signature. A call that stays one costs less than a tenth.

    Args:
      specs: of the function's arguments, all tensors; it returns tensors, in nests.
    """
    return tf.function(input_signature=specs, autograph=False, experimental_attributes={"_noinline": True})
