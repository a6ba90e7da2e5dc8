"""A style sample: a still life with a guitar, taken apart into facets as the cubists did."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ui.samples.noise import Array, blur, fractal, mix, relief, rgb, step, to_image

SEED = 12
EARTH = ["#d9a24e", "#f0cf8a", "#94582a", "#5b3320", "#f7e8c0", "#c87a35", "#2a211d", "#e5b04a"]
COOL = ["#3f7f8a", "#86b8b0", "#245471", "#b9d2c2", "#5f9070", "#18324a"]
ACCENTS = ["#c93a24", "#e87a26", "#17607f"]


def brushed(rng: np.random.Generator, angle: Array, length: int, cell: float) -> Array:
    """Returns noise smeared along `angle` `[H, W]` in radians over `length` pixels: the trace of bristles."""
    height, width = angle.shape
    noise = fractal(rng, height, width, cell, 2)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    total = np.zeros_like(noise)
    for way in (1, -1):
        px, py = x.copy(), y.copy()
        for _ in range(length // 4):
            row, column = np.clip(py.astype(int), 0, height - 1), np.clip(px.astype(int), 0, width - 1)
            total += noise[row, column]
            px += 2 * way * np.cos(angle)
            py += 2 * way * np.sin(angle)
    return total / (total.std() + 1e-6)


def cubist(size: int) -> Image.Image:
    """Paints a guitar, a bottle, a glass and a sheet of music as overlapping planes that shade into each other."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width, height = round(size * 0.8) * scale, size * scale
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    wx = x + 0.0010 * fractal(rng, height, width, 0.06, 3)
    wy = y + 0.0010 * fractal(rng, height, width, 0.06, 3)
    picture = mix(
        np.broadcast_to(rgb("#6f7d70"), (height, width, 3)),
        rgb("#3a3a36"),
        step(0.3, 0.75, np.hypot(wx - 0.4, wy - 0.5)),
    )
    angle = np.full((height, width), 0.8, np.float32)
    ink = np.zeros((height, width), np.float32)

    def plane(
        inside: Array, turn: float, colour: str, strength: float, fall: float, outline: float, open_: float = 0.0
    ) -> None:
        """Lays a plane that is dense at one edge and fades away from it."""
        nonlocal picture
        along = wx * np.cos(turn) + wy * np.sin(turn)
        places = along[inside > 0.5]
        if places.size < 2000:
            return
        low, high = np.percentile(places, [1, 99])
        share = np.clip((along - low) / (high - low + 1e-6), 0, 1)
        cover = inside * np.clip(strength * (1 - fall * share), 0, 1)
        # The dense edge lies in shade, and stands out from what is behind; the other dissolves into it.
        picture = mix(picture, rgb(colour) * (0.78 + 0.40 * share)[..., None], cover)
        angle[inside > 0.5] = turn + np.pi / 2
        rim = np.abs(blur(inside, 2) - 0.5) * 2
        ink[...] = np.maximum(
            ink * (1 - 0.75 * inside), outline * np.clip(1.0 - rim, 0, 1) * np.clip(1.35 - 1.5 * open_ * share, 0, 1)
        )

    def half(px: float, py: float, turn: float) -> Array:
        """Returns 1 on one side of a line through a point, 0 on the other."""
        return step(-0.0008, 0.0008, (wx - px) * np.cos(turn) + (wy - py) * np.sin(turn))

    def disc(px: float, py: float, radius: float, flat: float = 1.0) -> Array:
        return step(radius + 0.0008, radius - 0.0008, np.hypot(wx - px, (wy - py) / flat))

    grid = np.array([0.30, 0.30 + np.pi / 2, -0.62, -0.62 + np.pi / 2, 0.0, np.pi / 2])  # the directions that recur

    def facet(cx: float, cy: float, spread: float) -> Array:
        """Returns a three- or four-sided plane near a point."""
        inside = np.ones((height, width), np.float32)
        lean = float(rng.choice([0.42, -0.55, 0.05, 0.9])) + rng.normal(0, 0.08)
        long = rng.uniform(0.6, 1.7)
        for side in range(4):
            turn = lean + side * np.pi / 2 + rng.normal(0, 0.22)
            reach = spread * (long if side % 2 else 1 / long) * rng.uniform(0.55, 1.0)
            inside = inside * half(cx - reach * np.cos(turn), cy - reach * np.sin(turn), turn)
        return inside

    def scatter(count: int, spread: tuple[float, float], colours: list[str], strength: float, pull: float) -> None:
        for _ in range(count):
            cx, cy = 0.4 + pull * rng.uniform(-0.42, 0.42), 0.5 + pull * rng.uniform(-0.52, 0.52)
            inside = facet(cx, cy, rng.uniform(*spread))
            turn = float(rng.choice(grid)) + rng.choice([0, np.pi])
            plane(inside, turn, str(rng.choice(colours)),
                  strength * rng.uniform(0.7, 1), rng.uniform(0.75, 1.0), 0.9, 1.0)  # fmt: skip

    scatter(34, (0.13, 0.22), COOL + EARTH[:3] + ACCENTS[2:], 1.0, 1.0)
    scatter(30, (0.06, 0.13), EARTH + ACCENTS, 1.0, 0.9)

    # The guitar, in two halves that do not meet.
    lean = 0.42
    for shift, colour, side in (((0.0, 0.0), "#d39a4c", 0.0), ((0.035, 0.02), "#8d4f26", np.pi)):
        gx, gy = 0.40 + shift[0], 0.60 + shift[1]
        along = (wx - gx) * np.sin(lean) - (wy - gy) * np.cos(lean)  # towards the neck
        across = (wx - gx) * np.cos(lean) + (wy - gy) * np.sin(lean)
        lower = np.hypot(across / 0.165, (along + 0.10) / 0.15)
        upper = np.hypot(across / 0.120, (along - 0.10) / 0.12)
        waist = np.minimum(lower, upper) - 0.22 * np.exp(-((along / 0.05) ** 2)) * (np.abs(across) < 0.115)
        body = step(1.006, 0.994, waist) * half(gx, gy, lean + side)
        plane(body, lean + np.pi / 2 + side, colour, 1.0, 0.55, 1.0)
        plane(
            body * half(gx, gy + 0.05 - 0.1 * (side > 0), -0.62),
            0.3,
            "#efd9a4" if side == 0 else "#3d2618",
            0.9,
            0.9,
            0.7,
        )
    hole = disc(0.425, 0.555, 0.052)
    plane(hole, 0.9, "#1c1714", 1.0, 0.15, 1.0)
    plane(hole * half(0.425, 0.555, lean), lean, "#b8402a", 0.9, 0.5, 1.0)
    neck_along = (wx - 0.42) * np.sin(lean) - (wy - 0.56) * np.cos(lean)
    neck_across = (wx - 0.42) * np.cos(lean) + (wy - 0.56) * np.sin(lean)
    neck = step(0.0235, 0.0225, np.abs(neck_across)) * step(0.06, 0.061, neck_along) * step(0.43, 0.429, neck_along)
    plane(neck, lean, "#2c2622", 1.0, 0.6, 1.0)
    head = (
        step(0.036, 0.035, np.abs(neck_across + 0.012)) * step(0.415, 0.416, neck_along) * step(0.50, 0.499, neck_along)
    )
    plane(head, lean + np.pi, "#8a5a2e", 1.0, 0.5, 1.0)

    scatter(9, (0.04, 0.075), EARTH[:5] + COOL[:3], 0.55, 0.8)

    # A bottle, of which one side is seen from the front and the other from the side; a glass; music; a table's edge.
    bx, by = 0.155, 0.40
    shoulder = 0.030 + 0.045 * step(0.25, 0.36, wy)
    bottle = (
        step(shoulder + 0.0008, shoulder - 0.0008, np.abs(wx - bx))
        * half(bx, 0.13, np.pi / 2)
        * half(bx, 0.68, -np.pi / 2)
    )
    plane(bottle * half(bx, by, 0.0), 0.0, "#2f5a4c", 0.95, 0.55, 1.0)
    plane(bottle * half(bx, by, np.pi), np.pi, "#9db79a", 0.95, 0.75, 1.0)
    plane(bottle * half(bx, 0.44, np.pi / 2) * half(bx, 0.57, -np.pi / 2), 0.3, "#efe3c2", 0.95, 0.35, 1.0)
    plane(disc(bx, 0.685, 0.078, 0.32), np.pi / 2, "#1f3240", 0.8, 0.6, 0.9)
    sheet = (
        half(0.55, 0.70, 0.18)
        * half(0.74, 0.80, 0.18 + np.pi)
        * half(0.60, 0.70, 0.18 + np.pi / 2)
        * half(0.6, 0.93, 0.18 - np.pi / 2)
    )
    plane(sheet, 1.0, "#f3e8cb", 0.97, 0.28, 1.0)
    plane(disc(0.655, 0.43, 0.07) * half(0.655, 0.43, 2.6), 2.6, "#cfd8c8", 0.9, 0.7, 1.0)
    plane(disc(0.655, 0.43, 0.07, 0.4), 0.3, "#4f7479", 0.9, 0.6, 1.0)
    plane(half(0.0, 0.865, np.pi / 2 + 0.05) * half(0.42, 0.9, np.pi - 0.4), 0.4, "#5b3a22", 0.9, 0.55, 1.0)
    plane(facet(0.60, 0.22, 0.10), 0.30, "#b8402a", 0.95, 0.55, 1.0)
    plane(facet(0.16, 0.83, 0.09), 2.2, "#d9772f", 0.95, 0.6, 1.0)
    plane(facet(0.72, 0.60, 0.07), 0.95, "#1d5a72", 0.95, 0.5, 1.0)
    scatter(7, (0.035, 0.07), ["#efe0bb", "#2c2622", "#7fa3a0", "#d7a94f"], 0.5, 0.9)

    # Strings, staves and the grain of painted wood.
    strings = np.abs(((neck_across / 0.0085) % 1) - 0.5) < 0.075
    ink[(np.abs(neck_across) < 0.021) & strings & (neck_along > -0.20) & (neck_along < 0.42)] = 0.9
    stave = (wy - 0.70) * np.cos(0.18) - (wx - 0.60) * np.sin(0.18)
    lines = (np.abs(((stave / 0.011) % 1) - 0.5) < 0.07) & ((stave / 0.011) % 7 > 1.6)
    ink[lines & (sheet > 0.9)] = 0.85
    wood = np.sin(
        2 * np.pi * (wx * np.cos(1.2) + wy * np.sin(1.2) + 0.012 * fractal(rng, height, width, 0.2, 3)) / 0.016
    )
    comb = step(0.55, 0.9, wood) * half(0.0, 0.865, np.pi / 2 + 0.05) * half(0.42, 0.9, np.pi - 0.4)
    picture = mix(picture, rgb("#d7a94f"), comb * 0.55)

    # Paint: bristle marks across each plane, dabs of a second tone, a canvas below.
    marks = brushed(rng, angle, 28, 0.0022)
    dabs = brushed(rng, angle, 24, 0.006)
    tone = 1 + 0.055 * marks + 0.05 * dabs
    picture = picture * tone[..., None] + 0.025 * np.clip(dabs, -1, 1)[..., None] * rgb("#ffdf9a")
    picture = mix(picture, rgb("#1a1512"), np.clip(ink * (0.85 + 0.12 * marks), 0, 0.92))
    weave = np.sin(np.pi * np.arange(width) / 3)[None] + np.sin(np.pi * np.arange(height) / 3)[:, None]
    light = relief(marks + 0.8 * dabs + 0.06 * weave, 0.35)
    picture = picture * (0.6 + 0.4 * light)[..., None] * 1.22
    picture = np.clip(picture, 0, 1)
    picture = mix(picture, picture * picture * (3 - 2 * picture), 0.45)
    grey = picture.mean(axis=-1, keepdims=True)
    return to_image(grey + 1.22 * (picture - grey), width // scale, height // scale)
