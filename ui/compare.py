"""Before and after in one frame: a line that is dragged, or moved by the arrow keys, between photograph and result."""

from __future__ import annotations

import base64
import io
from typing import Any

import streamlit as st
from PIL import Image

LONGEST_PX = 1024  # of a picture in the frame; the download has all pixels
QUALITY = 88

HTML = """
<div class="compare">
  <img class="after" alt="The stylised picture">
  <img class="before" alt="The photograph">
  <span class="name left">Photograph</span>
  <span class="name right">Result</span>
  <span class="line"><span class="grip">&#8596;</span></span>
  <input type="range" min="0" max="100" value="50" aria-label="How much of the photograph is shown">
</div>
"""

CSS = """
.compare { --at: 50%; position: relative; overflow: hidden; line-height: 0;
  border-radius: var(--st-base-radius, 8px); }
.compare img { display: block; width: 100%; height: auto; }
.compare .before { position: absolute; inset: 0; height: 100%;
  clip-path: inset(0 calc(100% - var(--at)) 0 0); }
.compare .line { position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 4px #0009; pointer-events: none; }
.compare .grip { position: absolute; top: 50%; left: 50%; width: 34px; height: 34px; transform: translate(-50%, -50%);
  border-radius: 50%; background: #fff; color: #2a2530; font: 18px/34px var(--st-font, sans-serif); text-align: center;
  box-shadow: 0 1px 5px #0008; }
.compare .name { position: absolute; bottom: 10px; padding: 3px 9px; border-radius: 99px; background: #000a;
  color: #fff; font: 13px/1.4 var(--st-font, sans-serif); pointer-events: none; }
.compare .left { left: 10px; }
.compare .right { right: 10px; }
.compare input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize;
  appearance: none; -webkit-appearance: none; touch-action: pan-y; }
.compare input::-webkit-slider-thumb { -webkit-appearance: none; width: 1px; height: 100%; }
.compare input::-moz-range-thumb { width: 1px; height: 100%; border: 0; }
.compare:has(input:focus-visible) .grip { outline: 3px solid var(--st-primary-color, #b5472f); outline-offset: 2px; }
"""

JS = """
export default function({ parentElement, data }) {
  const frame = parentElement.querySelector(".compare");
  for (const side of ["before", "after"]) {
    const image = frame.querySelector("." + side);
    if (image.src !== data[side]) image.src = data[side];
  }
  const range = frame.querySelector("input");
  const move = () => {
    frame.style.setProperty("--at", range.value + "%");
    range.setAttribute("aria-valuetext", range.value + " % photograph");
  };
  range.oninput = move;
  move();
}
"""


def pair(before: bytes, after: bytes) -> dict[str, str] | None:
    """Returns a photograph and its result as the frame shows them, equally large, or None if one cannot be read."""
    try:
        with Image.open(io.BytesIO(after)) as result, Image.open(io.BytesIO(before)) as photograph:
            shown = result.convert("RGB")
            shown.thumbnail((LONGEST_PX, LONGEST_PX))
            return {"before": _url(photograph.convert("RGB").resize(shown.size)), "after": _url(shown)}
    except (OSError, ValueError, SyntaxError):
        return None


def show(data: dict[str, str], key: str) -> None:
    """Draws the frame."""
    frame: Any = st.components.v2.component("style_transfer.compare", html=HTML, css=CSS, js=JS)
    frame(data=data, key=key)


def _url(image: Image.Image) -> str:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
