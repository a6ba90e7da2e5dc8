"""Renders solid bodies under a window's light: rays walk through distance fields.

Points are float32 `[N, 3]`: x to the right, y up, z towards the viewer. A distance field gives for each point how far
the nearest surface is at least, negative inside; a body is one such field with its colour and gloss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ui.samples.noise import Array, mix, resize, rgb, step

Field = Callable[[Array], Array]  # points [N, 3] to distances [N]
Paint = Callable[[Array], Array]  # points [N, 3] to linear colours [N, 3]

FAR = 14.0  # where rays end


@dataclass(frozen=True)
class Body:
    """A solid thing.

    Attributes:
      field: its distance field.
      paint: its colour at a point.
      centre, radius: a sphere around it, outside of which the field is not asked; an infinite one is always asked.
      gloss: how strongly it mirrors the window, 0 to 1.
      blur: how rough that mirror is, 0 sharp to 1.
      glow: how much light passes through it, as through a leaf or a grape.
    """

    field: Field
    paint: Paint
    centre: tuple[float, float, float] = (0, 0, 0)
    radius: float = np.inf
    gloss: float = 0.04
    blur: float = 0.5
    glow: float = 0.0


@dataclass(frozen=True)
class Light:
    """The light of a scene: a window, and what the room gives back.

    Attributes:
      towards: direction from the scene to the window.
      key: colour of the window's light.
      fill: colour of the light from above and in front.
      bounce: colour of the light from below.
      softness: width of the window; larger makes softer shadows.
    """

    towards: tuple[float, float, float]
    key: Array
    fill: Array
    bounce: Array
    softness: float = 0.12


@dataclass(frozen=True)
class Eye:
    """Where a scene is seen from, and how wide: `zoom` is the focal length as a share of the picture's width."""

    at: tuple[float, float, float]
    to: tuple[float, float, float]
    zoom: float

    def rays(self, width: int, height: int) -> Array:
        """Returns the directions of the pixels' rays, `[H * W, 3]`."""
        ahead = unit(np.subtract(self.to, self.at)[None])[0]
        side = unit(np.cross(ahead, [0, 1, 0])[None])[0]
        up = np.cross(side, ahead)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        x, y = (x + 0.5 - width / 2) / width, (height / 2 - y - 0.5) / width
        return unit((ahead * self.zoom + x[..., None] * side + y[..., None] * up).reshape(-1, 3)).astype(np.float32)


def linear(colour: str) -> Array:
    """Returns a hex colour as amounts of light, `[1, 3]`."""
    return np.asarray(rgb(colour)[None] ** 2.2)


def plain(colour: str) -> Paint:
    """Paints everything in one colour."""
    return lambda p: np.broadcast_to(linear(colour), p.shape)


