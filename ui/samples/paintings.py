"""The style samples: brush strokes in eddies, stained glass, and waves cut in wood."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ui.samples.noise import Array, blur, fractal, mix, ramp, relief, resize, rgb, step, to_image

SEED_STROKES, SEED_GLASS, SEED_WAVES = 7, 21, 5


def eddies(size: int) -> Image.Image:
    """Paints thick, bristly strokes that follow a flow with several eddies."""
    rng = np.random.default_rng(SEED_STROKES)
    scale = 2  # drawn larger and scaled down, since Pillow's lines have no soft edges
    width, height = size * scale, round(size * 0.8) * scale
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / width
    # The flow is the turned gradient of a potential: divergence free, so that strokes run side by side.
    eddy_at = [(0.27, 0.25, 0.15, 1.0), (0.73, 0.20, 0.11, -0.9), (0.58, 0.52, 0.16, 0.9), (0.14, 0.62, 0.12, -0.8),
               (0.90, 0.60, 0.10, 0.8), (0.42, 0.06, 0.07, -0.5)]  # fmt: skip
    potential = 0.020 * fractal(rng, height, width, 0.35, 3) + 0.25 * y
    glow = np.zeros_like(x)
    for cx, cy, radius, turn in eddy_at:
        distance2 = ((x - cx) ** 2 + (y - cy) ** 2) / radius**2
        potential += 0.16 * turn * np.exp(-distance2)
        glow += np.exp(-distance2 * 1.9) * (0.75 + 0.25 * np.cos(14 * np.sqrt(distance2)))
    dy, dx = np.gradient(potential)
    angle = np.arctan2(-dx, dy)
    tone = 0.40 + 0.13 * fractal(rng, height, width, 0.3, 4) + 0.62 * np.clip(glow, 0, 1) - 0.22 * y
    tone += 0.06 * np.sin(potential * 260)  # bands along the flow
    canvas = ramp(np.clip(tone, 0, 1), PALETTE) * 0.8  # the underpainting shows where strokes leave gaps
    image = Image.fromarray((canvas * 255).astype(np.uint8))
    paint = Image.new("L", image.size, 110)
    for length, thickness, count in ((0.11, 0.0125, 2600), (0.075, 0.0085, 5200), (0.045, 0.0056, 6000)):
        _strokes(rng, image, paint, angle, tone, length * width, thickness * width, count)
    picture = np.asarray(image, np.float32) / 255
    thickness_of_paint = np.asarray(paint, np.float32) / 255
    shade = relief(blur(thickness_of_paint, 1) * 0.6 + thickness_of_paint * 0.4, 2.4)
    canvas_grain = 1 + 0.02 * fractal(rng, height, width, 0.004, 2)
    picture = picture * (0.62 + 0.38 * shade[..., None]) * canvas_grain[..., None]
    return to_image(picture, width // scale, height // scale)


PALETTE = ["#1a1038", "#2b1f63", "#1f4788", "#1a7f92", "#5db39b", "#e6dcaa", "#f7c75c", "#f08a3c", "#d8433a"]
ACCENTS = ["#ef5b3f", "#f8efd6", "#0c7a76", "#a43a74"]


def _strokes(
    rng: np.random.Generator, image: Image.Image, paint: Image.Image, angle: Array, tone: Array,
    length: float, thickness: float, count: int,
) -> None:  # fmt: skip
    """Draws strokes that follow `angle`, coloured by `tone`: the colour on `image`, its thickness on `paint`."""
    height, width = angle.shape
    points, bristles = 12, max(4, round(thickness / 1.6))
    margin = 0.03 * width  # strokes start beyond the border too, so that paint covers it
    at = rng.uniform(-margin, [width + margin, height + margin], (count, 2))
    way = np.empty((count, points, 2))
    turn = np.empty((count, points))
    for index in range(points):
        column = np.clip(at[:, 0].astype(int), 0, width - 1)
        row = np.clip(at[:, 1].astype(int), 0, height - 1)
        way[:, index], turn[:, index] = at, angle[row, column]
        at = at + np.stack([np.cos(turn[:, index]), np.sin(turn[:, index])], axis=-1) * length / points
    middle = way[:, points // 2]
    column = np.clip(middle[:, 0].astype(int), 0, width - 1)
    row = np.clip(middle[:, 1].astype(int), 0, height - 1)
    value = np.clip(tone[row, column] + rng.normal(0, 0.055, count), 0, 1)
    colours = ramp(value, PALETTE)
    accent = rng.random(count) < 0.03
    colours[accent] = np.array([rgb(ACCENTS[i]) for i in rng.integers(0, len(ACCENTS), accent.sum())])
    normal = np.stack([-np.sin(turn), np.cos(turn)], axis=-1)
    taper = np.sqrt(np.sin(np.linspace(0.12, np.pi - 0.05, points)))[None, :, None]
    draw, draw_paint = ImageDraw.Draw(image), ImageDraw.Draw(paint)
    for stroke in range(count):
        for bristle in rng.permutation(bristles):
            across = (bristle / (bristles - 1) - 0.5) * thickness
            line = (way[stroke] + normal[stroke] * across * taper[0] + rng.normal(0, 0.35, 2)).ravel().tolist()
            shade = 1 + rng.normal(0, 0.075)
            colour = tuple(int(c) for c in np.clip(colours[stroke] * shade * 255, 0, 255))
            ridge = 1 - abs(2 * bristle / (bristles - 1) - 1) ** 2
            draw.line(line, fill=colour, width=3)
            draw_paint.line(line, fill=int(70 + 110 * ridge + rng.uniform(0, 60)), width=2)


RINGS = ((0.085, 11), (0.150, 16), (0.200, 25), (0.275, 27), (0.335, 40), (0.415, 36), (0.485, 52), (0.575, 46),
         (0.665, 60), (0.76, 56))  # radius and number of pieces  # fmt: skip
GLASS = ["#fff3b0", "#ffd23f", "#f79a1e", "#e4441f", "#b3123f", "#6a1b7a", "#23308f", "#0f5fa8", "#0a8f8c", "#0d5c46"]


def stained_glass(size: int) -> Image.Image:
    """Sets pieces of coloured glass around a sun, joined by dark lead."""
    rng = np.random.default_rng(SEED_GLASS)
    scale = 2
    width = height = size * scale
    centre = np.array([0.5, 0.42])
    sites = [centre]
    for ring, (radius, pieces) in enumerate(RINGS):
        turn = (np.arange(pieces) + 0.5 * (ring % 2)) * 2 * np.pi / pieces + rng.normal(0, 0.035, pieces)
        away = radius * (1 + rng.normal(0, 0.03 + 0.004 * ring, pieces))
        sites += list(centre + np.stack([np.cos(turn), np.sin(turn)], axis=-1) * away[:, None])
    at = np.array(sites) * width
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    wobble = 0.0022 * width
    px = x + wobble * fractal(rng, height, width, 0.12, 3)
    py = y + wobble * fractal(rng, height, width, 0.12, 3)
    first = np.full((height, width), np.inf, np.float32)
    cell = np.zeros((height, width), np.int32)
    for index, (sx, sy) in enumerate(at.astype(np.float32)):
        distance = np.hypot(px - sx, py - sy)
        nearer = distance < first
        cell[nearer] = index
        first = np.where(nearer, distance, first)
    edge = np.full((height, width), np.inf, np.float32)  # distance to the border with the nearest other piece
    mine = at[cell].astype(np.float32)
    for index, (sx, sy) in enumerate(at.astype(np.float32)):
        gap = np.hypot(mine[..., 0] - sx, mine[..., 1] - sy)
        border = ((px - sx) ** 2 + (py - sy) ** 2 - first**2) / (2 * np.maximum(gap, 1e-3))
        edge = np.where(cell == index, edge, np.minimum(edge, border))
    edge /= width
    offset = np.array(sites) - centre
    away = np.hypot(offset[:, 0], offset[:, 1])
    bearing = np.arctan2(offset[:, 1], offset[:, 0])
    wave = np.clip(away / 0.78 + 0.10 * np.sin(5 * bearing + 9 * away) + rng.normal(0, 0.035, len(at)), 0, 1)
    colours = ramp(wave, GLASS)
    ground = offset[:, 1] + 0.05 * np.sin(offset[:, 0] * 9) > 0.33
    colours[ground] = ramp(rng.random(ground.sum()), ["#0c5b3c", "#1f8a4c", "#6fb03a", "#0a6f78"])
    odd = (rng.random(len(at)) < 0.07) & (away > 0.2)
    colours[odd] = np.array([rgb(c) for c in rng.choice(["#f6c445", "#ffb4a2", "#d7263d", "#3fb8c9"], odd.sum())])
    glass = colours[cell]
    # Light through old glass: streaks that differ from piece to piece, brighter towards the middle, small bubbles.
    streaks = fractal(rng, height, width, 0.05, 4, stretch=3.0)
    grain = fractal(rng, height, width, 0.012, 3)
    tilt = rng.uniform(0, 2 * np.pi, len(at))[cell]
    across = ((px - at[cell, 0]) * np.cos(tilt) + (py - at[cell, 1]) * np.sin(tilt)) / (0.05 * width)
    light = 0.78 + 0.13 * streaks + 0.06 * grain + 0.16 * np.clip(across, -1.4, 1.4) + 0.22 * step(0.002, 0.022, edge)
    sun = np.exp(-(((x / width - centre[0]) ** 2 + (y / height - centre[1]) ** 2) / 0.09))
    glass = glass * (light * (0.86 + 0.30 * sun))[..., None] + 0.10 * sun[..., None] * rgb("#ffe9b0")
    glass = glass + 0.16 * (np.clip(streaks - 1.3, 0, 1))[..., None]
    lead = 1 - step(0.0036, 0.0050, edge)
    rounded = np.clip(edge / 0.0050, 0, 1)
    metal = relief(blur(np.sqrt(np.clip(1 - rounded**2, 0, 1)), 2), 5.0) * 0.13 + 0.02 * grain * 0.5
    metal = np.clip(metal, 0.02, 1)[..., None] * rgb("#d9dde2")
    bleed = blur(glass * (1 - lead[..., None]), 0.008 * width)
    picture = mix(glass, metal + 0.10 * bleed, lead) + 0.10 * bleed
    return to_image(picture, size, size)


def waves(size: int) -> Image.Image:
    """Cuts a rough sea in wood: bands of waves with engraved lines, spray, a red sun, printed on laid paper."""
    rng = np.random.default_rng(SEED_WAVES)
    scale = 2
    width, height = size * scale, round(size * 0.75) * scale
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / width
    paper = ramp(np.clip(0.5 + 0.18 * fractal(rng, height, width, 0.5, 6), 0, 1), ["#e9d9b4", "#f6ecd2"])
    ink = ["#0d2240", "#16406e", "#2f6c9a", "#7fa9b8"]
    # Sky: engraved lines that thin out towards the horizon, and bend around the sun.
    picture = mix(paper, rgb("#d8c39a"), step(0.25, 0.0, y) * 0.55)
    sun_x, sun_y, sun_r = 0.70, 0.20, 0.095
    from_sun = np.hypot(x - sun_x, y - sun_y)
    bend = 0.012 * np.exp(-((from_sun - sun_r) ** 2) / 0.01) * np.sign(y - sun_y)
    sky_line = np.sin((y + bend + 0.004 * fractal(rng, height, width, 0.4, 3)) * 2 * np.pi / 0.0125)
    weight = 0.15 + 0.75 * step(0.30, 0.0, y) + 0.10 * fractal(rng, height, width, 0.25, 3)
    cut = step(1 - weight - 0.10, 1 - weight + 0.10, (sky_line + 1) / 2) * step(sun_r * 1.08, sun_r * 1.2, from_sun)
    picture = mix(picture, rgb("#3b5f80"), cut * 0.85)
    disc = 1 - step(sun_r - 0.0015, sun_r + 0.0015, from_sun + 0.0012 * fractal(rng, height, width, 0.02, 2))
    sun = ramp(np.clip((y - sun_y + sun_r) / (2 * sun_r), 0, 1), ["#c2321f", "#df5a2c", "#eb8a48"])
    picture = mix(picture, sun, disc * 0.96)
    bands = 9
    for band in range(bands):
        near = band / (bands - 1)
        picture = _wave(rng, picture, x, y, near, ink)
    # The print: worn ink, the wood's grain, an uneven edge of the block.
    grain = fractal(rng, height, width, 0.02, 4, stretch=14.0)
    wear = step(1.75, 2.6, fractal(rng, height, width, 0.01, 3) + 0.55 * grain)
    picture = mix(picture, paper, wear * 0.55)
    picture = picture * (1 + 0.022 * grain + 0.015 * fractal(rng, height, width, 0.003, 2))[..., None]
    return to_image(picture, width // scale, height // scale)


def _wave(rng: np.random.Generator, picture: Array, x: Array, y: Array, near: float, ink: list[str]) -> Array:
    """Lays one band of waves over the picture; `near` is 0 at the horizon and 1 in front."""
    height, width = x.shape
    base = 0.335 + 0.37 * near**1.25
    swell = 0.008 + 0.056 * near**1.1
    crests = 17 - 13.2 * near**0.55
    phase = rng.uniform(0, 2 * np.pi)
    along = np.linspace(-0.3, 1.3, round(1.6 * width), dtype=np.float32)  # beyond the borders: waves lean in from there
    drift = resize(rng.standard_normal((1, 9)), 1, along.size)[0]
    theta = 2 * np.pi * crests * along + phase + 0.9 * drift
    strength = np.clip(1 + 0.30 * resize(rng.standard_normal((1, 12)), 1, along.size)[0], 0.45, 1.6)
    crest = base + swell * (0.55 - 2.1 * strength * (0.5 + 0.5 * np.cos(theta)) ** 2.3)
    crest = crest + 0.08 * swell * np.sin(3.1 * theta + 1.3)
    # What is high is pushed ahead, so that a crest leans over the trough before it, about to break.
    rise = np.clip((base + 0.3 * swell - y) / swell, 0, 2.4)
    ahead = x - 0.24 * swell * rise**2
    depth = y - np.interp(ahead, along, crest).astype(np.float32)
    inside = step(-0.0010, 0.0010, depth)
    body = ramp(np.clip(depth / (0.03 + 0.13 * near), 0, 1), [ink[2], ink[1], ink[0]], [0.0, 0.35, 1.0])
    body = mix(body, rgb(ink[3]), 0.55 * (1 - near))
    # Engraved lines run along the crest, closer together and thinner with depth.
    pitch = 0.006 + 0.0085 * near
    flow = depth + 0.003 * near * fractal(rng, height, width, 0.12, 3)
    line = (np.sin(2 * np.pi * flow / pitch * (1 - 0.25 * np.clip(depth / 0.15, 0, 1))) + 1) / 2
    slope = np.interp(ahead, along, np.gradient(crest, along))
    lit = np.clip(0.45 - 0.8 * slope / (np.abs(slope).max() + 1e-6), 0, 1)
    thick = np.clip(0.62 * lit * np.exp(-depth / (0.035 + 0.05 * near)) + 0.10 * lit, 0, 0.7)
    engraved = step(1 - thick - 0.10, 1 - thick + 0.10, line) * (thick > 0.03)
    body = mix(body, rgb("#f1e6c8"), engraved * 0.92)
    # Foam: a ragged white cap on the crest, a dark outline above it, spray thrown ahead.
    high = step(0.0, 0.9, np.interp(ahead, along, (base - crest) / swell)).astype(np.float32)
    ragged = 0.5 + 0.5 * fractal(rng, height, width, 0.012 + 0.02 * near, 3)
    cap = (0.004 + 0.026 * near) * high * np.clip(0.55 + 0.5 * ragged, 0.05, 1.6)
    foam = step(0.0015, -0.0015, depth - cap)
    outline = step(0.0030, 0.0012, np.abs(depth - cap)) * high
    body = mix(body, rgb("#f7f0dc"), foam * high)
    body = mix(body, rgb(ink[0]), outline * 0.9)
    picture = mix(picture, body, inside)
    contour = step(0.0016 + 0.0014 * near, 0.0006, np.abs(depth))
    picture = mix(picture, rgb(ink[0]), contour * 0.95)
    return _spray(rng, picture, along, crest, base, swell, near)


def _spray(
    rng: np.random.Generator, picture: Array, along: Array, crest: Array, base: float, swell: float, near: float
) -> Array:
    """Throws drops of foam from the crests, as small paper-coloured dots."""
    height, width = picture.shape[:2]
    layer = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(layer)
    tops = np.flatnonzero((base - crest) > 0.55 * swell)
    if tops.size:
        for column in rng.choice(tops, int(30 + 190 * near)):
            throw = rng.exponential(0.010 + 0.022 * near)
            cx = (along[column] + 0.5 * swell + throw * 0.8 + rng.normal(0, 0.006)) * width
            cy = (crest[column] - throw * rng.uniform(0.2, 1.0)) * width
            radius = width * (0.0006 + 0.0022 * near * rng.random())
            draw.ellipse([cx - radius, cy - radius, cx + radius, cy + radius], fill=255)
    dots = np.asarray(layer, np.float32) / 255
    return mix(picture, rgb("#f8f2e0"), dots)
