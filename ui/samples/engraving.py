"""A style sample: a valley with a great tree, engraved in sepia on cream paper."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.noise import Array, blur, fractal, mix, ramp, rgb, step, to_image

SEED = 33
LIGHT = np.array([-0.55, -0.62, 0.56])  # from the upper left, towards the eye


class Plate:
    """What is engraved: how dark each place is, and along which phase its lines run."""

    def __init__(self, height: int, width: int) -> None:
        self.dark, self.outline = np.zeros((2, height, width), np.float32)
        self.phase = np.zeros((2, height, width), np.float32)  # of the lines, and of those that cross them

    def lay(
        self,
        inside: Array,
        dark: Array,
        first: Array,
        second: Array,
        line: float = 0.0,
        at: tuple[slice, slice] = (slice(None), slice(None)),
    ) -> None:
        """Lays a thing over the plate where `inside` is True, with an outline of `line` pixels."""
        self.dark[at] = np.where(inside, dark, self.dark[at])
        for index, phase in enumerate((first, second)):
            self.phase[index][at] = np.where(inside, phase, self.phase[index][at])
        soft = inside.astype(np.float32)
        rim = blur(soft, 1)
        edge = np.clip(1 - np.abs(rim - 0.5) * 2, 0, 1) * line
        self.outline[at] = np.maximum(np.where(inside, 0, self.outline[at]), edge)


def lit(height: Array) -> Array:
    """Returns how brightly a height field in pixels is lit, 0 to 1."""
    dy, dx = np.gradient(height)
    return np.clip((-dx * LIGHT[0] - dy * LIGHT[1] + LIGHT[2]) / np.sqrt(dx * dx + dy * dy + 1), 0, 1)


def engraving(size: int) -> Image.Image:
    """Engraves clouds, mountains, hills, a river and a great tree."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width, height = size * scale, round(size * 0.8) * scale
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x / width, y / width
    pitch = 0.0088 * width
    hand = 0.22 * fractal(rng, height, width, 0.05, 3)  # no line is straight
    plate = Plate(height, width)

    # The sky: level lines, closer to night at the top; clouds shade only their undersides.
    swell = 0.012 * width * fractal(rng, height, width, 0.5, 2)
    plate.lay(
        np.ones_like(u, bool),
        0.56 - 0.95 * v + 0.06 * fractal(rng, height, width, 0.3, 3, 3.0),
        (y + swell) / pitch,
        (y + 0.8 * x) / pitch,
    )
    for cloud in ((0.60, 0.185, 0.23, 34), (0.95, 0.11, 0.16, 20), (0.36, 0.27, 0.13, 18), (0.84, 0.29, 0.12, 16)):
        _cloud(plate, rng, u, v, cloud, swell, pitch)

    # Mountains: crags that catch the light on one side.
    ridges = fractal(rng, height, width, 0.16, 6)
    for base, rise, peaks, line in ((0.345, 0.125, 6, 0.9), (0.395, 0.06, 9, 1.1)):
        at = np.linspace(-0.05, 1.05, peaks) + rng.normal(0, 0.3 / peaks, peaks)
        high = rise * rng.uniform(0.45, 1.0, peaks)
        bent = u + 0.012 * ridges
        slopes = np.max([h - np.abs(bent - p) * 0.62 for p, h in zip(at, high, strict=True)], axis=0)
        top = base - np.max([h - np.abs(u[:1] - p) * 0.62 for p, h in zip(at, high, strict=True)], axis=0)
        top = (top - 0.004 * fractal(rng, 8, width, 0.05, 5)[:1]).astype(np.float32)
        # Ribs run down from the ridge; each has a bright and a dark side.
        rib = np.abs(((bent * 17 + 1.3 * ridges + 3 * (v - top)) % 1) - 0.5) * 2
        spine = np.select([bent < p for p in np.sort(at)], range(peaks), peaks)
        side = np.sign(np.gradient(slopes, axis=1))
        tone = 0.45 - 0.30 * side * (v < base) + 0.30 * (rib - 0.5) + 0.0 * spine + 0.10 * ridges
        fade = np.clip((v - top) / 0.13, 0, 1)
        plate.lay(
            v > top,
            np.clip(tone, 0, 1) * (0.92 - 0.62 * fade),
            (0.72 * y + 0.7 * side * x + 5 * ridges) / pitch,
            (0.75 * y - 0.65 * side * x) / pitch,
            line,
        )

    # Hills with ploughed fields: lines run with the lie of the land and draw together with distance.
    for index, (base, rise, shift) in enumerate(((0.415, 0.030, 0.3), (0.455, 0.045, 2.2), (0.53, 0.05, 4.4))):
        top = base - rise * np.sin(u * (5.2 - index) + shift) - 0.35 * rise * np.sin(u * 11 + 2 * shift)
        depth = (v - top) * width
        land = fractal(rng, height, width, 0.22, 3)
        slope = np.gradient(top[0]) * width
        tone = 0.62 - 0.006 * slope[None] * 40 * rise + 0.15 * land
        parcels = np.sin(u * (16 - 3 * index) + 3 * (v - top) * 9 + shift) > 0.1
        along = np.where(parcels, depth * 0.9 + 4 * land, 0.75 * x + depth * (0.5 + 0.3 * index) + 10 * land) / (
            pitch * (0.78 + 0.12 * index)
        )
        plate.lay(
            v > top,
            np.clip(1 - tone - 0.12 * parcels, 0.10, 0.8) * (0.85 + 0.1 * index),
            along,
            (x * 0.8 - depth) / pitch,
            1.0,
        )
        # Round trees along the hill.
        for _ in range((16, 13, 8)[index]):
            place = rng.uniform(0.02, 0.98)
            grow = (0.010, 0.016, 0.026)[index] * rng.uniform(0.7, 1.3)
            foot = float(top[0, min(int(place * width), width - 1)]) + rng.uniform(0.0, 0.045 + 0.02 * index)
            _tree(plate, rng, place, foot, grow, width, pitch)

    # The river: bright, with a few level lines.
    t = np.clip((v - 0.50) / 0.30, 0, 1)
    middle = 0.70 - 0.16 * np.sin(3.6 * t + 0.5) + 0.10 * t
    half = 0.006 + 0.11 * t**1.6
    across = np.abs(u - middle) / half
    water = (across < 1) & (v > 0.505)
    ripple = fractal(rng, height, width, 0.05, 3, stretch=5.0)
    plate.lay(
        water,
        0.10 + 0.42 * across**3 + 0.16 * ripple,
        (y + 0.25 * swell) / (pitch * (0.6 + 0.5 * t.mean())),
        (y + 0.3 * x) / pitch,
        1.0,
    )

    # The near bank, and the tree on it.
    top = 0.69 - 0.13 * step(0.50, 0.0, u) + 0.16 * step(0.48, 0.78, u) + 0.004 * fractal(rng, 8, width, 0.03, 4)[:1]
    depth = (v - top) * width
    lie = fractal(rng, height, width, 0.16, 3)
    plate.lay(
        v > top,
        np.clip(0.40 + 0.16 * lie + 1.1 * (v - top), 0.15, 0.9),
        (0.55 * x + 0.8 * depth + 10 * lie) / pitch,
        (depth - 0.5 * x) / pitch,
        1.3,
    )
    _grass(plate, rng, top[0], width, height)
    _trunk(plate, rng, u, v, width, pitch)
    clumps = []
    for leaf in range(130):
        turn, away = 2.39996 * leaf, np.sqrt((leaf + 0.5) / 130) + rng.normal(0, 0.03)  # a sunflower's order: no gaps
        clumps.append(
            (
                0.215 + 0.215 * away * np.cos(turn),
                0.245 + 0.17 * away * np.sin(turn) + 0.03 * np.cos(turn * 2),
                rng.uniform(0.022, 0.047),
            )
        )
    clumps.sort(key=lambda ball: ball[1] - 0.8 * ball[2])
    _balls(
        plate,
        rng,
        clumps[::-1],
        width,
        pitch * 0.92,
        shade=1.0,
        lift=0.85,
        line=1.3,
        turn=-0.5,
        leafy=True,
        whole=(0.215, 0.245, 0.24),
    )
    return _printed(rng, plate, hand, width, height, scale)


