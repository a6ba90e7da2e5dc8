"""What people bring, and what the model gets."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from serving.errors import InvalidInput
from serving.pictures import prepare
from tests.conftest import decoded, encode, smooth_picture
from tests.model.test_images import png_header

PICTURE = smooth_picture(30, 41)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_plain_picture_is_sent_as_it_came(kind: str) -> None:
    data = encode(PICTURE, kind)
    assert prepare(data, "content") is data


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "TIFF"])
def test_other_formats_become_png(kind: str) -> None:
    ready = prepare(encode(PICTURE, kind, **({"lossless": True} if kind == "WEBP" else {})), "content")
    assert ready.startswith(b"\x89PNG")
    np.testing.assert_array_equal(decoded(ready), PICTURE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns = {
        1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, -1), 7: lambda p: np.rot90(p, 2).transpose(1, 0, 2), 8: np.rot90,
    }  # fmt: skip
    ready = decoded(prepare(encode(PICTURE, exif=exif), "content"))
    np.testing.assert_array_equal(ready, turns[orientation](PICTURE))


def test_greyscale_and_palette_become_rgb() -> None:
    grey = Image.fromarray(PICTURE).convert("L")
    assert decoded(prepare(encode(grey), "content")).shape == PICTURE.shape
    palette = Image.fromarray(PICTURE).quantize(256)
    assert decoded(prepare(encode(palette), "content")).shape == PICTURE.shape


def test_transparency_shows_white() -> None:
    rgba = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)])
    rgba[:10, :, 3] = 0
    ready = decoded(prepare(encode(rgba), "content"))
    assert (ready[:10] == 255).all()
    np.testing.assert_array_equal(ready[10:], PICTURE[10:])


@pytest.mark.parametrize(("background", "colour"), [("black", (0, 0, 0)), ("#1000f0", (16, 0, 240))])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparency_shows_the_colour_that_is_asked_for(kind: str, background: str, colour: tuple[int, ...]) -> None:
    clear = encode(Image.new("RGBA", (8, 8), (200, 100, 50, 0)), kind)
    ready = decoded(prepare(clear, "content", background=background))
    assert (ready == colour).all()


def test_half_transparency_mixes_with_the_background() -> None:
    half = encode(Image.new("RGBA", (8, 8), (200, 100, 50, 128)))
    ready = decoded(prepare(half, "content", background="black"))
    np.testing.assert_allclose(ready[0, 0], [100, 50, 25], atol=1)


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_colour_that_stands_for_transparent_shows_the_background(mode: str) -> None:
    image = Image.new("RGB", (8, 8), "red").convert(mode)
    data = encode(image, transparency=image.getpixel((0, 0)))
    assert (decoded(prepare(data, "content", background="blue")) == (0, 0, 255)).all()


def test_grey_with_alpha_is_opaque_grey() -> None:
    data = encode(Image.merge("LA", [Image.new("L", (8, 8), 90), Image.new("L", (8, 8), 255)]))
    assert (decoded(prepare(data, "content")) == 90).all()


@pytest.mark.parametrize("background", ["nosuch", "", "#12"])
def test_a_background_that_is_no_colour_is_refused(background: str) -> None:
    with pytest.raises(InvalidInput, match="`background` must be a colour, by name or as #RRGGBB"):
        prepare(encode(PICTURE), "content", background=background)


def test_cmyk_becomes_rgb() -> None:
    data = encode(Image.fromarray(PICTURE).convert("CMYK"), "TIFF")
    assert np.abs(decoded(prepare(data, "content")).astype(int) - PICTURE).mean() < 2


def test_sixteen_bits_use_the_whole_range() -> None:
    grey = np.linspace(0, 65535, 30 * 41).reshape(30, 41).astype(np.uint16)
    ready = decoded(prepare(encode(Image.fromarray(grey)), "content"))
    np.testing.assert_allclose(ready[..., 0], grey / 257, atol=1)


def test_white_of_sixteen_bits_is_white() -> None:
    grey = np.full((8, 8), 65535, np.uint16)
    assert (decoded(prepare(encode(Image.fromarray(grey)), "content")) == 255).all()


@pytest.mark.parametrize(("white", "dtype"), [(1.0, np.float32), (65535, np.int32)])
def test_numbers_of_thirty_two_bits_use_their_whole_range(white: float, dtype: type) -> None:
    grey = (np.linspace(0, 1, 30 * 41).reshape(30, 41) * white).astype(dtype)
    ready = decoded(prepare(encode(Image.fromarray(grey), "TIFF"), "content"))
    np.testing.assert_allclose(ready[..., 0], grey * (255 / white), atol=1)


def test_colours_of_sixteen_bits_keep_their_high_bytes() -> None:
    ready = decoded(prepare(png_of_sixteen_bits((0xFF12, 0x80FE, 0x0034)), "content"))
    np.testing.assert_allclose(ready[0, 0], [255, 128, 0], atol=1)


def png_of_sixteen_bits(colour: tuple[int, int, int]) -> bytes:
    """An RGB PNG of 8x8 pixels with 16 bits a channel, which Pillow reads and does not write."""
    row = b"\0" + struct.pack(">3H", *colour) * 8

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row * 8)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_colours_of_another_space_become_srgb() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    image = Image.fromarray(np.full((20, 20, 3), 128, np.uint8)).convert("LAB")
    data = encode(image, "TIFF", icc_profile=lab.tobytes())
    assert np.abs(decoded(prepare(data, "content")).astype(int) - 128).max() <= 2


def test_a_broken_profile_is_left_aside() -> None:
    data = encode(PICTURE, icc_profile=b"no profile")
    np.testing.assert_array_equal(decoded(prepare(data, "content")), PICTURE)


def swapped_profile() -> bytes:
    """A profile whose red is sRGB's green and the other way round: two tags of LittleCMS's own sRGB, exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = bytearray(bytes(profile).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be")))
    (count,) = struct.unpack_from(">I", profile, 128)
    at = {bytes(profile[o : o + 4]): o for o in range(132, 132 + 12 * count, 12)}
    profile[at[b"rXYZ"] : at[b"rXYZ"] + 4], profile[at[b"gXYZ"] : at[b"gXYZ"] + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "PNG"), ("RGB", "JPEG"), ("P", "PNG"), ("RGBA", "PNG")])
