"""The page's own elements: markup, style and script of each in files of their own, beside this one."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image


def element(name: str) -> Any:
    """Returns the component of this name."""
    markup, style, script = (_text(f"{name}.{kind}") for kind in ("html", "css", "js"))
    return st.components.v2.component(f"style_transfer.{name}", html=markup, css=style, js=script)


@functools.cache
def _text(file: str) -> str | None:
    path = Path(__file__).with_name(file)
    return path.read_text("utf-8") if path.exists() else None


def jpeg_url(image: Image.Image, quality: int) -> str:
    """Returns a picture as a data URL, as an element's script takes it."""
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
