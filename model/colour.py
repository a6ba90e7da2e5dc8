"""Colours of the result: luminance-only transfer, or matching the style's colours to the content's before the run.

Gatys, Bethge, Hertzmann and Shechtman, "Preserving Color in Neural Artistic Style Transfer", 2016.
"""

from __future__ import annotations

import tensorflow as tf

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_LEAST_VARIANCE = 1.0  # grey levels squared; directions without colour, as in a grey picture, have none to divide by


def with_colours_of(image: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Returns the content's colours with the image's luma.

    Adding the same difference of luma to all three channels leaves their differences, the chroma, as they were.

    Args:
      image: float32 [H, W, 3], 0 to 255.
      content: float32 [H, W, 3], 0 to 255.

    Returns:
      float32 [H, W, 3], clipped to 0 to 255.
    """
    luma = tf.reduce_sum((image - content) * tf.constant(LUMA), -1, keepdims=True)  # [H, W, 1]
    return tf.clip_by_value(content + luma, 0.0, 255.0)


def matched(style: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Returns the style picture with the content's mean and covariance of colour, by the symmetric linear map.

    Args:
      style: float32 [h, w, 3], 0 to 255.
      content: float32 [H, W, 3], 0 to 255.

    Returns:
      float32 [h, w, 3]; may leave 0 to 255 a little.
    """
    style_mean, style_covariance = _statistics(style)
    content_mean, content_covariance = _statistics(content)
    colouring = tf.matmul(_power(content_covariance, 0.5), _power(style_covariance, -0.5))  # [3, 3], acts on columns
    return tf.einsum("hwj,ij->hwi", style - style_mean, colouring) + content_mean


def _statistics(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean [3] and covariance [3, 3] of a picture's colours."""
    # Row by row: one sum over all pixels, as a CPU makes it, would lose digits.
    mean = tf.reduce_mean(tf.reduce_mean(image, 1), 0)
    centred = tf.reshape(image - mean, [-1, 3])
    return mean, tf.matmul(centred, centred, transpose_a=True) / tf.cast(tf.shape(centred)[0], tf.float32)


def _power(covariance: tf.Tensor, exponent: float) -> tf.Tensor:
    """Returns a power of a symmetric matrix [3, 3]; rounding may have left it eigenvalues below zero."""
    values, vectors = tf.linalg.eigh(covariance)
    return tf.matmul(vectors * tf.pow(tf.maximum(values, _LEAST_VARIANCE), exponent), vectors, transpose_b=True)
