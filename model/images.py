"""Pictures in the graph: decoding, resizing, encoding.

A picture's header is read before it is decoded, so that a small file that declares a huge picture is refused before
any memory is taken for it.
"""

from __future__ import annotations

import tensorflow as tf

from model.checks import checked
from model.limits import MAX_INPUT_PX

WHITE, BLACK = 255, 0

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_BMP = b"BM"
_HEADER_BYTES = 26  # enough to hold the size of a PNG or BMP


def decode(data: tf.Tensor, argument: str, background: int = WHITE) -> tf.Tensor:
    """Decodes a JPEG, PNG or BMP.

    No GIF: each of its frames declares a size of its own, and TensorFlow's decoder unpacks them all. Greyscale and
    CMYK become RGB, 16 bits become 8, and what is transparent in a PNG shows the background.

    Args:
      data: string scalar.
      argument: name of the input, for the error.
      background: a grey level.

    Returns:
      uint8 [H, W, 3], RGB.
    """
    known = tf.reduce_any([_starts_with(data, magic) for magic in (_PNG, _JPEG, _BMP)])
    data = checked(
        data,
        known & (tf.strings.length(data) >= _HEADER_BYTES),
        f"`{argument}` must be a JPEG, PNG or BMP picture. Received: ",
        tf.strings.length(data),
        " bytes that are none of these",
    )
    height, width = _declared_size(data)
    data = checked(
        data,
        (height > 0) & (width > 0) & (height * width <= MAX_INPUT_PX),
        f"`{argument}` must be a picture of 1 to {MAX_INPUT_PX} pixels. Received: ",
        width,
        "x",
        height,
    )
    image = tf.cond(
        _starts_with(data, _PNG),
        lambda: _over(tf.io.decode_png(data, channels=4), background),
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _starts_with(data: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(data, 0, len(magic)), magic)


def _over(rgba: tf.Tensor, background: int) -> tf.Tensor:
    """Lays uint8 RGBA [H, W, 4] over a grey level; opaque pixels keep their bytes."""
    rgba = tf.cast(rgba, tf.int32)
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    return tf.cast((colour * alpha + background * (255 - alpha) + 127) // 255, tf.uint8)


def _declared_size(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads height and width, int64 scalars, from the header alone."""

    def number(start: int, length: int, dtype: tf.DType, little_endian: bool) -> tf.Tensor:
        field = tf.strings.substr(data, start, length)
        return tf.cast(tf.io.decode_raw(field, dtype, little_endian=little_endian)[0], tf.int64)

    def png() -> tuple[tf.Tensor, tf.Tensor]:
        return number(20, 4, tf.int32, False), number(16, 4, tf.int32, False)

    def bmp() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.abs(number(22, 4, tf.int32, True)), number(18, 4, tf.int32, True)  # a negative height: top row first

    def jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        shape = tf.cast(tf.image.extract_jpeg_shape(data), tf.int64)
        return shape[0], shape[1]

    cases = [(_starts_with(data, _PNG), png), (_starts_with(data, _BMP), bmp)]
    return tf.case(cases, default=jpeg, exclusive=True)


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
