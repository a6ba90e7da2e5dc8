"""A style sample: a great wave under a red sun, printed from wood blocks."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.noise import Array, blur, fractal, mix, ramp, rgb, step, to_bytes, to_image

SEED = 11
SCALE = 3  # Pillow's polygons have no soft edges
KEY, DEEP, MIDDLE, PALE, FOAM = (rgb(colour) for colour in ("#0e1f3d", "#173a6b", "#2f6aa3", "#9cc0cc", "#f7f0dc"))

# Of a wave that breaks to the right: its back and its hollow, both from the foot to the tip.
BACK = [
    (-0.16, 0.66),
    (-0.06, 0.44),
    (0.06, 0.25),
    (0.21, 0.115),
    (0.37, 0.065),
    (0.50, 0.105),
    (0.575, 0.195),
    (0.585, 0.285),
]
HOLLOW = [
    (0.66, 0.66),
    (0.47, 0.585),
    (0.345, 0.48),
    (0.295, 0.36),
    (0.325, 0.255),
    (0.405, 0.20),
    (0.505, 0.215),
    (0.585, 0.285),
]


def spline(points: list[tuple[float, float]], count: int) -> Array:
    """Returns `count` places on a smooth curve through points (Catmull and Rom)."""
    p = np.array(points)
    p = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    t = np.linspace(0, len(points) - 1 - 1e-6, count)
    k, f = t.astype(int), (t % 1)[:, None]
    a, b, c, d = p[k], p[k + 1], p[k + 2], p[k + 3]
    return np.asarray(0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3))


class Blocks:
    """The printed colours, and the pen that draws on them in shares of the width."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.image = Image.new("RGB", (width, height), to_bytes(MIDDLE))
        self.draw = ImageDraw.Draw(self.image)

    def fill(self, outline: Array, colour: Array) -> None:
        self.draw.polygon((outline * self.width).ravel().tolist(), fill=to_bytes(colour))

    def line(self, way: Array, thick: float | Array, colour: Array) -> None:
        """Draws a line whose thickness swells and tapers along `way` `[N, 2]`."""
        along = np.gradient(way, axis=0)
        normal = np.stack([-along[:, 1], along[:, 0]], -1) / (np.linalg.norm(along, axis=1, keepdims=True) + 1e-9)
        half = np.broadcast_to(np.asarray(thick), len(way))[:, None] / 2
        self.fill(np.concatenate([way + normal * half, (way - normal * half)[::-1]]), colour)

    def discs(self, places: Array, grow: float, colour: Array) -> None:
        for x, y, radius in places:
            r = max(radius + grow, 0) * self.width
            if r > 0.5:
                self.draw.ellipse(
                    [x * self.width - r, y * self.width - r, x * self.width + r, y * self.width + r],
                    fill=to_bytes(colour),
                )


def claw(
    rng: np.random.Generator, x: float, y: float, turn: float, length: float, radius: float, curl: float, forks: int = 2
) -> list[tuple[float, float, float]]:
    """Returns discs `(x, y, radius)` of a hooked finger of foam, with smaller fingers on it."""
    discs = []
    count = 16
    for k in range(count):
        r = radius * (1 - k / count) ** 0.7
        discs.append((x, y, r))
        x, y = x + length / count * np.cos(turn), y + length / count * np.sin(turn)
        turn += curl / count
        if forks and k in (4, 8):
            side = rng.choice([-1, 1])
            discs += claw(rng, x, y, turn + side * 0.9, length * 0.5, r * 0.62, curl * 0.9, forks - 1)
    return discs


def foam(blocks: Blocks, fingers: list[list[tuple[float, float, float]]], size: float) -> None:
    """Prints foam: a key line around all of it; each finger in white, with its shade below."""
    for finger in fingers:
        blocks.discs(np.array(finger), 0.0030 * size, KEY)
    for finger in fingers:
        places = np.array(finger)
        blocks.discs(places, 0, PALE)
        blocks.discs(places - np.array([0.0022, 0.0030, 0]) * size, -0.0022 * size, FOAM)