def _cloud(
    plate: Plate,
    rng: np.random.Generator,
    u: Array,
    v: Array,
    cloud: tuple[float, float, float, int],
    swell: Array,
    pitch: float,
) -> None:
    """Engraves one cloud of puffs: white, with level lines below each puff and a broken outline above."""
    cx, cy, spread, puffs = cloud
    width = u.shape[1]
    billow = fractal(rng, *u.shape, 0.035, 3)
    top = np.full_like(u, -1.0)
    dark = np.zeros_like(u)
    base = cy + 0.10 * spread
    for along in np.sort(rng.normal(0, 0.42, puffs))[rng.permutation(puffs)]:
        radius = spread * rng.uniform(0.14, 0.30) * np.exp(-1.2 * along * along)
        bx, by = cx + along * spread, base - rng.uniform(0.1, 1.0) * 0.62 * spread * np.exp(-3.5 * along**2)
        dx, dy = (u - bx) / radius, (v - by) / radius
        away = np.hypot(dx, dy) * (1 + 0.05 * billow)
        z = np.sqrt(np.clip(1 - away**2, 0, 1)) * radius + 0.1 * rng.random() * radius
        nearer = (away < 1) & (z > top)
        top = np.where(nearer, z, top)
        dark = np.where(nearer, np.clip(0.16 + 0.38 * dy + 0.30 * dx - 0.25 * z / radius, 0, 1), dark)
    inside = (top > 0) & (v < base + 0.012 * spread * billow)
    dark = blur(dark, 0.004 * width) + 0.45 * np.clip((v - base) / spread + 0.22, 0, 1)
    bulge = blur(np.clip(top, 0, 1), 3) * width * 0.35
    plate.lay(
        inside,
        np.clip(dark, 0, 0.75),
        (v * width + 0.4 * swell - bulge) / pitch,
        (v * width + 0.8 * u * width) / pitch,
        1.0,
    )


