"""What a run is made from, as sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from model.settings import StyleSettings
from serving.files import sha256
from serving.request import Request
from tests.conftest import decoded, encode, smooth_picture

PICTURE = encode(smooth_picture(30, 41))


def test_every_picture_shrinks_to_the_size_at_which_the_model_uses_it_once() -> None:
    large = encode(smooth_picture(60, 80), "TIFF")
    settings = StyleSettings(size=24, smallest_size=20, style_scale=2)
    guides = {"content_masks": [large, b""], "style_masks": [b"", large], "initial": large}
    ready = Request(large, [large, PICTURE], settings, **guides).prepared()
    longest = {
        name: [max(decoded(data).shape) if data else 0 for data in all_] for name, all_ in ready.pictures.items()
    }
    assert longest == {
        "content": [24], "styles": [48, 41], "content_masks": [24, 0], "style_masks": [0, 48], "initial": [24],
    }  # fmt: skip
    assert ready.prepared() == ready


def test_the_digests_are_of_the_files_that_were_brought() -> None:
    brought = Request(encode(smooth_picture(60, 80), "TIFF"), [PICTURE], content_masks=[b""], initial=PICTURE)
    digests = {"content": (sha256(brought.content),), "styles": (sha256(PICTURE),), "initial": (sha256(PICTURE),)}
    assert brought.prepared().sha256 == brought.prepared().prepared().sha256 == digests
    assert replace(brought, sha256={"content": ("aa",)}).prepared().sha256 == {"content": ("aa",)}


def test_guides_that_say_nothing_are_not_sent() -> None:
    ready = Request(PICTURE, [PICTURE], StyleSettings(size=20), content_masks=[b""], initial=b"").prepared()
    assert set(ready.pictures) == {"content", "styles"}


def test_a_start_that_is_transparent_shows_the_background() -> None:
    clear = encode(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))
    ready = Request(clear, [clear], StyleSettings(size=16), initial=clear, background="#ff0000").prepared()
    for name in ("content", "styles", "initial"):
        assert (decoded(ready.pictures[name][0]) == (255, 0, 0)).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_in_a_mask_is_black_whatever_the_background(kind: str) -> None:
    layer = np.full((16, 24, 4), 255, np.uint8)
    layer[:, 8:16, 3], layer[:, 16:, 3] = 51, 0
    mask = encode(layer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    guides = {"content_masks": [mask], "style_masks": [mask]}
    ready = Request(PICTURE, [PICTURE], StyleSettings(size=24), **guides, background="red").prepared()
    for name in guides:
        (prepared,) = ready.pictures[name]
        assert decoded(prepared)[5, ::8].tolist() == [[255] * 3, [51] * 3, [0] * 3]
