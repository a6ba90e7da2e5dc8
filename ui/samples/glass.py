"""A style sample: stained glass."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ui.samples.noise import blur, fractal, mix, ramp, relief, rgb, step, to_image

SEED = 21
RINGS = ((0.085, 11), (0.150, 16), (0.200, 25), (0.275, 27), (0.335, 40), (0.415, 36), (0.485, 52), (0.575, 46),
         (0.665, 60), (0.76, 56))  # radius and number of pieces  # fmt: skip
GLASS = ["#fff3b0", "#ffd23f", "#f79a1e", "#e4441f", "#b3123f", "#6a1b7a", "#23308f", "#0f5fa8", "#0a8f8c", "#0d5c46"]


def stained_glass(size: int) -> Image.Image:
    """Sets pieces of coloured glass around a sun, joined by dark lead."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width = height = size * scale
    centre = np.array([0.5, 0.42])
    sites = [centre]
    for ring, (radius, pieces) in enumerate(RINGS):
        turn = (np.arange(pieces) + 0.5 * (ring % 2)) * 2 * np.pi / pieces + rng.normal(0, 0.035, pieces)
        away = radius * (1 + rng.normal(0, 0.03 + 0.004 * ring, pieces))
        sites += list(centre + np.stack([np.cos(turn), np.sin(turn)], axis=-1) * away[:, None])
    at = np.array(sites) * width
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    wobble = 0.0022 * width
    px = x + wobble * fractal(rng, height, width, 0.12, 3)
    py = y + wobble * fractal(rng, height, width, 0.12, 3)
    first = np.full((height, width), np.inf, np.float32)
    cell = np.zeros((height, width), np.int32)
    for index, (sx, sy) in enumerate(at.astype(np.float32)):
        distance = np.hypot(px - sx, py - sy)
        nearer = distance < first
        cell[nearer] = index
        first = np.where(nearer, distance, first)
    edge = np.full((height, width), np.inf, np.float32)  # distance to the border with the nearest other piece
    mine = at[cell].astype(np.float32)
    for index, (sx, sy) in enumerate(at.astype(np.float32)):
        gap = np.hypot(mine[..., 0] - sx, mine[..., 1] - sy)
        border = ((px - sx) ** 2 + (py - sy) ** 2 - first**2) / (2 * np.maximum(gap, 1e-3))
        edge = np.where(cell == index, edge, np.minimum(edge, border))
    edge /= width
    offset = np.array(sites) - centre
    away = np.hypot(offset[:, 0], offset[:, 1])
    bearing = np.arctan2(offset[:, 1], offset[:, 0])
    wave = np.clip(away / 0.78 + 0.10 * np.sin(5 * bearing + 9 * away) + rng.normal(0, 0.035, len(at)), 0, 1)
    colours = ramp(wave, GLASS)
    ground = offset[:, 1] + 0.05 * np.sin(offset[:, 0] * 9) > 0.33
    colours[ground] = ramp(rng.random(ground.sum()), ["#0c5b3c", "#1f8a4c", "#6fb03a", "#0a6f78"])
    odd = (rng.random(len(at)) < 0.07) & (away > 0.2)
    colours[odd] = np.array([rgb(c) for c in rng.choice(["#f6c445", "#ffb4a2", "#d7263d", "#3fb8c9"], odd.sum())])
    glass = colours[cell]
    # Light through old glass: streaks that differ from piece to piece, brighter towards the middle, small bubbles.
    streaks = fractal(rng, height, width, 0.05, 4, stretch=3.0)
    grain = fractal(rng, height, width, 0.012, 3)
    tilt = rng.uniform(0, 2 * np.pi, len(at))[cell]
    across = ((px - at[cell, 0]) * np.cos(tilt) + (py - at[cell, 1]) * np.sin(tilt)) / (0.05 * width)
    light = 0.78 + 0.13 * streaks + 0.06 * grain + 0.16 * np.clip(across, -1.4, 1.4) + 0.22 * step(0.002, 0.022, edge)
    sun = np.exp(-(((x / width - centre[0]) ** 2 + (y / height - centre[1]) ** 2) / 0.09))
    glass = glass * (light * (0.86 + 0.30 * sun))[..., None] + 0.10 * sun[..., None] * rgb("#ffe9b0")
    glass = glass + 0.16 * (np.clip(streaks - 1.3, 0, 1))[..., None]
    lead = 1 - step(0.0036, 0.0050, edge)
    rounded = np.clip(edge / 0.0050, 0, 1)
    metal = relief(blur(np.sqrt(np.clip(1 - rounded**2, 0, 1)), 2), 5.0) * 0.13 + 0.02 * grain * 0.5
    metal = np.clip(metal, 0.02, 1)[..., None] * rgb("#d9dde2")
    bleed = blur(glass * (1 - lead[..., None]), 0.008 * width)
    picture = mix(glass, metal + 0.10 * bleed, lead) + 0.10 * bleed
    return to_image(picture, size, size)
