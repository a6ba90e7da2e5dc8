"""A step as XLA compiles it: two programs, the losses with their gradient, and the optimiser's step.

XLA compiles a graph once for each shape of its inputs. What a shape says it knows by then; of a `tf.cond` or
`tf.switch_case` that is decided by that, it keeps one branch. So what a step is to compute (model/program.py) goes in
as the shape of a tensor that holds nothing, and each recipe gets a program without decisions in it.

XLA has rules that plain TensorFlow has not: no strings; no checks; both branches of a `tf.cond` have one shape, the one
that is never taken too. A `tf.switch_case` whose index is known is free of that last rule, but XLA then follows
every input of it back to the start, which takes minutes behind the network. So the losses decide by `tf.cond` on
shapes made equal, and the optimisers, of which each remembers something of another shape, have a program of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from model.isolated import Function
from model.layers import block_of
from model.objective import Objective, Targets
from model.parsing import ParsedSettings
from model.program import choices_of, numbers_of, program_of, uses_of
from model.vgg19 import VGG19


class ByProgram:
    """A function that XLA compiles for each program, int32 [K], its first argument.

    Attributes:
      by_shape: the graph function; a tensor of the shape [0, *program] stands for the program.
    """

    def __init__(self, function: Function) -> None:
        self.by_shape = tf.function(
            lambda shaped, *arguments: function(tf.shape(shaped)[1:], *arguments), autograph=False, jit_compile=True
        )

    def __call__(self, program: tf.Tensor, *arguments: Any) -> Any:
        return self.by_shape(tf.zeros(tf.concat([[0], program], 0)), *arguments)


def losses_by_program(network: VGG19) -> ByProgram:
    """Returns what takes a program and gives `Objective.losses_and_gradient` of numbers."""
    objective = Objective(network, xla=True)

    def compute(
        program: tf.Tensor, image: tf.Tensor, targets: Targets, numbers: ParsedSettings, step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        targets = _filled(targets._replace(uses=uses_of(program)), network)
        return objective.losses_and_gradient(image, targets, numbers | choices_of(program), step)

    return ByProgram(compute)


def compiled_losses(network: VGG19) -> Function:
    """Returns what `Objective.losses_and_gradient` is, compiled."""
    compute = losses_by_program(network)

    def call(
        image: tf.Tensor, targets: Targets, settings: ParsedSettings, step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return compute(program_of(settings, targets.uses), image, targets, numbers_of(settings), step)

    return call


def compiled_step(function: Function) -> Function:
    """Returns a function of a state, loss, gradient, settings and more tensors, compiled."""

    @ByProgram
    def compute(
        program: tf.Tensor, state: Any, loss: tf.Tensor, gradient: tf.Tensor, numbers: ParsedSettings, *more: tf.Tensor
    ) -> Any:
        return function(state, loss, gradient, numbers | choices_of(program), *more)

    def call(state: Any, loss: tf.Tensor, gradient: tf.Tensor, settings: ParsedSettings, *more: tf.Tensor) -> Any:
        return compute(program_of(settings), state, loss, gradient, numbers_of(settings), *more)

    return call


def _filled(targets: Targets, network: VGG19) -> Targets:
    """Gives what is empty in targets the shape that it would have, so that terms of weight 0 have shapes that fit."""
    regions = tf.size(targets.shares)
    height, width = tf.unstack(tf.shape(targets.content_image)[:2])
    sides = [[side // 2 ** block_of(name) for side in (height, width)] for name in network.layers]
    channels = network.channels
    return targets._replace(
        masks=_padded(targets.masks, [regions, height, width]),
        style=[_padded(one, [regions, c + 1, c]) for one, c in zip(targets.style, channels, strict=True)],
        style_scale=[_padded(one, [regions]) for one in targets.style_scale],
        content=[_padded(one, [1, *hw, c]) for one, hw, c in zip(targets.content, sides, channels, strict=True)],
    )


def _padded(tensor: tf.Tensor, shape: Sequence[tf.Tensor | int]) -> tf.Tensor:
    """Returns a tensor with zeros appended up to a shape, in each dimension that is shorter."""
    missing = tf.maximum(tf.stack(shape) - tf.shape(tensor), 0)
    return tf.pad(tensor, tf.stack([tf.zeros_like(missing), missing], 1))
