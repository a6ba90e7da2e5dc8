"""A content sample: a ginger cat on a window sill, with a flower pot and a garden out of focus."""

from __future__ import annotations

from functools import partial, reduce
from itertools import pairwise

import numpy as np
from PIL import Image

from ui.samples import scene
from ui.samples.noise import Array, blur, fractal, graded, mix, ramp, sampled, step, to_image
from ui.samples.scene import Body, Eye, Light, capsule, ellipsoid, linear, plain, smooth_union

SEED = 8
HEAD = np.array([0, 1.30, 0.14], np.float32)
HEAD_SIZE = 1.14  # of the units that the head is described in
TURN, TILT = -0.38, 0.10  # of the head, radians: towards the window, and to the side
EYE = np.array([0.125, 0.028, 0.232], np.float32)
TAIL = [(0.05, 0.10, -0.40), (0.42, 0.10, -0.36), (0.62, 0.10, -0.05), (0.64, 0.10, 0.28), (0.48, 0.09, 0.55),
        (0.22, 0.09, 0.66), (0.02, 0.09, 0.67)]  # fmt: skip
POT = np.array([0.86, 0.0, -0.18])
UMBELS = np.add(POT, [(-0.20, 1.10, 0.16), (0.06, 1.28, 0.05), (0.20, 1.06, 0.18), (-0.06, 0.98, 0.30)])


