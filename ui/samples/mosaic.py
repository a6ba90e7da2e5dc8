"""A style sample: a mosaic, laid stone by stone in rows along what it shows."""

from __future__ import annotations

import heapq

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.noise import Array, fractal, ramp, relief, resize, rgb, to_bytes, to_image

SEED = 12
GRID = 384  # of the fields that the stones are laid by, whatever the size of the picture
PITCH = 0.0185  # from stone to stone, as a share of the width
STONE = 0.0162  # side of a stone

INSIDE = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 7)] * 2), axis=-1).reshape(-1, 2)  # places within a stone

# Middle, radius, which way it turns, and how often.
VOLUTES = [(0.265, 0.300, 0.200, 1, 2.6), (0.735, 0.270, 0.205, -1, 2.7), (0.155, 0.690, 0.125, 1, 1.8),
           (0.850, 0.665, 0.130, -1, 1.8), (0.500, 0.100, 0.075, -1, 1.3)]  # fmt: skip
FLOWERS = [(0.055, 0.06), (0.95, 0.045), (0.05, 0.48), (0.95, 0.475), (0.055, 0.935), (0.945, 0.93), (0.385, 0.625),
           (0.615, 0.610), (0.30, 0.930), (0.70, 0.925)]  # fmt: skip
GOLD = ["#7d4a10", "#b67a18", "#e0ab2c", "#f6d667", "#fff0b0"]
BLUE = ["#081238", "#10276b", "#17489c", "#1f78ac", "#35a6a3", "#8fd0bb"]
FLOWER = ["#f3d052", "#c8281f", "#8c1320", "#f0e6cf"]


def mosaic(size: int) -> Image.Image:
    """Lays a golden tree of spirals on blue."""
    rng = np.random.default_rng(SEED)
    scale = 2
    side = size * scale
    away, flower = _cartoon()
    tone = 0.42 + 0.17 * fractal(rng, GRID, GRID, 0.25, 3)
    ground = 0.06 * fractal(rng, side, side, 0.006, 3)[..., None] + rgb("#4b423c")
    image = Image.fromarray((np.clip(ground, 0, 1) * 255).astype(np.uint8))
    height = Image.new("L", (side, side), 40)
    draw, draw_height = ImageDraw.Draw(image), ImageDraw.Draw(height)
    for x, y, turn, length, row in _stones(rng, away):
        at = int(np.clip(y, 0, 0.999) * GRID), int(np.clip(x, 0, 0.999) * GRID)
        value = rng.normal(0, 0.13)
        if flower[at]:
            colour = rgb(FLOWER[min(row, 3)]) * (1 + value)
        elif row == 0:
            colour = ramp(np.array(0.58 + 1.5 * value), GOLD)
        else:
            colour = ramp(np.array(np.clip(tone[at] + 0.6 * value - (0.30 if row == 1 else 0), 0, 1)), BLUE)
        for share, canvas, fill in ((1.0, draw, to_bytes(colour)), (1.0, draw_height, 120), (0.72, draw_height, 190)):
            corners = _square(x, y, turn, length * share) + rng.normal(0, 0.05 * STONE, (4, 2)) * share
            canvas.polygon((corners * side).ravel().tolist(), fill=fill)
        tilt = _square(x, y, turn, length * 0.72)[[0, 1, 2] if rng.random() < 0.5 else [1, 2, 3]]
        draw.polygon((tilt * side).ravel().tolist(), fill=to_bytes(colour * (1.16 if row == 0 else 1.09)))
    picture = np.asarray(image, np.float32) / 255
    shade = relief(np.asarray(height, np.float32) / 255, 1.3, azimuth=0.8)
    picture = picture * (0.70 + 0.30 * shade + 0.03 * fractal(rng, side, side, 0.004, 2))[..., None]
    glow = np.clip(resize(fractal(rng, 64, 64, 0.5, 2), side, side), -1.5, 1.5)
    return to_image(picture * (1 + 0.05 * glow)[..., None], size, size)


