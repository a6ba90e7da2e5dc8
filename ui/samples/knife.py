"""A style sample: birches in autumn, laid on with a palette knife."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ui.samples.noise import Array, blur, fractal, mix, relief, rgb, to_image

SEED = 17


class Board:
    """A board with thick paint: its colour, and how high the paint stands."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, ground: Array) -> None:
        self.rng, self.height, self.width = rng, height, width
        self.colour = np.array(ground, np.float32)
        self.thick = np.zeros((height, width), np.float32)
        self.streaks = np.clip(fractal(rng, 64, 512, 0.02, 4), -2, 2)  # rows of it vary across a knife's edge
        self.rough = fractal(rng, 1024, 1024, 0.02, 4)

    def smear(
        self,
        x: float,
        y: float,
        turn: float,
        length: float,
        wide: float,
        first: Array,
        second: Array,
        load: float = 1.0,
    ) -> None:
        """Pulls a knife loaded with two colours from a place; lengths are shares of the width."""
        long, half = length * self.width, wide * self.width / 2
        cos, sin = np.cos(turn), np.sin(turn)
        ends = np.array(
            [
                (a * long * cos - b * half * sin, a * long * sin + b * half * cos)
                for a in (-0.05, 1.2)
                for b in (-1.2, 1.2)
            ]
        )
        ends += (x * self.width, y * self.width)
        left, up = np.maximum(np.floor(ends.min(0)).astype(int), 0)
        right, low = np.minimum(np.ceil(ends.max(0)).astype(int) + 1, (self.width, self.height))
        if right - left < 3 or low - up < 3:
            return
        box = slice(up, low), slice(left, right)
        rows, columns = np.mgrid[box].astype(np.float32)
        dx, dy = columns - x * self.width, rows - y * self.width
        along, across = (dx * cos + dy * sin) / long, (-dx * sin + dy * cos) / half
        row, shift = self.rng.integers(0, 64), self.rng.integers(0, 400)
        place = np.clip(((across + 1.3) * 38 + shift).astype(int), 0, 511)
        streak = self.streaks[row, place]
        ragged = self.rough[(rows.astype(int) + 37 * row) % 1024, (columns.astype(int) + 53 * shift) % 1024]
        inside = np.clip((1 + 0.06 * ragged - np.abs(across)) * half / 1.5 + 0.5, 0, 1)
        inside = inside * np.clip((along + 0.02 * ragged) * long / 1.5 + 0.5, 0, 1)
        # Towards the end the knife runs dry and the paint breaks up.
        runs = 0.86 + 0.14 * streak + 0.10 * ragged
        inside = inside * np.clip((runs - along) * long / 3 + 0.5, 0, 1)
        share = np.clip(0.45 + 0.42 * streak + 0.35 * across, 0, 1)
        paint = mix(first, second, share[..., None]) * (1 + 0.05 * ragged * 0.6)[..., None]
        self.colour[box] = mix(self.colour[box], paint, inside[..., None])
        ridge = (
            np.exp(-(((np.abs(across) - 0.93) / 0.10) ** 2)) * 0.9
            + np.exp(-(((along - runs + 0.05) / 0.05) ** 2)) * 1.1
        )
        body = load * (0.35 + ridge + 0.10 * streak + 0.05 * ragged)
        self.thick[box] = mix(self.thick[box], 0.35 * self.thick[box] + body, inside)

    def finished(self, scale: int) -> Image.Image:
        thick = 0.6 * self.thick + 0.4 * blur(self.thick, 1)
        light = relief(thick, 1.9)
        wide = blur(self.thick, 5)
        shade = np.clip(1 + 0.22 * (self.thick - wide), 0.75, 1.25)
        gloss = np.clip(light - 1.42, 0, 1) ** 1.5
        picture = self.colour * (0.66 + 0.34 * light)[..., None] * shade[..., None] + 0.30 * gloss[..., None]
        return to_image(picture, self.width // scale, self.height // scale)


def tint(rng: np.random.Generator, colours: list[str], spread: float = 0.05) -> tuple[Array, Array]:
    """Returns the two colours of a load: one of the palette, and one beside it."""
    index = int(rng.integers(0, len(colours)))
    other = int(np.clip(index + rng.integers(-1, 2), 0, len(colours) - 1))
    return rgb(colours[index]) * (1 + rng.normal(0, spread)), rgb(colours[other]) * (1 + rng.normal(0, spread))


SKY = ["#5f8fc4", "#8fb4dc", "#c9dcea", "#f3ead2", "#fbe3b0"]
DISTANCE = ["#2a2f63", "#3d4d8c", "#59629c", "#7a5a92", "#a65a6e"]
LEAVES = ["#7a1522", "#b8221f", "#e04a1c", "#f07a1a", "#f8a51e", "#fdc93a", "#ffe37a"]
OLIVES = ["#2f4a2a", "#5a6a26", "#94902a", "#c9b02e"]
GROUND = ["#4a1f3a", "#8a2f22", "#c4521c", "#e88a1c", "#f7b92e", "#ffdf70"]
SHADOWS = ["#23234f", "#3a2f6a", "#5a3f7a", "#7a4a5e"]
WATER = ["#2a3f7a", "#3f6aa8", "#7aa6cf", "#cfe0e6", "#fbd98a", "#f39a2a"]
TRUNKS = (
    (0.055, 0.030, 0.74, 0.02), (0.165, 0.019, 0.62, -0.015), (0.285, 0.040, 0.79, -0.03),
    (0.375, 0.014, 0.56, 0.02), (0.645, 0.013, 0.55, -0.02),
    (0.715, 0.024, 0.65, 0.03), (0.835, 0.045, 0.81, -0.02), (0.925, 0.018, 0.62, 0.02), (0.985, 0.028, 0.72, 0.0),
)  # place, thickness, foot, lean  # fmt: skip


def birches(size: int) -> Image.Image:
    """Paints birches beside a stream, with the last leaves of autumn."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width, height = size * scale, round(size * 0.8) * scale
    board = Board(rng, height, width, np.broadcast_to(rgb("#54324a"), (height, width, 3)))
    mass = fractal(rng, height, width, 0.20, 4)

    def field(place: Array, px: float, py: float) -> float:
        return float(place[min(max(int(py * width), 0), height - 1), min(max(int(px * width), 0), width - 1)])

    horizon = 0.47
    for _ in range(700):  # sky between the trees
        px, py = rng.uniform(-0.05, 1.0), rng.uniform(-0.03, 0.36)
        warm = min(len(SKY) - 1, int(py / 0.30 * 4 + rng.normal(0, 0.6) + 0.5)) if py > 0 else 0
        pick = SKY[max(0, warm - 1) : max(0, warm - 1) + 2]
        board.smear(
            px, py, rng.normal(0.35, 0.5), rng.uniform(0.05, 0.10), rng.uniform(0.020, 0.036), *tint(rng, pick), 0.8
        )
    for _ in range(1200):  # the far wood
        px = rng.uniform(-0.05, 1.0)
        py = rng.uniform(0.27, horizon + 0.05) - 0.10 * abs(px - 0.5) ** 0.8
        board.smear(
            px,
            py,
            -np.pi / 2 + rng.normal(0, 0.18),
            rng.uniform(0.04, 0.09),
            rng.uniform(0.012, 0.024),
            *tint(rng, DISTANCE),
            0.8,
        )
    for _ in range(2600):  # the foliage: masses of one colour each
        px, py = rng.uniform(-0.05, 1.02), rng.uniform(-0.03, horizon + 0.02)
        gap = np.exp(-(((px - 0.50) / 0.15) ** 2)) * (1.25 - 0.9 * abs(py - 0.2) / 0.3)
        m = field(mass, px, py)
        if m + rng.normal(0, 0.35) < -0.55 + 1.7 * gap:
            continue
        light = 3.2 + 1.5 * field(mass, 1 - px, py) + rng.normal(0, 0.9) + 1.2 * gap
        low = int(np.clip(light, 0, len(LEAVES) - 2))
        colours = OLIVES if rng.random() < 0.13 else LEAVES[low : low + 2]
        board.smear(
            px, py, rng.normal(0.9, 0.75), rng.uniform(0.022, 0.050), rng.uniform(0.011, 0.021), *tint(rng, colours)
        )
    for _ in range(2300):  # the ground, and the stream in the middle
        py = horizon - 0.01 + (0.82 - horizon) * rng.random() ** 0.8
        near = max(0.0, (py - horizon) / (0.8 - horizon))
        px = rng.uniform(-0.08, 1.02)
        middle, half = 0.51 + 0.06 * np.sin(5 * near + 0.6), 0.020 + 0.17 * near**1.2
        off = (px - middle) / half
        grow = 0.45 + 0.75 * near
        if abs(off) < 1:
            shiny = np.clip(2.6 - 2.2 * abs(off) + rng.normal(0, 1.1) + 1.2 * (rng.random() < 0.2), 0, len(WATER) - 2)
            board.smear(
                px - 0.02,
                py,
                rng.normal(0, 0.06),
                rng.uniform(0.05, 0.09) * grow,
                rng.uniform(0.008, 0.015) * grow,
                *tint(rng, WATER[int(shiny) : int(shiny) + 2]),
            )
        else:
            shaded = np.sin(26 * px + 9 * near + 2 * field(mass, px, py)) < -0.45
            low = int(np.clip(1.2 + 2.2 * rng.random() + 0.9 * field(mass, px, py), 0, len(GROUND) - 2))
            board.smear(px, py, rng.normal(-0.12 * np.sign(off), 0.22), rng.uniform(0.045, 0.085) * grow,
            rng.uniform(0.012, 0.022) * grow,
                        *tint(rng, SHADOWS if shaded else GROUND[low : low + 2]))  # fmt: skip
    for place, thick, foot, lean in sorted(TRUNKS, key=lambda trunk: trunk[2]):
        _birch(board, rng, place, thick, foot, lean)
        for _ in range(7):  # leaves lie around its foot
            px, py = place + rng.normal(-0.02, 0.8) * thick, foot + rng.uniform(-0.004, 0.012)
            low = int(rng.integers(1, len(GROUND) - 1))
            board.smear(px, py, rng.normal(0, 0.3), 1.1 * thick, 0.4 * thick, *tint(rng, GROUND[low : low + 2]))
    for _ in range(520):  # leaves in front
        px = rng.uniform(-0.02, 1.0)
        py = rng.choice([rng.uniform(-0.02, 0.30), rng.uniform(0.5, 0.82)])
        if abs(px - 0.5) < 0.17 and py < 0.4 and rng.random() < 0.75:
            continue
        low = int(rng.integers(1, len(LEAVES) - 1))
        board.smear(
            px,
            py,
            rng.normal(0.8, 0.8),
            rng.uniform(0.014, 0.034),
            rng.uniform(0.009, 0.016),
            *tint(rng, LEAVES[low : low + 2]),
            1.3,
        )
    return board.finished(scale)


def _birch(board: Board, rng: np.random.Generator, place: float, thick: float, foot: float, lean: float) -> None:
    """Pulls one birch from its foot up: cream on its lit side, lilac in the shade, black scars, bare twigs."""
    step_up = thick * 0.42
    for up in np.arange(0, foot + 0.03, step_up):
        y = foot - up
        wide = thick * (1.25 - 0.45 * up / foot)
        x = place + lean * up / foot + 0.006 * np.sin(9 * up + place * 20)
        tilt = rng.normal(0.10, 0.10)
        shade = tint(rng, ["#4a4a86", "#7f86b8", "#b7b2cf"], 0.04)
        board.smear(x + 0.52 * wide, y, np.pi + tilt, wide * 0.75, step_up * 2.2, *shade, 0.8)
        light = tint(rng, ["#f2e3c4", "#fff6e2", "#fffdf2", "#f7dfae"], 0.02)
        board.smear(x - 0.52 * wide, y, tilt, wide * rng.uniform(0.6, 0.95), step_up * 1.9, *light, 1.2)
        if rng.random() < 0.23:
            side = rng.choice([-0.52, 0.5])
            board.smear(
                x + side * wide,
                y,
                tilt if side < 0 else np.pi + tilt,
                wide * rng.uniform(0.25, 0.6),
                step_up * rng.uniform(0.5, 1.1),
                rgb("#1d1a26"),
                rgb("#3a3040"),
                1.0,
            )
        if rng.random() < 0.13 and 0.1 < up < foot - 0.05:
            way = rng.choice([-1, 1])
            turn = -np.pi / 2 + way * rng.uniform(0.5, 1.0)
            bx, by, size = x, y, thick * rng.uniform(0.16, 0.28)
            for _ in range(5):
                board.smear(bx, by, turn, 0.036, max(size, 0.003), rgb("#2a2230"), rgb("#6a5a66"), 0.8)
                bx, by = bx + 0.030 * np.cos(turn), by + 0.030 * np.sin(turn)
                turn, size = turn - way * rng.uniform(-0.1, 0.3), size * 0.78
