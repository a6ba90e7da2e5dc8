"""The sizes of a run, from coarse to fine, and the number of steps at each."""

from typing import NamedTuple

import tensorflow as tf

from model.graph import checked
from model.limits import MAX_RATIO, SHORT_SIDE_PX, STEPS_RATIO
from model.parsing import ParsedSettings


class Sizes(NamedTuple):
    """The K sizes of a run.

    Attributes:
      heights, widths: int32 [K], pixels, from coarse to fine.
      ends: int32 [K], the step at which each size ends.
    """

    heights: tf.Tensor
    widths: tf.Tensor
    ends: tf.Tensor


def least_long_side(image: tf.Tensor, argument: str) -> tf.Tensor:
    """Returns the long side, float32 scalar, at which an image [H, W, C] has a short side of SHORT_SIDE_PX.

    If that is above MAX_SIZE_PX, the call fails with an error that names the argument.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    ratio = tf.cast(tf.maximum(height, width), tf.float32) / tf.cast(tf.minimum(height, width), tf.float32)
    expected = f"a long side of at most {MAX_RATIO} times its short side, so crop it"
    ratio = checked(ratio, ratio <= MAX_RATIO, f"`{argument}` must have {expected}. Received: ", width, "x", height)
    return tf.math.ceil(SHORT_SIDE_PX * ratio)


def plan_sizes(content: tf.Tensor, settings: ParsedSettings) -> Sizes:
    """Plans the sizes of a run and divides its steps among them.

    The long sides are size / sqrt(2)^k down to `smallest_size`; the last is exactly `size`. The short side always has
    at least SHORT_SIDE_PX pixels. Every size has at least one step: if there are too few, the smallest sizes are left
    out, which without a step would only blur the content. Of the content, [H, W, 3], only the aspect ratio counts.
    """
    height, width = tf.unstack(tf.shape(content)[:2])
    long, short = [tf.cast(side, tf.float32) for side in (tf.maximum(height, width), tf.minimum(height, width))]
    size = tf.cast(settings["size"], tf.float32)
    least = least_long_side(content, "content_bytes")
    size = checked(
        size, size >= least,
        "`size` must be at least ", tf.cast(least, tf.int32), " for a content picture of ", width, "x", height,
        f" (the short side then has {SHORT_SIDE_PX} pixels). Received: ", settings["size"],
    )  # fmt: skip
    smallest = tf.minimum(tf.maximum(tf.cast(settings["smallest_size"], tf.float32), least), size)
    # 1e-3 makes up for rounding where the ratio is a power of sqrt(2).
    halvings = tf.floor(2.0 * tf.math.log(size / smallest) / tf.math.log(2.0) + 1e-3)
    halvings = tf.minimum(halvings, tf.cast(settings["steps"], tf.float32) - 1.0)
    below = tf.range(halvings, -0.5, -1.0)  # [K]: K-1, ..., 1, 0
    long_sides = tf.round(size / tf.pow(2.0, below / 2.0))
    short_sides = tf.maximum(1.0, tf.round(long_sides * short / long))
    shares = tf.pow(STEPS_RATIO, tf.reverse(below, [0]))
    # Each size has one step, and its share of the others.
    count = tf.size(shares)
    others = tf.cumsum(shares) / tf.reduce_sum(shares) * tf.cast(settings["steps"] - count, tf.float32)
    ends = tf.range(1, count) + tf.cast(tf.floor(others[:-1] + 1e-3), tf.int32)
    wide = width >= height
    return Sizes(
        heights=tf.cast(tf.where(wide, short_sides, long_sides), tf.int32),
        widths=tf.cast(tf.where(wide, long_sides, short_sides), tf.int32),
        ends=tf.concat([ends, settings["steps"][tf.newaxis]], 0),
    )
