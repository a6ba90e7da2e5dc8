"""Training pictures: paintings made by the program itself, and photographs from packages.

Every painting follows from its seed alone. The painters cover what a style picture is made of: flat shapes with
sharp borders (dead leaves, cells), repeated structure (gratings, weave), noise of many spectra and directions, and
brush strokes that follow a flow. A painter that starts from colours takes them from another or from a photograph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from model.training.fields import (
    Field,
    flow_field,
    grid,
    noise_field,
    random_palette,
    random_spectrum,
    rotation,
    to_colours,
)

# CC0, public domain or CC BY; sources and licences are listed in model/own_weights.md.
PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "retina.jpg", "china.jpg", "flower.jpg",
)  # fmt: skip
SCIKIT_LEARN = ("china.jpg", "flower.jpg")
LONG_SIDE = 640  # pixels; larger photographs are reduced to it

Picture = npt.NDArray[np.uint8]
Painter = Callable[[np.random.Generator, int, Sequence[Picture]], Field]


def photographs() -> list[Picture]:
    """Reads the photographs that scikit-image and scikit-learn carry within their packages.

    Returns:
      uint8 RGB pictures, `[H, W, 3]`, in the order of `PHOTOGRAPHS`.
    """
    from importlib.resources import files

    folders = {True: files("sklearn.datasets") / "images", False: files("skimage") / "data"}
    pictures = []
    for name in PHOTOGRAPHS:
        with (folders[name in SCIKIT_LEARN] / name).open("rb") as stream:
            picture = Image.open(stream).convert("RGB")
        picture.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
        pictures.append(np.asarray(picture))
    return pictures


def paint(seed: int, size: int, sources: Sequence[Picture] = ()) -> Picture:
    """Paints one picture.

    Args:
      seed: decides everything about the picture, together with `sources`.
      size: side in pixels.
      sources: uint8 pictures `[H, W, 3]`, at least `size` / 2 on each side, whose colours brush strokes may take.

    Returns:
      uint8 RGB picture `[size, size, 3]`.
    """
    rng = np.random.default_rng(seed)
    painters, odds = zip(*PAINTERS, strict=True)
    painter = painters[rng.choice(len(painters), p=np.array(odds) / sum(odds))]
    return _to_bytes(painter(rng, size, sources))


def crop(rng: np.random.Generator, picture: Picture, size: int) -> Picture:
    """Cuts a random square out of a uint8 picture and scales it to uint8 `[size, size, 3]`."""
    side = int(rng.uniform(0.5, 1) * min(picture.shape[:2]))
    top, left = (rng.integers(0, n - side + 1) for n in picture.shape[:2])
    square = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


def noise(rng: np.random.Generator, size: int) -> Field:
    """Coloured noise: a random spectrum, direction and correlation of the colours; sometimes with hard steps."""
    fields = [noise_field(rng, size, *random_spectrum(rng)) for _ in range(rng.integers(1, 4))]
    stack = np.stack([fields[i % len(fields)] for i in range(3)], -1)  # [size, size, 3]
    if rng.random() < 0.4:
        stack = np.tanh(stack * rng.uniform(1, 6))
    mix = rng.normal(size=(3, 3)) + rng.uniform(0, 1.5)  # a common part: grey contrast
    return rng.uniform(0.25, 0.75, 3) + rng.uniform(0.06, 0.22) * stack @ mix


def waves(rng: np.random.Generator, size: int) -> Field:
    """Contour lines of a warped plane: parallel, swirling or ring-shaped bands through a palette."""
    y, x = grid(size)
    angle = rng.uniform(0, np.pi)
    plane = x * np.cos(angle) + y * np.sin(angle)
    if rng.random() < 0.4:
        cx, cy = rng.uniform(0, 1, 2)
        plane = np.hypot(x - cx, y - cy)
    plane = plane + rng.uniform(0, 0.3) * noise_field(rng, size, 3.5)
    phase = plane * np.exp(rng.uniform(np.log(2), np.log(size / 8)))
    bands = 0.5 + 0.5 * np.sin(2 * np.pi * phase)
    bands = bands ** rng.choice([0.4, 1.0, 3.0])
    return to_colours(bands + rng.uniform(0, 0.4) * noise_field(rng, size, rng.uniform(0.5, 2)), random_palette(rng))


def marble(rng: np.random.Generator, size: int) -> Field:
    """Smooth noise through a palette, with sharp or soft borders between the colours."""
    field = noise_field(rng, size, rng.uniform(1.6, 3.5), *random_spectrum(rng)[1:])
    value = 0.5 + field * rng.uniform(0.2, 0.8)
    if rng.random() < 0.5:
        levels = rng.integers(3, 9)
        value = np.floor(value * levels) / levels
    elif rng.random() < 0.5:
        value = 0.5 + 0.5 * np.sin(value * rng.uniform(8, 40))
    return to_colours(value, random_palette(rng))


def weave(rng: np.random.Generator, size: int) -> Field:
    """Threads over and under each other, checks, bricks or hatching, turned and slightly warped."""
    y, x = grid(size)
    angle = rng.uniform(0, np.pi)
    warp = rng.uniform(0, 0.03)
    count = np.exp(rng.uniform(np.log(4), np.log(size / 8)))
    u = (x * np.cos(angle) - y * np.sin(angle) + warp * noise_field(rng, size, 3)) * count
    v = (x * np.sin(angle) + y * np.cos(angle) + warp * noise_field(rng, size, 3)) * count * rng.uniform(0.4, 1)
    kind = rng.integers(3)
    if kind == 0:  # weave: which thread lies above alternates
        above = (np.floor(u) + np.floor(v)) % 2
        value = np.where(above > 0, np.abs(np.sin(np.pi * u)), np.abs(np.sin(np.pi * v)))
        value = 0.5 * above + 0.5 * value
    elif kind == 1:  # bricks: every other row is shifted
        u = u + 0.5 * (np.floor(v) % 2)
        joint = np.minimum(np.minimum(u % 1, 1 - u % 1), np.minimum(v % 1, 1 - v % 1))
        tone = np.sin(np.floor(u) * 12.99 + np.floor(v) * 78.2) * 0.5 + 0.5
        value = np.where(joint < rng.uniform(0.04, 0.15), 0, 0.4 + 0.6 * tone)
    else:  # hatching in two directions
        value = 0.5 + 0.25 * np.sign(np.sin(2 * np.pi * u)) + 0.25 * np.sin(2 * np.pi * v)
    return to_colours(value + rng.uniform(0, 0.15) * noise_field(rng, size, rng.uniform(0, 2)), random_palette(rng))


def leaves(rng: np.random.Generator, size: int) -> Field:
    """Dead leaves: shapes of all sizes that hide each other, flat, shaded or textured."""
    picture = _canvas(to_colours(0.5 + 0.3 * noise_field(rng, size, 2), random_palette(rng)), 2 * size)
    draw = ImageDraw.Draw(picture)
    colours = random_palette(rng, 12)
    smallest = rng.uniform(0.008, 0.04)
    sides = int(rng.choice([0, 0, 3, 4, 6]))
    stretch, turn = rng.uniform(0.25, 1), rng.uniform(0, np.pi)
    for _ in range(int(rng.integers(150, 900))):
        radius = min(smallest * (1 - rng.random()) ** -0.5, 0.4) * 2 * size
        around = turn + rng.normal(0, 0.3) + np.linspace(0, 2 * np.pi, sides or 20, endpoint=False)
        centre = rng.uniform(0, 2 * size, 2)
        outline = centre + radius * np.stack([np.cos(around), stretch * np.sin(around)], -1) @ rotation(
            rng.normal(turn, 0.4)
        )
        draw.polygon(
            [tuple(p) for p in outline], fill=_ink(colours[rng.integers(len(colours))] + rng.normal(0, 0.05, 3))
        )
    result = _reduce(picture, size)
    return (
        result
        + rng.choice([0, 0.04, 0.1]) * noise_field(rng, size, rng.uniform(0, 1.5), *random_spectrum(rng)[1:])[..., None]
    )


def cells(rng: np.random.Generator, size: int) -> Field:
    """Cells around random points: stained glass, scales, pebbles."""
    y, x = grid(size)
    count = int(np.exp(rng.uniform(np.log(20), np.log(220))))
    points = rng.uniform(0, 1, (count, 2))
    squash = rng.uniform(0.4, 1)
    near = np.full((2, size, size), 9.0)
    owner = np.zeros((size, size), int)
    for i, (py, px) in enumerate(points):
        distance = np.hypot(x - px, (y - py) * squash)
        owner = np.where(distance < near[0], i, owner)
        near[1] = np.minimum(near[1], np.maximum(distance, near[0]))
        near[0] = np.minimum(near[0], distance)
    border = np.clip((near[1] - near[0]) * np.sqrt(count) * rng.uniform(1, 8), 0, 1)[..., None]
    colours = to_colours(rng.random(count), random_palette(rng))[owner]
    return colours * border + (1 - border) * random_palette(rng)[0] if rng.random() < 0.7 else colours


def fur(rng: np.random.Generator, size: int) -> Field:
    """Noise drawn out along a flow: hair, grass, brushed paint."""
    angle = flow_field(rng, size)
    grain = noise_field(rng, size, rng.uniform(0, 0.8))
    y, x = np.mgrid[:size, :size].astype(np.float64)
    total, length = grain.copy(), int(rng.integers(4, 16))
    for sign in (-1, 1):
        py, px = y.copy(), x.copy()
        for _ in range(length):
            iy, ix = py.astype(int) % size, px.astype(int) % size
            a = angle[iy, ix]
            py, px = py + sign * np.sin(a), px + sign * np.cos(a)
            total += grain[py.astype(int) % size, px.astype(int) % size]
    total = total / total.std()
    return to_colours(
        0.5 + rng.uniform(0.1, 0.3) * total + rng.uniform(0, 0.3) * noise_field(rng, size, 2.5), random_palette(rng)
    )


def strokes(rng: np.random.Generator, size: int, sources: Sequence[Picture] = ()) -> Field:
    """Brush strokes of several widths that follow a flow and take the colours of another picture."""
    if len(sources) and rng.random() < 0.6:
        base = crop(rng, sources[rng.integers(len(sources))], size) / 255
        base = base if rng.random() < 0.4 else to_colours(base.mean(-1), random_palette(rng))
    else:
        base = [noise, marble, leaves, waves][rng.integers(4)](rng, size)
    angle = flow_field(rng, size, base if rng.random() < 0.5 else None)
    picture = _canvas(base, 2 * size)
    draw = ImageDraw.Draw(picture)
    contrast, jitter = rng.uniform(0.03, 0.16), rng.uniform(0.01, 0.07)
    width, ratio = rng.uniform(4, 16), rng.uniform(3, 12)
    for _layer in range(3):
        for _ in range(int(0.7 * (2 * size) ** 2 / (width * width * ratio)) + 1):
            start = rng.uniform(0, size, 2)
            colour = base[int(start[0]), int(start[1])] + rng.normal(0, contrast) + rng.normal(0, jitter, 3)
            path = _path(angle, start, width * ratio / 2 * rng.uniform(0.5, 1.3))
            for offset, tone in ((-0.28, -0.5), (0.28, 0.5), (0, 0)):  # a dark and a light edge, then the body
                side = path + offset * width * np.array([-np.sin(angle[int(start[0]), int(start[1])]), 1])
                body = max(1, int(width * (0.75 if offset == 0 else 0.5)))
                draw.line([tuple(p) for p in side], fill=_ink(colour + tone * contrast), width=body, joint="curve")
        width = max(2.0, width * 0.55)
    return _reduce(picture, size)


PAINTERS: tuple[tuple[Painter, float], ...] = (
    (strokes, 6),
    *((lambda rng, size, _, painter=painter: painter(rng, size), share) for painter, share in (
        (noise, 2), (waves, 1.5), (marble, 1.5), (weave, 1.5), (leaves, 2), (cells, 1), (fur, 2),
    )),
)  # fmt: skip


def _path(angle: Field, start: Field, length: float, parts: int = 6) -> Field:
    """A line along the flow from `start` (row, column), as (x, y) points on the doubled canvas, `[parts + 1, 2]`."""
    size = len(angle)
    point, points = start[::-1].astype(float), []
    heading = None
    for _ in range(parts + 1):
        points.append(point * 2)
        x, y = np.clip(point, 0, size - 1).astype(int)
        step = np.array([np.cos(angle[y, x]), np.sin(angle[y, x])])
        step = -step if heading is not None and step @ heading < 0 else step
        heading = step
        point = point + step * length / parts
    return np.array(points)


def _canvas(picture: Field, size: int) -> Image.Image:
    return Image.fromarray(_to_bytes(picture)).resize((size, size), Image.Resampling.BICUBIC)


def _reduce(picture: Image.Image, size: int) -> Field:
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS)) / 255.0


def _ink(colour: Field) -> tuple[int, ...]:
    return tuple(int(v) for v in np.clip(colour * 255, 0, 255))


def _to_bytes(picture: Field) -> Picture:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