def _cartoon() -> tuple[Array, Array]:
    """Returns how far places are from what is drawn, and whether that is a flower, `[GRID, GRID]` each."""
    lines = [np.stack([np.full(60, 0.5) + 0.012 * np.sin(np.linspace(0, 5, 60)), np.linspace(1.05, 0.28, 60)], axis=-1)]
    for x, y, radius, way, turns in VOLUTES:
        t = np.linspace(0, 1, int(900 * radius * turns))
        angle, reach = np.pi / 2 + way * 2 * np.pi * turns * t, radius * (1 - t) ** 0.85
        lines.append(np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], axis=-1))
        stem, bend = np.array([0.5, min(y + radius + 0.16, 1.04)]), np.array([0.5, y + radius])
        s = np.linspace(0, 1, 60)[:, None]
        lines.append((1 - s) ** 2 * stem + 2 * s * (1 - s) * bend + s * s * lines[-1][0])
    points = np.concatenate(lines).astype(np.float32)
    coarse = GRID // 2
    y, x = (np.mgrid[0:coarse, 0:coarse].astype(np.float32) + 0.5) / coarse
    away = np.full((coarse, coarse), np.inf, np.float32)
    for px, py in points:
        away = np.minimum(away, (x - px) ** 2 + (y - py) ** 2)
    away = np.sqrt(away)
    petals = np.min([np.hypot(x - fx, y - fy) for fx, fy in FLOWERS], axis=0)
    nearer = petals < np.minimum(away + 2 * PITCH, 4 * PITCH)
    away, flower = resize(np.where(nearer, petals, away), GRID, GRID), resize(nearer, GRID, GRID) > 0.5
    return away, flower


def _stones(rng: np.random.Generator, away: Array) -> list[tuple[float, float, float, float, int]]:
    """Returns the stones: middle, turn, side, and row, counted outwards from what is drawn.

    Each stone that is laid asks for the ones beside it in its row, and for those of the next rows; low rows come first.
    What is left between them is filled with smaller stones.
    """
    dy, dx = np.gradient(away)
    angle = np.arctan2(dy, dx)
    taken = np.zeros((GRID, GRID), bool)
    stones: list[tuple[float, float, float, float, int]] = []

    def cell(x: float, y: float) -> tuple[int, int]:
        return min(max(int(y * GRID), 0), GRID - 1), min(max(int(x * GRID), 0), GRID - 1)

    def lay(x: float, y: float, turn: float, length: float, row: int, overlap: float) -> bool:
        along, across = length * np.cos(turn), length * np.sin(turn)
        rows = y + across * INSIDE[:, 0] + along * INSIDE[:, 1]
        columns = x + along * INSIDE[:, 0] - across * INSIDE[:, 1]
        place = tuple((np.minimum(np.maximum(at, 0), 1 - 1e-6) * GRID).astype(int) for at in (rows, columns))
        if np.count_nonzero(taken[place]) > overlap * len(INSIDE):
            return False
        taken[place] = True
        stones.append((x, y, turn, length, row))
        return True

    starts = np.argwhere(away < PITCH)[:: GRID // 8]
    wanted = [(0, float(x) / GRID, float(y) / GRID) for y, x in starts]
    heapq.heapify(wanted)
    while wanted:
        row, x, y = heapq.heappop(wanted)
        for _ in range(2):  # to the middle of the row
            place = cell(x, y)
            off = (row + 0.5) * PITCH - float(away[place])
            x, y = x + off * float(np.cos(angle[place])), y + off * float(np.sin(angle[place]))
        if not (-STONE < x < 1 + STONE and -STONE < y < 1 + STONE):
            continue
        turn = float(angle[cell(x, y)])
        if abs(off) > 0.5 * PITCH or not lay(x, y, turn, STONE, row, 0.10):
            continue
        along, out = np.array([-np.sin(turn), np.cos(turn)]) * PITCH, np.array([np.cos(turn), np.sin(turn)]) * PITCH
        for way in (along, -along):
            heapq.heappush(wanted, (row, x + float(way[0]), y + float(way[1])))
        for step, way in ((1, out), (-1, -out)):
            if row + step >= 0:
                heapq.heappush(wanted, (row + step, x + float(way[0]), y + float(way[1])))
    for share in (0.8, 0.6, 0.42):
        gaps = rng.permutation(np.argwhere(~taken))[:8000]
        for y, x in ((gaps + 0.5) / GRID).tolist():
            place = cell(x, y)
            if not taken[place]:
                lay(x, y, float(angle[place]), STONE * share, int(away[place] / PITCH), 0.22)
    return stones


def _square(x: float, y: float, turn: float, side: float) -> Array:
    """Returns the corners of a square, `[4, 2]`."""
    along = np.array([np.cos(turn), np.sin(turn)]) * side / 2
    across = np.array([-along[1], along[0]])
    return np.array([x, y]) + np.array([-along - across, along - across, along + across, -along + across])
