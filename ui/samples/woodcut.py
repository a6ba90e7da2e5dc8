"""A style sample: waves, cut in wood and printed."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.noise import Array, fractal, mix, ramp, resize, rgb, step, to_image

SEED = 5


def waves(size: int) -> Image.Image:
    """Cuts a rough sea in wood: bands of waves with engraved lines, spray, a red sun, printed on laid paper."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width, height = size * scale, round(size * 0.75) * scale
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / width
    paper = ramp(np.clip(0.5 + 0.18 * fractal(rng, height, width, 0.5, 6), 0, 1), ["#e9d9b4", "#f6ecd2"])
    ink = ["#0d2240", "#16406e", "#2f6c9a", "#7fa9b8"]
    # Sky: engraved lines that thin out towards the horizon, and bend around the sun.
    picture = mix(paper, rgb("#d8c39a"), step(0.25, 0.0, y) * 0.55)
    sun_x, sun_y, sun_r = 0.70, 0.20, 0.095
    from_sun = np.hypot(x - sun_x, y - sun_y)
    bend = 0.012 * np.exp(-((from_sun - sun_r) ** 2) / 0.01) * np.sign(y - sun_y)
    sky_line = np.sin((y + bend + 0.004 * fractal(rng, height, width, 0.4, 3)) * 2 * np.pi / 0.0125)
    weight = 0.15 + 0.75 * step(0.30, 0.0, y) + 0.10 * fractal(rng, height, width, 0.25, 3)
    cut = step(1 - weight - 0.10, 1 - weight + 0.10, (sky_line + 1) / 2) * step(sun_r * 1.08, sun_r * 1.2, from_sun)
    picture = mix(picture, rgb("#3b5f80"), cut * 0.85)
    disc = 1 - step(sun_r - 0.0015, sun_r + 0.0015, from_sun + 0.0012 * fractal(rng, height, width, 0.02, 2))
    sun = ramp(np.clip((y - sun_y + sun_r) / (2 * sun_r), 0, 1), ["#c2321f", "#df5a2c", "#eb8a48"])
    picture = mix(picture, sun, disc * 0.96)
    bands = 9
    for band in range(bands):
        near = band / (bands - 1)
        picture = _wave(rng, picture, x, y, near, ink)
    # The print: worn ink, the wood's grain, an uneven edge of the block.
    grain = fractal(rng, height, width, 0.02, 4, stretch=14.0)
    wear = step(1.75, 2.6, fractal(rng, height, width, 0.01, 3) + 0.55 * grain)
    picture = mix(picture, paper, wear * 0.55)
    picture = picture * (1 + 0.022 * grain + 0.015 * fractal(rng, height, width, 0.003, 2))[..., None]
    return to_image(picture, width // scale, height // scale)


def _wave(rng: np.random.Generator, picture: Array, x: Array, y: Array, near: float, ink: list[str]) -> Array:
    """Lays one band of waves over the picture; `near` is 0 at the horizon and 1 in front."""
    height, width = x.shape
    base = 0.335 + 0.37 * near**1.25
    swell = 0.008 + 0.056 * near**1.1
    crests = 17 - 13.2 * near**0.55
    phase = rng.uniform(0, 2 * np.pi)
    along = np.linspace(-0.3, 1.3, round(1.6 * width), dtype=np.float32)  # beyond the borders: waves lean in from there
    drift = resize(rng.standard_normal((1, 9)), 1, along.size)[0]
    theta = 2 * np.pi * crests * along + phase + 0.9 * drift
    strength = np.clip(1 + 0.30 * resize(rng.standard_normal((1, 12)), 1, along.size)[0], 0.45, 1.6)
    crest = base + swell * (0.55 - 2.1 * strength * (0.5 + 0.5 * np.cos(theta)) ** 2.3)
    crest = crest + 0.08 * swell * np.sin(3.1 * theta + 1.3)
    # What is high is pushed ahead, so that a crest leans over the trough before it, about to break.
    rise = np.clip((base + 0.3 * swell - y) / swell, 0, 2.4)
    ahead = x - 0.24 * swell * rise**2
    depth = y - np.interp(ahead, along, crest).astype(np.float32)
    inside = step(-0.0010, 0.0010, depth)
    body = ramp(np.clip(depth / (0.03 + 0.13 * near), 0, 1), [ink[2], ink[1], ink[0]], [0.0, 0.35, 1.0])
    body = mix(body, rgb(ink[3]), 0.55 * (1 - near))
    # Engraved lines run along the crest, closer together and thinner with depth.
    pitch = 0.006 + 0.0085 * near
    flow = depth + 0.003 * near * fractal(rng, height, width, 0.12, 3)
    line = (np.sin(2 * np.pi * flow / pitch * (1 - 0.25 * np.clip(depth / 0.15, 0, 1))) + 1) / 2
    slope = np.interp(ahead, along, np.gradient(crest, along))
    lit = np.clip(0.45 - 0.8 * slope / (np.abs(slope).max() + 1e-6), 0, 1)
    thick = np.clip(0.62 * lit * np.exp(-depth / (0.035 + 0.05 * near)) + 0.10 * lit, 0, 0.7)
    engraved = step(1 - thick - 0.10, 1 - thick + 0.10, line) * (thick > 0.03)
    body = mix(body, rgb("#f1e6c8"), engraved * 0.92)
    # Foam: a ragged white cap on the crest, a dark outline above it, spray thrown ahead.
    high = step(0.0, 0.9, np.interp(ahead, along, (base - crest) / swell)).astype(np.float32)
    ragged = 0.5 + 0.5 * fractal(rng, height, width, 0.012 + 0.02 * near, 3)
    cap = (0.004 + 0.026 * near) * high * np.clip(0.55 + 0.5 * ragged, 0.05, 1.6)
    foam = step(0.0015, -0.0015, depth - cap)
    outline = step(0.0030, 0.0012, np.abs(depth - cap)) * high
    body = mix(body, rgb("#f7f0dc"), foam * high)
    body = mix(body, rgb(ink[0]), outline * 0.9)
    picture = mix(picture, body, inside)
    contour = step(0.0016 + 0.0014 * near, 0.0006, np.abs(depth))
    picture = mix(picture, rgb(ink[0]), contour * 0.95)
    return _spray(rng, picture, along, crest, base, swell, near)


def _spray(
    rng: np.random.Generator, picture: Array, along: Array, crest: Array, base: float, swell: float, near: float
) -> Array:
    """Throws drops of foam from the crests, as small paper-coloured dots."""
    height, width = picture.shape[:2]
    layer = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(layer)
    tops = np.flatnonzero((base - crest) > 0.55 * swell)
    if tops.size:
        for column in rng.choice(tops, int(30 + 190 * near)):
            throw = rng.exponential(0.010 + 0.022 * near)
            cx = (along[column] + 0.5 * swell + throw * 0.8 + rng.normal(0, 0.006)) * width
            cy = (crest[column] - throw * rng.uniform(0.2, 1.0)) * width
            radius = width * (0.0006 + 0.0022 * near * rng.random())
            draw.ellipse([cx - radius, cy - radius, cx + radius, cy + radius], fill=255)
    dots = np.asarray(layer, np.float32) / 255
    return mix(picture, rgb("#f8f2e0"), dots)
