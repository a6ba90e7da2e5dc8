"""Plays a device that rounds the factors of float32 products, as NVIDIA's cards from Ampere on do (TF32).

Sums stay in float32, as they do there. The rounding is to the nearest number, ties to even: so an H100 does it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import tensorflow as tf


def to_tf32(x: tf.Tensor) -> tf.Tensor:
    """Rounds float32 to the 10 bits of TF32's fraction, which are as many as float16's."""
    bits = tf.bitcast(x, tf.int32)
    odd = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, 13), 1)
    return tf.bitcast(tf.bitwise.bitwise_and(bits + 0xFFF + odd, -0x2000), tf.float32)


def to_bfloat16(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(x, tf.bfloat16), tf.float32)


DEVICES = {"tf32": to_tf32, "bfloat16": to_bfloat16}
UNITS = {"tf32": 2.0**-11, "bfloat16": 2.0**-8}
"""The most that a device's rounding moves a factor, relative to it."""

PRODUCTS = ((tf, "matmul"), (tf, "tensordot"), (tf, "einsum"), (tf.nn, "conv2d"), (tf.raw_ops, "Conv2DBackpropInput"))
"""All functions with which the model multiplies and adds."""


@contextmanager
def device(name: str) -> Iterator[None]:
    """While this lasts, what is traced or run rounds the factors of its float32 products as one of DEVICES does.

    By any other name nothing is rounded.
    """
    if name not in DEVICES:
        yield
        return

    def rounded(x: Any) -> Any:
        return DEVICES[name](x) if isinstance(x, tf.Tensor | tf.Variable) and x.dtype == tf.float32 else x

    def player(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        def product(*arguments: Any, **named: Any) -> tf.Tensor:
            return function(*map(rounded, arguments), **{key: rounded(value) for key, value in named.items()})

        return product

    with ExitStack() as patches:
        for module, attribute in PRODUCTS:
            patches.enter_context(mock.patch.object(module, attribute, player(getattr(module, attribute))))
        yield
