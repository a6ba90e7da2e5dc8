"""What a run is made from, as sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.settings import StyleSettings
from serving.errors import InvalidInput
from serving.files import sha256
from serving.request import Request
from tests.conftest import decoded, encode, smooth_picture

PICTURE = encode(smooth_picture(30, 41))


@pytest.mark.parametrize(
    ("styles", "guides", "sentence"),
    [
        (0, {}, "`styles` must be 1 to 8 pictures. Received: 0"),
        (9, {}, "`styles` must be 1 to 8 pictures. Received: 9"),
        (2, {"content_masks": [b""]}, "`content_masks` must be one for each of the 2 styles, or none. Received: 1"),
        (1, {"style_masks": [b"hello"]}, "`style_masks` must be a picture. Received: 5 bytes that are not one"),
    ],
)
def test_mistakes_are_one_sentence(styles: int, guides: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        Request(PICTURE, [PICTURE] * styles, **guides).prepared()
    assert str(failure.value) == sentence


def test_every_picture_shrinks_once_to_the_size_at_which_the_model_uses_it() -> None:
    large = encode(smooth_picture(60, 80), "TIFF")
    settings = StyleSettings(size=24, smallest_size=20, style_scale=2)
    guides = {"content_masks": [large, b""], "style_masks": [b"", large], "initial": large}
    ready = Request(large, [large, PICTURE], settings, **guides).prepared()
    longest = {
        name: [max(decoded(data).shape) if data else 0 for data in each] for name, each in ready.pictures.items()
    }
    assert longest == {
        "content": [24], "styles": [48, 41], "content_masks": [24, 0], "style_masks": [0, 48], "initial": [24],
    }  # fmt: skip
    assert ready.prepared() == ready


def test_the_digests_are_of_the_files_that_were_given() -> None:
    given = Request(encode(smooth_picture(60, 80), "TIFF"), [PICTURE], content_masks=[b""], initial=PICTURE)
    digests = {"content": (sha256(given.content),), "styles": (sha256(PICTURE),), "initial": (sha256(PICTURE),)}
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