def cat(size: int) -> Image.Image:
    """Shows a ginger cat that sits on a window sill and looks into the room."""
    rng = np.random.default_rng(SEED)
    scale = 2
    width, height = size * scale, round(size * 0.8) * scale
    patches, hair = fractal(rng, 512, 512, 0.10, 4), fractal(rng, 512, 512, 0.03, 4, stretch=0.12)
    grain = fractal(rng, 512, 512, 0.04, 5, stretch=12.0)

    def white_wood(p: Array) -> Array:
        return linear("#e8e0d2") * (0.92 + 0.06 * sampled(grain, p[:, 0] * 0.4, p[:, 2] * 1.5))[:, None]

    def beam(centre: tuple[float, float, float], half: tuple[float, float, float]) -> Body:
        return Body(partial(scene.box, centre=centre, half=half, rounding=0.02), white_wood, gloss=0.03, blur=0.3)

    bodies = [
        Body(partial(_shape, hair=hair), partial(_fur, patches=patches, hair=hair), (0, 0.85, 0), 1.05, 0.0, glow=0.12),
        Body(_eyes, _iris, (0, 1.3, 0.2), 0.45, gloss=0.10, blur=0.02),
        Body(_nose, plain("#c9756a"), (0, 1.25, 0.3), 0.3, gloss=0.04, blur=0.3),
        Body(_whiskers, plain("#fffaf0"), (0, 1.2, 0.3), 0.75, gloss=0.0, glow=0.6),
        beam((0, -0.3, 0.1), (4, 0.3, 0.75)),
        beam((-0.62, 1.5, -0.85), (0.06, 3, 0.07)),
        beam((0, 1.92, -0.85), (4, 0.035, 0.05)),
        beam((0, 0.06, -0.85), (4, 0.09, 0.08)),
        *_geranium(rng, patches),
    ]
    garden = _garden(rng)

    def outside(ray: Array) -> Array:
        u, v = 0.53 + 1.1 * ray[:, 0], 0.42 - 1.1 * ray[:, 1]
        return np.stack([sampled(garden[..., channel], u, v) for channel in range(3)], axis=-1)

    eye = Eye((-0.20, 1.22, 4.3), (0.17, 0.875, 0.0), 1.52)
    light = Light(
        (-0.72, 0.50, 0.42), linear("#ffe3b8") * 2.3, linear("#a9b8dc") * 0.42, linear("#b08a60") * 0.22, 0.16
    )
    view = scene.render(bodies, eye, light, width, height, outside)
    return to_image(graded(view), size, height // scale)


def _mirrored(p: Array) -> Array:
    """Returns points with the left side folded onto the right: what is described once is there twice."""
    return np.stack([np.abs(p[:, 0]), p[:, 1], p[:, 2]], axis=-1)


def _of_head(p: Array) -> Array:
    """Returns points as the head has them: its middle at 0, its nose along z."""
    q = (p - HEAD) / HEAD_SIZE
    c, s = np.cos(TURN), np.sin(TURN)
    q = np.stack([c * q[:, 0] - s * q[:, 2], q[:, 1], s * q[:, 0] + c * q[:, 2]], axis=-1)
    c, s = np.cos(TILT), np.sin(TILT)
    return np.stack([c * q[:, 0] - s * q[:, 1], s * q[:, 0] + c * q[:, 1], q[:, 2]], axis=-1)


def _strands(p: Array, hair: Array) -> Array:
    """Returns where a point lies among the hairs, about -2 to 2."""
    return sampled(hair, np.arctan2(p[:, 2], p[:, 0]) * 1.6, p[:, 1] * 0.9 + p[:, 2] * 0.5)


def _shape(p: Array, hair: Array) -> Array:
    """The cat without its eyes, nose and whiskers."""
    m = _mirrored(p)
    trunk = ellipsoid(p, (0, 0.62, -0.02), (0.36, 0.62, 0.38))
    trunk = smooth_union(trunk, ellipsoid(m, (0.30, 0.26, -0.06), (0.24, 0.29, 0.36)), 0.14)
    trunk = smooth_union(trunk, ellipsoid(p, (0, 0.80, 0.22), (0.25, 0.34, 0.22)), 0.16)
    legs = capsule(m, (0.15, 0.62, 0.26), (0.14, 0.10, 0.40), 0.115, 0.085)
    legs = smooth_union(legs, ellipsoid(m, (0.14, 0.07, 0.47), (0.105, 0.075, 0.15)), 0.05)
    legs = np.minimum(legs, ellipsoid(m, (0.36, 0.07, 0.34), (0.11, 0.075, 0.18)))
    body = smooth_union(trunk, legs, 0.07)
    tail = [capsule(p, start, end, 0.088, 0.085) for start, end in pairwise(TAIL)]
    body = smooth_union(body, reduce(partial(smooth_union, reach=0.02), tail), 0.04)
    body = smooth_union(body, _head(_of_head(p)) * HEAD_SIZE, 0.09)
    return np.asarray(0.85 * body - 0.0007 * _strands(p, hair))


def _head(q: Array) -> Array:
    m = _mirrored(q)
    head = ellipsoid(q, (0, 0, 0), (0.325, 0.275, 0.29))
    head = smooth_union(head, ellipsoid(m, (0.17, -0.10, 0.08), (0.17, 0.13, 0.17)), 0.08)
    ear = capsule(m * np.array([1, 1, 2.2], np.float32), (0.195, 0.13, 0.06), (0.262, 0.40, 0.02), 0.135, 0.022) * 0.5
    dent = capsule(m * np.array([1, 1, 1.5], np.float32), (0.20, 0.18, 0.16), (0.250, 0.36, 0.10), 0.075, 0.012)
    head = smooth_union(head, np.maximum(ear, -dent * 0.7), 0.04)
    head = smooth_union(head, ellipsoid(m, (0.062, -0.135, 0.262), (0.085, 0.068, 0.07)), 0.03)
    head = smooth_union(head, ellipsoid(q, (0, -0.205, 0.215), (0.075, 0.05, 0.06)), 0.03)
    head = smooth_union(head, ellipsoid(q, (0, -0.03, 0.25), (0.055, 0.12, 0.07)), 0.06)
    socket = np.linalg.norm(m - np.array([0.125, 0.03, 0.30], np.float32), axis=-1) - 0.070
    return np.asarray(np.maximum(head, -np.maximum(socket, _lids(m))))


def _lids(m: Array) -> Array:
    """Is negative between the lids of the eyes, which slant."""
    slant = 0.028 + 0.10 * (m[:, 0] - 0.125)
    return np.asarray(np.maximum(m[:, 1] - slant - 0.054, slant - 0.058 - m[:, 1]))


def _fur(p: Array, patches: Array, hair: Array) -> Array:
    """Paints a tabby: dark stripes across the back and legs, white at chest, muzzle and paws."""
    q = _of_head(p)
    aside, height, ahead = np.abs(q[:, 0]), q[:, 1], q[:, 2]
    around = np.arctan2(p[:, 2] - 0.05, p[:, 0])
    waver = sampled(patches, around * 0.5, p[:, 1] * 0.6)
    stripes = np.sin(p[:, 1] * 27 + 2.5 * np.cos(around) ** 2 + 1.1 * waver)
    crown = np.sin(aside * 46 + 0.5 * waver) * step(0.10, 0.20, height) * step(-0.15, 0.1, ahead)
    of_head = step(-0.24, -0.16, height)
    colour = mix(linear("#dc8a3a"), linear("#8f4212"), 0.85 * step(0.1, 0.9, mix(stripes, crown - 0.4, of_head)))
    bib = step(0.30, 0.16, np.abs(p[:, 0]) + 0.04 * waver + 0.12 * step(0.5, 0.1, p[:, 1])) * step(0.30, 0.42, p[:, 2])
    bib = bib * (1 - of_head) * step(0.30, 0.5, p[:, 1])
    muzzle = step(0.20, 0.14, np.hypot(aside * 0.9, height + 0.16)) * step(0.1, 0.2, ahead)
    paws = step(0.17, 0.10, p[:, 1]) * step(0.25, 0.35, p[:, 2]) * step(0.34, 0.26, np.abs(p[:, 0]))
    colour = mix(colour, linear("#f6eee2"), np.maximum(np.maximum(bib, muzzle), paws))
    ears = step(0.05, 0.02, np.abs(aside - 0.225)) * step(0.22, 0.27, height) * step(0.03, 0.06, ahead)
    colour = mix(colour, linear("#d99a86"), 0.8 * ears)
    smile = np.abs(height + 0.155 + 0.5 * (0.055 - np.abs(aside - 0.055)))
    mouth = step(0.012, 0.004, smile) * step(0.115, 0.10, aside)
    lip = step(0.009, 0.003, aside) * step(0.16, 0.14, np.abs(height + 0.02))
    colour = mix(colour, linear("#5a2a1c"), 0.75 * np.maximum(mouth, lip) * step(0.22, 0.26, ahead))
    return np.asarray(colour * (1 + 0.10 * _strands(p, hair))[:, None])


def _eyes(p: Array) -> Array:
    m = _mirrored(_of_head(p))
    return np.asarray(np.maximum(np.linalg.norm(m - EYE, axis=-1) * HEAD_SIZE - 0.083, _lids(m)))


def _iris(p: Array) -> Array:
    q = _mirrored(_of_head(p)) - EYE
    x, y = q[:, 0] - 0.004, q[:, 1]
    from_middle = np.hypot(x, y)
    colour = mix(linear("#e3c94a"), linear("#6f8f2c"), step(0.0, 0.06, from_middle))
    colour = mix(colour, linear("#15110a"), step(0.058, 0.066, from_middle))
    return mix(colour, linear("#050505"), step(1.15, 0.9, np.hypot(x / 0.026, y / 0.056)))


def _nose(p: Array) -> Array:
    return ellipsoid(_of_head(p), (0, -0.085, 0.322), (0.042, 0.028, 0.026))


def _whiskers(p: Array) -> Array:
    m = _mirrored(_of_head(p))
    hairs = [
        capsule(m, (0.08, -0.13 + 0.02 * k, 0.30), (0.46, -0.17 + 0.085 * k, 0.22), 0.0035, 0.0015) for k in (-1, 0, 1)
    ]
    return np.asarray(np.min(hairs, axis=0))


def _geranium(rng: np.random.Generator, patches: Array) -> list[Body]:
    """Returns a flower pot, with leaves, stems and blossoms."""
    x, _, z = POT
    leaves = [(x + 0.30 * rng.normal(), 0.78 + 0.20 * rng.random() + 0.1 * rng.normal(), z + 0.16 * rng.normal(),
               *rng.uniform([0.10, -0.6, -0.6], [0.15, 0.6, 0.6])) for _ in range(26)]  # fmt: skip
    petals = [at + 0.075 * scene.unit(rng.normal(size=(1, 3)))[0] for at in UMBELS for _ in range(16)]

    def clay(p: Array) -> Array:
        flat = np.hypot(p[:, 0] - x, p[:, 2] - z)
        wall = np.maximum(flat - (0.20 + 0.14 * p[:, 1]), np.abs(p[:, 1] - 0.25) - 0.25)
        rim = np.maximum(flat - 0.305, np.abs(p[:, 1] - 0.50) - 0.065)
        return np.asarray(0.9 * smooth_union(wall, rim, 0.02))

    def foliage(p: Array) -> Array:
        ends = [*UMBELS, *np.array(leaves)[::3, :3]]
        stems = [capsule(p, (x, 0.5, z), end, 0.018, 0.012) for end in ends]
        return np.asarray(np.min([_leaf(p, *leaf) for leaf in leaves] + stems, axis=0))

    def blossom(p: Array) -> Array:
        return np.asarray(np.min([ellipsoid(p, at, (0.042, 0.032, 0.042)) for at in petals], axis=0))

    def green(p: Array) -> Array:
        tone = 0.5 + 0.25 * sampled(patches, p[:, 0] * 1.5 + p[:, 2], p[:, 1] * 1.5)
        return ramp(np.clip(tone, 0, 1), ["#1f4a1c", "#3f7a2a", "#86a83f"]) ** 2.2

    return [
        Body(clay, plain("#b4603a"), (x, 0.28, z), 0.45, gloss=0.02, blur=0.5),
        Body(foliage, green, (x, 0.85, z), 1.0, gloss=0.03, blur=0.4, glow=0.5),
        Body(blossom, plain("#d61f3a"), (x, 1.12, z + 0.12), 0.75, gloss=0.0, glow=0.5),
    ]


def _leaf(p: Array, x: float, y: float, z: float, r: float, lean: float, tip: float) -> Array:
    """A round leaf, thin and tilted."""
    q = p - np.array([x, y, z], np.float32)
    up = q[:, 1] - lean * q[:, 0] - tip * q[:, 2] + 1.2 * (q[:, 0] ** 2 + q[:, 2] ** 2)
    return np.asarray(0.6 * np.maximum(np.abs(up) - 0.008, np.hypot(q[:, 0], q[:, 2]) - r))


def _garden(rng: np.random.Generator) -> Array:
    """Returns a garden far behind the lens's focus, as amounts of light `[512, 512, 3]`: soft discs in the green."""
    count = 512
    y, x = np.mgrid[0:count, 0:count].astype(np.float32) / count
    hedge = 0.33 + 0.10 * fractal(rng, count, count, 0.4, 3)
    sky = ramp(y, ["#7fb2d8", "#cfe0e0", "#ffe9bd", "#f7c987"], [0, 0.25, 0.42, 0.55])
    leaves = np.clip(0.5 + 0.3 * fractal(rng, count, count, 0.12, 4), 0, 1)
    picture = mix(sky, ramp(leaves, ["#2f5a34", "#5f8a3f", "#b7b85a"]), step(-0.03, 0.05, y - hedge))
    picture = blur(picture**2.2, 14)
    for _ in range(70):
        cx, cy, r = rng.random(), rng.uniform(0.35, 0.8), rng.uniform(0.012, 0.030)
        colour = linear(["#ffe6a0", "#ffd070", "#fff4d8", "#e8f0a0", "#ffb070"][rng.integers(5)])
        disc = step(1.08, 0.96, np.hypot(x - cx, y - cy) / r)
        picture = picture + disc[..., None] * colour * rng.uniform(0.10, 0.45)
    return picture
