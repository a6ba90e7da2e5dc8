"""What a result's file holds beside the picture, and that it comes back."""

import io
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from model.settings import StyleSettings
from serving.errors import InvalidInput
from serving.files import sha256
from serving.request import Request
from serving.responses import Description, WeightsInfo
from serving.results import PROGRAM, SUFFIXES, Origin, Result, encode_result, origin_of, settings_of
from tests.conftest import decoded, encode, smooth_picture
from tests.served import ROOT

PICTURE = smooth_picture(100, 150)
PNG = encode(PICTURE)
SETTINGS = StyleSettings(size=77, seed=5, style_weight=0.1, content_layers=(("block2_conv1", 0.25),))
MODEL = Description("abc", WeightsInfo("imagenet"), precision="float32", tensorflow="2.19.1", settings=SETTINGS)
GIVEN = {name: (sha256(name.encode()),) for name in ("content", "styles", "initial")}
ORIGIN = Origin.of(Request(PNG, [PNG], SETTINGS, sha256=GIVEN), MODEL, step=7, steps=500)
ORIGIN = replace(ORIGIN, content_share=0.25)


def opened(data: bytes) -> Any:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def commented(text: str) -> bytes:
    """Returns a JPEG with this text in the place of an origin."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + text.encode()
    return encode(PICTURE[:8, :8], "JPEG", exif=exif)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_result_tells_what_made_it_or_keeps_it_to_itself(suffix: str) -> None:
    data = encode_result(PNG, suffix, ORIGIN)
    assert opened(data).format == SUFFIXES[suffix]
    assert origin_of(data) == ORIGIN
    assert encode_result(PNG, suffix, ORIGIN) == data
    assert b"style" not in encode_result(PNG, suffix)


def test_a_result_is_saved_by_the_suffix_and_shows_itself(tmp_path: Path) -> None:
    result = Result(PNG, ORIGIN, np.zeros((7, 4), np.float32))
    for suffix, metadata in ((".png", True), (".WEBP", False)):
        result.save(tmp_path / f"a{suffix}", metadata=metadata)
        data = (tmp_path / f"a{suffix}").read_bytes()
        assert data == encode_result(PNG, suffix, ORIGIN if metadata else None)
    with pytest.raises(InvalidInput, match=r"`path` must end in .png, .jpg, .jpeg or .webp. Received: a.gif"):
        result.save("a.gif")
    np.testing.assert_array_equal(np.asarray(result.to_pil()), PICTURE)
    assert result._repr_png_() == PNG
    assert len(repr(result)) < 3000  # a notebook sends the text beside the picture


def test_a_png_keeps_the_servers_pixels_and_compression() -> None:
    data = encode_result(PNG, ".png", ORIGIN)
    np.testing.assert_array_equal(decoded(data), PICTURE)
    assert data.endswith(PNG[33:])
    assert opened(data).info["srgb"] == 0
    text = opened(data).text["style_transfer"]
    assert '"seed": 5' in text
    assert f",steps={StyleSettings().steps}," in text  # a default, which a later version may change


def test_png_and_webp_keep_what_is_transparent_and_in_a_jpeg_it_is_white() -> None:
    png = encode(Image.new("RGBA", (16, 16), (200, 100, 50, 0)))
    assert [opened(encode_result(png, suffix)).getpixel((8, 8))[3] for suffix in (".png", ".webp")] == [0, 0]
    assert opened(encode_result(png, ".jpg")).getpixel((8, 8)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_jpeg_and_webp_are_close_and_tagged_srgb(suffix: str) -> None:
    image = opened(encode_result(PNG, suffix, ORIGIN))
    assert np.abs(np.asarray(image.convert("RGB"), float) - PICTURE).mean() < 2
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert profile.profile.creation_date.year == 2000  # not the time of writing: the same result, the same file
    if suffix == ".jpg":
        assert image.quantization == opened(encode(PICTURE, "JPEG", quality=95)).quantization
        assert [sampling[1:3] for sampling in image.layer] == [(1, 1)] * 3  # colours at full resolution


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_damaged_result_has_its_settings_or_none(suffix: str) -> None:
    data = bytearray(encode_result(encode(PICTURE[:8, :8]), suffix, ORIGIN))
    for index in range(0, len(data), 3):
        data[index] ^= 0xFF
        settings_of(bytes(data))
        data[index] ^= 0xFF


LATER = ORIGIN.to_text().replace("size=77", "size=77,later_setting=1")


@pytest.mark.parametrize(
    "text", ["", "é", "{", "{}", "[]", "null", '{"settings": 3}', "[" * 50_000, LATER], ids=range(9)
)
def test_other_text_in_its_place_and_settings_of_a_later_version_are_none(text: str) -> None:
    assert settings_of(commented(ORIGIN.to_text())) == SETTINGS
    assert settings_of(commented(text)) is None
    assert settings_of(PNG) is None


def test_the_program_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{project['name']} {project['version']}" == PROGRAM
