"""A style sample: a woven rug with stepped diamonds, in madder, indigo, ochre and undyed wool."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ui.samples.noise import Array, fractal, ramp, resize, rgb, to_image

SEED = 17
KNOTS = 108  # across the width; the pattern is drawn in them
WOOL = ["#2a1a17", "#8f1f1c", "#c4512a", "#d9a13b", "#1e355e", "#efe2c4", "#3f6e6a"]
DARK, MADDER, RUST, OCHRE, INDIGO, CREAM, TEAL = range(len(WOOL))


def kilim(size: int) -> Image.Image:
    """Weaves a rug of stepped diamonds, thread by thread."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width, height = size * scale, round(size * 0.8) * scale
    knots = _pattern()
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / width
    # Wool gives way: threads swerve a little, and are not all as thick.
    u = (x + 0.0016 * fractal(rng, height, width, 0.10, 4)) * KNOTS
    v = (y + 0.0016 * fractal(rng, height, width, 0.10, 4)) * KNOTS * 2  # a knot is two threads high
    row = np.clip(v.astype(int), 0, 2 * knots.shape[0] - 1)
    u = u + 0.12 * (row % 2)
    column = np.clip(u.astype(int), 0, KNOTS - 1)
    colour = ramp(np.linspace(0, 1, len(WOOL)), WOOL)[knots[row // 2, column]]
    # Each row of weft is a little lighter or darker along its length, as dye takes; whole bands differ, too.
    dye = resize(rng.standard_normal((2 * knots.shape[0], 14)), 2 * knots.shape[0], KNOTS)
    bands = resize(rng.standard_normal((12, 1)), 2 * knots.shape[0], 1)
    colour = colour * (1 + 0.085 * dye[row, column] + 0.06 * bands[row, 0])[..., None]
    # A weft thread arches over each warp; its fibres run aslant.
    over, across = u % 1 - 0.5, v % 1 - 0.5
    arch = np.sqrt(np.clip(1 - (1.75 * across) ** 2, 0, 1)) * np.sqrt(np.clip(1 - (1.55 * over) ** 2, 0.04, 1))
    fibre = np.sin(2 * np.pi * (3.2 * over + 2.6 * across * np.where(row % 2, 1, -1)))
    fuzz = fractal(rng, height, width, 0.003, 2)
    light = 0.34 + 0.78 * arch + 0.055 * fibre + 0.06 * fuzz - 0.10 * across
    worn = fractal(rng, height, width, 0.35, 5)
    picture = colour * light[..., None] + (0.035 * np.clip(worn, 0, 2))[..., None] * rgb("#e8d4b0")
    return to_image(picture, width // scale, height // scale)


def _pattern() -> Array:
    """Returns which wool each knot is of, `[rows, KNOTS]`: bands of diamonds, zigzags and teeth, between stripes."""
    x = np.arange(KNOTS)[None, :]

    def stripe(*wools: int) -> Array:
        return np.repeat(np.array(wools)[:, None], KNOTS, axis=1)

    def checks(one: int, other: int) -> Array:
        return np.where((x // 3 + np.arange(4)[:, None] // 2) % 2 == 0, one, other)

    def zigzag(*wools: int) -> Array:
        fold = np.abs(x % 12 - 6) + np.arange(10)[:, None]
        return np.array(wools)[fold // 3 % len(wools)]

    def teeth(one: int, other: int) -> Array:
        return np.where(np.abs(x % 8 - 4) > np.arange(5)[:, None], one, other)

    def diamonds(ground: int, shift: int, *wools: int) -> Array:
        away = np.abs((x + shift) % 24 - 12) + np.abs(np.arange(21)[:, None] - 10)
        rings = np.array([*wools, *[ground] * 12])[away // 2]
        edge = np.minimum(np.arange(21), np.arange(21)[::-1])[:, None]
        between = np.abs((x + shift + 12) % 24 - 12) + edge
        return np.where(between < 2, wools[0], np.where(between < 5, wools[2], rings))

    wide = diamonds(MADDER, 0, DARK, RUST, OCHRE, INDIGO, CREAM, INDIGO)
    bands = [
        checks(CREAM, DARK), stripe(RUST, OCHRE), zigzag(INDIGO, CREAM, TEAL, OCHRE), stripe(DARK, RUST),
        teeth(CREAM, MADDER), wide, teeth(CREAM, MADDER)[::-1], stripe(RUST, DARK),
        zigzag(RUST, CREAM, MADDER, OCHRE, DARK), stripe(OCHRE, DARK),
        diamonds(INDIGO, 12, DARK, TEAL, OCHRE, MADDER, CREAM, RUST), stripe(DARK, OCHRE),
    ]  # fmt: skip
    return np.concatenate(bands)[: round(KNOTS * 0.8)]
