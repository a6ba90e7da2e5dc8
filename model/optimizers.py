"""Optimisers as pure step functions over their state."""

from __future__ import annotations

import tensorflow as tf


def adam_step(
    gradient: tf.Tensor,
    first: tf.Tensor,
    second: tf.Tensor,
    step: tf.Tensor,
    *,
    learning_rate: tf.Tensor | float,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    epsilon: float = 1e-8,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One step of Adam (Kingma and Ba, 2015, algorithm 1; epsilon as there, outside the corrected root).

    Args:
      gradient: float32, any shape.
      first: running mean of the gradients, same shape.
      second: running mean of their squares, same shape.
      step: int32 scalar, 1 for the first step.
      learning_rate: in the unit of what is optimised.
      beta_1: decay of the first mean.
      beta_2: decay of the second.
      epsilon: added to the root of the corrected second moment.

    Returns:
      What to subtract from the variable, and the two means after the step.
    """
    t = tf.cast(step, tf.float32)
    first = beta_1 * first + (1.0 - beta_1) * gradient
    second = beta_2 * second + (1.0 - beta_2) * tf.square(gradient)
    corrected_first = first / (1.0 - tf.pow(beta_1, t))
    corrected_second = second / (1.0 - tf.pow(beta_2, t))
    return learning_rate * corrected_first / (tf.sqrt(corrected_second) + epsilon), first, second