def unit(vectors: Array) -> Array:
    """Scales vectors `[N, 3]` to length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def smooth_union(a: Array, b: Array, reach: float) -> Array:
    """Joins two fields with a fillet of about `reach`."""
    h = np.clip(0.5 + 0.5 * (b - a) / reach, 0, 1)
    return b + (a - b) * h - reach * h * (1 - h)


def ellipsoid(p: Array, centre: Sequence[float] | Array, radii: Sequence[float]) -> Array:
    """A distance to an ellipsoid, close to true near its surface."""
    q = (p - np.array(centre, np.float32)) / np.array(radii, np.float32)
    length = np.linalg.norm(q, axis=-1)
    slope = np.linalg.norm(q / np.array(radii, np.float32), axis=-1)
    return np.asarray(length * (length - 1) / np.maximum(slope, 1e-6))


def capsule(p: Array, a: Sequence[float] | Array, b: Sequence[float] | Array, ra: float, rb: float) -> Array:
    """A rod from `a` to `b` with round ends, its radius going from `ra` to `rb`."""
    start, along = np.array(a, np.float32), np.subtract(b, a).astype(np.float32)
    h = np.clip((p - start) @ along / (along @ along), 0, 1)
    return np.asarray(np.linalg.norm(p - start - h[:, None] * along, axis=-1) - (ra + (rb - ra) * h))


def box(p: Array, centre: Sequence[float], half: Sequence[float], rounding: float = 0.0) -> Array:
    """A box with half sizes `half` and rounded edges."""
    q = np.abs(p - np.array(centre, np.float32)) - np.array(half, np.float32) + rounding
    outside = np.linalg.norm(np.maximum(q, 0), axis=-1)
    return np.asarray(outside + np.minimum(q.max(axis=-1), 0) - rounding)


def revolved(p: Array, x: float, z: float, outline: Array, top: float) -> Array:
    """A turned thing that stands at `x`, `z`: `outline` gives its radius from the ground up to `top`."""
    flat = np.hypot(p[:, 0] - x, p[:, 2] - z)
    radius = np.interp(p[:, 1], np.linspace(0, top, outline.size), outline)
    return np.asarray(np.maximum(0.72 * (flat - radius), np.maximum(p[:, 1] - top, -p[:, 1])))


def profile(radii: Sequence[float]) -> Array:
    """Returns a smooth outline through radii that are evenly spaced from bottom to top."""
    return resize(np.array([radii]), 1, 200)[0]


def nearest(bodies: Sequence[Body], p: Array) -> tuple[Array, Array]:
    """Returns the distance to the nearest body, and which it is."""
    best = np.full(len(p), np.inf, np.float32)
    which = np.zeros(len(p), np.int32)
    for index, body in enumerate(bodies):
        ask = np.arange(len(p))
        if np.isfinite(body.radius):  # a body is no nearer than the sphere around it
            ask = np.flatnonzero(np.linalg.norm(p - np.array(body.centre, np.float32), axis=-1) - body.radius < best)
        distance = body.field(p[ask])
        nearer = distance < best[ask]
        best[ask] = np.where(nearer, distance, best[ask])
        which[ask] = np.where(nearer, index, which[ask])
    return best, which


def render(
    bodies: Sequence[Body], eye: Eye, light: Light, width: int, height: int, backdrop: Callable[[Array], Array]
) -> Array:
    """Returns the picture `[H, W, 3]`, gamma encoded; `backdrop` colours the rays that meet nothing."""
    directions = eye.rays(width, height)
    origin = np.array(eye.at, np.float32)
    along = _walk(bodies, origin, directions, eye.zoom * width)
    picture = backdrop(directions)
    hit = np.flatnonzero(along < FAR)
    p = origin + directions[hit] * along[hit, None]
    picture[hit] = _shade(bodies, p, directions[hit], light)
    return np.asarray((np.clip(picture, 0, None) ** (1 / 2.2)).reshape(height, width, 3))


def _walk(bodies: Sequence[Body], origin: Array, directions: Array, pixels: float) -> Array:
    """Returns how far each ray goes before it meets a body, or `FAR`."""
    along = np.full(len(directions), 0.5, np.float32)
    active = np.arange(len(directions))
    for _ in range(110):
        distance, _ = nearest(bodies, origin + directions[active] * along[active, None])
        along[active] += 0.9 * distance
        active = active[(distance > 0.35 * along[active] / pixels) & (along[active] < FAR)]
        if not active.size:
            break
    return along


def _shade(bodies: Sequence[Body], p: Array, ray: Array, light: Light) -> Array:
    """Returns the light that points on surfaces send back along their rays."""
    _, which = nearest(bodies, p)
    normal = np.zeros_like(p)
    for corner in np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], np.float32):
        normal += corner * nearest(bodies, p + corner * 1.5e-3)[0][:, None]
    normal = unit(normal).astype(np.float32)
    towards = unit(np.array([light.towards], np.float32))[0]
    facing = normal @ towards
    shadow = np.zeros(len(p), np.float32)
    faces = np.flatnonzero(facing > -0.4)  # what is turned away needs no shadow
    shadow[faces] = _shadow(bodies, (p + normal * 0.01)[faces], towards, light.softness)
    open_ = np.ones(len(p), np.float32)  # how little is close by
    for reach in (0.03, 0.08, 0.18, 0.36):
        open_ -= 0.30 * np.clip(1 - nearest(bodies, p + normal * reach)[0] / reach, 0, 1) * (1 - reach)
    open_ = np.clip(open_, 0.05, 1)
    colour = np.zeros_like(p)
    gloss, rough, glow = (np.array([getattr(body, name) for body in bodies], np.float32)[which]
                          for name in ("gloss", "blur", "glow"))  # fmt: skip
    for index, body in enumerate(bodies):
        mine = np.flatnonzero(which == index)
        if mine.size:
            colour[mine] = body.paint(p[mine])
    wrap = 0.05 + 0.5 * glow
    diffuse = np.clip((facing + wrap) / (1 + wrap), 0, 1) * (shadow * (1 - 0.35 * glow) + 0.35 * glow)
    sky = 0.5 + 0.5 * normal[:, 1]
    lit = light.key * diffuse[:, None]
    lit = lit + mix(light.bounce, light.fill, sky[:, None]) * open_[:, None]
    mirrored = ray - 2 * (ray * normal).sum(-1, keepdims=True) * normal
    fresnel = gloss + (1 - gloss) * np.clip(1 + (ray * normal).sum(-1), 0, 1) ** 5 * (gloss > 0.02) * 0.6
    window = _window(mirrored, towards, rough) * (0.25 + 0.75 * shadow)
    shine = (
        light.key * window[:, None] * 2.2 + light.fill * (0.5 * open_ * np.clip(mirrored[:, 1] + 0.4, 0, 1))[:, None]
    )
    return np.asarray(colour * lit + shine * fresnel[:, None])


def _shadow(bodies: Sequence[Body], p: Array, towards: Array, softness: float) -> Array:
    """Returns how much of the window each point sees."""
    seen = np.ones(len(p), np.float32)
    along = np.full(len(p), 0.015, np.float32)
    active = np.arange(len(p))
    for _ in range(44):
        distance, _ = nearest(bodies, p[active] + towards * along[active, None])
        seen[active] = np.minimum(seen[active], 0.5 + 0.5 * distance / (softness * along[active]))
        along[active] += np.clip(distance, 0.012, 0.35)
        active = active[(seen[active] > 0) & (along[active] < 5)]
        if not active.size:
            break
    return step(0, 1, np.clip(seen, 0, 1))


def _window(direction: Array, towards: Array, rough: Array) -> Array:
    """How bright the window, with its crossed bars, is in each direction."""
    side = np.cross(towards, [0, 1, 0])
    side = side / np.linalg.norm(side)
    up = np.cross(side, towards)
    ahead = np.maximum(direction @ towards, 1e-3)
    u, v = np.abs(direction @ side / ahead), np.abs(direction @ up / ahead)
    soft = 0.03 + 0.9 * rough
    pane = step(0.30 + soft, 0.30 - soft, u) * step(0.42 + soft, 0.42 - soft, v)
    bars = np.maximum(step(0.05 + soft, 0.0, u), step(0.05 + soft, 0.0, v)) * np.clip(1 - 4 * rough, 0, 1)
    return np.asarray(pane * (1 - 0.8 * bars) * (direction @ towards > 0) / (1 + 14 * rough))
