"""The style losses against float64, as devices compute them that round the factors of products.

The bounds. A device rounds a factor by at most a share `unit` of it, and moves each feature by as much. The gradient
grows with the features' distance from their targets, which is sqrt(value), with `value` the loss as a share of the
style's size. So gradient and loss may be off by unit / sqrt(value). Where the features have no variance, the
Wasserstein gradient amplifies rounding by up to 1 / sqrt(RIDGE). Where a bound is below 1 %, the tests allow 1 %.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from model import losses
from model.objective import Objective
from model.optimizers import lbfgs_direction
from model.stylizer import Stylizer
from model.vgg19 import VGG19
from model.weights import from_file, random
from tests.conftest import smooth_picture
from tests.model import rounding
from tests.model.inputs import pictures, settings
from tests.model.test_losses import STATISTICS, Array, at, style_formula

UNITS = {"float32": 2.0**-24, "bfloat16 features": 2.0**-8, "float16 features": 2.0**-11, **rounding.UNITS}
FEW = ("float32", "bfloat16", "bfloat16 features")
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


def dtype_on(device: str) -> tf.DType:
    """Returns the type of the features there."""
    return tf.as_dtype(device.split()[0]) if device.endswith("features") else tf.float32


def on_device(f: Array, g: Array, statistics: str, device: str) -> tuple[float, Array, float, float, Array]:
    """The graph's loss, gradient [N, C] and the style's size; and the formula for the features as they came in."""
    kind = at("statistics", statistics)
    own, style = [tf.cast(x, dtype_on(device))[tf.newaxis] for x in (f, g)]
    with rounding.device(device):
        places = tf.constant([np.prod(g.shape[:-1])], tf.int32)
        target = losses.style_target(losses.moments(style)[tf.newaxis], places, kind)
        raw = losses.moments(own)
        value, slope = losses.style_losses_and_gradient(raw[tf.newaxis], target, kind)
        gradient = losses.moments_gradient(own, raw, slope[0])
    flat = [tf.reshape(tf.cast(x, tf.float64), [-1, f.shape[-1]]).numpy() for x in (gradient, own, style)]
    return float(value[0]), flat[0], float(losses.style_sizes(target, kind)[0]), *style_formula(*flat[1:], statistics)


def assert_right(f: Array, g: Array, statistics: str, device: str) -> None:
    value, gradient, size, expected, slope = on_device(f, g, statistics, device)
    unit = UNITS[device]
    error = unit / np.sqrt(max(expected / size, unit))
    assert value >= 0
    np.testing.assert_allclose(value, expected, rtol=max(0.01, error))
    if statistics == "wasserstein" and np.prod(f.shape[:-1]) < f.shape[-1]:
        error = max(error, unit / np.sqrt(losses.RIDGE))
    assert np.linalg.norm(gradient - slope) <= max(0.01, error) * np.linalg.norm(slope)


@pytest.mark.parametrize("device", FEW)
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_of_awkward_features_are_right(case, device):
    for statistics in STATISTICS:
        assert_right(*CASES[case], statistics, device)


@pytest.mark.parametrize("device", FEW)
@pytest.mark.parametrize("statistics", STATISTICS)
def test_a_style_that_is_the_picture_itself_has_no_loss_and_hardly_a_slope(statistics, device):
    """Of the slope that the same style has for a flat picture."""
    f = np.abs(SPREAD)
    value, gradient, size, _, _ = on_device(f, f, statistics, device)
    slope = on_device(np.broadcast_to(LEVEL, f.shape), f, statistics, device)[1]
    assert 0 <= value <= 1e-9 * size
    assert np.linalg.norm(gradient) <= 1e-3 * np.linalg.norm(slope)


@pytest.fixture(scope="module", params=["true", "random"])
def pairs(request: pytest.FixtureRequest) -> list[tuple[Array, Array]]:
    """Features of a picture and of a painting: at the start of a run, and near its end.

    There the distance is a small difference of large traces. The random ones are of block5_conv1, which has fewer
    positions than channels here.
    """
    if request.param == "true":
        weights, names = from_file(request.getfixturevalue("true_features")), ("block1_conv1", "block3_conv1")
        folder: Path = request.getfixturevalue("images")
        opened = [Image.open(folder / name).convert("RGB") for name in ("tubingen.jpg", "starry_night.jpg")]
        photograph, painting = [np.asarray(one.resize((80, 64))) for one in opened]
        shares = (0.0, 0.9)
    else:
        weights, names, shares = random(last="block5_conv1"), ("block5_conv1",), (0.9,)
        photograph, painting = [smooth_picture(96, 128, seed) for seed in (1, 2)]
    network = VGG19(weights.arrays)

    def features(image: Array) -> list[Array]:
        computed = network.features(tf.constant(image, tf.float32), len(network.layers) - 1)
        return [np.float64(computed[network.layers.index(name)][0]) for name in names]

    style = features(painting)
    begun = [features((1 - share) * photograph + share * painting) for share in shares]
    return [pair for own in begun for pair in zip(own, style, strict=True)]


@pytest.mark.parametrize("device", UNITS)
def test_the_wasserstein_distance_of_real_features_and_its_gradient_are_right(pairs, device):
    for own, style in pairs:
        assert_right(own, style, "wasserstein", device)


@pytest.mark.parametrize("device", rounding.DEVICES)
def test_the_direction_of_lbfgs_hardly_turns(device):
    moves = tf.cast(tf.random.stateless_uniform([10, 8, 9, 3], (1, 2), -127, 128, tf.int32), tf.int8)
    pairs = tf.concat([moves[:5], tf.cast(tf.cast(moves[:5], tf.float32) * 0.9, tf.int8)], 0)
    gradient = tf.random.stateless_normal([8, 9, 3], (3, 4))
    arguments = gradient, pairs, tf.fill([10], 0.01), tf.constant(5)
    exact = lbfgs_direction(*arguments)
    with rounding.device(device):
        assert float(tf.norm(lbfgs_direction(*arguments) - exact) / tf.norm(exact)) < 4 * rounding.UNITS[device]


def test_a_run_lowers_the_loss_as_far_as_one_in_float32(small_weights):
    parsed, ends = settings("size=40,smallest_size=40,steps=15"), []
    for device in ("float32", *rounding.DEVICES, "bfloat16 features"):
        with rounding.device(device):
            stylizer = Stylizer(Objective(VGG19(small_weights.arrays, dtype_on(device))))
            start = stylizer.initial_state(pictures(), parsed)
            _, of_steps = stylizer.advance(pictures(), parsed, start, tf.constant(15))
        ends.append(of_steps[-1, 0] / of_steps[0, 0])
    assert np.all(np.array(ends[1:]) < 2 * ends[0]), ends  # which a NaN is not
