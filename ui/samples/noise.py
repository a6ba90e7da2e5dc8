"""Smooth random fields and small helpers of colour and light, on which the sample pictures are built.

A field is float32 `[H, W]`; a picture is float32 `[H, W, 3]`, 0 to 1. Lengths are shares of the field's width, so
that a picture keeps its composition at any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Array = npt.NDArray[Any]  # of floats; numpy's own types cannot say which come out of mixed arithmetic


def resize(field: Array, height: int, width: int) -> Array:
    """Resizes a field bicubically."""
    image = Image.fromarray(np.asarray(field, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def blur(field: Array, radius: float) -> Array:
    """Blurs a field `[H, W]` or a picture `[H, W, 3]` with a Gaussian of `radius` pixels."""
    if field.ndim == 3:
        return np.stack([blur(field[..., channel], radius) for channel in range(3)], axis=-1)
    # Pillow has no Gaussian for floats; three running means come close (central limit) and wrap nothing.
    reach = max(1, round(radius))
    for axis in (0, 1, 0, 1, 0, 1):
        pad = [(reach + 1, reach) if a == axis else (0, 0) for a in (0, 1)]
        total = np.cumsum(np.pad(field, pad, mode="edge"), axis=axis, dtype=np.float64)
        after = np.take(total, range(2 * reach + 1, total.shape[axis]), axis)
        before = np.take(total, range(total.shape[axis] - 2 * reach - 1), axis)
        field = ((after - before) / (2 * reach + 1)).astype(np.float32)
    return field


def fractal(
    rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 5, stretch: float = 1.0
) -> Array:
    """Returns fractal noise, zero mean, unit deviation.

    Args:
      rng: source of the randomness.
      height: of the field, in pixels.
      width: of the field, in pixels.
      cell: size of the largest feature as a share of the width.
      octaves: number of scales, each half as large and half as strong as the one before.
      stretch: how much longer features are along x than along y.
    """
    field = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = int(2**octave / cell / stretch) + 4
        rows = int(2**octave / cell * height / width) + 4
        grid = rng.standard_normal((rows, columns))
        field += resize(grid, height, width) * 0.5**octave
    return (field - field.mean()) / (field.std() + 1e-6)


def sampled(field: Array, u: Array, v: Array) -> Array:
    """Returns a square field at columns `u` and rows `v`, in shares of its side; beyond, it is mirrored: no seams."""
    last = field.shape[0] - 1
    row, column = ((1 - np.abs(place % 2 - 1)) * last for place in (v, u))
    return np.asarray(field[row.astype(int), column.astype(int)])


def ramp(values: Array, colours: Sequence[str], stops: Sequence[float] | None = None) -> Array:
    """Colours a field: 0 is the first colour, 1 the last, given as hex; `stops` places those between."""
    places = np.linspace(0, 1, len(colours)) if stops is None else np.asarray(stops)
    table = np.array([rgb(colour) for colour in colours])
    return np.stack([np.interp(values, places, table[:, c]) for c in range(3)], axis=-1).astype(np.float32)


def rgb(colour: str) -> Array:
    """Returns a hex colour `#rrggbb` as three floats, 0 to 1."""
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)


def to_bytes(colour: Array) -> tuple[int, int, int]:
    """Returns a colour as Pillow draws with."""
    red, green, blue = np.clip(colour * 255, 0, 255).astype(int).tolist()
    return red, green, blue


def step(low: Array | float, high: Array | float, values: Array) -> Array:
    """Rises smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Array, b: Array, share: Array | float) -> Array:
    """Returns `a` where share is 0 and `b` where it is 1; a share without channels is applied to all of them."""
    share = np.asarray(share)
    if 0 < share.ndim == max(a.ndim, b.ndim) - 1:
        share = share[..., None]
    return a * (1 - share) + b * share


def relief(height: Array, strength: float, azimuth: float = 2.2) -> Array:
    """Returns how brightly a height field is lit from `azimuth` (radians), 1 where it is flat."""
    dy, dx = np.gradient(height)
    slope = strength * (dx * np.cos(azimuth) + dy * np.sin(azimuth))
    return 1 + slope / np.sqrt(1 + slope * slope + (strength * dx) ** 2 * 0.25)


def graded(picture: Array) -> Array:
    """Rolls off the lights as film does, and darkens the corners a little."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    picture = np.clip(picture, 0, None) * (1 - 0.13 * (x * x + y * y) ** 1.2)[..., None]
    return np.where(picture > 0.8, 0.8 + 0.2 * np.tanh((picture - 0.8) / 0.2), picture)


def to_image(picture: Array, width: int, height: int) -> Image.Image:
    """Returns a picture as 8-bit RGB, scaled down to `width` by `height` if it was drawn larger."""
    image = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
        image = image.filter(ImageFilter.UnsharpMask(radius=1, percent=40, threshold=0))
    return image
