"""Pictures as callers give them: files, bytes and PIL images become the same request."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from model.settings import StyleSettings
from serving.errors import InvalidInput
from serving.request import Request
from tests.conftest import encode, smooth_picture
from tests.serving.fakes import CONTENT, STYLE

SIDEWAYS = Image.Exif()
SIDEWAYS[0x0112] = 6
PICTURE = Image.fromarray(smooth_picture(40, 56))
CLEAR = PICTURE.convert("RGBA")
CLEAR.putalpha(90)
FILES = {
    "jpg": encode(PICTURE, "JPEG", exif=SIDEWAYS),
    "png": encode(CLEAR),
    "tif": encode(PICTURE.convert("CMYK"), "TIFF"),
    "webp": encode(PICTURE, "WEBP", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()),
    "gif": encode(PICTURE.convert("P"), "GIF", transparency=7),
}


@pytest.mark.parametrize("suffix", FILES)
def test_a_path_its_bytes_and_a_pil_image_of_it_are_the_same_picture(tmp_path: Path, suffix: str) -> None:
    path, data = tmp_path / f"photo.{suffix}", FILES[suffix]
    path.write_bytes(data)
    wanted = Request(data, [data], content_masks=[data], initial=data, background="red").prepared()
    with Image.open(path) as image:
        image.load()  # which may add to the info
        info = dict(image.info)
        for picture in (path, str(path), data, image):
            for several in (picture, [picture]):
                guides = {"content_masks": several, "initial": picture, "background": "red"}
                assert Request.read(picture, several, **guides).prepared().pictures == wanted.pictures
        assert image.info == info  # it is the caller's


def test_an_image_without_a_file_may_be_of_any_mode() -> None:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "HSV", "LAB", "I", "F"):
        picture = Image.new(mode, (24, 16))
        assert Request.read(picture, picture).prepared().content


def test_an_empty_mask_stays_empty_and_settings_have_defaults() -> None:
    request = Request.read(CONTENT, (CONTENT, STYLE), style_masks=[b"", STYLE])
    assert request == Request(CONTENT, (CONTENT, STYLE), StyleSettings(), style_masks=(b"", STYLE))


@pytest.mark.parametrize("name", ["content", "styles", "content_masks", "style_masks", "initial"])
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("/nosuch.jpg", "a readable file. Received: /nosuch.jpg (No such file or directory)"),
        (Path("/"), "a readable file. Received: / (Is a directory)"),
        ("\x89PNG\0", "a readable file. Received: \x89PNG\0 (embedded null byte)"),
        (None, "the path of a picture, its bytes or a PIL image. Received: NoneType"),
        (smooth_picture(4, 4), "the path of a picture, its bytes or a PIL image. Received: ndarray"),
        (io.BytesIO(CONTENT), "the path of a picture, its bytes or a PIL image. Received: BytesIO"),
    ],
    ids=range(6),
)
def test_what_is_no_picture_is_refused_by_its_name(name: str, wrong: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        Request.read(**{"content": CONTENT, "styles": [STYLE]} | {name: wrong})
    assert str(failure.value) == f"`{name}` must be {sentence}"
