"""A mask painted over a picture, by mouse, pen or finger: white where something counts."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st
from PIL import Image

from ui import sources

LONGEST_PX = 640  # of what is painted on; masks are soft enough to be enlarged

HTML = """
<div class="stage"><img alt=""><canvas></canvas></div>
<div class="tools" role="toolbar" aria-label="Painting the mask">
  <button type="button" data-tool="paint" aria-pressed="true">Paint</button>
  <button type="button" data-tool="erase" aria-pressed="false">Erase</button>
  <label>Brush <input type="range" min="2" max="40" value="12" aria-label="Size of the brush"></label>
  <button type="button" data-do="invert">Invert</button>
  <button type="button" data-do="clear">Clear</button>
</div>
"""

CSS = """
.stage { position: relative; line-height: 0; border-radius: var(--st-base-radius, 8px); overflow: hidden; }
.stage img { width: 100%; }
canvas { position: absolute; inset: 0; width: 100%; height: 100%; opacity: .6; cursor: crosshair; touch-action: none; }
.tools { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem; padding: .5rem 0 .1rem; }
.tools, button { font: 400 .875rem/1.5 var(--st-font, sans-serif); color: var(--st-text-color); }
button { background: none; border: 1px solid var(--st-border-color); padding: .25rem .7rem; cursor: pointer;
  border-radius: var(--st-button-radius, 8px); }
button:hover, button[aria-pressed=true] { color: var(--st-primary-color); border-color: var(--st-primary-color); }
button:focus-visible, input:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
label { display: flex; align-items: center; gap: .4rem; flex: 1 1 8rem; }
label input { flex: 1; min-width: 4rem; accent-color: var(--st-primary-color); }
"""

JS = """
export default function({ parentElement, data, setTriggerValue }) {
  const find = (selector) => parentElement.querySelector(selector);
  const image = find("img"), canvas = find("canvas"), brush = find("input"), pen = canvas.getContext("2d");
  const colour = getComputedStyle(canvas).getPropertyValue("--st-primary-color") || "#b5472f";
  const tools = [...parentElement.querySelectorAll("[data-tool]")];
  const tool = () => tools.find((button) => button.getAttribute("aria-pressed") === "true").dataset.tool;

  // What is seen is coloured and transparent; what is sent is white on black.
  const over = (paint) => {
    const sheet = new OffscreenCanvas(canvas.width, canvas.height), at = sheet.getContext("2d");
    at.drawImage(canvas, 0, 0);
    paint(at);
    return sheet;
  };
  const fill = (at, style, mode) => {
    at.globalCompositeOperation = mode;
    at.fillStyle = style;
    at.fillRect(0, 0, canvas.width, canvas.height);
  };
  const send = () => {
    const white = over((at) => { fill(at, "white", "source-in"); fill(at, "black", "destination-over"); });
    const out = document.createElement("canvas");
    out.width = canvas.width; out.height = canvas.height;
    out.getContext("2d").drawImage(white, 0, 0);
    const painted = pen.getImageData(0, 0, canvas.width, canvas.height).data.some((value, at) => at % 4 === 3 && value);
    canvas.shown = painted ? out.toDataURL("image/png") : "";
    setTriggerValue("mask", data.which + " " + canvas.shown);
  };
  const show = async (mask) => {
    canvas.shown = mask;
    pen.globalCompositeOperation = "source-over";
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!mask) return;
    const picture = new Image();
    picture.src = mask;
    await picture.decode();
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < pixels.data.length; at += 4) pixels.data[at + 3] = pixels.data[at];
    pen.putImageData(pixels, 0, 0);
    fill(pen, colour, "source-in");
  };
  if (canvas.which !== data.which || canvas.shown !== data.mask) {
    canvas.which = data.which;
    image.src = data.picture;
    image.alt = data.alt;
    [canvas.width, canvas.height] = data.size;
    show(data.mask);
  }

  let last = null;
  const stroke = (event) => {
    const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
    const here = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    pen.globalCompositeOperation = tool() === "erase" ? "destination-out" : "source-over";
    pen.strokeStyle = colour;
    pen.lineWidth = brush.value / 100 * canvas.width;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...(last ?? here));
    pen.lineTo(...here);
    pen.stroke();
    last = here;
  };
  canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); last = null; stroke(event); };
  canvas.onpointermove = (event) => { if (last) stroke(event); };
  canvas.onpointerup = canvas.onpointercancel = () => { if (last) { last = null; send(); } };
  for (const button of tools) button.onclick = () => {
    for (const other of tools) other.setAttribute("aria-pressed", other === button);
  };
  find("[data-do=clear]").onclick = () => { pen.clearRect(0, 0, canvas.width, canvas.height); send(); };
  find("[data-do=invert]").onclick = () => { fill(pen, colour, "xor"); send(); };
}
"""


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
    stage: Any = st.components.v2.component("style_transfer.painter", html=HTML, css=CSS, js=JS)
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
        out = io.BytesIO()
        small.save(out, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode(), small.size
