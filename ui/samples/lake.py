"""A content sample: a village by a lake among mountains, at dusk."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.landscape import EXTENT, FINENESS, Camera, Terrain, clouds, look, mirrored, ridges, sunlight
from ui.samples.noise import Array, blur, fractal, graded, mix, ramp, rgb, step, to_bytes, to_image

SEED = 11


def dusk_lake(size: int) -> Image.Image:
    """Shows a village by a lake, below mountains that catch the last light."""
    rng = np.random.default_rng(SEED)
    scale = 2
    camera = Camera(size * scale, round(size * 2 / 3) * scale, horizon=0.60, focal=0.95, eye=0.17)
    grid = round(size * FINENESS)
    z, x = np.mgrid[0:grid, 0:grid].astype(np.float32) / grid * EXTENT
    x -= EXTENT / 2
    # A basin in front, shores to the left and right, mountains behind.
    basin = step(1.1, 3.4, np.hypot(x * 0.72 - 0.1, (z - 2.3) * 0.62)) - 0.16
    far = step(3.6, 8.5, z + 0.5 * np.abs(x))
    mountains = ridges(rng, grid, 0.22, 8)
    hills = 0.5 + 0.22 * fractal(rng, grid, grid, 0.12, 6)
    height = basin * (0.12 + 0.30 * hills) + basin.clip(0) * far * (0.25 + 2.1 * mountains**1.5)
    height += 0.012 * fractal(rng, grid, grid, 0.02, 5) * step(0.0, 0.3, height)
    light, up = sunlight(height, (-0.75, 0.50, -0.40))
    wood = fractal(rng, grid, grid, 0.01, 3)
    colour = ramp(np.clip(0.45 + 0.25 * wood, 0, 1), ["#10201c", "#24402c", "#48603a"])
    rock = ramp(np.clip(0.5 + 0.22 * fractal(rng, grid, grid, 0.03, 5), 0, 1), ["#3b3a48", "#6a6474", "#93868a"])
    colour = mix(colour, rock, step(0.86, 0.66, up) * 0.9 + 0.1 * step(0.5, 1.3, height))
    snow = step(1.15, 1.65, height + 0.16 * wood) * step(0.48, 0.72, up)
    colour = mix(colour, rgb("#eef2fb"), snow)
    lit = rgb("#ffb27a") * 2.3 * light[..., None] + rgb("#7684c4") * 0.98 * (0.55 + 0.45 * up[..., None])
    # Edges finer than the rays of the look would come out as teeth; the light keeps them.
    terrain = Terrain(blur(height, grid / 900), colour * lit)

    sky = _dusk_sky(rng, camera)
    land, mask = look(camera, terrain, "#b58aa0", 12.0)
    view = mix(sky, land, mask)
    below, below_mask = look(camera, terrain, "#b58aa0", 12.0, below=True)
    under = mix(sky, below, below_mask)

    village, shore = _village(rng, camera)
    view = mix(view, village[..., :3], village[..., 3])
    upright = village[::-1]  # the village as the water shows it: turned about the shore line
    shift = round(2 * shore - camera.height)
    turned = np.roll(upright, shift, axis=0)
    water = mirrored(camera, under, rng, 0.05)
    wobble = (0.0035 * camera.width * fractal(rng, camera.height, camera.width, 0.02, 3, stretch=5.0)).astype(int)
    columns = np.clip(np.arange(camera.width)[None, :] + wobble, 0, camera.width - 1)
    turned = blur_rows(turned)[np.arange(camera.height)[:, None], columns]
    water = mix(water, turned[..., :3] * 0.8, turned[..., 3] * 0.85)
    distance = camera.water()[1]
    water = mix(water * rgb("#c9d2e6"), rgb("#22335c"), 0.42 * step(3.0, 0.5, distance))
    rows = np.arange(camera.height)[:, None]
    is_water = (1 - mask) * (rows > camera.horizon_row) * (1 - village[..., 3])
    view = mix(view, water, blur(is_water.astype(np.float32), 1))
    view = _trees(rng, camera, view)
    glow = blur(np.clip(view - 0.72, 0, 1), 0.012 * camera.width)
    return to_image(graded(view + 0.8 * glow), size, camera.height // scale)


def blur_rows(layer: Array) -> Array:
    """Smears a layer `[H, W, 4]` up and down, as moving water smears what it mirrors."""
    total = np.zeros_like(layer)
    for shift in range(-6, 7):
        total += np.roll(layer, shift, axis=0)
    return total / 13


def _dusk_sky(rng: np.random.Generator, camera: Camera) -> Array:
    rows = np.arange(camera.height, dtype=np.float32)[:, None] / camera.horizon_row
    columns = np.arange(camera.width, dtype=np.float32)[None, :] / camera.width
    up = np.clip(1 - rows, 0, 1)
    shades = ["#ffcf8a", "#ffab76", "#ee7f7c", "#b5679a", "#6a5aa6", "#36458c", "#1f2f6a"]
    sky = ramp(up + 0.04 * columns, shades, [0.0, 0.12, 0.26, 0.42, 0.6, 0.8, 1.0])
    sun = np.exp(-(((columns - 0.33) / 0.22) ** 2 + ((up - 0.10) / 0.20) ** 2))
    sky = sky + sun[..., None] * rgb("#ffcc80") * 0.42
    thick, above = clouds(rng, camera, 0.22, 0.05)
    underside = np.clip(thick - above + 0.35, 0, 1)
    warm = np.exp(-(((columns - 0.33) / 0.5) ** 2)) * step(0.9, 0.1, up)
    cloud = rgb("#4d4a80") + (rgb("#ff9a76") - rgb("#4d4a80")) * warm[..., None]
    cloud = cloud * (0.75 + 0.65 * underside)[..., None] + 0.12 * underside[..., None] * rgb("#ffe0b0")
    return mix(sky, cloud, thick * 0.82)


def _village(rng: np.random.Generator, camera: Camera) -> tuple[Array, float]:
    """Draws houses and a church on the left shore; returns the layer `[H, W, 4]` and the row of the water line."""
    width, height = camera.width, camera.height
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    shore = 0.700 * height

    def box(x0: float, y0: float, x1: float, y1: float, colour: Array) -> None:
        draw.rectangle([x0 * width, shore - y1 * width, x1 * width, shore - y0 * width], fill=_rgba(colour))

    def shape(points: list[tuple[float, float]], colour: Array) -> None:
        draw.polygon([(px * width, shore - py * width) for px, py in points], fill=_rgba(colour))

    bank = [(0.045, 0.0)]
    for t in np.linspace(0, 1, 60):
        bank.append((0.045 + 0.385 * t, 0.013 * np.sin(np.pi * t) ** 0.5 + 0.002 * rng.random()))
    walls = ["#e9d3b4", "#d9b08c", "#c98d6b", "#b9c0c8", "#e6c27d", "#cfa58f"]
    roofs = ["#7d3327", "#8f4a34", "#5c2f33", "#6b3b2e", "#4a3440"]
    church = 0.262
    spots = [(0.085 + 0.305 * (i + 0.5 * rng.random()) / 15, rng.random()) for i in range(15)]
    for spot, depth in sorted(spots, key=lambda spot: -spot[1]):  # the farthest first
        if abs(spot - church) < 0.014:
            continue
        wide, tall = rng.uniform(0.020, 0.032), rng.uniform(0.016, 0.028)
        base = 0.004 + 0.011 * depth
        wall = rgb(walls[rng.integers(len(walls))]) * 0.66 * rgb("#ffe2d2")
        roof = rgb(roofs[rng.integers(len(roofs))]) * 1.05
        left, right, top = spot - wide / 2, spot + wide / 2, base + tall
        box(left, 0, spot, top, wall * 1.22)
        box(spot, 0, right, top, wall * 0.70)
        peak = top + wide * rng.uniform(0.42, 0.6)
        shape([(left - 0.002, top), (spot - wide * 0.25, peak), (spot + wide * 0.30, peak), (right + 0.002, top)], roof)
        shape([(left - 0.002, top), (spot - wide * 0.25, peak), (spot, top)], roof * 1.45)
        box(spot + wide * 0.1, peak - 0.004, spot + wide * 0.2, peak + 0.005, roof * 0.6)
        for floor in range(1 if tall < 0.021 else 2):
            for window in range(3):
                if rng.random() < 0.72:
                    wx, wy = left + wide * (0.14 + 0.28 * window), base + 0.004 + floor * 0.0105
                    warm = rgb(["#ffd27a", "#ffb84d", "#ffe6a8"][rng.integers(3)])
                    box(wx, wy, wx + wide * 0.13, wy + 0.0052, warm)
    stone = rgb("#c9b39c") * 0.8
    box(church - 0.0085, 0, church, 0.067, stone * 1.2)
    box(church, 0, church + 0.0085, 0.067, stone * 0.72)
    shape([(church - 0.0105, 0.067), (church, 0.112), (church + 0.0105, 0.067)], rgb("#394a58"))
    shape([(church - 0.0105, 0.067), (church, 0.112), (church - 0.002, 0.067)], rgb("#5f7684"))
    box(church - 0.0022, 0.052, church + 0.0022, 0.060, rgb("#ffd27a"))
    box(church - 0.0019, 0.030, church + 0.0019, 0.038, rgb("#ffc765"))
    shape([*bank, (0.43, 0.0)], rgb("#2a3026"))
    for _ in range(60):  # bushes and poplars between the houses
        bx, size = 0.055 + 0.365 * rng.random(), rng.uniform(0.004, 0.010)
        tall = size * rng.choice([1.0, 1.0, 1.0, 2.6])
        by = 0.004 + 0.006 * rng.random()
        shade = rgb(["#1d2c22", "#2a3b28", "#35452c"][rng.integers(3)])
        left, right = (bx - size / 2) * width, (bx + size / 2) * width
        draw.ellipse([left, shore - (by + tall) * width, right, shore - (by - size / 3) * width], fill=_rgba(shade))
    data = np.asarray(layer, np.float32) / 255
    data[int(shore) :, :, 3] = 0
    return data, shore


def _rgba(colour: Array) -> tuple[int, int, int, int]:
    return *to_bytes(colour), 255


def _trees(rng: np.random.Generator, camera: Camera, view: Array) -> Array:
    """Frames the view with firs on a near bank, dark against the lake."""
    width, height = camera.width, camera.height
    layer = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(layer)
    edge = [(0.0, 0.86)]
    for t in np.linspace(0, 1, 80):
        rise = 0.105 * np.exp(-((t / 0.24) ** 2)) + 0.19 * np.exp(-(((1 - t) / 0.26) ** 2))
        edge.append((t, 0.985 - rise + 0.004 * rng.standard_normal()))
    draw.polygon([(px * width, py * height) for px, py in [*edge, (1, 1.1), (0, 1.1)]], fill=255)
    firs = [(0.012, 0.21), (0.055, 0.28), (0.098, 0.16), (0.135, 0.11), (0.995, 0.42), (0.955, 0.56), (0.912, 0.36),
            (0.876, 0.45), (0.838, 0.24), (0.80, 0.17), (0.765, 0.10)]  # fmt: skip
    for place, tall in firs:
        foot = float(np.interp(place, [px for px, _ in edge], [py for _, py in edge])) * height + 0.01 * height
        _fir(rng, draw, place * width, foot, tall * height)
    shade = np.asarray(layer, np.float32) / 255
    texture = fractal(rng, height, width, 0.012, 4)
    tint = ramp(np.clip(0.4 + 0.22 * texture, 0, 1), ["#0a1214", "#16241f", "#2c3a29"])
    rim = np.clip(shade - np.roll(blur(shade, 2), 3, axis=1), 0, 1)  # light from the left catches the edges
    tint = tint + rim[..., None] * rgb("#ff9d66") * 0.45
    return mix(view, tint, shade)


def _fir(rng: np.random.Generator, draw: ImageDraw.ImageDraw, x: float, foot: float, tall: float) -> None:
    """Draws one fir: a stem and tiers of drooping boughs."""
    draw.line([x, foot, x, foot - tall], fill=255, width=max(2, round(tall * 0.012)))
    for tier in np.linspace(0.03, 0.93, 34):
        y = foot - tall + tier * tall
        reach = tall * (0.015 + 0.17 * tier) * rng.uniform(0.72, 1.12)
        for side in (-1, 1):
            droop = reach * rng.uniform(0.25, 0.5)
            tip = (x + side * reach * rng.uniform(0.85, 1.1), y + droop)
            under = (x + side * reach * 0.45, y + droop * 1.15)
            draw.polygon([(x, y - tall * 0.012), tip, under, (x, y + tall * 0.022)], fill=255)