def _grass(plate: Plate, rng: np.random.Generator, top: Array, width: int, height: int) -> None:
    """Engraves tufts of blades, dark ones and bright ones."""
    layer = Image.new("L", (width, height), 128)
    draw = ImageDraw.Draw(layer)
    for _ in range(420):
        x = rng.random()
        start = top[min(int(x * width), width - 1)]
        deep = rng.random()
        y = start + 0.005 + deep * (0.82 - start)
        size = 0.014 + 0.10 * (y - 0.55)
        fill = int(rng.choice([0, 0, 255]))
        for _ in range(5):
            lean, grow = rng.normal(0.15, 0.5), size * rng.uniform(0.6, 1.3)
            t = np.linspace(0, 1, 8)
            bx, by = x + rng.normal(0, 0.15) * size + lean * grow * t**2, y - grow * t
            half = (0.0008 + 0.006 * size) * (1 - t) * 2.2 + 0.0002
            outline = np.concatenate([np.stack([bx - half, by], -1), np.stack([bx + half, by], -1)[::-1]]) * width
            draw.polygon(outline.ravel().tolist(), fill=fill)
    blades = np.asarray(layer, np.float32)
    plate.dark = np.where(blades > 200, 0.0, plate.dark)
    plate.outline = np.where(blades > 200, 0.0, np.where(blades < 60, 1.0, plate.outline))


def _tree(plate: Plate, rng: np.random.Generator, x: float, foot: float, grow: float, width: int, pitch: float) -> None:
    balls = [
        (x + rng.normal(0, 0.55) * grow, foot - grow * rng.uniform(0.4, 1.5), grow * rng.uniform(0.5, 0.8))
        for _ in range(5)
    ]
    _balls(plate, rng, balls, width, pitch * 0.8, shade=1.0, lift=0.9, line=1.2, turn=0.5, leafy=True)


