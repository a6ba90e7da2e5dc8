"""A mask painted over a picture, by mouse, pen or finger: white where something counts."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial

import streamlit as st
from PIL import Image

from ui import components, sources
from ui.components import jpeg_url

LONGEST_PX = 640  # of what is painted on; masks are soft enough to be enlarged
QUALITY = 80


def show(picture: bytes, alt: str, mask: bytes, which: str, take: Callable[[str, bytes], None]) -> None:
    """Draws a picture to paint a mask on.

    Args:
      picture: encoded.
      alt: what it shows.
      mask: as it stands, encoded; empty: nothing is white.
      which: what tells this mask from others; has no spaces.
      take: is given `which` and the mask as PNG whenever a stroke ends; empty when nothing is white.
    """
    url, size = _small(picture)
    stage = components.element("painter")
    stage(
        key="painter",
        data={"picture": url, "alt": alt, "size": size, "mask": _mask_url(mask), "which": which},
        on_mask_change=partial(_painted, take),
    )


def _painted(take: Callable[[str, bytes], None]) -> None:
    which, _, url = str(st.session_state["painter"].get("mask") or "").partition(" ")
    file = sources.of_url(url, "mask")
    if which and (file is not None or not url):
        take(which, file.data if file else b"")


def _mask_url(mask: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(mask).decode() if mask else ""


def _small(picture: bytes) -> tuple[str, tuple[int, int]]:
    with Image.open(io.BytesIO(picture)) as image:
        small = image.convert("RGB")
        small.thumbnail((LONGEST_PX, LONGEST_PX))
        return jpeg_url(small, QUALITY), small.size
