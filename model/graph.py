"""Helpers for graph code: checks of inputs, and functions that TensorFlow does not inline."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def checked(value: tf.Tensor, condition: tf.Tensor, *message: str | tf.Tensor) -> tf.Tensor:
    """Returns the value if the condition holds; else fails the call with INVALID_ARGUMENT.

    TensorFlow Serving checks neither shapes nor values. Compute from the returned value, which waits for the check: an
    assertion that nothing depends on may run too late.

    The message is one sentence in parts: the argument in backticks, what was expected, what was received. Numeric
    tensors are converted to text.
    """
    parts = [
        part if isinstance(part, str) or part.dtype == tf.string else tf.strings.as_string(part) for part in message
    ]
    # The raw op: `tf.debugging.Assert` wraps it in a tf.cond, and a hundred of those double a graph's loading time.
    check = tf.raw_ops.Assert(condition=condition, data=[tf.strings.join(parts)], summarize=3)
    with tf.control_dependencies([check] if check is not None else []):  # None in eager code
        return tf.identity(value)


def noinline(*specs: tf.TensorSpec) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a function that is to be traced, stored and optimised once, however often it is called.

    TensorFlow inlines an ordinary `tf.function` at every call and then optimises all the copies. That takes about a
    millisecond per op when a server first calls a signature. A call that is not inlined takes less than a tenth of it.

    The specs are those of its arguments, all of them tensors. It may return nests of tensors.
    """
    return tf.function(input_signature=specs, autograph=False, experimental_attributes={"_noinline": True})
