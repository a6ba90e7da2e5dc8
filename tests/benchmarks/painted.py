"""Style pictures for the benchmark, painted by rules of their own: nothing is shared with the training's painters."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 768, 576  # pixels
_SCALE = 2  # drawn this much larger, then reduced: smooth edges

Point = tuple[float, float]
Colour = tuple[int, int, int]

PAPER: Colour = (241, 232, 212)
INK: Colour = (38, 30, 36)


def engraving() -> Image.Image:
    """Hills, a sky and a moon in pen and ink: dark lines on paper, closer and crossed where it is darker."""
    image, draw = _sheet(PAPER)

    def darkness(x: float, y: float) -> float:
        if math.hypot(x - 0.72, y - 0.22) < 0.1:
            return 0.0
        for depth, base in enumerate((0.5, 0.66, 0.8)):
            ridge = base + 0.07 * math.sin(5 * x + 2.1 * depth) + 0.03 * math.sin(13 * x + depth)
            if y < ridge:
                return 0.18 + 0.22 * depth if depth else 0.1 + 0.35 * abs(y - 0.1)
        return 0.95

    for angle, threshold in ((0.35, 0.12), (-0.55, 0.38), (1.25, 0.7)):
        _hatch(draw, angle, lambda x, y, threshold=threshold: darkness(x, y) - threshold)
    return _reduced(image)


def dots() -> Image.Image:
    """A park by a river as a pointillist paints it: round dots, each a little beside the tone it stands for."""
    rng = random.Random(5)  # noqa: S311 - paints, guards no secret
    image, draw = _sheet((235, 225, 196))
    for _ in range(26_000):
        x, y = rng.random(), rng.random()
        if y < 0.4 + 0.05 * math.sin(6 * x):
            tone: Colour = (150, 182, 214) if rng.random() < 0.7 else (238, 196, 168)
        elif y < 0.62 + 0.25 * (x - 0.5):
            tone = (86, 132, 74) if math.sin(17 * x) + math.sin(11 * y) < 0.6 else (34, 62, 92)
        else:
            tone = (214, 178, 92) if rng.random() < 0.6 else (196, 96, 74)
        shift = rng.choice(((45, -10, -30), (-30, 5, 50), (20, 35, -40), (-15, -15, -15)))
        radius = rng.uniform(2.5, 4.5)
        _disc(draw, (x * WIDTH, y * HEIGHT), radius, _moved(tone, shift))
    return _reduced(image)


def daubs() -> Image.Image:
    """A field of flowers under an evening sky in short dabs of a flat brush, each with a lit and a shaded edge."""
    rng = random.Random(11)  # noqa: S311 - paints, guards no secret
    image, draw = _sheet((60, 52, 70))
    for index in range(15_000):
        x, y = rng.random(), (index / 15_000 + rng.gauss(0, 0.12)) % 1.0
        if y < 0.45:
            angle = 0.25 * math.sin(4 * x)
            tone: Colour = (232, 150 + int(60 * y), 90) if rng.random() < 0.6 else (126, 84, 138)
        else:
            angle = math.pi / 2 + 0.5 * math.sin(9 * x + 3 * y)
            tone = rng.choice(((92, 112, 40), (60, 84, 44), (206, 62, 52), (236, 200, 64)))
        tone = _moved(tone, (rng.randint(-18, 18),) * 3)
        length, width = rng.uniform(8, 15), rng.uniform(3, 5)
        along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
        for offset, change in ((-0.5, 40), (0.5, -40), (0.0, 0)):
            middle = (x * WIDTH + offset * width * across[0], y * HEIGHT + offset * width * across[1])
            ends = [
                tuple(_SCALE * (m + s * length / 2 * a) for m, a in zip(middle, along, strict=True)) for s in (-1, 1)
            ]
            draw.line(ends, fill=_moved(tone, (change,) * 3), width=round(_SCALE * width))
    return _reduced(image)


def _hatch(draw: ImageDraw.ImageDraw, angle: float, strength: Callable[[float, float], float]) -> None:
    """Parallel, slightly wavering lines, thicker where `strength` (of x and y in 0..1) is higher, absent below 0."""
    spacing, step, reach = 5.0, 4.0, math.hypot(WIDTH, HEIGHT) / 2
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    for line in range(int(-reach / spacing), int(reach / spacing)):
        for part in range(int(-reach / step), int(reach / step)):
            ends = []
            for s in (part * step, (part + 1) * step):
                t = line * spacing + 1.2 * math.sin(s / 37 + line)
                ends.append((WIDTH / 2 + s * along[0] + t * across[0], HEIGHT / 2 + s * along[1] + t * across[1]))
            value = strength(ends[0][0] / WIDTH, ends[0][1] / HEIGHT)
            if value > 0:
                draw.line(
                    [(_SCALE * x, _SCALE * y) for x, y in ends], fill=INK, width=round(_SCALE * (1 + 2.4 * value))
                )


def _sheet(colour: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), colour)
    return image, ImageDraw.Draw(image)


def _reduced(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.5)).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _disc(draw: ImageDraw.ImageDraw, centre: Point, radius: float, colour: Colour) -> None:
    x, y = (_SCALE * c for c in centre)
    draw.ellipse((x - _SCALE * radius, y - _SCALE * radius, x + _SCALE * radius, y + _SCALE * radius), fill=colour)


def _moved(colour: Colour, by: Colour) -> Colour:
    red, green, blue = (max(0, min(255, c + d)) for c, d in zip(colour, by, strict=True))
    return red, green, blue
