"""Content, style and total variation losses: pure functions, float32 inside.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, with the conventions
of this project: every loss is a mean over its elements, never a sum, so that a weight means the same at every size,
and a Gram matrix is divided by the number of positions alone (Gatys divides the loss by 4 N^2 C^2 instead).
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

Loss = Callable[[tf.Tensor], tf.Tensor]
"""From features to a scalar."""

EPSILON = 1e-12  # keeps a division by a vanishing normaliser finite


def moments(features: tf.Tensor) -> tf.Tensor:
    """Returns the first two raw moments of features over their N positions: the Gram matrix F'F / N, and the mean.

    Raw moments of several pictures blend linearly; covariances do not. So styles are mixed as moments.

    Args:
      features: any float type, [1, h, w, C].

    Returns:
      float32 [C + 1, C]: the Gram matrix, and the mean as last row.
    """
    return _moments(tf.reshape(tf.cast(features, tf.float32), [-1, features.shape[-1]]))


@tf.custom_gradient
def _moments(flat: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """`moments` of float32 [N, C]. Its gradient uses that the Gram matrix is symmetric: one product instead of two."""
    positions = tf.cast(tf.shape(flat)[0], tf.float32)
    gram = tf.matmul(flat, flat, transpose_a=True) / positions

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        of_gram, of_mean = upstream[:-1], upstream[-1]
        return tf.nn.bias_add(tf.matmul(flat, (of_gram + tf.transpose(of_gram)) / positions), of_mean / positions)

    return tf.concat([gram, tf.reduce_mean(flat, 0, keepdims=True)], 0), gradient


def style_statistics(raw: tf.Tensor, statistics: tf.Tensor) -> tf.Tensor:
    """Turns raw moments into the statistics that are compared.

    Args:
      raw: float32 [C + 1, C], from `moments`.
      statistics: string scalar, `gram` or `mean_covariance`.

    Returns:
      float32 [C + 1, C]: the Gram matrix and zeros, or the covariance and the mean.
    """
    mean = raw[-1:] * tf.cast(tf.equal(statistics, "mean_covariance"), tf.float32)  # [1, C]
    return tf.concat([raw[:-1] - tf.matmul(mean, mean, transpose_a=True), mean], 0)


def style_loss(statistics: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Returns the mean square difference of two statistics [C + 1, C], over the C x C elements of the matrix.

    For Gram matrices this is mean((G - G*)^2). The squares of the mean's C elements are added to the covariance's.
    """
    channels = tf.cast(tf.shape(target)[-1], tf.float32)
    return tf.reduce_sum(tf.math.squared_difference(statistics, target)) / (channels * channels)


def content_loss(features: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Returns the mean square difference of features and target, any float type, [1, h, w, C] both."""
    return tf.reduce_mean(tf.math.squared_difference(tf.cast(features, tf.float32), tf.cast(target, tf.float32)))


@tf.custom_gradient
def total_variation(image: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Returns the mean square difference of neighbouring pixels, right and below together.

    Args:
      image: float32 [H, W, 3], 0 to 255.
    """
    right = image[:, 1:] - image[:, :-1]  # [H, W-1, 3]
    below = image[1:] - image[:-1]  # [H-1, W, 3]
    differences = tf.maximum(tf.cast(tf.size(right) + tf.size(below), tf.float32), 1.0)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        # Written out because the automatic gradient of four slices costs more than all the rest of this loss.
        from_right = tf.pad(right, [[0, 0], [1, 0], [0, 0]]) - tf.pad(right, [[0, 0], [0, 1], [0, 0]])
        from_below = tf.pad(below, [[1, 0], [0, 0], [0, 0]]) - tf.pad(below, [[0, 1], [0, 0], [0, 0]])
        return (from_right + from_below) * (2.0 * upstream / differences)

    return (tf.reduce_sum(tf.square(right)) + tf.reduce_sum(tf.square(below))) / differences, gradient


def value_and_gradient(loss: Loss, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns loss(x), a scalar, and its gradient, of x's shape and type."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = loss(x)
    return value, tape.gradient(value, x)
