"""A content sample: a lighthouse on a green headland above a breezy sea."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.landscape import EXTENT, FINENESS, Camera, Terrain, clouds, look, mirrored, sunlight
from ui.samples.noise import Array, blur, fractal, graded, mix, ramp, rgb, step, to_image

SEED = 4


def lighthouse(size: int) -> Image.Image:
    """Shows a lighthouse on a green headland above a breezy sea."""
    rng = np.random.default_rng(SEED)
    scale = 2
    camera = Camera(size * scale, round(size * 2 / 3) * scale, horizon=0.56, focal=0.95, eye=0.33)
    grid = round(size * FINENESS)
    z, x = np.mgrid[0:grid, 0:grid].astype(np.float32) / grid * EXTENT
    x -= EXTENT / 2
    rough = fractal(rng, grid, grid, 0.10, 6)
    # A headland from the right with cliffs: a plateau that drops steeply to the sea, and a far coast.
    inland = x - 0.10 - 0.55 * np.abs(z - 3.4) ** 1.2 + 0.20 * rough
    plateau = step(-0.12, 0.16, inland) * (0.40 + 0.22 * step(0, 2.2, inland) + 0.035 * rough)
    near = -x - 1.15 + 0.42 * (z - 0.4) * -1 + 0.12 * rough
    plateau = np.maximum(plateau, step(-0.05, 0.5, near) * step(2.4, 1.2, z) * (0.14 + 0.02 * rough))
    coast = step(9.6, 11.2, z + 0.35 * x + 0.5 * rough) * (0.30 + 0.10 * rough)
    crags = fractal(rng, grid, grid, 0.022, 5)
    height = np.maximum(plateau, coast) - 0.05
    height += 0.028 * crags * step(0.0, 0.10, height) * step(0.46, 0.24, height)
    rocks = step(1.0, 2.2, fractal(rng, grid, grid, 0.02, 4)) * np.exp(-(((inland + 0.28) / 0.22) ** 2)) * 0.16
    height = np.maximum(height, rocks - 0.03)
    light, up = sunlight(height, (-0.75, 0.62, -0.25))
    meadow = np.clip(0.5 + 0.2 * fractal(rng, grid, grid, 0.03, 6), 0, 1)
    grass = ramp(meadow, ["#3f5e22", "#6d8a34", "#a7a850", "#c4b46a"])
    strata = fractal(rng, grid, grid, 0.03, 4) * 0.2 + 0.5 * np.sin(height * 95 + crags) * 0.5
    stone = ramp(np.clip(0.5 + 0.5 * strata, 0, 1), ["#5a4a3f", "#8a7462", "#b9a28a", "#d6c4a8"])
    colour = mix(grass, stone, step(0.90, 0.68, up))
    path = np.exp(-(((x - 0.75 - 0.25 * np.sin(z * 2.1)) / 0.045) ** 2)) * step(0.8, 0.95, up) * step(4.0, 3.2, z)
    colour = mix(colour, rgb("#dcc79c"), path * 0.9)
    wet = step(0.06, 0.01, height)
    colour = colour * (1 - 0.55 * wet)[..., None]
    lit = rgb("#fff0d6") * 1.15 * light[..., None] + rgb("#7fa3d0") * 0.50 * (0.5 + 0.5 * up[..., None])
    terrain = Terrain(height, colour * lit)

    sky = _day_sky(rng, camera)
    land, mask = look(camera, terrain, "#b9d3e6", 13.0)
    below, below_mask = look(camera, terrain, "#b9d3e6", 13.0, below=True)
    sea = _sea(rng, camera, terrain, mix(sky, below, below_mask))
    rows = np.arange(camera.height)[:, None]
    view = np.where((rows > camera.horizon_row)[..., None], sea, sky)
    tower, tower_mask = _tower(camera, terrain)
    view = mix(view, land, mask)
    view = mix(view, tower, tower_mask)
    view = _gulls(rng, camera, view)
    return to_image(graded(view), size, camera.height // scale)


def _day_sky(rng: np.random.Generator, camera: Camera) -> Array:
    rows = np.arange(camera.height, dtype=np.float32)[:, None] / camera.horizon_row
    columns = np.arange(camera.width, dtype=np.float32)[None, :] / camera.width
    up = np.clip(1 - rows, 0, 1)
    sky = ramp(up + 0 * columns, ["#f3e6d2", "#cfe3ee", "#8fc1e6", "#4b93d1", "#2a6bb3"], [0, 0.12, 0.38, 0.72, 1.0])
    thick, above = clouds(rng, camera, 0.30, 0.12)
    underside = np.clip(thick - above, -0.6, 0.6)
    cloud = ramp(np.clip(0.62 - 0.75 * underside + 0.22 * (1 - thick), 0, 1), ["#8d9bb4", "#c9cfdb", "#fff8ec"])
    return mix(sky, cloud, np.clip(thick * 1.15, 0, 1) * (0.35 + 0.65 * step(0.02, 0.18, up)))


def _sea(rng: np.random.Generator, camera: Camera, terrain: Terrain, mirror: Array) -> Array:
    """Paints the water: waves in perspective, the mirrored sky, shallows and foam along the shore."""
    x, z = camera.water()
    count = 2048
    swell = fractal(rng, count, count, 0.035, 6, stretch=3.5)
    r = (np.abs((z * 0.8) % 2 - 1) * (count - 1)).astype(int)
    c = (np.abs((x * 0.55 + 20.4 + 0.13 * z) % 2 - 1) * (count - 1)).astype(int)
    wave = swell[r, c]
    face = np.clip(wave - swell[np.clip(r - 7, 0, count - 1), c], -1.6, 1.6)
    depth = -terrain.heights(x, np.clip(z, 0, EXTENT - 0.02))
    inside = (z < EXTENT) & (np.abs(x) < EXTENT / 2)
    shallow = np.where(inside, np.clip(1 - depth / 0.05, 0, 1), 0).astype(np.float32)
    distance = step(0.6, 9.0, z)
    body = ramp(distance, ["#0c4a5e", "#146a80", "#2f86a6", "#6fb0cc"])
    body = mix(body, rgb("#3fb5a8"), blur(shallow, 8) * 0.6)
    sky = mirrored(camera, mirror, rng, 0.16)
    sea = mix(body, sky, 0.26 + 0.30 * distance)
    sea = sea * (1 + (0.34 * face * (1 - 0.75 * distance)))[..., None]
    crest = step(1.9, 2.7, wave + 0.5 * face) * (1 - 0.7 * distance)
    near_shore = step(0.35, 0.95, blur(shallow, 5) + 0.28 * wave - 0.1)
    sea = mix(sea, rgb("#f4faf8"), np.clip(crest * 0.75 + near_shore * 0.85, 0, 0.95))
    sparkle = step(1.3, 2.4, face + 0.4 * wave) * np.exp(-(((x / (z + 0.1) + 0.34) / 0.16) ** 2)) * 0.7
    return mix(sea, rgb("#fff6df"), sparkle)


def _tower(camera: Camera, terrain: Terrain) -> tuple[Array, Array]:
    """Draws the lighthouse and the keeper's cottage on the headland, rounded by light from the left."""
    width, height = camera.width, camera.height
    at_x, at_z = 0.62, 3.35
    pixels = camera.focal * width
    foot_x = width / 2 + at_x / at_z * pixels
    ground = float(terrain.heights(np.array([at_x]), np.array([at_z]))[0])
    foot = camera.horizon_row - (ground - camera.eye) / at_z * pixels + 0.006 * height
    unit = 1.02 * pixels / at_z / 4  # a quarter of the tower's height
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    up, side = (foot - y) / unit, (x - foot_x) / unit
    picture = np.zeros((height, width, 3), np.float32)
    mask = np.zeros((height, width), np.float32)

    def wall(low: float, high: float, half: float, colour: Array, at: float) -> None:
        inside = (up >= low) & (up <= high) & (np.abs(side - at) <= half)
        picture[inside], mask[inside] = colour, 1

    def drum(low: float, high: float, r_low: float, r_high: float, colour: Array) -> None:
        across = side / np.maximum(r_low + (r_high - r_low) * np.clip((up - low) / (high - low), 0, 1), 1e-3)
        inside = (up >= low) & (up <= high) & (np.abs(across) <= 1)
        light = 0.60 + 0.55 * np.sqrt(np.clip(1 - (across + 0.45) ** 2 / 2.1, 0, 1)) - 0.22 * np.clip(across, 0, None)
        picture[inside], mask[inside] = (colour * light[..., None])[inside], 1

    white, red, iron = rgb("#f5efe4"), rgb("#c8372d"), rgb("#2c3440")
    # The cottage stands behind: a lit wall, a shaded gable, a slate roof.
    wall(0.0, 0.42, 0.62, white * 0.93, 0.95)
    wall(0.0, 0.42, 0.14, white * 0.62, 1.47)
    slope = np.where(np.abs(side - 0.97) <= 0.70 - 0.65 * (up - 0.40), 0.80, 0.0)
    inside = (up >= 0.40) & (up <= slope)
    picture[inside], mask[inside] = rgb("#a4503c"), 1
    wall(0.70, 0.95, 0.06, rgb("#8a4a3a"), 0.72)
    for window in (0.58, 0.92, 1.20):
        wall(0.14, 0.30, 0.055, rgb("#33475a"), window)
    for band in range(5):
        drum(0.62 * band, 0.62 * (band + 1), 0.36 - 0.026 * band, 0.334 - 0.026 * band, red if band % 2 else white)
    for level in (0.30, 1.45, 2.60):
        wall(level, level + 0.17, 0.045, iron, -0.04)
    drum(3.08, 3.18, 0.33, 0.33, iron * 1.5)
    drum(3.18, 3.30, 0.31, 0.31, iron * 0.9)
    drum(3.24, 3.66, 0.17, 0.17, rgb("#ffe9a8"))
    for bar in (-0.16, -0.06, 0.05, 0.155):
        wall(3.24, 3.66, 0.012, iron, bar)
    drum(3.64, 3.72, 0.22, 0.20, red * 0.8)
    drum(3.72, 3.98, 0.19, 0.03, red)
    wall(3.95, 4.18, 0.010, iron, 0.0)
    return picture, mask


def _gulls(rng: np.random.Generator, camera: Camera, view: Array) -> Array:
    layer = Image.new("L", (camera.width, camera.height), 0)
    draw = ImageDraw.Draw(layer)
    for px, py, span in ((0.30, 0.22, 0.016), (0.36, 0.28, 0.011), (0.24, 0.31, 0.009), (0.44, 0.18, 0.008)):
        x, y, s = px * camera.width, py * camera.height, span * camera.width
        tilt = rng.uniform(-0.25, 0.25)
        for side in (-1, 1):
            lift = side * tilt
            wing = [(x, y), (x + side * s * 0.45, y - s * (0.34 + lift)), (x + side * s, y - s * (0.10 + lift))]
            draw.line(wing, fill=235, width=max(2, round(s * 0.09)), joint="curve")
    return mix(view, rgb("#fbfbf7"), np.asarray(layer, np.float32) / 255)