def _balls(
    plate: Plate, rng: np.random.Generator, balls: list[tuple[float, float, float]], width: int, pitch: float,
    shade: float, lift: float, line: float, turn: float, leafy: bool = False, whole: tuple[float, float,
    float] | None = None,
) -> None:  # fmt: skip
    """Engraves balls, one over the other; lines wrap around each. With `whole`, they shade as parts of a large one."""
    height = plate.dark.shape[0]
    ragged = fractal(rng, height, width, 0.018, 3) if leafy else fractal(rng, height, width, 0.03, 3)
    for bx, by, radius in balls:
        reach = radius * 1.35 * width
        rows = slice(max(0, int(by * width - reach)), max(0, min(height, int(by * width + reach))))
        columns = slice(max(0, int(bx * width - reach)), max(0, min(width, int(bx * width + reach))))
        if rows.stop - rows.start < 4 or columns.stop - columns.start < 4:
            continue
        y, x = np.mgrid[rows, columns].astype(np.float32)
        dx, dy = (x / width - bx) / radius, (y / width - by) / radius
        rough = ragged[rows, columns]
        away = np.hypot(dx, dy) * (1 + (0.16 if leafy else 0.07) * rough)
        inside = away < 1
        z = np.sqrt(np.clip(1 - away**2, 0, 1))
        light = dx * LIGHT[0] + dy * LIGHT[1] + z * LIGHT[2]
        if whole:
            wx, wy = (x / width - whole[0]) / whole[2], (y / width - whole[1]) / whole[2]
            wz = np.sqrt(np.clip(1 - wx * wx - wy * wy, 0.02, 1))
            light = 0.5 * light + 0.52 * (wx * LIGHT[0] + wy * LIGHT[1] + wz * LIGHT[2])
        dark = np.clip(shade * (lift - light) / 1.15 + (0.10 * rough if leafy else 0), 0, 1)
        wrap = z * radius * width * 0.9
        first = (x * np.sin(turn) + y * np.cos(turn) + wrap + (3 * rough if leafy else 0)) / pitch + rng.random()
        second = (x * np.cos(turn) - y * np.sin(turn) + 0.7 * wrap) / pitch
        plate.lay(inside, dark, first, second, line, (rows, columns))


def _trunk(plate: Plate, rng: np.random.Generator, u: Array, v: Array, width: int, pitch: float) -> None:
    """Engraves the trunk and its boughs with lines that go around, and knots."""
    knots = fractal(rng, *u.shape, 0.05, 3)
    for x0, y0, x1, y1, thick0, thick1, bow in (
        (0.225, 0.40, 0.10, 0.26, 0.016, 0.006, 0.01), (0.235, 0.40, 0.33, 0.25, 0.016, 0.005, -0.02),
        (0.22, 0.625, 0.222, 0.30, 0.036, 0.018, 0.012),
    ):  # fmt: skip
        t = np.clip((v - y0) / (y1 - y0), 0, 1)
        middle = x0 + (x1 - x0) * t + bow * np.sin(5 * t)
        half = thick0 + (thick1 - thick0) * t + 0.045 * np.exp(-t * 14) * (thick0 > 0.03)
        across = (u - middle) / half + 0.10 * knots
        inside = (np.abs(across) < 1) & (v < y0) & (v > y1)
        z = np.sqrt(np.clip(1 - across**2, 0, 1))
        dark = np.clip(0.62 + 0.42 * across - 0.35 * z + 0.12 * knots, 0.08, 1)
        plate.lay(
            inside,
            dark,
            (v * width + 0.9 * z * half * width + 7 * knots) / pitch,
            (u * width * 1.2 + 5 * knots) / pitch,
            1.5,
        )


def _printed(rng: np.random.Generator, plate: Plate, hand: Array, width: int, height: int, scale: int) -> Image.Image:
    """Cuts the lines, as thick as their place is dark, and prints them."""
    dark = np.clip(plate.dark, 0, 1)
    nib = 0.07 * fractal(rng, height, width, 0.012, 2)
    ink = np.zeros_like(dark)
    for phase, wide in (
        (plate.phase[0] + hand, np.clip(dark * 1.02, 0, 0.86)),
        (plate.phase[1] + hand, np.clip((dark - 0.46) * 1.25, 0, 0.7)),
    ):
        saw = np.abs(2 * (phase % 1) - 1)
        wide = wide + nib * (wide > 0.03)
        cut = np.clip((wide - saw) / 0.24 + 0.5, 0, 1) * (wide > 0.045)
        ink = np.maximum(ink, cut)
    ink = np.maximum(ink, np.clip(plate.outline, 0, 1))
    fibres = fractal(rng, height, width, 0.02, 4, stretch=3.0)
    paper = ramp(
        np.clip(0.55 + 0.16 * fractal(rng, height, width, 0.5, 5) + 0.08 * fibres, 0, 1),
        ["#e2cfa4", "#f5ead0", "#faf3e2"],
    )
    worn = 0.93 - 0.07 * np.clip(fractal(rng, height, width, 0.006, 3), -1, 2)
    picture = mix(paper, rgb("#2a1710"), blur(ink, 1) * np.clip(worn, 0, 1))
    return to_image(picture, width // scale, height // scale)
