"""Style samples in thick strokes: eddies of blue and gold, and a field of poppies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.noise import Array, blur, fractal, mix, ramp, relief, rgb, to_bytes, to_image

SEED_EDDIES, SEED_POPPIES = 7, 6
SCALE = 2  # drawn larger and scaled down, since Pillow's lines have no soft edges
POINTS = 12  # of a stroke


@dataclass(frozen=True)
class Colours:
    """What strokes are loaded with: a palette, from dark to light or cold to warm, and a few strokes that stand out."""

    palette: Sequence[str]
    accents: Sequence[str]
    odd: float = 0.03  # share of strokes that take an accent


class Canvas:
    """The colour of a painting, and how thick the paint lies."""

    def __init__(self, ground: Array) -> None:
        self.colour = Image.fromarray((np.clip(ground, 0, 1) * 255).astype(np.uint8))
        self.paint = Image.new("L", self.colour.size, 110)

    def strokes(
        self, rng: np.random.Generator, angle: Array, tone: Array, colours: Colours,
        length: float, thickness: float, count: int, within: Array | None = None,
    ) -> None:  # fmt: skip
        """Paints bristly strokes.

        Args:
          rng: source of the randomness.
          angle: which way strokes run, `[H, W]`, radians.
          tone: place in the palette, `[H, W]`, 0 to 1.
          colours: what the brush is loaded with.
          length: of a stroke, as a share of the width.
          thickness: of a stroke, as a share of the width.
          count: number of strokes, over the whole canvas.
          within: strokes whose middle lies where this is False are left out.
        """
        height, width = angle.shape
        length, thickness = length * width, thickness * width
        margin = 0.03 * width  # strokes start beyond the border too, so that paint covers it
        at = rng.uniform(-margin, [width + margin, height + margin], (count, 2))
        way = np.empty((count, POINTS, 2))
        turn = np.empty((count, POINTS))
        for index in range(POINTS):
            way[:, index], turn[:, index] = at, angle[_cells(at, angle)]
            at = at + np.stack([np.cos(turn[:, index]), np.sin(turn[:, index])], axis=-1) * length / POINTS
        middle = _cells(way[:, POINTS // 2], angle)
        paints = ramp(np.clip(tone[middle] + rng.normal(0, 0.055, count), 0, 1), colours.palette)
        odd = rng.random(count) < colours.odd
        paints[odd] = np.array([rgb(colours.accents[i]) for i in rng.integers(0, len(colours.accents), odd.sum())])
        wanted = range(count) if within is None else np.flatnonzero(within[middle])
        for stroke in wanted:
            self._stroke(rng, way[stroke], turn[stroke], thickness, paints[stroke])

    def _stroke(self, rng: np.random.Generator, way: Array, turn: Array, thickness: float, paint: Array) -> None:
        """Drags one brush along `way` `[POINTS, 2]`, each bristle with a little less or more of the paint."""
        draw, draw_paint = ImageDraw.Draw(self.colour), ImageDraw.Draw(self.paint)
        bristles = max(4, round(thickness / 1.6))
        normal = np.stack([-np.sin(turn), np.cos(turn)], axis=-1)
        for bristle in rng.permutation(bristles):
            across = (bristle / (bristles - 1) - 0.5) * thickness
            line = (way + normal * across * TAPER + rng.normal(0, 0.35, 2)).ravel().tolist()
            shade = 1 + rng.normal(0, 0.075)
            colour = to_bytes(paint * shade)
            ridge = 1 - abs(2 * bristle / (bristles - 1) - 1) ** 2
            draw.line(line, fill=colour, width=3)
            draw_paint.line(line, fill=int(70 + 110 * ridge + rng.uniform(0, 60)), width=2)

    def finished(self, rng: np.random.Generator) -> Image.Image:
        """Returns the painting with light falling across its ridges, on a canvas with a grain."""
        picture = np.asarray(self.colour, np.float32) / 255
        paint = np.asarray(self.paint, np.float32) / 255
        height, width = paint.shape
        shade = relief(blur(paint, 1) * 0.6 + paint * 0.4, 2.4)
        grain = 1 + 0.02 * fractal(rng, height, width, 0.004, 2)
        picture = picture * (0.62 + 0.38 * shade[..., None]) * grain[..., None]
        return to_image(picture, width // SCALE, height // SCALE)


TAPER = np.sqrt(np.sin(np.linspace(0.12, np.pi - 0.05, POINTS)))[:, None]


def _cells(at: Array, field: Array) -> tuple[Array, Array]:
    """Returns rows and columns of a field for places `[N, 2]` in pixels; the border stands for what is beyond it."""
    height, width = field.shape
    return np.clip(at[:, 1].astype(int), 0, height - 1), np.clip(at[:, 0].astype(int), 0, width - 1)


NIGHT = Colours(
    ["#1a1038", "#2b1f63", "#1f4788", "#1a7f92", "#5db39b", "#e6dcaa", "#f7c75c", "#f08a3c", "#d8433a"],
    ["#ef5b3f", "#f8efd6", "#0c7a76", "#a43a74"],
)
EDDIES = [(0.27, 0.25, 0.15, 1.0), (0.73, 0.20, 0.11, -0.9), (0.58, 0.52, 0.16, 0.9), (0.14, 0.62, 0.12, -0.8),
          (0.90, 0.60, 0.10, 0.8), (0.42, 0.06, 0.07, -0.5)]  # middle, radius, how fast it turns  # fmt: skip


def eddies(size: int) -> Image.Image:
    """Paints strokes that follow a flow with several eddies."""
    rng = np.random.default_rng(SEED_EDDIES)
    width, height = size * SCALE, round(size * 0.8) * SCALE
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / width
    # The flow is the turned gradient of a potential: divergence free, so that strokes run side by side.
    potential = 0.020 * fractal(rng, height, width, 0.35, 3) + 0.25 * y
    glow = np.zeros_like(x)
    for cx, cy, radius, turn in EDDIES:
        distance2 = ((x - cx) ** 2 + (y - cy) ** 2) / radius**2
        potential += 0.16 * turn * np.exp(-distance2)
        glow += np.exp(-distance2 * 1.9) * (0.75 + 0.25 * np.cos(14 * np.sqrt(distance2)))
    dy, dx = np.gradient(potential)
    angle = np.arctan2(-dx, dy)
    tone = 0.40 + 0.13 * fractal(rng, height, width, 0.3, 4) + 0.62 * np.clip(glow, 0, 1) - 0.22 * y
    tone += 0.06 * np.sin(potential * 260)  # bands along the flow
    # The underpainting shows where strokes leave gaps.
    canvas = Canvas(ramp(np.clip(tone, 0, 1), NIGHT.palette) * 0.8)
    for length, thickness, count in ((0.11, 0.0125, 2600), (0.075, 0.0085, 5200), (0.045, 0.0056, 6000)):
        canvas.strokes(rng, angle, tone, NIGHT, length, thickness, count)
    return canvas.finished(rng)


SKY = Colours(["#3f7fb0", "#7fb6cc", "#f3dfb4", "#fbd08a", "#f6a45f"], ["#fff4da", "#e88aa0"], 0.05)
HILLS = Colours(["#2c4a5e", "#3f6f68", "#6f8f4a", "#b9a548"], ["#e0b84a", "#7a4a6a"])
WHEAT = Colours(["#24401f", "#4a6a24", "#8f8f2a", "#d9a92f", "#f5d35c"], ["#f7e7a0", "#c7562a", "#2f5f6a"], 0.05)
POPPIES = Colours(["#7a0f18", "#c01a1c", "#e8352a", "#f7663a"], ["#ff9a5a", "#5a0c1a"], 0.08)


def poppies(size: int) -> Image.Image:
    """Paints a field of poppies and wheat, which leans in the wind below a warm sky."""
    rng = np.random.default_rng(SEED_POPPIES)
    width, height = size * SCALE, round(size * 0.8) * SCALE
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / width
    noise, gusts = fractal(rng, height, width, 0.10, 4), fractal(rng, height, width, 0.30, 3)
    horizon = 0.235 + 0.018 * np.sin(7 * x + 0.6)
    ridge = horizon - 0.045 - 0.025 * np.sin(5.2 * x + 2.2) - 0.012 * np.sin(13 * x)
    near = np.clip((y - horizon) / (0.8 - horizon), 0, 1)
    field, sky = y > horizon, y < ridge
    air = 0.16 + 2.6 * y + 0.16 * noise
    canvas = Canvas(mix(ramp(np.clip(air, 0, 1), SKY.palette), rgb("#5a5a20"), field.astype(np.float32)) * 0.85)
    wind = 0.35 * np.sin(6 * x + 2 * gusts) - 0.25
    for length, thickness, count in ((0.085, 0.016, 1500), (0.055, 0.011, 2600)):
        canvas.strokes(rng, wind, air, SKY, length, thickness, count, sky)
    slope = np.gradient(ridge, axis=1) * width + 0.5 * noise
    canvas.strokes(
        rng, slope, 0.40 + 0.22 * noise + 3.0 * (y - ridge), HILLS, 0.035, 0.010, 9000, ~sky & (y < horizon + 0.012)
    )
    stalks = -np.pi / 2 + 0.45 * gusts + 0.35 * np.sin(9 * x + 14 * y)
    rows = 0.52 + 0.20 * gusts + 0.13 * noise + 0.18 * np.sin(55 * np.sqrt(near + 0.05) + 2.2 * gusts) - 0.12 * near
    for low, high, length, thickness, count in (
        (0.0, 0.3, 0.030, 0.006, 16000), (0.2, 0.6, 0.055, 0.0085, 9000), (0.5, 1.0, 0.085, 0.0115, 5200),
        (0.7, 1.0, 0.10, 0.008, 3000),
    ):  # fmt: skip
        band = field & (near >= low) & (near <= high)
        canvas.strokes(rng, stalks, rows, WHEAT, length, thickness, count, band)
    drifts = fractal(rng, height, width, 0.16, 3) + 0.25 * np.sin(6 * x - 9 * y)
    petals = 0.6 * noise + 5 * x
    for low, high, length, thickness, count in (
        (0.0, 0.25, 0.010, 0.007, 16000), (0.15, 0.55, 0.018, 0.012, 7000), (0.45, 1.1, 0.028, 0.018, 3600),
    ):  # fmt: skip
        band = field & (near >= low) & (near <= high) & (drifts > 0.15)
        canvas.strokes(rng, petals, 0.5 + 0.25 * noise, POPPIES, length, thickness, count, band)
    return canvas.finished(rng)
