"""A style sample: loose flowers in watercolour, wet in wet, on rough paper."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.noise import Array, blur, fractal, relief, rgb, step, to_image

SEED = 8
ROSE, CRIMSON, VIOLET, BLUE, TURQUOISE = "#e0407f", "#b3123f", "#7a55b8", "#3a62b8", "#38a7b0"
GOLD, ORANGE, GREEN, OLIVE, INDIGO, LILAC = "#f7b733", "#ee7f3a", "#5f9440", "#8a9a3a", "#27406e", "#b59ad6"


class Sheet:
    """A wet sheet: how much light the pigments on it take away, and the fields that shape every wash."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.width, self.height = rng, width, height
        self.taken = np.zeros((height, width, 3), np.float32)
        self.tooth = fractal(rng, height, width, 0.0075, 3)  # of the paper: pigment settles in its valleys
        large = height * 3 // 2 + 1, width * 3 // 2 + 1
        self.flow = [fractal(rng, *large, cell / 1.5, 5) for cell in (0.22, 0.09)]
        self.push = [
            fractal(rng, *large, cell / 1.5, octaves) for cell, octaves in ((0.10, 5), (0.10, 5), (0.02, 3), (0.02, 3))
        ]
        self.turn()

    def wash(self, mask: Array, colour: str, strength: float, wet: float = 0.0, rim: float = 0.5, wander: float = 0.006,
             density: Array | float = 1.0, box: tuple[slice, slice] | None = None) -> None:  # fmt: skip
        """Lays a wash of one pigment over `mask` `[H, W]`; only `box` is touched.

        `wet` is how far it runs, and `wander` how far its border strays, as shares of the width.
        """
        at = box or (slice(None), slice(None))
        if box and (box[0].stop - box[0].start < 8 or box[1].stop - box[1].start < 8):
            return  # beyond the border
        rows, columns = np.mgrid[at] if box else np.mgrid[0 : self.height, 0 : self.width]
        shift = [self._moved(field)[at] for field in self.push]
        far = wander * self.width
        row = np.clip(rows + far * (shift[0] + 0.22 * shift[2]), 0, self.height - 1).astype(int)
        column = np.clip(columns + far * (shift[1] + 0.22 * shift[3]), 0, self.width - 1).astype(int)
        shape = mask[row, column]
        if wet:
            shape = blur(shape, wet * self.width)
            shape = step(0.02, 0.98, shape + 0.16 * shift[2] * shape * (1 - shape) * 4)
        else:
            shape = blur(shape, 1)
        edge = np.clip(shape - blur(shape, 0.0035 * self.width), 0, 1) + 0.6 * np.clip(
            shape - blur(shape, 0.012 * self.width), 0, 1
        )
        pool = self._moved(self.flow[0])[at], self._moved(self.flow[1])[at]
        load = np.clip(0.72 + 0.22 * pool[0] + 0.20 * pool[1], 0.12, 1.7)
        grain = 1 + 0.16 * self.tooth[at]
        thick = density[at] if isinstance(density, np.ndarray) else density
        amount = strength * (shape * load * thick * grain + rim * 1.6 * edge)
        self.taken[at] += np.clip(amount, 0, None)[..., None] * -np.log(np.clip(rgb(colour), 0.02, 1))

    def _moved(self, field: Array) -> Array:
        """Returns a part of a field that is larger than the sheet."""
        down, right = self.shift
        return field[down : down + self.height, right : right + self.width]

    def turn(self) -> None:
        """Moves on to other parts of the fields, so that the next wash flows in its own way."""
        self.shift = int(self.rng.integers(0, self.height // 2)), int(self.rng.integers(0, self.width // 2))

    def bloom(self, x: float, y: float, radius: float) -> None:
        """Drops clear water at a place: the pigment there runs outward and dries as a frilled ring."""
        rows, columns = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        self.turn()
        frill = 0.20 * self._moved(self.push[0]) + 0.07 * self._moved(self.push[2])
        away = np.hypot(columns / self.width - x, rows / self.width - y) / radius * (1 + frill)
        inside = 0.62 * np.exp(-((away / 0.85) ** 6))
        ring = 0.55 * np.exp(-(((away - 1) / np.where(away < 1, 0.13, 0.03)) ** 2))
        self.taken *= (1 - inside * (0.5 + 0.5 * np.clip(away, 0, 1)) + ring)[..., None]

    def polygon(self, outline: Array) -> tuple[Array, tuple[slice, slice]]:
        """Returns a mask of an outline `[N, 2]` in shares of the width, and the box around it."""
        layer = Image.new("L", (self.width, self.height), 0)
        ImageDraw.Draw(layer).polygon((outline * self.width).ravel().tolist(), fill=255)
        low = np.floor(outline.min(0) * self.width - 0.03 * self.width).astype(int)
        high = np.ceil(outline.max(0) * self.width + 0.03 * self.width).astype(int)
        box = (
            slice(max(low[1], 0), max(min(high[1], self.height), 1)),
            slice(max(low[0], 0), max(min(high[0], self.width), 1)),
        )
        return np.asarray(layer, np.float32) / 255, box

    def finished(self, scale: int) -> Image.Image:
        paper = rgb("#fbf7ee") * (1 + 0.008 * fractal(self.rng, self.height, self.width, 0.3, 4))[..., None]
        picture = paper * np.exp(-self.taken)
        light = relief(blur(self.tooth, 1), 0.14)
        return to_image(picture * (0.90 + 0.10 * light)[..., None], self.width // scale, self.height // scale)


def petal(x: float, y: float, turn: float, length: float, wide: float, rng: np.random.Generator) -> Array:
    """Returns the outline of a petal that starts at a place: narrow there, broad and notched at its end."""
    t = np.linspace(0, 1, 26)
    half = wide * length * np.sin(np.pi * t**1.35) ** 0.75 * (1 + 0.10 * np.sin(11 * t + rng.uniform(0, 6)))
    along = length * t
    sides = [
        np.stack([along + dent, sign * half], -1)
        for sign, dent in ((1, 0.06 * length * t**3), (-1, -0.03 * length * t**3))
    ]
    outline = np.concatenate([sides[0], sides[1][::-1]])
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return outline @ spin + (x, y)


FLOWERS = [(0.30, 0.33, 0.165, (ROSE, CRIMSON)), (0.66, 0.27, 0.150, (VIOLET, BLUE)),
           (0.53, 0.55, 0.155, (ORANGE, CRIMSON)), (0.84, 0.53, 0.120, (ROSE, VIOLET)),
           (0.145, 0.62, 0.125, (LILAC, VIOLET)), (0.93, 0.15, 0.10, (GOLD, ORANGE)),
           (0.08, 0.14, 0.10, (GOLD, ORANGE)), (0.47, 0.09, 0.085, (LILAC, BLUE)),
           (0.335, 0.735, 0.09, (GOLD, ROSE)), (0.72, 0.75, 0.095, (VIOLET, ROSE))]  # fmt: skip


def watercolour(size: int) -> Image.Image:
    """Paints flowers: a ground of running colours, petals with hard rims, blooms where water was dropped, spatter."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width, height = size * scale, round(size * 0.8) * scale
    sheet = Sheet(rng, height, width)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = columns / width, rows / width
    kept = np.zeros((height, width), np.float32)  # the paper that stays dry for the flowers
    plan = []
    for x, y, radius, paints in FLOWERS:
        count = int(rng.integers(5, 7))
        first = rng.uniform(0, 6)
        squash = rng.uniform(0.72, 1.0)
        petals = []
        for index in rng.permutation(count):
            turn = first + index * 2 * np.pi / count + rng.normal(0, 0.10)
            reach = radius * rng.uniform(0.85, 1.1) * (squash + (1 - squash) * abs(np.cos(turn)))
            outline = petal(
                x + 0.08 * radius * np.cos(turn),
                y + 0.08 * radius * np.sin(turn),
                turn,
                reach,
                rng.uniform(0.40, 0.50),
                rng,
            )
            petals.append(outline)
            kept = np.maximum(kept, sheet.polygon(outline)[0])
        plan.append((x, y, radius, paints, petals))
    free = 1 - blur(kept, 0.004 * width)

    # The ground: broad wet washes that run into each other.
    for x, y, reach, colour, strength in (
        (0.15, 0.12, 0.30, BLUE, 0.42), (0.55, 0.05, 0.25, TURQUOISE, 0.40), (0.85, 0.10, 0.28, LILAC, 0.6),
        (0.05, 0.42, 0.24, TURQUOISE, 0.42),
        (0.45, 0.36, 0.22, GREEN, 0.5), (0.97, 0.42, 0.22, GOLD, 0.40), (0.75, 0.45, 0.18, GREEN, 0.45),
        (0.25, 0.53, 0.18, GOLD, 0.40),
        (0.08, 0.78, 0.24, BLUE, 0.55), (0.40, 0.66, 0.16, TURQUOISE, 0.5), (0.60, 0.76, 0.24, INDIGO, 0.36),
        (0.92, 0.72, 0.25, TURQUOISE, 0.5),
    ):  # fmt: skip
        sheet.turn()
        spot = np.exp(-(((u - x) ** 2 + (v - y) ** 2) / reach**2) * 1.1)
        ragged = step(0.22, 0.55, spot + 0.10 * sheet._moved(sheet.push[0]))
        sheet.wash(ragged * free, colour, strength * 1.5, wet=0.008, rim=0.25, wander=0.010, density=spot + 0.15)
    for x, y, radius in (
        (0.19, 0.09, 0.06),
        (0.80, 0.08, 0.05),
        (0.05, 0.40, 0.05),
        (0.95, 0.66, 0.07),
        (0.56, 0.74, 0.05),
        (0.44, 0.30, 0.04),
        (0.22, 0.77, 0.045),
    ):
        sheet.bloom(x, y, radius)

    # Leaves and stems between the flowers.
    for _ in range(84):
        fx, fy, radius, _ = FLOWERS[int(rng.integers(0, len(FLOWERS)))]
        turn = rng.uniform(0, 2 * np.pi)
        x, y = fx + 0.8 * radius * np.cos(turn), fy + 0.8 * radius * np.sin(turn)
        turn += rng.normal(0, 0.5)
        length = rng.uniform(0.09, 0.17)
        t = np.linspace(0, 1, 18)
        half = 0.17 * length * np.sin(np.pi * t**0.8)
        bend = turn + 0.5 * (t - 0.5)
        spine = np.cumsum(np.stack([np.cos(bend), np.sin(bend)], -1) * length / 18, 0) + np.array([x, y])
        normal = np.stack([-np.sin(bend), np.cos(bend)], -1) * half[:, None]
        mask, box = sheet.polygon(np.concatenate([spine + normal, (spine - normal)[::-1]]))
        sheet.turn()
        wet = rng.random() < 0.35
        sheet.wash(
            mask * free,
            str(rng.choice([GREEN, GREEN, OLIVE, TURQUOISE, INDIGO])),
            rng.uniform(0.45, 0.95),
            wet=0.006 if wet else 0,
            rim=0.2 if wet else 0.6,
            wander=0.003,
            box=box,
        )

    # Petals: pale at the tip, rich towards the heart, where the second pigment runs in.
    for x, y, radius, (main, deep), petals in plan:
        away = np.hypot(u - x, v - y) / radius
        for outline in petals:
            mask, box = sheet.polygon(outline)
            sheet.turn()
            spoke = np.arctan2(v - y, u - x)
            vein = 0.12 * np.sin(34 * spoke + 3 * sheet._moved(sheet.push[0]))
            sheet.wash(
                mask,
                main,
                0.62,
                rim=0.55,
                wander=0.0035,
                density=np.clip(0.42 + 0.62 * np.exp(-((away / 0.62) ** 2)) + vein, 0.1, 2),
                box=box,
            )
            sheet.wash(
                mask,
                deep,
                0.75,
                wet=0.004,
                rim=0.12,
                wander=0.006,
                density=np.clip(
                    1.25 * np.exp(-((away / 0.40) ** 2)) + 0.22 * np.clip(sheet._moved(sheet.flow[1]), 0, 2) + vein,
                    0,
                    2,
                ),
                box=box,
            )
        if radius > 0.11:
            sheet.bloom(x + rng.normal(0, 0.3) * radius, y + rng.normal(0, 0.3) * radius + 0.35 * radius, 0.30 * radius)
        turns = np.linspace(0, 2 * np.pi, 30)
        heart = np.stack([x + 0.17 * radius * np.cos(turns), y + 0.15 * radius * np.sin(turns)], -1)
        mask, box = sheet.polygon(heart)
        sheet.wash(mask, INDIGO if main != GOLD else CRIMSON, 0.9, rim=0.5, wander=0.003, box=box)
        for _ in range(34):
            turn, out = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.18, 0.36)
            _spot(sheet, x + out * np.cos(turn), y + out * np.sin(turn), rng.uniform(0.0015, 0.0034), INDIGO, 1.2)

    for _ in range(90):  # spatter
        _spot(
            sheet,
            rng.random(),
            rng.uniform(0, 0.8),
            0.0012 + 0.006 * rng.random() ** 5,
            str(rng.choice([ROSE, TURQUOISE, VIOLET, GOLD, INDIGO])),
            0.7,
        )
    return sheet.finished(scale)


def _spot(sheet: Sheet, x: float, y: float, radius: float, colour: str, strength: float) -> None:
    turns = np.linspace(0, 2 * np.pi, 16)
    outline = np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], -1)
    low, high = (
        ((outline.min(0) - 0.012) * sheet.width).astype(int),
        ((outline.max(0) + 0.012) * sheet.width).astype(int),
    )
    box = slice(max(low[1], 0), min(high[1], sheet.height)), slice(max(low[0], 0), min(high[0], sheet.width))
    if box[0].stop - box[0].start < 6 or box[1].stop - box[1].start < 6:
        return
    rows, columns = np.mgrid[box].astype(np.float32)
    shape = step(radius + 0.0008, radius - 0.0008, np.hypot(columns / sheet.width - x, rows / sheet.width - y))
    edge = np.clip(shape - blur(shape, 3), 0, 1)
    sheet.taken[box] += (strength * (0.6 * shape + edge))[..., None] * -np.log(rgb(colour))
