"""Decoding in the graph: every kind of picture, and the ones that are refused from their header."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from model import images
from serving.errors import clean
from tests.conftest import decoded, encode, smooth_picture

PICTURE = smooth_picture(30, 41)
JPEG = encode(PICTURE, "JPEG", quality=95)
GREY = np.asarray(Image.fromarray(PICTURE).convert("L"))
GREY_16 = np.linspace(0, 65535, 30 * 41).reshape(30, 41).astype(np.uint16)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def decode(data: tf.Tensor) -> tf.Tensor:
    return images.decode(data, "content_bytes")


@pytest.mark.parametrize(
    ("data", "expected", "tolerance"),
    [
        (encode(PICTURE), PICTURE, 0),
        (JPEG, decoded(JPEG), 2),  # two JPEG decoders round differently
        (encode(GREY), GREY[..., np.newaxis], 0),
        (encode(Image.fromarray(PICTURE).convert("CMYK"), "JPEG", quality=95), PICTURE, 6),
        (encode(Image.fromarray(GREY_16)), GREY_16[..., np.newaxis] / 257, 0.6),
    ],
    ids=["PNG", "JPEG", "greyscale", "CMYK", "16 bits"],
)
def test_every_kind_of_picture_becomes_rgb_of_8_bits(data, expected, tolerance):
    pixels = decode(data).numpy()
    assert pixels.shape == (30, 41, 3)
    assert np.abs(pixels - expected.astype(float)).mean() <= tolerance


def test_what_is_transparent_shows_white_and_what_is_opaque_keeps_its_bytes():
    rgba = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)])
    rgba[:10, :, 3], rgba[10:20, :, 3] = 0, 128
    shown = decode(encode(rgba)).numpy()
    assert (shown[:10] == 255).all()
    np.testing.assert_allclose(shown[10:20], PICTURE[10:20] * (128 / 255) + 127, atol=1)
    np.testing.assert_array_equal(shown[20:], PICTURE[20:])


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">HH", marker, 2 + len(data)) + data


def exif(orientation: int, order: str = "<", *, before: int = 0, count: int = 1, at: int = 8) -> bytes:
    """An Exif segment with the tag Orientation behind others, its directory `at` bytes into the TIFF header."""
    other = struct.pack(order + "HHII", 0x0100, 4, 1, 6)
    entry = struct.pack(order + "HHIHH", 0x0112, 3, count, orientation, 0)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(order + "H", before + 1) + other * before + entry + bytes(4)
    return segment(0xFFE1, b"Exif\0\0" + mark + struct.pack(order + "I", at) + bytes(at - 8) + directory)


def with_segments(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def as_pillow_turns_it(data: bytes) -> np.ndarray:
    """What Pillow makes of a JPEG's orientation, done to the pixels that TensorFlow decodes."""
    pixels = Image.fromarray(decode(JPEG).numpy())
    pixels.getexif().update(dict(Image.open(io.BytesIO(data)).getexif()))
    return np.asarray(ImageOps.exif_transpose(pixels))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_upright_as_pillow_turns_it(orientation, order):
    data = with_segments(exif(orientation, order))
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == orientation
    np.testing.assert_array_equal(decode(data), as_pillow_turns_it(data))


READABLE = {
    "behind other tags": [exif(6, ">", before=20)],
    "far into its segment": [segment(0xFFE2, bytes(65_533)), exif(6, at=60_000)],
    "behind many": [segment(0xFFFE, b"a comment")] * 9 + [exif(6)],
    "behind filling": [b"\xff\xff", exif(6)],
    "behind XMP": [segment(0xFFE1, b"http://"), exif(6)],
}
UNREADABLE = {
    "of no meaning": [exif(9)],
    "two values": [exif(6, count=2)],
    "cut in the entry": [segment(0xFFE1, exif(6)[4:30])],
    "a directory behind the end": [segment(0xFFE1, b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(50))],
    "of no order": [exif(6).replace(b"II", b"XX")],
    "behind too many segments": [segment(0xFFE0, b"")] * 20_000 + [exif(6)],
}


@pytest.mark.parametrize("where", [*READABLE, *UNREADABLE])
def test_an_orientation_is_found_wherever_it_stands_and_ignored_where_it_cannot_be_read(where):
    data = with_segments(*{**READABLE, **UNREADABLE}[where])
    upright = as_pillow_turns_it(with_segments(exif(6 if where in READABLE else 1)))
    np.testing.assert_array_equal(decode(data), upright)


def test_damaged_exif_never_does_more_than_turn_the_picture():
    whole, generator = exif(6, before=3), np.random.default_rng(0)
    turns = {image.tobytes() for image in (decode(with_segments(exif(turn))).numpy() for turn in range(1, 9))}
    for _ in range(100):
        damaged = bytearray(whole)
        for place in generator.integers(4, len(whole), 3):
            damaged[place] = generator.integers(0, 256)
        assert decode(with_segments(bytes(damaged))).numpy().tobytes() in turns


def png_header(width: int, height: int) -> bytes:
    return encode(PICTURE)[:16] + struct.pack(">II", width, height) + encode(PICTURE)[24:]


def jpeg_header(width: int, height: int) -> bytes:
    data = encode(PICTURE, "JPEG")
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


NO_PICTURE = [b"", b"x", b"hello " * 20, b"\xff\xd8\xff", encode(PICTURE, "GIF"), encode(PICTURE, "BMP")]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        *[(data, f"a JPEG or PNG picture. Received: {len(data)} bytes that are neither") for data in NO_PICTURE],
        (png_header(30000, 30000), "a picture of 1 to 64000000 pixels. Received: 30000x30000"),
        (jpeg_header(30000, 30000), "a picture of 1 to 64000000 pixels. Received: 30000x30000"),
        (png_header(0, 10), "a picture of 1 to 64000000 pixels. Received: 0x10"),
    ],
)
def test_what_is_no_picture_or_too_large_is_refused_from_its_header(data, error):
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        decode(data)
    assert clean(failure.value.message) == f"`content_bytes` must be {error}"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_picture_is_refused(kind):
    data = encode(PICTURE, kind)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize(("shape", "expected"), [((100, 300), (20, 60, 3)), ((30, 41), (30, 41, 3))])
def test_preview_is_a_jpeg_that_fits(shape, expected):
    assert decoded(images.encode_preview(tf.constant(smooth_picture(*shape)), 60).numpy()).shape == expected
