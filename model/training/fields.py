"""What the painters draw with: noise of any spectrum, flows, palettes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float64]


def grid(size: int) -> tuple[Field, Field]:
    """Row and column coordinates in 0..1, each `[size, size]`."""
    rows, columns = np.mgrid[:size, :size] / size
    return rows, columns


def rotation(angle: float) -> Field:
    """Rotation matrix `[2, 2]`."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def random_spectrum(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Random arguments for `noise_field`: exponent, stretch, direction, ring (0: none)."""
    stretch = 1.0 if rng.random() < 0.4 else rng.uniform(1, 8)
    ring = 0.0 if rng.random() < 0.6 else np.exp(rng.uniform(np.log(0.02), np.log(0.3)))
    return rng.uniform(0, 2.5), stretch, rng.uniform(0, np.pi), ring


def noise_field(
    rng: np.random.Generator, size: int, exponent: float, stretch: float = 1, direction: float = 0, ring: float = 0
) -> Field:
    """Periodic Gaussian noise with amplitude f^-exponent, or around one frequency, mean 0 and variance 1.

    Returns:
      `[size, size]`.
    """
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :]
    u = (fx * np.cos(direction) + fy * np.sin(direction)) * stretch
    v = -fx * np.sin(direction) + fy * np.cos(direction)
    f = np.hypot(u, v)
    f[0, 0] = 1
    amplitude = np.exp(-0.5 * ((f - ring) / (0.3 * ring)) ** 2) + 1e-9 if ring else np.maximum(f, 1 / size) ** -exponent
    amplitude[0, 0] = 0
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * amplitude).real
    return field / (field.std() + 1e-12)


def flow_field(rng: np.random.Generator, size: int, picture: Field | None = None) -> Field:
    """Angles of a flow `[size, size]`: along the contours of `picture`, or of smooth noise, or nearly straight."""
    if picture is None:
        if rng.random() < 0.3:
            return rng.uniform(0, np.pi) + rng.uniform(0, 0.6) * noise_field(rng, size, 3)
        ground = noise_field(rng, size, rng.uniform(2.5, 4))
    else:
        ground = picture.mean(-1)
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    low = np.exp(-0.5 * (f * 30) ** 2)
    gy, gx = np.gradient(np.fft.ifft2(np.fft.fft2(ground) * low).real)
    # Average the doubled angle, so that opposite gradients agree.
    cos, sin = (np.fft.ifft2(np.fft.fft2(t) * low).real for t in (gx * gx - gy * gy, 2 * gx * gy))
    return 0.5 * np.arctan2(sin, cos) + np.pi / 2


def random_palette(rng: np.random.Generator, count: int = 5) -> Field:
    """Colours from dark to light around two opposed or neighbouring hues, `[count, 3]`."""
    value = np.sort(rng.uniform(0.05, 1, count))
    hues = rng.random() + rng.choice([0, 0.1, 0.33, 0.5]) * rng.integers(0, 2, count) + rng.normal(0, 0.04, count)
    saturation = rng.uniform(0, 1) * rng.uniform(0.5, 1, count)
    tint = 0.5 + 0.5 * np.cos(2 * np.pi * (hues[:, None] + np.array([0, 1 / 3, 2 / 3])))
    return value[:, None] * (1 - saturation[:, None] * (1 - tint))


def to_colours(value: Field, palette: Field) -> Field:
    """Maps values, mostly in 0..1, to colours between the entries of a palette, `[..., 3]`."""
    stops = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(value, stops, palette[:, i]) for i in range(3)], -1)
