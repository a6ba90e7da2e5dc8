"""A content sample: fruit, a jug and a striped cloth on a table, lit by a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ui.samples import scene
from ui.samples.noise import Array, fractal, graded, mix, ramp, sampled, step, to_image
from ui.samples.scene import Body, Eye, Light, Paint, capsule, ellipsoid, linear, plain, revolved, smooth_union

SEED = 3
BOWL_X = 0.12
JUG = (-0.92, -0.55)  # x and z
BOTTLE = (0.98, -0.75)
JUG_OUTLINE = scene.profile([0.27, 0.40, 0.47, 0.45, 0.34, 0.22, 0.20, 0.24, 0.28])
BOTTLE_OUTLINE = scene.profile([0.24, 0.25, 0.25, 0.25, 0.25, 0.23, 0.13, 0.085, 0.08, 0.08, 0.10])

Place = tuple[float, float, float]


def still_life(size: int) -> Image.Image:
    """Shows a bowl of fruit and a jug on a table, by a window to the left."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width, height = size * scale, round(size * 0.75) * scale
    of = Surfaces(fractal(rng, 512, 512, 0.02, 4), fractal(rng, 512, 512, 0.04, 5, stretch=12.0))
    bodies = [
        Body(lambda p: p[:, 1], of.wood, gloss=0.05, blur=0.35),
        Body(_cloth, of.linen, gloss=0.0),
        Body(_bowl, of.glaze, (BOWL_X, 0.3, 0), 0.82, 0.07, 0.04),
        Body(_jug, of.clay, (-1.0, 0.8, -0.55), 1.05, 0.07, 0.06),
        Body(_bottle, _glass, (0.98, 0.8, -0.75), 0.9, 0.12, 0.03, 0.3),
        *_apple(of, (-0.22, 0.66, 0.10), 0.30, "#d9b23c", "#b3161c"),
        *_apple(of, (0.42, 0.63, 0.26), 0.28, "#c8c04a", "#8fae36"),
        _orange(of, (0.52, 0.66, -0.16), 0.29, "#f08a10"),
        _orange(of, (0.06, 0.57, 0.40), 0.24, "#f5a01e"),
        *_apple(of, (0.12, 0.80, -0.22), 0.29, "#c23a20", "#8c0f1c"),
        _orange(of, (-0.72, 0.32, 0.62), 0.27, "#f2b81c"),
        *_pear(of, (-0.36, 0.34, 1.02), 0.29, 0.10),
        _grapes(of, rng),
        Body(lambda p: scene.box(p, (0, 0, -3.2), (9, 9, 0.1)), _wall, gloss=0.0),
    ]
    eye = Eye((0.12, 1.75, 4.6), (0.0, 0.62, 0.0), 1.62)
    light = Light(
        (-0.78, 0.62, 0.34), linear("#ffe6c0") * 2.9, linear("#8d9ac0") * 0.42, linear("#a06a40") * 0.22, 0.16
    )
    view = scene.render(bodies, eye, light, width, height, np.zeros_like)
    return to_image(graded(view), size, height // scale)


@dataclass(frozen=True)
class Surfaces:
    """How things are coloured; `speckle` and `grain` are noise, `[512, 512]`."""

    speckle: Array
    grain: Array

    def skin(self, at: Place, under: str, over: str, lean: Place) -> Paint:
        """A fruit's skin: one colour that turns into another towards `lean`, with specks and streaks."""

        def paint(p: Array) -> Array:
            q = p - np.array(at, np.float32)
            turn = np.arctan2(q[:, 2], q[:, 0])
            specks = sampled(self.speckle, turn * 0.9, q[:, 1] * 1.5)
            streaks = sampled(self.grain, q[:, 1] * 0.8, turn * 1.3)
            share = 0.5 + 1.6 * (q @ np.array(lean, np.float32)) + 0.22 * streaks
            return mix(linear(under), linear(over), np.clip(share, 0, 1)) * (1 + 0.10 * specks)[:, None]

        return paint

    def glaze(self, p: Array) -> Array:
        """The bowl's: white, with blue bands and a wavy line."""
        turn = np.arctan2(p[:, 2], p[:, 0] - BOWL_X)
        uneven = sampled(self.speckle, turn * 0.6, p[:, 1])
        level = p[:, 1] + 0.008 * uneven
        bands = np.maximum(step(0.40, 0.405, level), step(0.215, 0.22, level) * step(0.255, 0.25, level))
        waves = step(0.012, 0.004, np.abs(level - 0.325 - 0.035 * np.sin(turn * 18)))
        return mix(linear("#e9e4d6"), linear("#1d4f94"), np.maximum(bands, waves)) * (1 + 0.04 * uneven)[:, None]

    def clay(self, p: Array) -> Array:
        """The jug's: a green glaze that has run down over the red clay."""
        turn = np.arctan2(p[:, 2] - JUG[1], p[:, 0] - JUG[0])
        streak = sampled(self.grain, p[:, 1] * 0.9, turn * 0.4)
        level = p[:, 1] + 0.07 * np.sin(turn * 4) + 0.05 * streak
        return mix(linear("#a65c34"), linear("#2f6b62"), step(0.70, 0.74, level)) * (1 + 0.12 * streak)[:, None]

    def linen(self, p: Array) -> Array:
        """The cloth's: a wide red stripe between two narrow ones, again and again."""
        across = p[:, 0] - 0.35 + 0.25 * (p[:, 2] - 0.4)
        at = np.abs(across * 2.4 % 1 - 0.5)
        stripe = np.maximum(step(0.075, 0.065, at), step(0.02, 0.01, np.abs(at - 0.13)))
        weave = 0.04 * sampled(self.speckle, p[:, 0] * 9, p[:, 2] * 9)
        return mix(linear("#e8e0cf"), linear("#b4352c"), stripe * 0.9) * (1 + weave)[:, None]

    def wood(self, p: Array) -> Array:
        """The table's: boards with a grain, and joints between them."""
        ring = sampled(self.grain, p[:, 0] * 0.35, p[:, 2] * 1.2)
        joint = step(0.0, 0.012, 0.5 - np.abs((p[:, 2] * 1.7 + 0.2) % 1 - 0.5)).clip(0.25)
        return ramp(np.clip(0.5 + 0.25 * ring, 0, 1), ["#2b1408", "#4a2612", "#6a3d1e"]) ** 2.2 * joint[:, None]


def _apple(of: Surfaces, at: Place, r: float, under: str, over: str) -> list[Body]:
    x, y, z = at
    top = (x + 0.02, y + 0.86 * r, z)

    def field(p: Array) -> Array:
        q = p - np.array(at, np.float32)
        flat = np.hypot(q[:, 0], q[:, 2]) * (1 - 0.12 * q[:, 1] / r)  # narrower below
        return np.asarray(0.85 * (np.hypot(flat - 0.36 * r, q[:, 1] * 1.02) - 0.66 * r))

    stem = Body(lambda p: capsule(p, (x, y + 0.4 * r, z), top, 0.010, 0.014), plain("#4a3018"), top, 0.3)
    return [Body(field, of.skin(at, under, over, (0.9, 0.5, 0.9)), at, r * 1.08, 0.05, 0.10), stem]


def _orange(of: Surfaces, at: Place, r: float, colour: str) -> Body:
    def field(p: Array) -> Array:
        q = p - np.array(at, np.float32)
        pores = sampled(of.speckle, np.arctan2(q[:, 2], q[:, 0]) * 0.5, q[:, 1] * 1.2)
        return np.asarray(np.linalg.norm(q * np.array([1, 1.04, 1], np.float32), axis=-1) - r + 0.00025 * pores)

    return Body(field, of.skin(at, colour, colour, (0, 0, 0)), at, r * 1.05, 0.05, 0.35)


def _pear(of: Surfaces, at: Place, r: float, tilt: float) -> list[Body]:
    x, y, z = at
    top = (x + tilt, y + 1.25 * r, z)
    tip = (top[0] + tilt * 0.9 + 0.05, top[1] + 1.0 * r, z)

    def field(p: Array) -> Array:
        low = ellipsoid(p, at, (r, 0.98 * r, r))
        return smooth_union(low, ellipsoid(p, top, (0.52 * r, 0.6 * r, 0.52 * r)), 0.55 * r)

    skin = of.skin(at, "#b9bb3c", "#d98a34", (0.8, -0.2, 0.4))
    stem = Body(lambda p: capsule(p, top, tip, 0.018, 0.012), plain("#4a3018"), tip, r)
    return [Body(field, skin, (x, y + 0.6 * r, z), 2.1 * r, 0.05, 0.2), stem]


def _grapes(of: Surfaces, rng: np.random.Generator) -> Body:
    """A bunch of grapes; no two have quite the same colour, and there is a bloom on their skins."""
    places = [(0.74 + 0.118 * column + 0.059 * (row % 2), 0.11 + 0.105 * layer, 0.50 + 0.105 * row - 0.03 * layer)
              for layer, rows, columns in ((0, 4, 5), (1, 3, 4), (2, 2, 2))
              for row in range(rows) for column in range(columns) if (row, column) != (0, 4)]  # fmt: skip
    at = (np.array(places) + rng.normal(0, 0.015, (len(places), 3))).astype(np.float32)

    def distances(p: Array) -> Array:
        return np.stack([np.linalg.norm(p - place, axis=-1) for place in at])

    def paint(p: Array) -> Array:
        which = distances(p).argmin(axis=0)
        tone = ramp(which * 0.618 % 1, ["#2a0c33", "#4a1238", "#5c1a3a", "#351047"]) ** 2.2
        bloom = np.clip(0.35 + 0.3 * sampled(of.speckle, p[:, 0] * 2, p[:, 1] * 2 + p[:, 2]), 0, 0.8)
        return np.asarray(mix(tone, linear("#8d84b0"), 0.2 * bloom))

    x, y, z = at.mean(axis=0).tolist()
    reach = 0.095 + float(np.linalg.norm(at - at.mean(axis=0), axis=-1).max())
    return Body(lambda p: distances(p).min(axis=0) - 0.083, paint, (x, y, z), reach, 0.05, 0.10, 0.5)


def _bowl(p: Array) -> Array:
    q = p - np.array([BOWL_X, 0.62, 0], np.float32)
    flat = np.hypot(q[:, 0], q[:, 2])
    shell = np.abs(np.linalg.norm(q * np.array([1, 1.22, 1], np.float32), axis=-1) - 0.72) - 0.026
    shell = np.maximum(shell * 0.82, q[:, 1] + 0.16)
    foot, rim = np.hypot(flat - 0.27, q[:, 1] + 0.58) - 0.045, np.hypot(flat - 0.693, q[:, 1] + 0.155) - 0.034
    return smooth_union(smooth_union(shell, foot, 0.06), rim, 0.02)


def _jug(p: Array) -> Array:
    (x, z), top = JUG, 1.56
    outside = revolved(p, x, z, JUG_OUTLINE, top)
    hollow = np.maximum(revolved(p, x, z, JUG_OUTLINE - 0.03, top + 0.1), 1.2 - p[:, 1])
    q = np.stack([p[:, 0] - x + 0.36, (p[:, 1] - 1.08) * 0.78, p[:, 2] - z], axis=-1)
    handle = np.hypot(np.hypot(q[:, 0], q[:, 1]) - 0.25, q[:, 2]) - 0.042
    return smooth_union(np.maximum(outside, -hollow), np.maximum(handle, q[:, 0] - 0.16) * 0.8, 0.05)


def _bottle(p: Array) -> Array:
    return revolved(p, *BOTTLE, BOTTLE_OUTLINE, 1.62)


def _glass(p: Array) -> Array:
    """Green, with a striped label."""
    label = step(0.30, 0.305, p[:, 1]) * step(0.72, 0.715, p[:, 1])
    stripes = step(0.012, 0.008, np.abs(np.abs(p[:, 1] - 0.51) - 0.15)) + step(0.035, 0.03, np.abs(p[:, 1] - 0.51))
    paper = mix(linear("#e6d7b4"), linear("#8c2a1e"), np.clip(stripes, 0, 1))
    return mix(np.broadcast_to(linear("#17482a"), p.shape), paper, label)


def _cloth(p: Array) -> Array:
    x, z = p[:, 0], p[:, 2]
    fold = 0.020 * np.sin(3.1 * x + 2.2 * z) + 0.014 * np.sin(5.3 * z - 3.7 * x + 1) + 0.010 * np.sin(9 * x + 4 * z)
    fold = fold * step(0.75, 1.25, np.hypot(x - BOWL_X, z)) + 0.034  # flat below the bowl
    edge = np.maximum(np.abs(x - 0.35 + 0.25 * (z - 0.4)) - 1.28, np.abs(z - 0.62 - 0.06 * x) - 1.08)
    return np.asarray(np.maximum(0.7 * (np.abs(p[:, 1] - fold) - 0.012), 0.8 * edge))


def _wall(p: Array) -> Array:
    """Plaster, on which the window's light falls aslant."""
    glow = np.exp(-(((p[:, 0] - 0.9) / 2.2) ** 2) - ((p[:, 1] - 1.0) / 1.8) ** 2)
    beam = p[:, 0] + 0.75 * p[:, 1] - 2.1
    patch = step(-0.95, -0.80, beam) * step(0.95, 0.80, beam) * (1 - step(0.10, 0.04, np.abs(beam)))
    return np.asarray(linear("#4f7076") * (0.16 + 0.42 * glow + 0.75 * patch * step(-1.0, 0.6, p[:, 1]))[:, None])
