"""The style losses against float64, as devices compute them that round the factors of products.

The bounds. A device rounds a factor by at most a share `unit` of it, and moves each feature by as much. The gradient
grows with the features' distance from their targets, which is sqrt(value), with `value` the loss as a share of the
style's size. So gradient and loss may be off by unit / sqrt(value). Where the features have no variance, the
Wasserstein gradient amplifies rounding by up to 1 / sqrt(RIDGE). Where a bound is below 1 %, the tests allow 1 %.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from PIL import Image

from model import losses
from model.objective import Objective, Pictures
from model.optimizers import lbfgs_direction
from model.parsing import ParsedSettings, choice_index
from model.stylizer import RunState, Stylizer, size_result
from model.vgg19 import VGG19
from model.weights import Weights, from_file, random
from tests.conftest import smooth_picture
from tests.model import rounding
from tests.model.inputs import Picture, pictures, settings

Array = npt.NDArray[np.float64]

STATISTICS = ("gram", "wasserstein")
ROUNDINGS = ("float32", *rounding.DEVICES, "bfloat16 features", "float16 features")
UNITS = {"float32": 2.0**-24, "bfloat16 features": 2.0**-8, "float16 features": 2.0**-11, **rounding.UNITS}
GENERATOR = np.random.default_rng(0)
LEVEL, SPREAD = 3 * np.abs(GENERATOR.normal(size=64)), GENERATOR.normal(size=(32, 32, 64))


def with_a_dead_channel(features: Array) -> Array:
    return features * (np.arange(64) != 7)


CASES: dict[str, tuple[Array, Array]] = {
    "flat": (np.broadcast_to(LEVEL, (48, 48, 64)), SPREAD),
    "nearly flat, as light and dark": (LEVEL * (1 + 1e-3 * SPREAD[..., :1]), SPREAD),
    "nearly flat, each channel for itself": (LEVEL + 1e-3 * SPREAD, SPREAD[::-1]),
    "a flat style": (SPREAD, np.broadcast_to(LEVEL, (16, 16, 64))),
    "two flat ones": (np.broadcast_to(LEVEL, (8, 8, 64)), np.broadcast_to(LEVEL[::-1], (16, 16, 64))),
    "more channels than positions": (np.abs(SPREAD[:4, :5]), np.abs(SPREAD[5:10, :5])),
    "a dead channel": (with_a_dead_channel(np.abs(SPREAD)), np.abs(SPREAD[::-1, :16])),
    "the same dead channel": (with_a_dead_channel(np.abs(SPREAD)), with_a_dead_channel(np.abs(SPREAD[:, :16]) + 0.1)),
}


def reference(f: Array, g: Array, statistics: str) -> tuple[float, Array]:
    """The loss and its gradient with respect to f [N, C], from the formulas."""
    count, channels = f.shape
    mean, target_mean = f.mean(0), g.mean(0)
    centred, target_centred = f - mean, g - target_mean
    own, target = centred.T @ centred / count, target_centred.T @ target_centred / len(g)
    apart = mean - target_mean
    if statistics == "gram":
        difference = own + np.outer(mean, mean) - target - np.outer(target_mean, target_mean)
        return float(np.mean(difference**2)), 4 * f @ difference / (count * channels**2)
    ridge = losses.RIDGE * np.trace(target) / channels + losses.EPSILON
    values, vectors = np.linalg.eigh(target)
    rank = min(channels, len(g) - 1)  # the directions in which the style varies
    root = vectors[:, -rank:] * np.sqrt(np.maximum(values[-rank:], 0) + ridge)
    values, vectors = np.linalg.eigh(root.T @ (own + ridge * np.eye(channels)) @ root)
    roots = np.maximum(np.sqrt(np.maximum(values, 0)), ridge)
    traces = np.trace(own + target) + 2 * rank * ridge
    value = (apart @ apart + traces - 2 * roots.sum()) / channels
    transport = (root @ vectors / roots) @ (root @ vectors).T
    return float(value), 2 * (centred @ (np.eye(channels) - transport) + apart) / (count * channels)


def dtype_on(device: str) -> tf.DType:
    """Returns the type of the features there."""
    return tf.as_dtype(device.split()[0]) if device.endswith("features") else tf.float32


def on_device(f: Array, g: Array, statistics: str, device: str) -> tuple[float, Array, float, float, Array]:
    """The graph's loss, gradient [N, C] and the style's size; and the reference for the features as they came in."""
    kind = tf.constant(choice_index("statistics", statistics))
    own, style = [tf.cast(x, dtype_on(device))[tf.newaxis] for x in (f, g)]
    with rounding.device(device):
        places = tf.constant([np.prod(g.shape[:-1])], tf.int32)
        target = losses.style_target(losses.moments(style)[tf.newaxis], places, kind)
        raw = losses.moments(own)
        value, slope = losses.style_losses_and_gradient(raw[tf.newaxis], target, kind)
        gradient = losses.moments_gradient(own, raw, slope[0])
    flat = [tf.reshape(tf.cast(x, tf.float64), [-1, f.shape[-1]]).numpy() for x in (gradient, own, style)]
    return float(value[0]), flat[0], float(losses.style_sizes(target, kind)[0]), *reference(*flat[1:], statistics)


def assert_right(f: Array, g: Array, statistics: str, device: str) -> None:
    value, gradient, size, expected, slope = on_device(f, g, statistics, device)
    unit = UNITS[device]
    error = unit / np.sqrt(max(expected / size, unit))
    assert value >= 0
    np.testing.assert_allclose(value, expected, rtol=max(0.01, error))
    if statistics == "wasserstein" and np.prod(f.shape[:-1]) < f.shape[-1]:
        error = max(error, unit / np.sqrt(losses.RIDGE))
    assert np.linalg.norm(gradient - slope) <= max(0.01, error) * np.linalg.norm(slope)


@pytest.mark.parametrize("device", ROUNDINGS)
@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_of_awkward_features_are_right(case: str, statistics: str, device: str) -> None:
    assert_right(*CASES[case], statistics, device)


@pytest.mark.parametrize("device", ROUNDINGS)
@pytest.mark.parametrize("statistics", STATISTICS)
def test_a_style_that_is_the_picture_itself_has_no_loss_and_hardly_a_slope(statistics: str, device: str) -> None:
    """Of the slope that the same style has for a flat picture."""
    f = np.abs(SPREAD)
    value, gradient, size, _, _ = on_device(f, f, statistics, device)
    slope = on_device(np.broadcast_to(LEVEL, f.shape), f, statistics, device)[1]
    assert 0 <= value <= 1e-9 * size
    assert np.linalg.norm(gradient) <= 1e-3 * np.linalg.norm(slope)


def layers_of(weights: Weights, names: tuple[str, ...], *pixels: Array) -> list[tuple[Array, ...]]:
    network = VGG19(weights.arrays)
    maps = [network.features(tf.constant(one, tf.float32), len(network.layers) - 1) for one in pixels]
    return [tuple(np.float64(one[network.layers.index(name)][0]) for one in maps) for name in names]


@pytest.fixture(scope="module")
def true_layers(true_features: Path, images: Path) -> list[tuple[Array, ...]]:
    """Features of a photograph, of it half way to the painting, and of the painting, 64 and 51 pixels high."""
    photograph, painting = [
        np.asarray(Image.open(images / name).convert("RGB").resize((80, 64)), np.float64)
        for name in ("tubingen.jpg", "starry_night.jpg")
    ]
    names = ("block1_conv1", "block2_conv1", "block3_conv1")
    near = 0.1 * photograph + 0.9 * painting
    return layers_of(from_file(true_features), names, photograph, near, painting)


@pytest.fixture(scope="module")
def deep_layers() -> list[tuple[Array, ...]]:
    """The same of random features down to block5_conv1, which has fewer positions than channels here."""
    names = ("block4_conv1", "block5_conv1")
    photograph, painting = [np.float64(smooth_picture(96, 128, seed)) for seed in (1, 2)]
    return layers_of(random(last="block5_conv1"), names, photograph, 0.1 * photograph + 0.9 * painting, painting)


@pytest.mark.parametrize("device", ROUNDINGS)
@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("at", ["start", "end"])
def test_loss_and_gradient_of_real_features_are_right(
    true_layers: list[tuple[Array, ...]], at: str, statistics: str, device: str
) -> None:
    for photograph, near, painting in true_layers:
        assert_right(photograph if at == "start" else near, painting, statistics, device)


@pytest.mark.parametrize("device", ["float32", *rounding.DEVICES])
def test_loss_and_gradient_of_the_deepest_features_are_right(deep_layers: list[tuple[Array, ...]], device: str) -> None:
    for photograph, near, painting in deep_layers:
        assert_right(photograph, painting, "wasserstein", device)
        assert_right(near, painting, "wasserstein", device)


@pytest.mark.parametrize("device", rounding.DEVICES)
def test_the_direction_of_lbfgs_hardly_turns(device: str) -> None:
    moves = tf.cast(tf.random.stateless_uniform([10, 8, 9, 3], (1, 2), -127, 128, tf.int32), tf.int8)
    pairs = tf.concat([moves[:5], tf.cast(tf.cast(moves[:5], tf.float32) * 0.9, tf.int8)], 0)
    gradient = tf.random.stateless_normal([8, 9, 3], (3, 4))
    arguments = gradient, pairs, tf.fill([10], 0.01), tf.constant(5)
    exact = lbfgs_direction(*arguments)
    with rounding.device(device):
        assert float(tf.norm(lbfgs_direction(*arguments) - exact) / tf.norm(exact)) < 4 * rounding.UNITS[device]


def test_the_rounding_that_is_played_is_that_of_the_card() -> None:
    """Seen on an H100: products of these numbers with one."""
    given = [1 + 2.0**-11, 1 + 2.0**-11 + 2.0**-20, 1 + 3 * 2.0**-11, 1 - 2.0**-12 - 2.0**-22, 1 + 2.0**-10]
    seen = [1.0, 1 + 2.0**-10, 1 + 2.0**-9, 1 - 2.0**-11, 1 + 2.0**-10]
    np.testing.assert_array_equal(rounding.to_tf32(tf.constant(given, tf.float32)), seen)


Run = Callable[..., tuple[Array, Array]]


@pytest.fixture(scope="module")
def run(true_features: Path) -> Run:
    """Runs at 64 pixels; returns the losses of each step and the last picture."""
    weights = from_file(true_features)

    @functools.cache  # a graph for each device
    def graph(device: str) -> Callable[..., tuple[RunState, tf.Tensor]]:
        stylizer = Stylizer(Objective(VGG19(weights.arrays, dtype_on(device))))

        def whole_run(inputs: Pictures, parsed: ParsedSettings) -> tuple[RunState, tf.Tensor]:
            return stylizer.advance(inputs, parsed, stylizer.initial_state(inputs, parsed), parsed["steps"])

        return tf.function(whole_run, autograph=False, reduce_retracing=True)

    def run_on(text: str, content: Picture, style: Picture, device: str = "float32") -> tuple[Array, Array]:
        with rounding.device(device):
            parsed = settings(f"size=64,smallest_size=64,steps=60,{text}")
            state, rows = graph(device)(pictures(content, style), parsed)
        return rows.numpy(), size_result(state).numpy()

    return run_on


@pytest.fixture(scope="module")
def painting(images: Path) -> Picture:
    return np.asarray(Image.open(images / "starry_night.jpg").convert("RGB").resize((80, 64)))


@pytest.fixture(scope="module")
def photograph(images: Path) -> Picture:
    return np.asarray(Image.open(images / "tubingen.jpg").convert("RGB").resize((64, 48)))


@pytest.mark.parametrize("statistics", STATISTICS)
def test_a_run_ends_where_float32_ends(run: Run, photograph: Picture, painting: Picture, statistics: str) -> None:
    exact, _ = run(f"statistics={statistics}", photograph, painting)
    for device in rounding.DEVICES:
        rows, _ = run(f"statistics={statistics}", photograph, painting, device)
        np.testing.assert_allclose(rows[-1, 0], exact[-1, 0], rtol=0.02)


@pytest.mark.parametrize("device", ["float32", "bfloat16 features"])
def test_the_style_loss_falls_by_nine_tenths(run: Run, photograph: Picture, painting: Picture, device: str) -> None:
    rows, _ = run("steps=40", photograph, painting, device)
    assert np.isfinite(rows).all()
    assert rows[0, 2] == pytest.approx(1, abs=1e-2)
    assert rows[-1, 2] < 0.1
    assert rows[-1, 1] < 2  # in units of the photograph's own variance: the place is still there


def one_colour() -> Picture:
    return np.full((48, 64, 3), (90, 140, 200), np.uint8)


def line_drawing() -> Picture:
    y, x = np.mgrid[:48, :64]
    ring = np.abs(np.hypot(y - 24, x - 32) - 14) < 1
    return np.where(ring[..., np.newaxis], 0, 255).astype(np.uint8).repeat(3, -1)[..., :3]


def poster() -> Picture:
    picture = one_colour()
    picture[30:], picture[5:20, 5:20], picture[10:26, 36:60] = (40, 70, 110), (220, 90, 50), (30, 110, 90)
    picture[34:44, 20:40] = (240, 190, 70)
    return picture


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("content", [one_colour, line_drawing, poster], ids=lambda content: content.__name__)
def test_flat_areas_take_on_the_style(run: Run, painting: Picture, content: object, statistics: str) -> None:
    picture = content()  # type: ignore[operator]
    rows, result = run(f"statistics={statistics},optimizer=lbfgs", picture, painting)
    assert rows[-1, 2] < 0.15 * rows[0, 2]
    corner = result[-12:, :12].reshape(-1, 3)  # flat in all three
    assert corner.std(0).min() > 5
