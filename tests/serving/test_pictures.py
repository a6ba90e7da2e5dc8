"""What people bring, and what the model gets."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from model.errors import InvalidInput
from serving.pictures import prepare
from tests.conftest import decoded, encode, smooth_picture
from tests.model.test_images import gif_header, png_header

PICTURE = smooth_picture(30, 41)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_plain_picture_travels_as_it_came(kind: str) -> None:
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


def test_cmyk_becomes_rgb() -> None:
    data = encode(Image.fromarray(PICTURE).convert("CMYK"), "TIFF")
    assert np.abs(decoded(prepare(data, "content")).astype(int) - PICTURE).mean() < 2


def test_sixteen_bits_use_the_whole_range() -> None:
    grey = np.linspace(0, 65535, 30 * 41).reshape(30, 41).astype(np.uint16)
    ready = decoded(prepare(encode(Image.fromarray(grey)), "content"))
    np.testing.assert_allclose(ready[..., 0], grey / 257, atol=1)


def test_colours_of_another_space_become_srgb() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    image = Image.fromarray(np.full((20, 20, 3), 128, np.uint8)).convert("LAB")
    data = encode(image, "TIFF", icc_profile=lab.tobytes())
    assert np.abs(decoded(prepare(data, "content")).astype(int) - 128).max() <= 2


def test_a_broken_profile_is_left_aside() -> None:
    data = encode(PICTURE, icc_profile=b"no profile")
    np.testing.assert_array_equal(decoded(prepare(data, "content")), PICTURE)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.fromarray(smooth_picture(20, 20, seed)).quantize(64) for seed in range(3)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decoded(prepare(data, "content")), decoded(data))


@pytest.mark.parametrize(("longest", "size"), [(20, (20, 15)), (41, (41, 30)), (500, (41, 30))])
def test_pictures_shrink_to_the_longest_side_and_never_grow(longest: int, size: tuple[int, int]) -> None:
    ready = prepare(encode(PICTURE), "content", longest_px=longest)
    assert Image.open(io.BytesIO(ready)).size == size


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", b"%PDF-1.4"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=rf"`style` must be a picture. Received: {len(data)} bytes that are none"):
        prepare(data, "style")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    data = encode(PICTURE, kind)
    with pytest.raises(InvalidInput, match="`style` must be an undamaged picture"):
        prepare(data[: len(data) // 2], "style")


@pytest.mark.parametrize("header", [png_header, gif_header])
def test_a_picture_bomb_is_refused_from_its_header(header: object) -> None:
    with pytest.raises(InvalidInput, match="`style` must be a picture of at most 64000000 pixels"):
        prepare(header(30000, 30000), "style")