def breaker(blocks: Blocks, rng: np.random.Generator, x: float, y: float, size: float, flip: bool = False) -> None:
    """Prints one breaking wave whose foot is at a place."""
    count = 260

    def placed(points: list[tuple[float, float]]) -> Array:
        way = spline(points, count)
        way = (way - (0.25, 0.66)) * size * np.array([-1 if flip else 1, 1]) + (x, y)
        return np.asarray(way)

    back, hollow = placed(BACK), placed(HOLLOW)

    def between(s: float | Array) -> Array:
        share = np.broadcast_to(np.asarray(s, float), count)[:, None]
        return np.asarray(hollow * (1 - share) + back * share)

    blocks.fill(np.concatenate([back, hollow[::-1]]), DEEP)
    # Ribs run from the foot to the tip, and draw together there.
    t = np.linspace(0, 1, count)
    s = 0.03
    pattern = [
        (0.030, FOAM),
        (0.020, None),
        (0.045, MIDDLE),
        (0.016, None),
        (0.014, FOAM),
        (0.022, None),
        (0.030, PALE),
        (0.026, None),
    ]
    index = 0
    while s < 0.93:
        wide, colour = pattern[index % len(pattern)]
        wide *= rng.uniform(0.8, 1.25)
        if colour is not None:
            swing = 0.016 * np.sin(5 * t + 2.0 * s) * (1 - t)
            taper = np.clip(np.minimum(1, (1.02 - t) * (1.2 + 2.5 * rng.random())), 0, 1)
            low = between(s + swing + 0.5 * wide * (1 - taper))
            high = between(s + swing + wide - 0.5 * wide * (1 - taper))
            blocks.fill(np.concatenate([low, high[::-1]]), colour)
        s += wide
        index += 1
    lip = 0.0052 * size
    blocks.line(hollow, lip * 0.9, KEY)
    blocks.line(back, lip, KEY)

    # Foam lies on the crest; its fingers reach out over the hollow.
    fingers: list[list[tuple[float, float, float]]] = []
    way = -1 if flip else 1
    for place in np.linspace(0.40, 0.995, 40):
        k = int(place * (count - 1))
        ahead = back[min(k + 3, count - 1)] - back[max(k - 3, 0)]
        heading = float(np.arctan2(ahead[1], ahead[0]))
        grow = size * np.sin(np.pi * min(1.0, (place - 0.36) / 0.5) / 2) ** 1.2
        inner = between(1 - rng.uniform(0.02, 0.30) * (0.3 + 0.7 * place))[k]
        fingers.append([(*inner, 0.017 * grow * rng.uniform(0.8, 1.3))])
        fingers.append([(*back[k], 0.015 * grow * rng.uniform(0.8, 1.3))])
        fingers.append(
            claw(
                rng,
                *inner,
                heading + way * rng.uniform(0.5, 1.15),
                0.075 * grow * rng.uniform(0.7, 1.3),
                0.0125 * grow,
                way * rng.uniform(0.9, 2.0),
            )
        )
        if place > 0.5:
            fingers.append(
                claw(
                    rng,
                    *back[k],
                    heading - way * rng.uniform(0.0, 0.55),
                    0.062 * grow * rng.uniform(0.6, 1.3),
                    0.0115 * grow,
                    way * rng.uniform(1.2, 2.4),
                )
            )
    for _ in range(26):
        fingers.append(
            claw(
                rng,
                *(back[-1] + rng.normal(0, 0.014 * size, 2)),
                np.pi / 2 - way * rng.uniform(-0.9, 0.7),
                0.085 * size * rng.uniform(0.5, 1.2),
                0.0125 * size,
                way * rng.uniform(0.5, 1.8),
            )
        )
    foam(blocks, fingers, size)
    drops: list[list[tuple[float, float, float]]] = []
    for _ in range(int(150 * size)):
        k = int(count * rng.uniform(0.62, 0.999))
        out = rng.exponential(0.075) * size + 0.03 * size
        turn = rng.uniform(-0.9, 1.35)
        drops.append(
            [
                (
                    back[k, 0] + way * out * np.cos(turn),
                    back[k, 1] + out * np.sin(turn),
                    size * rng.uniform(0.0016, 0.0050),
                )
            ]
        )
    foam(blocks, drops, 0.5 * size)


