"""Decoding in the graph: every kind of picture, and the ones that are refused from their header."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from model import images
from model.errors import clean
from tests.conftest import decoded, encode, smooth_picture

PICTURE = smooth_picture(30, 41)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def decode(data: tf.Tensor) -> tf.Tensor:
    return images.decode(data, "content_bytes")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
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


def bmp_header(width: int, height: int) -> bytes:
    return b"BM" + b"\0" * 16 + struct.pack("<ii", width, height) + b"\0" * 30


@pytest.mark.parametrize("header", [png_header, jpeg_header, bmp_header])
@pytest.mark.parametrize("size", [(30000, 30000), (0, 10)])
def test_a_size_out_of_bounds_is_refused_from_the_header(header: object, size: tuple[int, int]) -> None:
    if header is jpeg_header and 0 in size:
        pytest.skip("libjpeg refuses an empty frame itself")
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        decode(header(*size))
    assert clean(failure.value.message) == (
        f"`content_bytes` must be a picture of 1 to 64000000 pixels. Received: {size[0]}x{size[1]}"
    )


@pytest.mark.parametrize("data", [b"", b"x", b"hello " * 20, b"\xff\xd8\xff", encode(PICTURE, "GIF")])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        decode(data)
    assert clean(failure.value.message) == (
        f"`content_bytes` must be a JPEG, PNG or BMP picture. Received: {len(data)} bytes that are none of these"
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
