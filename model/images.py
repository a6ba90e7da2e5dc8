"""Pictures in the graph: decoding, resizing, encoding.

A picture's header is read before the picture is decoded, so that a small file that declares a huge picture is refused
before any memory is taken for it.
"""

from collections.abc import Sequence

import tensorflow as tf

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
    decoder ignores the order of its colours. Greyscale and CMYK become RGB, 16 bits become 8, a JPEG is turned upright
    by its Exif data, and what is transparent shows the background, a grey level. Takes the file, string scalar, and the
    name of the input, for errors; returns RGB, uint8 [H, W, 3].
    """
    is_png, is_jpeg = [tf.strings.substr(data, 0, len(magic)) == magic for magic in (_PNG, _JPEG)]
    length = tf.strings.length(data)
    is_picture = (is_png | is_jpeg) & (length >= _HEADER_BYTES)
    kinds = "` must be a JPEG or PNG picture. Received: "
    data = checked(data, is_picture, "`", argument, kinds, length, " bytes that are neither")
    with tf.device("CPU:0"):  # for each of a header's few bytes a GPU would be asked and waited for
        height, width = tf.cond(
            is_png,
            lambda: tuple(tf.unstack(tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.int32, False)[::-1], 2)),
            lambda: tuple(tf.unstack(tf.image.extract_jpeg_shape(data)[:2])),
        )
        orientation = tf.cond(is_jpeg, lambda: _orientation(data), lambda: tf.constant(1, tf.int64))
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    fits = (height > 0) & (width > 0) & (pixels <= MAX_INPUT_PX)
    sizes = f"` must be a picture of 1 to {MAX_INPUT_PX} pixels. Received: "
    data = checked(data, fits, "`", argument, sizes, width, "x", height)
    image = tf.cond(
        is_png,
        lambda: _over(tf.io.decode_png(data, channels=4), background),
        lambda: _turned(tf.io.decode_jpeg(data, channels=3), orientation),
    )
    return tf.ensure_shape(image, [None, None, 3])


_HEAD_BYTES = 3 << 16  # a JPEG's Exif segment may come behind another one, and each has up to 64 KiB
_MAX_SEGMENTS = 64  # that are searched for it

# Offsets of numbers of 16 bits.
_SEGMENT = [0, 4, 6, 8, 2]  # the marker, the three of the name, and the length
_ENTRY = [0, 2, 4, 6, 8]  # the tag, its type, the two of how many values there are, and the first of them


def _orientation(data: tf.Tensor) -> tf.Tensor:
    """Returns a JPEG's Exif tag Orientation, int64 scalar from 1 to 8; 1, upright, where none can be read."""
    head = tf.io.decode_raw(data, tf.uint8, fixed_length=_HEAD_BYTES)  # followed by zeros where the file has fewer

    def numbers(
        offsets: tf.Tensor | Sequence[int], length: int = 2, little_endian: bool | tf.Tensor = False
    ) -> tf.Tensor:
        """Returns the unsigned numbers of `length` bytes at `offsets`, int64 of their shape."""
        powers = [256**power for power in range(length)]
        powers = tf.where(little_endian, tf.constant(powers, tf.int64), tf.constant(powers[::-1], tf.int64))
        # Offsets come out of the file itself, and may be anything.
        offsets = tf.expand_dims(tf.convert_to_tensor(offsets, tf.int64), -1) + list(range(length))
        found = tf.gather(head, tf.minimum(offsets, _HEAD_BYTES - 1))
        return tf.reduce_sum(tf.cast(found, tf.int64) * powers, -1)

    def is_exif(start: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all(start[:4] == [0xFFE1, 0x4578, 0x6966, 0])  # "Exif", 0, 0

    def goes_on(_: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        return (start[0] >= 0xFFC0) & (start[0] != 0xFFDA) & ~is_exif(start)  # FFDA: the pixels begin

    def following(segment: tf.Tensor, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        segment += tf.where(start[0] != 0xFFFF, 2 + start[4], 1)  # FFFF: a byte of filling
        return segment, numbers(segment + _SEGMENT)

    first = tf.constant(2, tf.int64)
    segment, start = tf.while_loop(
        goes_on, following, (first, numbers(first + _SEGMENT)), maximum_iterations=_MAX_SEGMENTS
    )
    tiff = segment + 10  # offsets in the segment count from here
    little_endian = numbers(tiff) == 0x4949
    directory = tiff + numbers(tiff + 4, 4, little_endian)
    count = tf.where(is_exif(start), numbers(directory, 2, little_endian), 0)
    entries = directory + 2 + 12 * tf.range(count)
    fields = numbers(entries[:, tf.newaxis] + _ENTRY, 2, little_endian)  # [count, 5]
    one_short = tf.where(little_endian, [0x0112, 3, 1, 0], [0x0112, 3, 0, 1])  # 3: numbers of 16 bits
    found = tf.reduce_all(fields[:, :4] == tf.cast(one_short, tf.int64), -1) & (entries + 12 <= segment + 2 + start[4])
    return tf.maximum(tf.reduce_max(tf.where(found & (fields[:, 4] <= 8), fields[:, 4], 1)), 1)


def _turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
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
    """Resizes [H, W, 3] of any number type to float32 [height, width, 3], pixels.

    By a bicubic kernel (Keys), low-passed when it shrinks, which may overshoot the input's range.
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
    """Returns a JPEG, a string scalar, of uint8 [H, W, 3], shrunk to at most `longest` pixels on the long side.

    With at least MAX_RATIO pixels on the long side the short one keeps some.
    """

    def shrunk() -> tf.Tensor:
        size = [longest, longest]
        return to_uint8(tf.image.resize(image, size, "bicubic", preserve_aspect_ratio=True, antialias=True))

    small = tf.cond(tf.reduce_max(tf.shape(image)) > longest, shrunk, lambda: image)
    return tf.io.encode_jpeg(small, quality=90, chroma_downsampling=False)