def swell(
    blocks: Blocks,
    rng: np.random.Generator,
    y: float,
    high: float,
    waves: float,
    phase: float,
    shades: tuple[Array, Array],
    size: float,
) -> None:
    """Prints a swell across the whole sheet: leaning crests, ribs below them that follow, foam on top."""
    x = np.linspace(-0.1, 1.1, 600)
    theta = 2 * np.pi * waves * x + phase
    theta = theta + 0.55 * np.sin(theta) + 0.5 * np.sin(0.37 * theta + phase)
    form = (0.5 + 0.5 * np.cos(theta)) ** 1.7
    top = y - high * form
    lean = x + 0.30 * high * form**2

    def rib(down: float) -> Array:
        flat = np.exp(-down / (1.5 * high))
        return np.stack(
            [x + (lean - x) * flat, y + down + (top - y) * flat + 0.004 * np.sin(theta * 1.5 + 30 * down)], -1
        )

    first = rib(0)
    blocks.fill(np.concatenate([first, [[1.2, 1.2], [-0.2, 1.2]]]), shades[0])
    down, index = 0.010 * size, 0
    while y + down - high < 0.80 and index < 26:
        way = rib(down)
        thick = size * (0.0052 + 0.0052 * np.sin(0.5 * theta + 1.1 * index + phase) ** 2) * (0.35 + 0.65 * form)
        blocks.line(way, thick, (FOAM, shades[1], PALE, shades[1])[index % 4])
        down += size * 0.0135 * (1 + 0.035 * index)
        index += 1
    blocks.line(first, 0.0038 * size, KEY)
    fingers: list[list[tuple[float, float, float]]] = []
    for k in np.flatnonzero(form > 0.66)[:: max(1, int(5 * size))]:
        grow = size * (form[k] - 0.5) * 1.6
        fingers.append([(*first[k], 0.008 * grow * rng.uniform(0.7, 1.4))])
        if rng.random() < 0.55:
            fingers.append(
                claw(
                    rng,
                    *first[k],
                    rng.uniform(0.0, 0.9),
                    0.042 * grow * rng.uniform(0.5, 1.3),
                    0.0075 * grow,
                    rng.uniform(0.6, 1.8),
                    1,
                )
            )
    foam(blocks, fingers, size)


def waves(size: int) -> Image.Image:
    """Prints a great wave about to break, smaller ones behind it, and a red sun in bands of mist."""
    rng = np.random.default_rng(SEED)
    width, height = size * SCALE, round(size * 0.75) * SCALE
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / width
    # The sky, wiped from dark to pale on the block by hand.
    wiped = y + 0.010 * fractal(rng, height, width, 0.4, 3, stretch=4.0)
    sky = ramp(
        np.clip(wiped / 0.46, 0, 1),
        ["#274b78", "#7ea3ae", "#e2d9b6", "#f0e2bc", "#eec79a"],
        [0.0, 0.22, 0.50, 0.75, 1.0],
    )
    sun = np.hypot(x - 0.765, y - 0.215)
    disc = step(0.1022, 0.1008, sun)
    red = ramp(np.clip((y - 0.11) / 0.21, 0, 1), ["#b8231c", "#d8402a", "#ea7b4a"])
    sky = mix(sky, red, disc)
    sky = mix(sky, rgb("#8a1d1a"), step(0.0016, 0.0006, np.abs(sun - 0.1016)) * 0.8)
    for left, right, level, half in (
        (0.60, 0.86, 0.262, 0.0072),
        (0.70, 1.1, 0.285, 0.0060),
        (0.52, 0.74, 0.302, 0.0055),
        (0.80, 1.1, 0.150, 0.0050),
        (0.66, 0.80, 0.128, 0.0042),
        (0.56, 0.70, 0.345, 0.005),
    ):
        away = np.hypot(np.maximum(np.abs(x - (left + right) / 2) - (right - left) / 2, 0), y - level)
        sky = mix(sky, rgb("#f3e7c6"), step(half + 0.0006, half - 0.0006, away))
    blocks = Blocks(width, height)
    blocks.image.paste(Image.fromarray((np.clip(sky, 0, 1) * 255).astype(np.uint8)))
    swell(blocks, rng, 0.425, 0.022, 6.3, 0.5, (mix(MIDDLE, PALE, 0.45), MIDDLE), 0.50)
    breaker(blocks, rng, 0.93, 0.52, 0.36, flip=True)
    swell(blocks, rng, 0.480, 0.040, 3.6, 2.6, (MIDDLE, DEEP), 0.72)
    breaker(blocks, rng, 0.26, 0.655, 0.93)
    swell(blocks, rng, 0.615, 0.080, 1.75, 3.5, (DEEP, MIDDLE), 1.05)
    swell(blocks, rng, 0.725, 0.085, 1.30, 0.4, (mix(DEEP, KEY, 0.4), MIDDLE), 1.25)
    printed = np.asarray(blocks.image, np.float32) / 255
    # The wood's grain, the baren's mottle, ink that wears away; paper shines through.
    paper = ramp(np.clip(0.5 + 0.2 * fractal(rng, height, width, 0.4, 6), 0, 1), ["#eadcb8", "#f8f0da"])
    grain = fractal(rng, height, width, 0.016, 4, stretch=16.0)
    mottle = fractal(rng, height, width, 0.008, 3)
    ink = np.clip(0.90 + 0.045 * grain + 0.035 * mottle, 0.62, 1)
    # Colours pool darker towards the foot of the sheet (bokashi).
    printed = printed * (1 - 0.20 * step(0.52, 0.78, y))[..., None]
    picture = mix(paper, printed, ink)
    picture = mix(picture, paper * printed**0.3, 0.5 * step(2.1, 3.0, mottle + 0.5 * grain))
    return to_image(blur(picture, 1), width // SCALE, height // SCALE)
