"""What a step computes, as opposed to the numbers that it computes with.

Numbers change from call to call. For each program of its own, XLA compiles the steps anew.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from model.parsing import ParsedSettings
from model.settings import SETTINGS

CHOICES = ("statistics", "total_variation", "pooling", "padding", "optimizer", "result")
"""The choices among the settings that a step reads."""


class Uses(NamedTuple):
    """What the loss of a run is made of, all bool.

    Attributes:
      style: [L], which layers the style term weighs.
      content: [L], which the content term weighs.
      masked: scalar, whether there are masks.
      jittered: scalar, whether the network sees the picture shifted.
    """

    style: tf.Tensor
    content: tf.Tensor
    masked: tf.Tensor
    jittered: tf.Tensor


def program_of(settings: ParsedSettings, uses: Uses | None = None) -> tf.Tensor:
    """Returns the program as one vector, int32 [K], from 0; without `uses` that of a step of the optimiser alone."""
    flags = [tf.reshape(tf.cast(flag, tf.int32), [-1]) for flag in uses or ()]
    return tf.concat([*flags, [settings[name] for name in CHOICES]], 0)


def choices_of(program: tf.Tensor) -> ParsedSettings:
    """Returns the settings CHOICES of a program."""
    return dict(zip(CHOICES, tf.unstack(program[-len(CHOICES) :]), strict=True))


def uses_of(program: tf.Tensor) -> Uses:
    """Returns the `uses` of a program."""
    flags = program[: -len(CHOICES)] > 0
    style, content = tf.split(flags[:-2], 2)
    return Uses(style, content, flags[-2], flags[-1])


def numbers_of(settings: ParsedSettings) -> ParsedSettings:
    """Returns the settings that a step computes with."""
    return {name: value for name, value in settings.items() if SETTINGS[name].kind in ("integer", "number", "layers")}
