"""Looks over a height field: terrain, water with reflections, sky with clouds, haze.

The world has x to the right, z away from the viewer, and heights in the same unit, with the water at 0. For every
column of the picture a fan of points runs away from the viewer; each is projected to a row, and what hides what
follows from the running minimum of those rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ui.samples.noise import Array, fractal, mix, resize, rgb, sampled, step

EXTENT = 12.0  # side of the square of the world that a terrain covers; x from -6 to 6, z from 0 to 12
FINENESS = 8 / 3  # points of a terrain along a side, for each pixel of a picture's long side


@dataclass(frozen=True)
class Camera:
    """Where the picture is seen from.

    Attributes:
      width, height: of the picture, in pixels.
      horizon: row of the horizon as a share of the height.
      focal: focal length as a share of the width.
      eye: height of the eye above the water.
    """

    width: int
    height: int
    horizon: float
    focal: float
    eye: float

    @property
    def horizon_row(self) -> float:
        return self.horizon * self.height

    def water(self) -> tuple[Array, Array]:
        """Returns x and z of the water in each pixel, `[H, W]` each; beyond the horizon z is very far."""
        rows = np.arange(self.height, dtype=np.float32)[:, None] + 0.5 - self.horizon_row
        z = self.eye * self.focal * self.width / np.maximum(rows, 0.25)
        columns = np.arange(self.width, dtype=np.float32)[None, :] + 0.5 - self.width / 2
        return columns / (self.focal * self.width) * z, np.broadcast_to(z, (self.height, self.width))


@dataclass(frozen=True)
class Terrain:
    """A height field over the square of the world, and its colour under the light, `[N, N]` and `[N, N, 3]`."""

    height: Array
    colour: Array

    def places(self, x: Array, z: Array) -> tuple[Array, Array]:
        count = self.height.shape[0]
        column = np.clip((x / EXTENT + 0.5) * count, 0, count - 1.001)
        row = np.clip(z / EXTENT * count, 0, count - 1.001)
        return row, column

    def heights(self, x: Array, z: Array) -> Array:
        """Returns heights at places of the world, linear between the points of the grid."""
        row, column = self.places(x, z)
        r, c = row.astype(int), column.astype(int)
        fr, fc = row - r, column - c
        field = self.height
        top = field[r, c] * (1 - fc) + field[r, c + 1] * fc
        return top * (1 - fr) + (field[r + 1, c] * (1 - fc) + field[r + 1, c + 1] * fc) * fr


def ridges(rng: np.random.Generator, count: int, cell: float, octaves: int) -> Array:
    """Returns mountains as a field 0 to about 1: noise folded at zero, so that ridges are sharp and valleys round."""
    field = np.zeros((count, count), np.float32)
    weight = np.ones_like(field)
    for octave in range(octaves):
        cells = int(2**octave / cell) + 3
        fold = 1 - np.abs(resize(rng.standard_normal((cells, cells)), count, count)) * 0.9
        fold = np.clip(fold, 0, 1) ** 1.5 * weight
        field += fold * 0.46**octave
        weight = np.clip(fold * 1.6, 0, 1)  # detail gathers on ridges, valleys stay smooth
    return field / 1.7


def sunlight(height: Array, sun: tuple[float, float, float]) -> tuple[Array, Array]:
    """Returns how much light falls on each point of a height field, and how steep it is (1 flat, 0 upright).

    Args:
      height: `[N, N]`, heights over the square of the world.
      sun: direction towards the sun: x, up, z; any length.
    """
    count = height.shape[0]
    pitch = EXTENT / count
    dz, dx = np.gradient(height, pitch)
    up = 1 / np.sqrt(dx * dx + dz * dz + 1)
    direction = np.array(sun, np.float32) / np.linalg.norm(sun)
    light = np.clip((-dx * direction[0] + direction[1] - dz * direction[2]) * up, 0, 1)
    # Shadows: walk towards the sun; whatever rises above the ray darkens the point, softly.
    rows, columns = np.mgrid[0:count, 0:count].astype(np.float32)
    flat = np.hypot(direction[0], direction[2])
    hidden = np.zeros_like(height)
    for distance in np.geomspace(2, count / 12.8, 28):
        r = np.clip(rows + direction[2] / flat * distance, 0, count - 1).astype(int)
        c = np.clip(columns + direction[0] / flat * distance, 0, count - 1).astype(int)
        ray = height + distance * pitch * direction[1] / flat
        hidden = np.maximum(hidden, (height[r, c] - ray) / (0.02 + 0.004 * distance * pitch))
    return light * (1 - np.clip(hidden, 0, 1) * 0.92), up


def look(camera: Camera, terrain: Terrain, haze: str, haze_at: float, *, below: bool = False) -> tuple[Array, Array]:
    """Renders the land, without sky and water.

    Args:
      camera: where from.
      terrain: what is there; heights below 0 are under water and not drawn.
      haze: colour that far land fades into.
      haze_at: distance at which about two thirds of the colour are haze.
      below: looks from as far below the water as the eye is above it: what the water mirrors, upside down.

    Returns:
      The picture `[H, W, 3]` and how much of each pixel is land `[H, W]`.
    """
    z = np.geomspace(0.35, EXTENT - 0.02, 2600).astype(np.float32)[:, None]
    columns = np.arange(camera.width, dtype=np.float32)[None, :] + 0.5 - camera.width / 2
    pixels = camera.focal * camera.width
    x = columns / pixels * z
    height = terrain.heights(x, np.broadcast_to(z, x.shape))
    eye = -camera.eye if below else camera.eye
    row = camera.horizon_row - pixels * (np.maximum(height, 0) - eye) / z
    if below:
        row = np.where(height > 0, row, 1e9)  # from below, the water hides nothing
    top = np.minimum.accumulate(row, axis=0)
    wanted = np.arange(camera.height, dtype=np.float32)
    picture = np.zeros((camera.height, camera.width, 3), np.float32)
    land = np.zeros((camera.height, camera.width), np.float32)
    for column in range(camera.width):
        hit = np.searchsorted(-top[:, column], -wanted)  # the first point that reaches up to each row
        seen = hit < len(z)
        seen[seen] = height[hit[seen], column] > 0
        if below:  # water behind the land does not mirror it
            seen[seen] = wanted[seen] <= camera.horizon_row - pixels * camera.eye / z[hit[seen], 0] + 1
        at = hit[seen]
        r, c = terrain.places(x[at, column], z[at, 0])
        far = 1 - np.exp(-((z[at, 0] / haze_at) ** 1.5))
        picture[seen, column] = mix(terrain.colour[r.astype(int), c.astype(int)], rgb(haze), far[:, None])
        land[seen, column] = 1
    return picture, land


def clouds(rng: np.random.Generator, camera: Camera, cell: float, cover: float) -> tuple[Array, Array]:
    """Returns how thick the clouds are in each pixel of the sky, 0 to 1, and how thick a little nearer the zenith.

    The clouds lie on a plane high above, so that they crowd towards the horizon. The second field tells where their
    undersides are.
    """
    count = 1024
    field = fractal(rng, count, count, cell, 7)
    above = np.maximum(camera.horizon_row - np.arange(camera.height, dtype=np.float32), 0.6)[:, None] / camera.width
    z = 0.11 / (above + 0.035)
    columns = (np.arange(camera.width, dtype=np.float32)[None, :] + 0.5) / camera.width - 0.5
    u = columns * z * 1.6 + 11.5
    v = 1 - np.abs((np.broadcast_to(z * 1.9, u.shape) + 1.3) % 2 - 1)
    here, higher = sampled(field, u, v), sampled(field, u, np.clip(v - 0.025, 0, 1))
    return step(cover, cover + 1.5, here), step(cover, cover + 1.5, higher)


def mirrored(camera: Camera, picture: Array, rng: np.random.Generator, roughness: float) -> Array:
    """Returns what the water shows of `picture` (what is seen from below the water, sky included), with ripples."""
    x, z = camera.water()
    count = 1024
    ripples = fractal(rng, count, count, 0.02, 4, stretch=3.0)
    tilt = sampled(ripples, x * 0.5 + 21, z * 0.9 + 1) * roughness / (1 + 0.25 * z)
    rows = np.arange(camera.height)[:, None]
    upward = 2 * camera.horizon_row - rows - np.abs(tilt) * camera.height * 1.0
    source_row = np.clip(upward, 0, camera.height - 1).astype(int)
    source_column = np.clip(np.arange(camera.width)[None, :] + tilt * camera.width * 0.12, 0, camera.width - 1)
    return picture[source_row, source_column.astype(int)]
