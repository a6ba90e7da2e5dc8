"""The page's own elements: the markup, style and script of each are in files beside this one."""

import base64
import functools
import io
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image

from serving.pictures import prepare

LONGEST_PX = 1024  # long side of a compared picture; a download has all pixels
QUALITY = 88  # of its JPEG


def element(name: str) -> Any:
    """Returns the component of this name."""
    markup, style, script = (_text(f"{name}.{kind}") for kind in ("html", "css", "js"))
    return st.components.v2.component(f"style_transfer.{name}", html=markup, css=style, js=script)


@functools.cache
def _text(file: str) -> str | None:
    path = Path(__file__).with_name(file)
    return path.read_text("utf-8") if path.exists() else None


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Returns a picture as a file of a kind, with the options that Pillow has for it."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def jpeg_url(image: Image.Image, quality: int) -> str:
    """Returns a picture as a data URL for an element's script."""
    data = saved(image.convert("RGB"), "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def compare(before: bytes, after: bytes, key: str) -> None:
    """Draws two pictures in one frame, with a line between them that the mouse or the arrow keys move."""
    element("compare")(data=pair(before, after), key=key)


@st.cache_data(scope="session", max_entries=2, show_spinner=False)
def pair(before: bytes, after: bytes) -> dict[str, str]:
    """Returns both pictures for the frame, as data URLs of the same size in pixels."""
    before = prepare(before, "content", longest_px=LONGEST_PX)
    with Image.open(io.BytesIO(after)) as result, Image.open(io.BytesIO(before)) as photograph:
        shown = result.convert("RGB")
        shown.thumbnail((LONGEST_PX, LONGEST_PX))
        before_url = jpeg_url(photograph.convert("RGB").resize(shown.size), QUALITY)
        return {"before": before_url, "after": jpeg_url(shown, QUALITY)}