def test_a_profile_is_applied_whatever_the_picture_is_made_of(mode: str, kind: str) -> None:
    image = Image.new("RGB", (16, 16), (204, 51, 51)).convert(mode)
    ready = decoded(prepare(encode(image, kind, icc_profile=swapped_profile()), "content"))
    np.testing.assert_allclose(ready[8, 8], [51, 204, 51], atol=4)


def test_a_profile_for_other_colours_than_the_pictures_is_left_aside() -> None:
    grey = encode(Image.new("L", (16, 16), 77), icc_profile=swapped_profile())
    assert (decoded(prepare(grey, "content")) == 77).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_any_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (decoded(prepare(data, "content")) == (255, 0, 0)).all()


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_heif_is_explained(brand: bytes) -> None:
    data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(InvalidInput, match=r"`content` must be a picture. Received: a HEIF picture .* as JPEG first"):
        prepare(data, "content")


@pytest.mark.parametrize("case", ["RGBA", "L", "CMYK", "large"])
def test_what_is_prepared_once_stays_as_it_is(case: str) -> None:
    image = Image.fromarray(PICTURE).convert("RGB" if case == "large" else case)
    once = prepare(encode(image, "TIFF"), "content", longest_px=30)
    assert prepare(once, "content", longest_px=30) is once


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.fromarray(smooth_picture(20, 20, seed)).quantize(64) for seed in range(3)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decoded(prepare(data, "content")), decoded(data))


@pytest.mark.parametrize(("longest", "size"), [(30, (30, 22)), (41, (41, 30)), (500, (41, 30))])
def test_pictures_shrink_to_the_longest_side_and_never_grow(longest: int, size: tuple[int, int]) -> None:
    ready = prepare(encode(PICTURE), "content", longest_px=longest)
    assert Image.open(io.BytesIO(ready)).size == size


@pytest.mark.parametrize(("size", "kept"), [((2000, 20), (1600, 16)), ((10, 400), (10, 400)), ((600, 300), (60, 30))])
def test_a_narrow_picture_keeps_its_ratio(size: tuple[int, int], kept: tuple[int, int]) -> None:
    """What the graph says of a picture's ratio, or does about it, is of the picture that was brought."""
    ready = prepare(encode(Image.new("RGB", size)), "content", longest_px=60)
    assert Image.open(io.BytesIO(ready)).size == kept


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", b"%PDF-1.4"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=rf"`style` must be a picture. Received: {len(data)} bytes that are none"):
        prepare(data, "style")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    data = encode(PICTURE, kind)
    with pytest.raises(InvalidInput, match="`style` must be an undamaged picture"):
        prepare(data[: len(data) // 2], "style")


def test_a_picture_that_is_damaged_behind_its_pixels_is_refused() -> None:
    """Pillow's reader fails with an IndexError on a colour profile without bytes."""
    data, empty = encode(PICTURE, "PNG"), struct.pack(">I4sI", 0, b"iCCP", zlib.crc32(b"iCCP"))
    with pytest.raises(InvalidInput, match="`style` must be an undamaged picture"):
        prepare(data[:-12] + empty + data[-12:], "style")


def gif_header(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08\x01\x00\x00"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0" * 3 + frame


@pytest.mark.parametrize("header", [png_header, gif_header])
def test_a_picture_bomb_is_refused_from_its_header(header: object) -> None:
    with pytest.raises(InvalidInput, match="`style` must be a picture of at most 64000000 pixels"):
        prepare(header(30000, 30000), "style")
