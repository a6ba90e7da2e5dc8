"""Masks: which part of the content each style paints, and which part of a style picture counts.

A mask is a picture. Its brightness is the weight of each pixel: white counts fully, black not at all, grey in between.
Transparent pixels count as black, because paint programs save a mask drawn on a layer of its own with transparency.
"""

import tensorflow as tf

from model import images
from model.graph import checked
from model.layers import BLOCK_STARTS


def regions(masks: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Decodes one mask for each style, string [S], to float32 [S, height, width], 0 to 1.

    A mask may have any size; an empty string stands for all that the others leave.
    """

    def decode(mask: tf.Tensor) -> tf.Tensor:
        return tf.cond(mask == "", lambda: tf.zeros([height, width]), lambda: _decoded(mask, height, width))

    given = tf.map_fn(decode, masks, fn_output_signature=tf.TensorSpec([None, None], tf.float32), parallel_iterations=1)
    rest = tf.maximum(1.0 - tf.reduce_sum(given, 0), 0.0)  # [height, width]
    covered = tf.where(tf.not_equal(masks, "")[:, tf.newaxis, tf.newaxis], given, rest)
    error = "`content_mask_bytes` must leave an area to paint. Received: masks that are black everywhere"
    return checked(covered, tf.reduce_any(covered > 0), error)


def of_style(mask: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Decodes the mask of one style picture, float32 [height, width]."""
    decoded = _decoded(mask, height, width, "style")
    error = "`style_mask_bytes` must leave some of the style picture. Received: a mask that is black everywhere"
    return checked(decoded, tf.reduce_any(decoded > 0), error)


def _decoded(mask: tf.Tensor, height: tf.Tensor, width: tf.Tensor, side: str = "content") -> tf.Tensor:
    picture = images.decode(mask, f"{side}_mask_bytes", images.BLACK)
    # A linear kernel, which averages when it shrinks and does not overshoot.
    size = tf.stack([height, width])
    resized = tf.image.resize(tf.reduce_mean(tf.cast(picture, tf.float32), -1, keepdims=True), size, antialias=True)
    return tf.clip_by_value(resized[..., 0] / 255.0, 0.0, 1.0)


def pyramid(mask: tf.Tensor) -> list[tf.Tensor]:
    """Returns masks [R, H, W] averaged down to the resolution of each of the network's blocks, float32 [R, h, w]."""
    levels = [mask[..., tf.newaxis]]  # [R, H, W, 1]
    for _ in range(len(BLOCK_STARTS) - 1):
        levels.append(tf.nn.avg_pool2d(levels[-1], 2, 2, "VALID"))
    return [level[..., 0] for level in levels]
