"""A style sample: a river bank in dots of pure colour, which mix in the eye."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.noise import Array, fractal, mix, ramp, relief, rgb, step, to_bytes, to_image

SEED = 2
GRID = 384  # width of the field of colour that the dots are taken from
APART = 0.0168  # between dots, as a share of the width
PAINTS = ["#1c2f8a", "#2f63c4", "#5aa6e0", "#a9d6ea", "#2f8f4e", "#7dbb42", "#d8de5a", "#fff3b8", "#f7c436", "#f2862f",
          "#dd4a33", "#b02a5c", "#f2a3b0", "#6a3f9c", "#17604f"]  # fmt: skip


def dots(size: int) -> Image.Image:
    """Dots a river bank with trees, in colours that are never mixed on the palette."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width, height = size * scale, round(size * 0.75) * scale
    view = _river(rng)
    paints = np.stack([rgb(paint) for paint in PAINTS])
    image = Image.new("RGB", (width, height), (40, 44, 84))
    paint = Image.new("L", (width, height), 60)
    draw, draw_paint = ImageDraw.Draw(image), ImageDraw.Draw(paint)
    for dim, at in ((0.62, rng.uniform(-0.01, 1.01, (5200, 2))), (1.0, _lattice(rng))):
        row = np.clip((at[:, 1] * view.shape[0]).astype(int), 0, view.shape[0] - 1)
        column = np.clip((at[:, 0] * GRID).astype(int), 0, GRID - 1)
        wanted = view[row, column]
        # A dot is one of the pure paints: the likelier the nearer it is to the colour that is wanted.
        distance = (wanted[:, None] - paints) ** 2 @ np.array([0.8, 1.2, 0.7]) / 0.036
        chosen = (distance - rng.gumbel(size=distance.shape)).argmin(axis=1)
        colour = mix(paints[chosen], wanted, 0.2) * dim * (1 + 0.08 * rng.standard_normal((len(at), 1)))
        sizes = width * rng.normal(0.0080, 0.0007, len(at)) * (1.35 if dim < 1 else 1)
        for (x, y), r, fill in zip(at * [width, height], sizes, colour, strict=True):
            draw.ellipse([x - r, y - r, x + r, y + r], fill=to_bytes(fill))
            for share, thickness in ((1.0, 120), (0.6, 190)):
                draw_paint.ellipse([x - share * r, y - share * r, x + share * r, y + share * r], fill=thickness)
    picture = np.asarray(image, np.float32) / 255
    shade = relief(np.asarray(paint, np.float32) / 255, 0.8)
    canvas = 1 + 0.02 * fractal(rng, height, width, 0.004, 2)
    return to_image(picture * (0.82 + 0.18 * shade)[..., None] * canvas[..., None], width // scale, height // scale)


def _lattice(rng: np.random.Generator) -> Array:
    """Returns places that are evenly apart but in no strict order, in a random sequence, `[N, 2]`, 0 to 1."""
    columns, rows = round(1 / APART), round(0.75 / APART / 0.87)
    row, column = np.mgrid[-1 : rows + 2, -1 : columns + 2]
    at = np.stack([(column + 0.5 * (row % 2)) / columns, row / rows], axis=-1).reshape(-1, 2)
    return rng.permutation(at + rng.normal(0, 0.14 * APART, at.shape))


def _river(rng: np.random.Generator) -> Array:
    """Returns the view as plain colour, `[H, GRID, 3]`."""
    height = round(GRID * 0.75)
    y, x = np.mgrid[0:height, 0:GRID].astype(np.float32)
    x, y = x / GRID, y / height
    noise = fractal(rng, height, GRID, 0.10, 4)
    sky = ramp(y / 0.45, ["#3f7fd0", "#8fc4e8", "#fbe9b0", "#f9c489"])
    cloud = step(0.6, 1.6, fractal(rng, height, GRID, 0.22, 4, stretch=2.5))
    view = mix(sky, rgb("#fff1dc"), 0.8 * cloud)
    far = 0.40 + 0.03 * np.sin(9 * x + 1) + 0.012 * noise
    view = mix(
        view, ramp(np.clip(0.5 + 0.3 * noise, 0, 1), ["#5f6fb8", "#6f9fb0", "#9cc08a"]), step(-0.006, 0.006, y - far)
    )
    # The river comes from the distance and widens; its banks are grass in sun.
    middle, reach = 0.60 - 0.55 * (y - 0.45) + 0.05 * np.sin(8 * y), 0.05 + 0.75 * np.clip(y - 0.45, 0, 1) ** 1.3
    grass = ramp(np.clip(0.5 + 0.25 * noise + 0.25 * (y - 0.6), 0, 1), ["#4f9a3f", "#a6c743", "#e9df62", "#f4c94a"])
    ground = step(-0.006, 0.006, y - 0.455 - 0.01 * noise)
    view = mix(view, grass, ground)
    ripple = np.sin(y * y * 240 + 2.5 * noise)
    water = mix(
        ramp(np.clip(1.9 - 1.9 * y, 0, 1), ["#2454b0", "#5aa0dc", "#f5d9a0"]), rgb("#fbe6b8"), 0.35 * (ripple > 0.5)
    )
    water = mix(water, rgb("#2f6a58"), 0.65 * step(0.05, 0.0, x - middle + reach * 0.45))
    wet = step(0.012, -0.012, np.abs(x - middle) - reach) * ground
    view = mix(view, water, wet)
    for tx, ty, r in ((0.86, 0.30, 0.20), (0.10, 0.28, 0.25), (0.33, 0.38, 0.10), (0.69, 0.40, 0.075)):
        trunk = (np.abs(x - tx) < 0.10 * r) & (y > ty) & (y < ty + 1.75 * r)
        view = mix(view, rgb("#5b3a6a"), trunk.astype(np.float32))
        fall = np.hypot((x - tx + 0.9 * r) / (1.5 * r), (y - ty - 1.75 * r) / (0.22 * r))
        view = mix(view, rgb("#3f5aa0"), 0.7 * step(1.1, 0.8, fall + 0.1 * noise) * (1 - wet))
        crown = np.hypot((x - tx) / r, (y - ty) / (1.12 * r)) + 0.11 * noise
        light = 0.55 + 0.42 * ((x - tx) * 0.7 - (y - ty)) / r + 0.22 * noise
        leaves = ramp(np.clip(light, 0, 1), ["#1d3f86", "#17604f", "#3f9a48", "#a4c83e", "#f6d94c", "#f59a3a"])
        view = mix(view, leaves, step(1.0, 0.9, crown))
    poppies = step(1.5, 1.8, fractal(rng, height, GRID, 0.025, 2)) * step(0.55, 0.75, y) * (1 - wet)
    return mix(view, rgb("#e0442e"), poppies)
