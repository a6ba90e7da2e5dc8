"""What a picture's header says, read in the graph before anything is decoded."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

_HEAD_BYTES = 3 << 16  # a JPEG's Exif segment may come behind another one, and each has up to 64 KiB
_MAX_SEGMENTS = 64  # that are looked at for it

# Places of numbers of 16 bits.
_SEGMENT = [0, 4, 6, 8, 2]  # the marker, the three of the name, and the length
_ENTRY = [0, 2, 4, 6, 8]  # the tag, its kind, the two of how many values there are, and the first of them


def head_of(data: tf.Tensor) -> tf.Tensor:
    """Returns the first bytes of a file, a string scalar, as uint8 [N], followed by zeros where it has fewer."""
    return tf.io.decode_raw(data, tf.uint8, fixed_length=_HEAD_BYTES)


def png_size(head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns height and width, int64 scalars."""
    width, height = tf.unstack(_numbers(head, [16, 20], 4, False))
    return height, width


def orientation(head: tf.Tensor) -> tf.Tensor:
    """Returns how a JPEG is to be turned, by Exif's tag Orientation, int64 scalar from 1 to 8.

    It is 1, as it is, where there is no such tag, or none that can be read.
    """

    def segment(place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return place, _numbers(head, place + _SEGMENT, 2, False)

    def is_exif(start: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all(start[:4] == [0xFFE1, 0x4578, 0x6966, 0])  # "Exif", 0, 0

    def goes_on(_: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        return (start[0] >= 0xFFC0) & (start[0] != 0xFFDA) & ~is_exif(start)  # FFDA: the pixels begin

    def following(place: tf.Tensor, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return segment(place + tf.where(start[0] != 0xFFFF, 2 + start[4], 1))  # FFFF: a byte of filling

    first = segment(tf.constant(2, tf.int64))
    place, start = tf.while_loop(goes_on, following, first, maximum_iterations=_MAX_SEGMENTS)
    tiff = place + 10  # from where the segment counts its places
    little_endian = _numbers(head, tiff, 2, False) == 0x4949
    directory = tiff + _numbers(head, tiff + 4, 4, little_endian)
    count = tf.where(is_exif(start), _numbers(head, directory, 2, little_endian), 0)
    entries = directory + 2 + 12 * tf.range(count)
    fields = _numbers(head, entries[:, tf.newaxis] + _ENTRY, 2, little_endian)  # [count, 5]
    one_short = tf.where(little_endian, [0x0112, 3, 1, 0], [0x0112, 3, 0, 1])  # 3: numbers of 16 bits
    is_it = tf.reduce_all(fields[:, :4] == tf.cast(one_short, tf.int64), -1) & (entries + 12 <= place + 2 + start[4])
    return tf.maximum(tf.reduce_max(tf.where(is_it & (fields[:, 4] <= 8), fields[:, 4], 1)), 1)


def _numbers(
    head: tf.Tensor, places: tf.Tensor | Sequence[int], length: int, little_endian: bool | tf.Tensor
) -> tf.Tensor:
    """Returns the unsigned numbers of `length` bytes at `places`, int64 of their shape."""
    powers = [256**power for power in range(length)]
    powers = tf.where(little_endian, tf.constant(powers, tf.int64), tf.constant(powers[::-1], tf.int64))
    # Places come out of the file itself, and may be anywhere.
    places = tf.expand_dims(tf.convert_to_tensor(places, tf.int64), -1) + list(range(length))
    found = tf.gather(head, tf.minimum(places, _HEAD_BYTES - 1))
    return tf.reduce_sum(tf.cast(found, tf.int64) * powers, -1)
