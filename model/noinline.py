"""Functions that a graph calls rather than contains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def noinline(function: Callable[..., Any], *specs: tf.TensorSpec) -> Callable[..., Any]:
    """Returns a graph function that is traced, stored and optimised once, however often it is called.

    TensorFlow inlines an ordinary `tf.function` at every call and then optimises the whole, which takes about a
    millisecond for each op. A server does that when a signature is called for the first time. So what is called for
    each layer stays a function at run time; a call costs less than a tenth of a millisecond.

    Args:
      function: takes and returns tensors, in nests; no Python state.
      specs: of its arguments.
    """
    graph_function: Callable[..., Any] = tf.function(
        function, input_signature=specs, autograph=False, experimental_attributes={"_noinline": True}
    )
    return graph_function
