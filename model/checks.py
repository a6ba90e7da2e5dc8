"""Checks inside the graph: real TensorFlow Serving checks no shape or value for us."""

from __future__ import annotations

import tensorflow as tf


def checked(value: tf.Tensor, condition: tf.Tensor, *message: str | tf.Tensor) -> tf.Tensor:
    """Returns the value once the condition holds; else fails the run with INVALID_ARGUMENT.

    An assertion that nothing depends on may run too late: compute from the returned value, which waits for it.

    Args:
      value: any tensor.
      condition: bool scalar.
      message: parts of one sentence: the argument in backticks, what was expected, what was received. Tensors that
        are no strings are written as numbers.
    """
    parts = [part if _is_text(part) else tf.strings.as_string(part) for part in message]
    # The op itself: `tf.debugging.Assert` wraps it in a tf.cond, and a hundred of those double a graph's time to load.
    check = tf.raw_ops.Assert(condition=condition, data=[tf.strings.join(parts)], summarize=3)
    with tf.control_dependencies([check] if check is not None else []):  # eager code has no op to wait for
        return tf.identity(value)


def _is_text(part: str | tf.Tensor) -> bool:
    return isinstance(part, str) or part.dtype == tf.string
