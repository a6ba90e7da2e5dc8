"""Decoding in the graph: every kind of picture, and the ones that are refused from their header."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from model import images
from serving.errors import clean
from tests.conftest import decoded, encode, smooth_picture

PICTURE = smooth_picture(30, 41)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def decode(data: tf.Tensor) -> tf.Tensor:
    return images.decode(data, "content_bytes")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_known_formats_decode_as_pillow_decodes_them(kind: str) -> None:
    data = encode(PICTURE, kind)
    difference = np.abs(decode(data).numpy().astype(int) - decoded(data).astype(int))
    assert difference.mean() < (1.5 if kind == "JPEG" else 1e-9)  # two JPEG decoders round differently


def test_greyscale_becomes_rgb() -> None:
    grey = Image.fromarray(PICTURE).convert("L")
    np.testing.assert_array_equal(decode(encode(grey)), np.repeat(np.asarray(grey)[..., np.newaxis], 3, -1))


def test_cmyk_becomes_rgb() -> None:
    data = encode(Image.fromarray(PICTURE).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode(data).numpy().astype(int) - PICTURE).mean() < 6


def test_what_is_transparent_shows_white_and_what_is_opaque_keeps_its_bytes() -> None:
    rgba = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)])
    rgba[:10, :, 3] = 0
    rgba[10:20, :, 3] = 128
    shown = decode(encode(rgba)).numpy()
    assert (shown[:10] == 255).all()
    np.testing.assert_allclose(shown[10:20], PICTURE[10:20] * (128 / 255) + 127, atol=1)
    np.testing.assert_array_equal(shown[20:], PICTURE[20:])


def test_sixteen_bits_become_eight() -> None:
    grey = np.linspace(0, 65535, 30 * 41).reshape(30, 41).astype(np.uint16)
    np.testing.assert_allclose(decode(encode(Image.fromarray(grey)))[..., 0], grey / 257, atol=1)


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">HH", marker, 2 + len(data)) + data


def exif(orientation: int, order: str = "<", *, before: int = 0, kind: int = 3, count: int = 1, at: int = 8) -> bytes:
    """An Exif segment with the tag Orientation behind others, its directory `at` bytes into the TIFF header."""
    value = struct.pack(order + "HH", orientation, 0) if kind == 3 else struct.pack(order + "I", orientation)
    other = struct.pack(order + "HHII", 0x0100, 4, 1, 6)
    entry = struct.pack(order + "HHI", 0x0112, kind, count) + value
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(order + "H", before + 1) + other * before + entry + bytes(4)
    return segment(0xFFE1, b"Exif\0\0" + mark + struct.pack(order + "I", at) + bytes(at - 8) + directory)


JPEG = encode(PICTURE, "JPEG", quality=95)


def with_segments(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def as_pillow_turns_it(data: bytes) -> np.ndarray:
    """What Pillow makes of a JPEG's orientation, done to the pixels that TensorFlow decodes."""
    pixels = Image.fromarray(decode(JPEG).numpy())
    pixels.getexif().update(dict(Image.open(io.BytesIO(data)).getexif()))
    return np.asarray(ImageOps.exif_transpose(pixels))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_upright_as_pillow_turns_it(orientation: int, order: str) -> None:
    data = with_segments(exif(orientation, order))
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == orientation
    np.testing.assert_array_equal(decode(data), as_pillow_turns_it(data))


@pytest.mark.parametrize(
    "segments",
    [
        [exif(6, ">", before=20)], [exif(6, at=60_000)], [segment(0xFFE2, bytes(65_533)), exif(6, at=60_000)],
        [segment(0xFFFE, b"a comment")] * 9 + [exif(6)], [b"\xff\xff", exif(6)], [segment(0xFFE1, b"http://"), exif(6)],
        [exif(6), segment(0xFFED, bytes(100))],
    ],
    ids=[
        "behind other tags", "far into its segment", "behind a long segment", "behind many", "behind filling",
        "behind XMP", "before another",
    ],
)  # fmt: skip
def test_the_orientation_is_found_wherever_it_stands(segments: list[bytes]) -> None:
    data = with_segments(*segments)
    expected = as_pillow_turns_it(data)
    assert expected.shape == (41, 30, 3)
    np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize(
    "segments",
    [
        [exif(0)], [exif(9)], [exif(6, count=2)], [segment(0xFFE1, b"Exif\0\0")], [segment(0xFFE1, b"Exif\0\0II*\0")],
        [segment(0xFFE1, exif(6)[4:30])], [segment(0xFFE1, b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(50))],
        [exif(6).replace(b"II", b"XX")], [segment(0xFFE2, b"Exif\0\0" + exif(6)[10:])],
        [segment(0xFFE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff")], [segment(0xFFE0, b"")] * 20_000 + [exif(6)],
    ],
    ids=[
        "0", "9", "two values", "empty", "cut", "cut in the entry", "a directory behind the end", "of no order",
        "no Exif", "entries behind the end", "behind too many segments",
    ],
)  # fmt: skip
def test_an_orientation_that_cannot_be_read_leaves_the_picture_as_it_is(segments: list[bytes]) -> None:
    np.testing.assert_array_equal(decode(with_segments(*segments)), decode(JPEG))


def test_damaged_exif_never_does_more_than_turn_the_picture() -> None:
    whole, generator = exif(6, before=3), np.random.default_rng(0)
    turns = {image.tobytes() for image in (decode(with_segments(exif(turn))).numpy() for turn in range(1, 9))}
    for _ in range(200):
        damaged = bytearray(whole)
        for place in generator.integers(4, len(whole), 3):
            damaged[place] = generator.integers(0, 256)
        assert decode(with_segments(bytes(damaged))).numpy().tobytes() in turns


_IDAT = (
    struct.pack(">I", 8) + b"IDAT" + zlib.compress(b"") + struct.pack(">I", zlib.crc32(b"IDAT" + zlib.compress(b"")))
)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + _IDAT


def jpeg_header(width: int, height: int) -> bytes:
    data = encode(PICTURE, "JPEG")
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


@pytest.mark.parametrize("header", [png_header, jpeg_header])
@pytest.mark.parametrize("size", [(30000, 30000), (0, 10)])
def test_a_size_out_of_bounds_is_refused_from_the_header(header: object, size: tuple[int, int]) -> None:
    if header is jpeg_header and 0 in size:
        pytest.skip("libjpeg refuses an empty frame itself")
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        decode(header(*size))
    assert clean(failure.value.message) == (
        f"`content_bytes` must be a picture of 1 to 64000000 pixels. Received: {size[0]}x{size[1]}"
    )


@pytest.mark.parametrize(
    "data", [b"", b"x", b"hello " * 20, b"\xff\xd8\xff", encode(PICTURE, "GIF"), encode(PICTURE, "BMP")]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        decode(data)
    assert clean(failure.value.message) == (
        f"`content_bytes` must be a JPEG or PNG picture. Received: {len(data)} bytes that are neither"
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    data = encode(PICTURE, kind)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(data[: len(data) // 2])


def test_preview_is_a_jpeg_that_fits() -> None:
    preview = decoded(images.encode_preview(tf.constant(smooth_picture(100, 300)), 60).numpy())
    assert preview.shape == (20, 60, 3)
    small = decoded(images.encode_preview(tf.constant(PICTURE), 60).numpy())
    assert small.shape == PICTURE.shape
