"""Colours of the result: luminance-only transfer, or matching the style's colours to the content's before the run.

Gatys, Bethge, Hertzmann and Shechtman, "Preserving Color in Neural Artistic Style Transfer", 2016.
"""

import tensorflow as tf

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_LEAST_VARIANCE = 1.0  # grey levels squared; the colours of a grey picture do not vary in all directions


def with_colours_of(image: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Returns the content's colours with the image's luma; all are float32 [H, W, 3], 0 to 255.

    The difference of luma is added to all three channels, so their differences (the chroma) stay the same.
    """
    luma = tf.reduce_sum((image - content) * tf.constant(LUMA), -1, keepdims=True)  # [H, W, 1]
    return tf.clip_by_value(content + luma, 0.0, 255.0)


def matched(style: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Returns the style picture, mapped linearly to the content's mean and covariance of colour.

    The map is the product of the symmetric square roots of the covariances, the style's inverted. The pictures are
    float32 [h, w, 3] and [H, W, 3], 0 to 255; the result may lie slightly outside.
    """
    style_mean, style_covariance = _statistics(style)
    content_mean, content_covariance = _statistics(content)
    colouring = tf.matmul(_power(style_covariance, -0.5), _power(content_covariance, 0.5))  # [3, 3], acts on rows
    # A sum and not a matrix product, for which a device may round the factors to 10 bits (TF32).
    parts = zip(tf.split(style - style_mean, 3, -1), tf.unstack(tf.cast(colouring, tf.float32)), strict=True)
    return tf.add_n([channel * row for channel, row in parts]) + content_mean


def _statistics(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean [3] and covariance [3, 3] of a picture's colours."""
    # Row by row: on a CPU, one float32 sum over all pixels loses digits.
    mean = tf.reduce_mean(tf.reduce_mean(image, 1), 0)
    centred = tf.reshape(image - mean, [-1, 3])
    return mean, tf.matmul(centred, centred, transpose_a=True) / tf.cast(tf.shape(centred)[0], tf.float32)


def _power(covariance: tf.Tensor, exponent: float) -> tf.Tensor:
    """Returns a power of a covariance [3, 3], in float64; eigenvalues below _LEAST_VARIANCE are raised to it first."""
    values, vectors = tf.linalg.eigh(tf.cast(covariance, tf.float64))
    return tf.matmul(vectors * tf.pow(tf.maximum(values, _LEAST_VARIANCE), exponent), vectors, transpose_b=True)
