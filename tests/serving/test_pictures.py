"""What people bring, and what the model gets."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from serving.errors import InvalidInput
from serving.pictures import prepare
from tests.conftest import decoded, encode, smooth_picture
from tests.serving.fakes import png_of

PICTURE = smooth_picture(30, 41)
RGB = Image.fromarray(PICTURE)


def plain(mode: str, colour: Any, kind: str = "PNG", **options: Any) -> bytes:
    """A picture of one colour."""
    return encode(Image.new(mode, (16, 16), colour), kind, **options)


def palette(**options: Any) -> bytes:
    image = Image.new("RGB", (16, 16), RED).convert("P")
    assert image.getpixel((0, 0)) == INDEX
    return encode(image, **options)


def animated(kind: str, **options: Any) -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def swapped_profile() -> bytes:
    """A profile whose red is sRGB's green and the other way round: two tags of LittleCMS's own sRGB, exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = bytearray(bytes(profile).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be")))
    (count,) = struct.unpack_from(">I", profile, 128)
    at = {bytes(profile[o : o + 4]): o for o in range(132, 132 + 12 * count, 12)}
    profile[at[b"rXYZ"] : at[b"rXYZ"] + 4], profile[at[b"gXYZ"] : at[b"gXYZ"] + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


PROFILE = swapped_profile()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
CLEAR, RED, INDEX = (200, 100, 50, 0), (204, 51, 51), 56
RGB48 = png_of(8, 8, 16, 2, struct.pack(">3H", 0xFF12, 0x80FE, 0x34) * 8)


@pytest.mark.parametrize(
    ("data", "background", "colour"),
    [
        pytest.param(plain("RGBA", CLEAR), "white", (255, 255, 255), id="clear"),
        pytest.param(plain("RGBA", CLEAR, "TIFF"), "black", (0, 0, 0), id="clear TIFF"),
        pytest.param(plain("RGBA", CLEAR, "WEBP"), "#1000f0", (16, 0, 240), id="clear WebP"),
        pytest.param(plain("RGBA", (200, 100, 50, 128)), "black", (100, 50, 25), id="half clear"),
        pytest.param(plain("L", 76, transparency=76), "blue", (0, 0, 255), id="a grey that stands for clear"),
        pytest.param(palette(transparency=INDEX), "blue", (0, 0, 255), id="an index that stands for clear"),
        pytest.param(plain("RGB", RED, transparency=RED), "blue", (0, 0, 255), id="a colour that stands for clear"),
        pytest.param(plain("LA", (90, 255)), "white", (90, 90, 90), id="grey with alpha"),
        pytest.param(plain("CMYK", (0, 255, 255, 0), "TIFF"), "white", (255, 0, 0), id="CMYK"),
        pytest.param(plain("I;16", 65535), "white", (255, 255, 255), id="white of 16 bits"),
        pytest.param(RGB48, "white", (255, 128, 0), id="colours of 16 bits"),
        pytest.param(plain("LAB", (128, 128, 128), "TIFF", icc_profile=LAB), "white", (119, 119, 119), id="LAB"),
        pytest.param(plain("RGB", RED, icc_profile=PROFILE), "white", (51, 204, 51), id="profile"),
        pytest.param(plain("RGB", RED, "JPEG", icc_profile=PROFILE), "white", (51, 204, 51), id="profile of a JPEG"),
        pytest.param(plain("RGBA", (*RED, 255), icc_profile=PROFILE), "white", (51, 204, 51), id="profile and alpha"),
        pytest.param(palette(icc_profile=PROFILE), "white", (51, 204, 51), id="profile of a palette"),
        pytest.param(plain("L", 77, icc_profile=PROFILE), "white", (77, 77, 77), id="profile for other colours"),
        pytest.param(plain("RGB", RED, icc_profile=b"no profile"), "white", RED, id="broken profile"),
        *[pytest.param(animated(kind), "white", (255, 0, 0), id=f"first frame of {kind}") for kind in ("GIF", "PNG")],
        pytest.param(animated("WEBP", lossless=True), "white", (255, 0, 0), id="first frame of WebP"),
    ],
)  # fmt: skip
def test_a_picture_becomes_opaque_srgb(data: bytes, background: str, colour: tuple[int, ...]) -> None:
    ready = prepare(data, "content", background=background)
    np.testing.assert_allclose(decoded(ready)[2:-2, 2:-2] - np.float32(colour), 0, atol=4)
    assert prepare(ready, "content") is ready


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_a_plain_png_or_jpeg_is_sent_as_it_came_and_others_become_png(kind: str) -> None:
    data = encode(PICTURE, kind)
    ready = prepare(data, "content")
    assert (ready is data) == (kind in ("PNG", "JPEG"))
    assert kind == "JPEG" or ready.startswith(b"\x89PNG")
    np.testing.assert_array_equal(decoded(ready), decoded(data))


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


@pytest.mark.parametrize(("white", "dtype"), [(65535, np.uint16), (65535, np.int32), (1, np.float32)])
def test_deep_grey_uses_its_whole_range(white: int, dtype: type) -> None:
    grey = (np.linspace(0, 1, 30 * 41).reshape(30, 41) * white).astype(dtype)
    ready = decoded(prepare(encode(Image.fromarray(grey), "TIFF"), "content"))
    np.testing.assert_allclose(ready[..., 0], grey * (255 / white), atol=1)


@pytest.mark.parametrize(
    ("size", "longest", "kept"),
    [
        ((41, 30), 30, (30, 22)),
        ((41, 30), 500, (41, 30)),
        # Narrow pictures keep the ratio of their sides, which the graph checks.
        ((2000, 20), 60, (1600, 16)),
        ((10, 400), 60, (10, 400)),
    ],
)
def test_pictures_shrink_to_the_longest_side_and_never_grow(size: Any, longest: int, kept: Any) -> None:
    ready = prepare(encode(Image.new("RGB", size)), "content", longest_px=longest)
    assert Image.open(io.BytesIO(ready)).size == kept
    assert prepare(ready, "content", longest_px=longest) is ready


def with_empty_profile() -> bytes:
    """Pillow's reader fails with an IndexError on a colour profile without bytes."""
    output = io.BytesIO()
    PngImagePlugin.putchunk(output, b"iCCP")
    whole = encode(PICTURE)
    return whole[:-12] + output.getvalue() + whole[-12:]


def gif_header(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08\x01\x00\x00"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0" * 3 + frame


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        *[
            (data, f"a picture. Received: {len(data)} bytes that are not one")
            for data in (b"", b"hello", b"\xff\xd8\xff")
        ],
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "a picture. Received: a HEIF picture (.heic)"),
        (encode(PICTURE)[:-500], "an undamaged picture"),
        (encode(PICTURE, "JPEG")[:-500], "an undamaged picture"),
        (with_empty_profile(), "an undamaged picture"),
        (png_of(30000, 30000, 8, 2, b""), "a picture of at most 64000000 pixels"),
        (png_of(9000, 9000, 8, 2, b""), "a picture of at most 64000000 pixels. Received: 9000x9000"),
        (gif_header(30000, 30000), "a picture of at most 64000000 pixels"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        prepare(data, "style")
    assert str(failure.value).startswith(f"`style` must be {sentence}")


@pytest.mark.parametrize("background", ["nosuch", "", "#12"])
def test_a_background_that_is_no_colour_is_refused(background: str) -> None:
    with pytest.raises(InvalidInput, match="`background` must be a colour, by name or as #RRGGBB"):
        prepare(encode(PICTURE), "content", background=background)
