"""A style sample: bamboo in black ink on absorbent paper, with a red seal."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.noise import Array, blur, fractal, mix, ramp, rgb, step, to_image

SEED = 14
INK = "#14161c"

# Stems: place at the foot, lean, radius and depth (0 far in the mist, 1 in front).
STEMS = [(0.20, 0.05, 0.010, 0.15), (0.86, -0.10, 0.012, 0.2), (0.55, 0.10, 0.012, 0.35), (0.36, -0.06, 0.017, 0.6),
         (0.74, 0.06, 0.022, 1.0), (0.10, 0.07, 0.020, 0.9)]  # fmt: skip
FALL = np.pi / 2  # leaves hang


def bamboo(size: int) -> Image.Image:
    """Brushes a thicket of bamboo: pale washes behind, wet black leaves in front."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width = height = size * scale
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / width
    fibres = fractal(rng, height, width, 0.03, 5, stretch=3.0)
    paper = ramp(
        np.clip(0.5 + 0.16 * fractal(rng, height, width, 0.5, 5) + 0.10 * fibres, 0, 1), ["#ddd0b4", "#f3ead6"]
    )
    grain = fractal(rng, height, width, 0.006, 3)
    mist = fractal(rng, height, width, 0.35, 5)
    density = 0.16 * np.clip(0.55 + 0.6 * mist + 0.10 * grain - 0.4 * y, 0, 1)
    for foot, lean, radius, near in STEMS:
        strength = 0.22 + 0.72 * near
        density += strength * _stem(rng, x, y, foot, lean, radius, grain)
    for layer in range(9):
        near = layer / 8
        leaves = _leaves(rng, size, scale, near)
        density = np.maximum(density, 0.6 * density) + (0.14 + 0.78 * near**1.2) * _soaked(
            leaves, near, width, grain, mist
        )
    dry = step(-0.4, 2.0, grain + 0.8 * fibres) * 0.12  # where the paper's tooth keeps the ink off
    cover = 1 - np.exp(-1.9 * np.clip(density - dry * (density < 0.9), 0, None))
    picture = paper * (1 - cover[..., None]) + rgb(INK) * cover[..., None] * 1.1
    picture = _seal(rng, picture, 0.90, 0.885, 0.052)
    return to_image(picture, size, size)


def _soaked(mask: Array, near: float, width: int, grain: Array, mist: Array) -> Array:
    """Lets a wash soak in: soft far away, with a darker rim and pooled pigment in front."""
    soft = blur(mask, (0.0045 * (1 - near) + 0.0007) * width)
    rim = np.clip(soft - blur(soft, 0.004 * width), 0, 1)
    pooled = 0.78 + 0.20 * mist * (1 - near) + 0.09 * grain
    return np.asarray(soft * np.clip(pooled, 0.3, 1.3) + 0.9 * rim)


def _stem(rng: np.random.Generator, x: Array, y: Array, foot: float, lean: float, radius: float, grain: Array) -> Array:
    """Draws one stem of joints: dark at its sides, dry and streaky along its middle."""
    middle = foot + lean * (1 - y) + 0.018 * np.sin(3.0 * y + 6 * foot)
    across = (x - middle) / radius
    joint = (y + foot) / (0.115 + 2.2 * radius)
    part = joint % 1
    swell = 1 + 0.10 * step(0.10, 0.0, part) + 0.10 * step(0.90, 1.0, part)
    inside = step(1.06, 0.94, np.abs(across) / swell) * step(0.012, 0.035, part) * step(0.995, 0.975, part)
    tone = 0.42 + 0.58 * np.abs(across) ** 2.2 + 0.30 * step(0.16, 0.02, part) + 0.12 * grain
    streak = fractal(rng, x.shape[0], x.shape[1], 0.012, 3, stretch=0.06)
    return np.asarray(inside * np.clip(tone - 0.22 * np.clip(streak, 0, 2) * (1 - across**2), 0.08, 1.2))


def _leaves(rng: np.random.Generator, size: int, scale: int, near: float) -> Array:
    """Returns clusters of hanging leaves as a mask `[H, W]`."""
    width = size * scale
    layer = Image.new("L", (width, width), 0)
    draw = ImageDraw.Draw(layer)
    for _ in range(round(30 - 10 * near)):
        x, y = rng.uniform(-0.05, 1.05), rng.uniform(-0.08, 0.92)
        heading = FALL + rng.normal(0, 0.35)
        for spread in rng.permutation(np.linspace(-0.7, 0.7, int(rng.integers(3, 7)))):
            length = (0.070 + 0.060 * near) * rng.uniform(0.7, 1.25)
            _leaf(
                draw,
                x,
                y,
                heading + spread + rng.normal(0, 0.08),
                length,
                0.072 * length * rng.uniform(0.8, 1.3),
                width,
            )
        # The twig that bears them, and another joint of it.
        end = x - 0.07 * np.cos(heading) + rng.normal(0, 0.04), y - 0.07 * np.sin(heading)
        draw.line([x * width, y * width, end[0] * width, end[1] * width], fill=200, width=max(2, round(0.0026 * width)))
    return np.asarray(layer, np.float32) / 255


def _leaf(draw: ImageDraw.ImageDraw, x: float, y: float, turn: float, length: float, half: float, width: int) -> None:
    """Draws one leaf in one press of the brush: a thin start, a belly, a long point."""
    t = np.linspace(0, 1, 22)
    bow = turn + 0.35 * (t - 0.3) * (1 if np.cos(turn) > 0 else -1)  # the tip hangs
    along = np.stack([x + np.cumsum(np.cos(bow)) * length / 22, y + np.cumsum(np.sin(bow)) * length / 22], axis=-1)
    belly = half * np.sin(np.pi * t**0.72) ** 1.1 + 0.0006
    normal = np.stack([-np.sin(bow), np.cos(bow)], axis=-1) * belly[:, None]
    outline = np.concatenate([along + normal, (along - normal)[::-1]]) * width
    draw.polygon(outline.ravel().tolist(), fill=255)


def _seal(rng: np.random.Generator, picture: Array, x: float, y: float, side: float) -> Array:
    """Stamps a red seal: a square with strokes cut out of it, unevenly inked."""
    height, width = picture.shape[:2]
    layer = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(layer)

    def box(x0: float, y0: float, x1: float, y1: float, fill: int) -> None:
        draw.rectangle([(x + side * c) * width if i % 2 == 0 else (y + side * c) * width
                        for i, c in enumerate((x0, y0, x1, y1))], fill=fill)  # fmt: skip

    box(-0.5, -0.5, 0.5, 0.5, 255)
    for x0, y0, x1, y1 in ((-0.36, -0.36, -0.06, -0.28), (-0.25, -0.36, -0.17, 0.36), (-0.38, 0.0, -0.05, 0.08),
                           (0.06, -0.36, 0.14, 0.36), (0.28, -0.36, 0.36, 0.36), (0.06, -0.10, 0.36, -0.02),
                           (0.06, 0.28, 0.36, 0.36), (-0.38, 0.28, -0.05, 0.36)):  # fmt: skip
        box(x0, y0, x1, y1, 0)
    ink = np.asarray(layer, np.float32) / 255 * np.clip(0.86 + 0.12 * fractal(rng, height, width, 0.008, 3), 0, 1)
    return mix(picture, rgb("#c02a1e"), blur(ink, 0.0008 * width) * 0.94)
