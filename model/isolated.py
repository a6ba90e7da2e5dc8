"""Functions that a graph calls rather than contains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Function = Callable[..., Any]
"""Takes and returns tensors, in nests; no Python state."""


def isolated(function: Function, *specs: tf.TensorSpec) -> Function:
    """Returns a graph function that is traced, stored and optimised once, however often it is called.

    TensorFlow inlines an ordinary `tf.function` at every call and then optimises the whole, which takes about a
    millisecond for each op. A server does that when a signature is called for the first time. So what is called for
    each of thirteen layers stays a function at run time; a call costs less than a tenth of a millisecond.

    Args:
      function: what is called.
      specs: of its arguments.
    """
    graph_function: Function = tf.function(
        function, input_signature=specs, autograph=False, experimental_attributes={"_noinline": True}
    )
    return graph_function


def contained(function: Function, *_: tf.TensorSpec) -> Function:
    """Returns the function as it is: XLA knows a constant only inside of the function that has it."""
    return function
