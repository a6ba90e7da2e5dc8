"""What people bring, picture by picture and as a request, and what the model gets."""

import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from model.settings import StyleSettings
from serving.errors import InvalidInput
from serving.files import sha256
from serving.pictures import prepare, with_transparency_of
from serving.request import Request
from tests.conftest import decoded, encode, smooth_picture
from tests.serving.fakes import png_of

PICTURE = smooth_picture(30, 41)
PNG = encode(PICTURE)


def plain(mode: str, colour: Any, kind: str = "PNG", **options: Any) -> bytes:
    return encode(Image.new(mode, (16, 16), colour), kind, **options)


def palette(**options: Any) -> bytes:
    image = Image.new("RGB", (16, 16), RED).convert("P")
    assert image.getpixel((0, 0)) == INDEX
    return encode(image, **options)


def animated(kind: str, **options: Any) -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def swapped_profile() -> bytes:
    """A profile that has sRGB's name, its red for green and the other way round: two tags of LittleCMS's, exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"rXYZ", b"swap"), (b"gXYZ", b"rXYZ"), (b"swap", b"gXYZ")):
        profile = profile.replace(old, new, 1)
    return profile


def keyed(bits: int, colours: int, row: bytes, clear: tuple[int, ...]) -> bytes:
    """A PNG of which one grey or colour, in its own range, stands for clear."""
    png, chunk = png_of(8, 8, bits, colours, row), b"tRNS" + struct.pack(f">{len(clear)}H", *clear)
    return png[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]


def tiff_of(bits: int, samples: int, photometric: int, pixels: bytes) -> bytes:
    """A TIFF of 8x8 grey pixels; samples are 1: unsigned, 2: signed, 3: with a point."""
    tags = {256: 8, 257: 8, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 8, 279: len(pixels), 339: samples}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<4sI", b"II*\0", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


PROFILE = swapped_profile()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
CLEAR, RED, INDEX = (200, 100, 50, 0), (204, 51, 51), 56
RGB48 = png_of(8, 8, 16, 2, struct.pack(">3H", 0xFF12, 0x80FE, 0x34) * 8)


@pytest.mark.parametrize(
    ("data", "background", "colour"),
    [
        pytest.param(plain("RGBA", CLEAR), "white", (255, 255, 255), id="clear"),
        pytest.param(plain("RGBA", CLEAR, "WEBP"), "#1000f0", (16, 0, 240), id="clear WebP"),
        pytest.param(plain("RGBA", (200, 100, 50, 128)), "black", (100, 50, 25), id="half clear"),
        pytest.param(plain("L", 76, transparency=76), "blue", (0, 0, 255), id="a grey that stands for clear"),
        pytest.param(palette(transparency=INDEX), "blue", (0, 0, 255), id="an index that stands for clear"),
        pytest.param(plain("RGB", RED, transparency=RED), "blue", (0, 0, 255), id="a colour that stands for clear"),
        pytest.param(plain("CMYK", (0, 255, 255, 0), "TIFF"), "white", (255, 0, 0), id="CMYK"),
        pytest.param(RGB48, "white", (255, 128, 0), id="colours of 16 bits"),
        pytest.param(plain("LAB", (128, 128, 128), "TIFF", icc_profile=LAB), "white", (119, 119, 119), id="LAB"),
        pytest.param(plain("RGB", RED, icc_profile=PROFILE), "white", (51, 204, 51), id="profile"),
        pytest.param(plain("RGBA", (*RED, 255), icc_profile=PROFILE), "white", (51, 204, 51), id="profile and alpha"),
        pytest.param(palette(icc_profile=PROFILE), "white", (51, 204, 51), id="profile of a palette"),
        pytest.param(plain("L", 77, icc_profile=PROFILE), "white", (77, 77, 77), id="profile for other colours"),
        pytest.param(plain("RGB", RED, icc_profile=b"no profile"), "white", RED, id="broken profile"),
        pytest.param(keyed(2, 0, b"\x55" * 2, (1,)), "blue", (0, 0, 255), id="a clear grey of 2 bits"),
        pytest.param(keyed(4, 0, b"\x55" * 4, (5,)), "blue", (0, 0, 255), id="a clear grey of 4 bits"),
        pytest.param(keyed(16, 0, b"\x9c\x40" * 8, (40000,)), "blue", (0, 0, 255), id="a clear grey of 16 bits"),
        pytest.param(keyed(16, 0, bytes(16), (39936,)), "blue", (0, 0, 0), id="black beside it"),
        pytest.param(keyed(16, 2, b"\x9c\x40" * 24, (40000,) * 3), "blue", (0, 0, 255), id="a clear colour of 16 bits"),
        pytest.param(tiff_of(12, 1, 1, b"\x80\x08\x00" * 32), "white", (128, 128, 128), id="grey of 12 bits"),
        pytest.param(tiff_of(16, 2, 1, b"\0\x40" * 64), "white", (128, 128, 128), id="signed grey"),
        pytest.param(tiff_of(16, 1, 0, bytes(128)), "black", (255, 255, 255), id="white is zero"),
        pytest.param(tiff_of(32, 3, 1, struct.pack("<64f", 1.01, *[0.5] * 63)), "white", (128,) * 3, id="above white"),
        *[pytest.param(animated(kind), "white", (255, 0, 0), id=f"first frame of {kind}") for kind in ("GIF", "PNG")],
        pytest.param(animated("WEBP", lossless=True), "white", (255, 0, 0), id="first frame of WebP"),
    ],
)  # fmt: skip
def test_a_picture_becomes_opaque_srgb(data: bytes, background: str, colour: tuple[int, ...]) -> None:
    ready = prepare(data, "content", background=background)
    np.testing.assert_allclose(decoded(ready)[2:-2, 2:-2] - np.float32(colour), 0, atol=4)
    assert prepare(ready, "content") is ready


def half_clear() -> Image.Image:
    """A lying picture, clear on its left half."""
    image = Image.new("RGBA", (40, 20), (9, 9, 9, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 20))
    return image


def test_a_result_is_as_transparent_as_its_original_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying: its left is the top
    original = encode(half_clear(), exif=exif)
    assert decoded(prepare(original, "content")).shape == (40, 20, 3)
    result = Image.open(io.BytesIO(with_transparency_of(original, encode(Image.new("RGB", (10, 20), RED)))))
    assert (result.format, result.mode, result.size) == ("PNG", "RGBA", (10, 20))
    assert [result.getpixel((5, y)) for y in (3, 16)] == [(*RED, 0), (*RED, 255)]


@pytest.mark.parametrize(
    "original",
    [PNG, encode(half_clear().convert("RGB"), "JPEG"), plain("RGBA", (1, 2, 3, 255))],
    ids=["PNG", "JPEG", "RGBA"],
)
def test_the_result_of_an_opaque_picture_stays_as_it_came(original: bytes) -> None:
    assert with_transparency_of(original, PNG) is PNG


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_what_is_sent_is_png_and_a_plain_picture_stays_as_it_came_until_then(kind: str) -> None:
    data = encode(PICTURE, kind)
    assert (prepare(data, "content") is data) == (kind in ("PNG", "JPEG"))
    ready = prepare(data, "content", longest_px=500)
    assert ready == prepare(ready, "content", longest_px=500)
    assert ready.startswith(b"\x89PNG")
    np.testing.assert_array_equal(decoded(ready), decoded(data))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_damaged_picture_has_one_verdict_at_any_size_and_what_is_sent_is_whole(kind: str) -> None:
    whole, generator = encode(PICTURE, kind), np.random.default_rng(0)
    places = generator.integers(8, len(whole), 100)
    for data in [whole[:-12], *[whole[:place] + b"\x5a" + whole[place + 1 :] for place in places]]:
        verdicts = []
        for longest in (20, 500):
            try:
                ready = prepare(data, "content", longest_px=longest)
            except InvalidInput as error:
                verdicts.append(str(error))
            else:
                verdicts.append("")
                assert ready.startswith(b"\x89PNG")
                Image.open(io.BytesIO(ready)).verify()
        assert verdicts[0] == verdicts[1]


# Tags as Pillow writes them; one that is a ratio, given as text; and a directory that ends too early.
EXIF = [
    struct.pack("<4sIHHHII", b"II*\0", 8, count, 0x0112, 3, 1, 6) + rest
    for count, rest in ((1, bytes(4)), (2, struct.pack("<HHI4sI", 0x011A, 2, 4, b"odd\0", 0)), (9, b"\x1a\x01"))
]


@pytest.mark.parametrize("exif", EXIF, ids=["plain", "odd", "cut"])
@pytest.mark.filterwarnings("error")
def test_exif_orientation_is_applied_once(exif: bytes) -> None:
    ready = prepare(encode(PICTURE, exif=exif), "content")
    np.testing.assert_array_equal(decoded(ready), np.rot90(PICTURE, -1))
    assert not Image.open(io.BytesIO(ready)).getexif()


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
        ((2000, 20), 60, (1600, 16)),  # narrow pictures keep the ratio of their sides, which the graph checks
        ((10, 400), 60, (10, 400)),
    ],
)
def test_pictures_shrink_to_the_longest_side_and_never_grow(size: Any, longest: int, kept: Any) -> None:
    ready = prepare(encode(Image.new("RGB", size)), "content", longest_px=longest)
    assert Image.open(io.BytesIO(ready)).size == kept
    assert prepare(ready, "content", longest_px=longest) == ready


# Pillow's reader fails with an IndexError on a colour profile without bytes.
EMPTY_PROFILE = PNG[:-12] + b"\0\0\0\0iCCP" + struct.pack(">I", zlib.crc32(b"iCCP")) + PNG[-12:]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        *[(data, f"a picture. Received: {len(data)} bytes that are not one") for data in (b"", b"\xff\xd8\xff")],
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "a picture. Received: a HEIF picture (.heic)"),
        (PNG[:-500], "an undamaged picture"),
        (encode(PICTURE, "JPEG")[:-500], "an undamaged picture"),
        (EMPTY_PROFILE, "an undamaged picture"),
        (tiff_of(32, 3, 1, struct.pack("<64f", 40, *[0.5] * 63)), "an undamaged picture. Received: grey from 0.5 to 4"),
        (tiff_of(32, 2, 1, struct.pack("<64i", *range(-1, 63))), "an undamaged picture. Received: grey from -1 to 62"),
        (png_of(30000, 30000, 8, 2, b""), "a picture of at most 64000000 pixels"),
        (png_of(9000, 9000, 8, 2, b""), "a picture of at most 64000000 pixels. Received: 9000x9000"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        prepare(data, "style")
    assert str(failure.value).startswith(f"`style` must be {sentence}")


def test_labels_are_no_mask() -> None:
    with pytest.raises(InvalidInput, match=r"`style_masks` must be white, 255, .* Received: a picture from 0 to 1"):
        Request(PNG, [PNG], style_masks=[plain("L", 1)]).prepared()


@pytest.mark.parametrize("count", [0, 9])
def test_a_request_has_one_to_eight_styles(count: int) -> None:
    with pytest.raises(InvalidInput, match=f"`styles` must be 1 to 8 pictures. Received: {count}"):
        Request(PNG, [PNG] * count)


def test_every_picture_shrinks_once_to_the_size_at_which_the_model_uses_it() -> None:
    large = encode(smooth_picture(60, 80), "TIFF")
    settings = StyleSettings(size=24, smallest_size=20, style_scale=2)
    guides = {"content_masks": [large, b""], "style_masks": [b"", large], "initial": large}
    ready = Request(large, [large, PNG], settings, **guides).prepared()
    longest = {
        name: [max(decoded(data).shape) if data else 0 for data in each] for name, each in ready.pictures.items()
    }
    assert longest == {
        "content": [24], "styles": [48, 41], "content_masks": [24, 0], "style_masks": [0, 48], "initial": [24],
    }  # fmt: skip
    assert ready.prepared() == ready


def test_the_digests_are_of_the_files_that_were_given() -> None:
    given = Request(encode(smooth_picture(60, 80), "TIFF"), [PNG], content_masks=[b""], initial=PNG)
    digests = {"content": (sha256(given.content),), "styles": (sha256(PNG),), "initial": (sha256(PNG),)}
    assert given.prepared().sha256 == given.prepared().prepared().sha256 == digests
    assert replace(given, sha256={"content": ("aa",)}).prepared().sha256 == {"content": ("aa",)}


def test_what_is_transparent_shows_the_background_but_is_black_in_a_mask() -> None:
    layer = np.full((16, 24, 4), 255, np.uint8)
    layer[:, 8:16, 3], layer[:, 16:, 3] = 51, 0
    mask, clear = encode(layer), encode(Image.new("RGBA", (24, 16), (0, 0, 0, 0)))
    guides = {"content_masks": [mask], "style_masks": [mask], "initial": clear}
    ready = Request(clear, [clear], StyleSettings(size=24), **guides, background="red").prepared()
    for name in ("content", "styles", "initial"):
        assert (decoded(ready.pictures[name][0]) == (255, 0, 0)).all()
    for name in ("content_masks", "style_masks"):
        assert decoded(ready.pictures[name][0])[5, ::8].tolist() == [[255] * 3, [51] * 3, [0] * 3]
