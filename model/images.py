"""Pictures in the graph: decoding, resizing, encoding.

A picture's header is read before it is decoded, so that a small file that declares a huge picture is refused before
any memory is taken for it.
"""

from __future__ import annotations

import tensorflow as tf

from model import headers
from model.graph import checked, noinline
from model.limits import MAX_INPUT_PX

WHITE, BLACK = 255, 0

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_HEADER_BYTES = 24  # enough to hold the size of a PNG


# A graph decodes in eight places: written out in each of them, it would be larger by two fifths.
@noinline(*[tf.TensorSpec([], dtype) for dtype in (tf.string, tf.string, tf.int32)])
def decode(data: tf.Tensor, argument: tf.Tensor | str, background: tf.Tensor | int = WHITE) -> tf.Tensor:
    """Decodes a JPEG or PNG.

    No GIF: each of its frames declares a size of its own, and TensorFlow's decoder unpacks them all. No BMP: the
    decoder does not look at the order of its colours. Greyscale and CMYK become RGB, 16 bits become 8, a JPEG is turned
    upright by its Exif data, and what is transparent shows the background.

    Args:
      data: string scalar.
      argument: name of the input, for the error.
      background: a grey level.

    Returns:
      uint8 [H, W, 3], RGB.
    """

    def check(data: tf.Tensor, condition: tf.Tensor, expected: str, *received: str | tf.Tensor) -> tf.Tensor:
        return checked(data, condition, "`", argument, f"` must be {expected}. Received: ", *received)

    is_png, is_jpeg = [tf.strings.substr(data, 0, len(magic)) == magic for magic in (_PNG, _JPEG)]
    length = tf.strings.length(data)
    is_picture = (is_png | is_jpeg) & (length >= _HEADER_BYTES)
    data = check(data, is_picture, "a JPEG or PNG picture", length, " bytes that are neither")
    with tf.device("CPU:0"):  # for each of a header's few bytes a GPU would be asked and waited for
        head = headers.head_of(data)
        height, width = tf.cond(
            is_png,
            lambda: headers.png_size(head),
            lambda: tuple(tf.unstack(tf.cast(tf.image.extract_jpeg_shape(data)[:2], tf.int64))),
        )
        orientation = tf.cond(is_jpeg, lambda: headers.orientation(head), lambda: tf.constant(1, tf.int64))
    fits = (height > 0) & (width > 0) & (height * width <= MAX_INPUT_PX)
    data = check(data, fits, f"a picture of 1 to {MAX_INPUT_PX} pixels", width, "x", height)
    image = tf.cond(
        is_png,
        lambda: _over(tf.io.decode_png(data, channels=4), background),
        lambda: turned(tf.io.decode_jpeg(data, channels=3), orientation),
    )
    return tf.ensure_shape(image, [None, None, 3])


def turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns an image [H, W, C] upright, given its orientation from 1 to 8 as Exif has it."""

    def turn() -> tf.Tensor:
        upright = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        upside_down, mirrored = [tf.reduce_any(orientation == which) for which in ([3, 4, 7, 8], [2, 3, 6, 7])]
        return tf.raw_ops.Reverse(tensor=upright, dims=tf.stack([upside_down, mirrored, False]))

    return tf.cond(orientation == 1, lambda: image, turn)


def _over(rgba: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
    """Lays uint8 RGBA [H, W, 4] over a grey level; opaque pixels keep their bytes."""
    rgba = tf.cast(rgba, tf.int32)
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    return tf.cast((colour * alpha + background * (255 - alpha) + 127) // 255, tf.uint8)


def resize(image: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Resizes with a bicubic kernel (Keys), low-passed when it shrinks.

    Args:
      image: any number type, [H, W, 3].
      height: int32 scalar, pixels.
      width: int32 scalar, pixels.

    Returns:
      float32 [height, width, 3]; may overshoot the input's range.
    """
    image = tf.image.resize(image, tf.stack([height, width]), method="bicubic", antialias=True)
    return tf.ensure_shape(image, [None, None, 3])


def fitted(image: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Returns `resize`, float32 [height, width, 3], without the overshoot: 0 to 255."""
    return tf.clip_by_value(resize(image, height, width), 0.0, 255.0)


def to_uint8(image: tf.Tensor) -> tf.Tensor:
    """Rounds and clips float32 [H, W, 3] of about 0 to 255 to uint8."""
    return tf.cast(tf.round(tf.clip_by_value(image, 0.0, 255.0)), tf.uint8)


def encode_preview(image: tf.Tensor, longest: int) -> tf.Tensor:
    """Returns a JPEG, a string scalar, of uint8 [H, W, 3], shrunk to at most `longest` pixels on the long side."""
    height, width = tf.unstack(tf.shape(image)[:2])
    scale = tf.minimum(1.0, longest / tf.cast(tf.maximum(height, width), tf.float32))

    def shrunk() -> tf.Tensor:
        size = [tf.maximum(1, tf.cast(tf.round(tf.cast(n, tf.float32) * scale), tf.int32)) for n in (height, width)]
        return to_uint8(resize(image, *size))

    small = tf.cond(scale < 1.0, shrunk, lambda: image)
    return tf.io.encode_jpeg(small, quality=90, chroma_downsampling=False)
