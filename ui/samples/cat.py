"""A content sample: a ginger cat on a window sill, with a flower pot and a garden out of focus."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ui.samples.noise import Array, blur, fractal, graded, mix, ramp, resize, sampled, step, to_image
from ui.samples.scene import (
    Body, Eye, Light, Paint, box, capsule, ellipsoid, linear, plain, render, smooth_union, unit,
)  # fmt: skip

SEED = 8
HEAD = np.array([0, 1.30, 0.14], np.float32)
TURN, TILT = -0.38, 0.10  # of the head, radians: towards the window, and to the side


def cat(size: int) -> Image.Image:
    """Shows a ginger cat that sits on a window sill and looks into the room."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width, height = round(size * 0.8) * scale, size * scale
    patches, hair = fractal(rng, 512, 512, 0.10, 4), fractal(rng, 512, 512, 0.03, 4, stretch=0.12)
    grain = fractal(rng, 512, 512, 0.04, 5, stretch=12.0)

    def fur(p: Array) -> Array:
        """Tabby: dark stripes across the back and legs, white at chest, muzzle and paws."""
        q = _of_head(p)
        around = np.arctan2(p[:, 2] - 0.05, p[:, 0])
        waver = sampled(patches, around * 0.5, p[:, 1] * 0.6)
        stripes = np.sin(p[:, 1] * 27 + 2.5 * np.cos(around) ** 2 + 1.1 * waver)
        crown = np.sin(np.abs(q[:, 0]) * 46 + 0.5 * waver) * step(0.10, 0.20, q[:, 1]) * step(-0.15, 0.1, q[:, 2])
        head = step(-0.24, -0.16, q[:, 1])
        stripes = mix(stripes, crown - 0.4, head)
        colour = mix(linear("#dc8a3a"), linear("#8f4212"), 0.85 * step(0.1, 0.9, stripes))
        bib = step(0.30, 0.16, np.abs(p[:, 0]) + 0.04 * waver + 0.12 * step(0.5, 0.1, p[:, 1])) * step(
            0.30, 0.42, p[:, 2]
        )
        bib = bib * (1 - head) * step(0.30, 0.5, p[:, 1])
        muzzle = step(0.20, 0.14, np.hypot(q[:, 0] * 0.9, q[:, 1] + 0.16)) * step(0.1, 0.2, q[:, 2])
        paws = step(0.17, 0.10, p[:, 1]) * step(0.25, 0.35, p[:, 2]) * step(0.34, 0.26, np.abs(p[:, 0]))
        inner = (
            step(0.05, 0.02, np.abs(np.abs(q[:, 0]) - 0.225)) * step(0.22, 0.27, q[:, 1]) * step(0.03, 0.06, q[:, 2])
        )
        colour = mix(colour, linear("#f6eee2"), np.maximum(np.maximum(bib, muzzle), paws))
        colour = mix(colour, linear("#d99a86"), 0.8 * inner)
        smile = np.abs(q[:, 1] + 0.165 + 0.35 * np.abs(np.abs(q[:, 0]) - 0.055)) + 10 * step(
            0.10, 0.12, np.abs(q[:, 0])
        )
        mouth = np.maximum(
            step(0.012, 0.004, smile), step(0.009, 0.003, np.abs(q[:, 0])) * step(0.16, 0.14, np.abs(q[:, 1] + 0.02))
        )
        colour = mix(colour, linear("#5a2a1c"), 0.75 * mouth * step(0.22, 0.26, q[:, 2]))
        return colour * (1 + 0.10 * sampled(hair, around * 1.6, p[:, 1] * 0.9 + p[:, 2] * 0.5))[:, None]

    def shape(p: Array) -> Array:
        mirror = np.stack([np.abs(p[:, 0]), p[:, 1], p[:, 2]], axis=-1)
        trunk = ellipsoid(p, (0, 0.62, -0.02), (0.36, 0.62, 0.38))
        trunk = smooth_union(trunk, ellipsoid(mirror, (0.30, 0.26, -0.06), (0.24, 0.29, 0.36)), 0.14)
        trunk = smooth_union(trunk, ellipsoid(p, (0, 0.80, 0.22), (0.25, 0.34, 0.22)), 0.16)
        leg = capsule(mirror, (0.15, 0.62, 0.26), (0.14, 0.10, 0.40), 0.115, 0.085)
        leg = smooth_union(leg, ellipsoid(mirror, (0.14, 0.07, 0.47), (0.105, 0.075, 0.15)), 0.05)
        leg = np.minimum(leg, ellipsoid(mirror, (0.36, 0.07, 0.34), (0.11, 0.075, 0.18)))
        body = smooth_union(trunk, leg, 0.07)
        tail = np.full(len(p), np.inf, np.float32)
        for start, end in zip(TAIL, TAIL[1:], strict=False):
            tail = (
                smooth_union(tail, capsule(p, start, end, 0.088, 0.085), 0.02)
                if np.isfinite(tail).all()
                else capsule(p, start, end, 0.088, 0.085)
            )
        body = smooth_union(body, tail, 0.04)
        q = _of_head(p)
        m = np.stack([np.abs(q[:, 0]), q[:, 1], q[:, 2]], axis=-1)
        head = ellipsoid(q, (0, 0, 0), (0.325, 0.275, 0.29))
        head = smooth_union(head, ellipsoid(m, (0.17, -0.10, 0.08), (0.17, 0.13, 0.17)), 0.08)
        ear = m * np.array([1, 1, 2.2], np.float32)
        ear = capsule(ear, (0.195, 0.13, 0.06), (0.262, 0.40, 0.02), 0.135, 0.022) * 0.5
        dent = capsule(m * np.array([1, 1, 1.5], np.float32), (0.20, 0.18, 0.16), (0.250, 0.36, 0.10), 0.075, 0.012)
        head = smooth_union(head, np.maximum(ear, -dent * 0.7), 0.04)
        head = smooth_union(head, ellipsoid(m, (0.062, -0.135, 0.262), (0.085, 0.068, 0.07)), 0.03)
        head = smooth_union(head, ellipsoid(q, (0, -0.205, 0.215), (0.075, 0.05, 0.06)), 0.03)
        head = smooth_union(head, ellipsoid(q, (0, -0.03, 0.25), (0.055, 0.12, 0.07)), 0.06)
        socket = np.maximum(np.linalg.norm(m - np.array([0.125, 0.03, 0.30], np.float32), axis=-1) - 0.070, _lids(m))
        head = np.maximum(head, -socket)
        body = smooth_union(body, head * 1.14, 0.09)
        around = np.arctan2(p[:, 2], p[:, 0])
        return np.asarray(0.85 * body - 0.0007 * sampled(hair, around * 1.6, p[:, 1] * 0.9 + p[:, 2] * 0.5))

    def eyes(p: Array) -> Array:
        q = _of_head(p)
        m = _mirrored(q)
        return np.asarray(np.maximum(np.linalg.norm(m - EYE, axis=-1) * 1.14 - 0.083, _lids(m)))

    def iris(p: Array) -> Array:
        q = _mirrored(_of_head(p)) - EYE
        from_middle = np.hypot(q[:, 0] - 0.004, q[:, 1])
        colour = mix(linear("#e3c94a"), linear("#6f8f2c"), step(0.0, 0.06, from_middle))
        colour = mix(colour, linear("#15110a"), step(0.058, 0.066, from_middle))
        slit = step(1.15, 0.9, np.hypot((q[:, 0] - 0.004) / 0.026, q[:, 1] / 0.056))
        return mix(colour, linear("#050505"), slit)

    def nose(p: Array) -> Array:
        return ellipsoid(_of_head(p), (0, -0.085, 0.322), (0.042, 0.028, 0.026))

    def whiskers(p: Array) -> Array:
        q = _mirrored(_of_head(p))
        hairs = [
            capsule(q, (0.08, -0.13 + 0.02 * k, 0.30), (0.46, -0.17 + 0.085 * k, 0.22), 0.0035, 0.0015)
            for k in (-1, 0, 1)
        ]
        return np.asarray(np.min(hairs, axis=0))

    def wood(p: Array) -> Array:
        ring = sampled(grain, p[:, 0] * 0.4, p[:, 2] * 1.5)
        return linear("#e8e0d2") * (0.92 + 0.06 * ring)[:, None]

    pot = (0.86, 0.0, -0.18)
    leaves = [(pot[0] + 0.30 * rng.normal(), 0.78 + 0.20 * rng.random() + 0.1 * rng.normal(), pot[2] + 0.16 * rng.normal(),
               rng.uniform(0.10, 0.15), rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6)) for _ in range(26)]  # fmt: skip
    umbels = [(-0.20, 1.10, 0.16), (0.06, 1.28, 0.05), (0.20, 1.06, 0.18), (-0.06, 0.98, 0.30)]
    petals = [tuple(np.add(pot, at) + 0.075 * unit(rng.normal(size=(1, 3)))[0]) for at in umbels for _ in range(16)]

    def clay_pot(p: Array) -> Array:
        flat = np.hypot(p[:, 0] - pot[0], p[:, 2] - pot[2])
        wall = np.maximum(flat - (0.20 + 0.14 * p[:, 1]), np.abs(p[:, 1] - 0.25) - 0.25)
        rim = np.maximum(flat - 0.305, np.abs(p[:, 1] - 0.50) - 0.065)
        return np.asarray(0.9 * smooth_union(wall, rim, 0.02))

    def foliage(p: Array) -> Array:
        return np.asarray(np.min([_leaf(p, *leaf) for leaf in leaves], axis=0))

    def blossom(p: Array) -> Array:
        return np.asarray(np.min([ellipsoid(p, at, (0.042, 0.032, 0.042)) for at in petals], axis=0))

    bodies = [
        Body(shape, fur, (0, 0.85, 0), 1.05, gloss=0.0, glow=0.12),
        Body(eyes, iris, (0, 1.3, 0.2), 0.45, gloss=0.10, blur=0.02),
        Body(nose, plain("#c9756a"), (0, 1.25, 0.3), 0.3, gloss=0.04, blur=0.3),
        Body(whiskers, plain("#fffaf0"), (0, 1.2, 0.3), 0.75, gloss=0.0, glow=0.6),
        Body(lambda p: box(p, (0, -0.3, 0.1), (4, 0.3, 0.75), 0.03), wood, gloss=0.03, blur=0.2),
        Body(lambda p: box(p, (-0.62, 1.5, -0.85), (0.06, 3, 0.07), 0.02), wood, gloss=0.03, blur=0.3),
        Body(lambda p: box(p, (0, 1.92, -0.85), (4, 0.035, 0.05), 0.02), wood, gloss=0.03, blur=0.3),
        Body(lambda p: box(p, (0, 0.06, -0.85), (4, 0.09, 0.08), 0.02), wood, gloss=0.03, blur=0.3),
        Body(clay_pot, plain("#b4603a"), (pot[0], 0.28, pot[2]), 0.45, gloss=0.02, blur=0.5),
        Body(foliage, _green(patches), (pot[0], 0.85, pot[2]), 1.0, gloss=0.03, blur=0.4, glow=0.5),
        Body(blossom, plain("#d61f3a"), (pot[0], 1.12, pot[2] + 0.12), 0.75, gloss=0.0, glow=0.5),
    ]
    garden = _garden(rng)
    eye = Eye((-0.25, 1.22, 4.3), (0.14, 0.90, 0.0), 1.86)

    def outside(ray: Array) -> Array:
        return np.stack(
            [sampled(garden[..., c], 0.53 + 1.1 * ray[:, 0], 0.42 - 1.1 * ray[:, 1]) for c in range(3)], axis=-1
        )

    light = Light(
        (-0.72, 0.50, 0.42), linear("#ffe3b8") * 2.3, linear("#a9b8dc") * 0.42, linear("#b08a60") * 0.22, 0.16
    )
    view = render(bodies, eye, light, width, height, outside)
    return to_image(graded(view), width // scale, size)


TAIL = [(0.05, 0.10, -0.40), (0.42, 0.10, -0.36), (0.62, 0.10, -0.05), (0.64, 0.10, 0.28), (0.48, 0.09, 0.55),
        (0.22, 0.09, 0.66), (0.02, 0.09, 0.67)]  # fmt: skip
EYE = np.array([0.125, 0.028, 0.232], np.float32)


def _of_head(p: Array) -> Array:
    """Returns points as the head has them: its middle at 0, its nose along z."""
    q = (p - HEAD) / 1.14
    c, s = np.cos(TURN), np.sin(TURN)
    q = np.stack([c * q[:, 0] - s * q[:, 2], q[:, 1], s * q[:, 0] + c * q[:, 2]], axis=-1)
    c, s = np.cos(TILT), np.sin(TILT)
    return np.stack([c * q[:, 0] - s * q[:, 1], s * q[:, 0] + c * q[:, 1], q[:, 2]], axis=-1)


def _mirrored(p: Array) -> Array:
    return np.stack([np.abs(p[:, 0]), p[:, 1], p[:, 2]], axis=-1)


def _lids(p: Array) -> Array:
    """Is negative between the lids of the eyes, which slant."""
    slant = 0.028 + 0.10 * (p[:, 0] - 0.125)
    return np.asarray(np.maximum(p[:, 1] - slant - 0.054, slant - 0.058 - p[:, 1]))


def _leaf(p: Array, x: float, y: float, z: float, r: float, lean: float, tip: float) -> Array:
    """A round leaf, thin and tilted."""
    q = p - np.array([x, y, z], np.float32)
    up = q[:, 1] - lean * q[:, 0] - tip * q[:, 2] + 1.2 * (q[:, 0] ** 2 + q[:, 2] ** 2)
    return np.asarray(0.6 * np.maximum(np.abs(up) - 0.008, np.hypot(q[:, 0], q[:, 2]) - r))


def _green(patches: Array) -> Paint:
    def paint(p: Array) -> Array:
        tone = 0.5 + 0.25 * sampled(patches, p[:, 0] * 1.5 + p[:, 2], p[:, 1] * 1.5)
        return ramp(np.clip(tone, 0, 1), ["#1f4a1c", "#3f7a2a", "#86a83f"]) ** 2.2

    return paint


def _garden(rng: np.random.Generator) -> Array:
    """Returns a garden at evening as a lens shows what is far behind its focus: soft discs of light, `[512, 512, 3]`."""
    count = 512
    y, x = np.mgrid[0:count, 0:count].astype(np.float32) / count
    hedge = 0.33 + 0.10 * fractal(rng, count, count, 0.4, 3)
    picture = ramp(y, ["#7fb2d8", "#cfe0e0", "#ffe9bd", "#f7c987"], [0, 0.25, 0.42, 0.55])
    picture = mix(picture, ramp(np.clip(0.5 + 0.3 * fractal(rng, count, count, 0.12, 4), 0, 1),
                                ["#2f5a34", "#5f8a3f", "#b7b85a"]), step(-0.03, 0.05, y - hedge))  # fmt: skip
    picture = blur(picture**2.2, 14)
    for _ in range(70):
        cx, cy, r = rng.random(), rng.uniform(0.35, 0.8), rng.uniform(0.012, 0.030)
        colour = linear(["#ffe6a0", "#ffd070", "#fff4d8", "#e8f0a0", "#ffb070"][rng.integers(5)])
        disc = step(1.08, 0.96, np.hypot(x - cx, y - cy) / r)
        picture = picture + disc[..., None] * colour * rng.uniform(0.10, 0.45)
    return picture
