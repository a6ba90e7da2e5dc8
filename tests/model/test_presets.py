"""Each preset that reproduces another system: its loss against that system's own formula, in float64 NumPy.

The formulas are written as their systems compute them: on raw Gram matrices or pixels of 0 to 1 where they do so.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model import presets, weights
from model.layers import BLOCK_STARTS, LAYERS
from model.objective import Measured, Objective, network_options
from model.parsing import parse_settings
from model.settings import LOSS_TERMS
from model.vgg19 import VGG19
from tests.conftest import smooth_picture
from tests.model.inputs import pictures
from tests.model.test_losses import Array, nine_point, power_sum

Features = dict[str, Array]
Terms = tuple[float, float, float]  # content, style, total variation, each with its weight


def flat(f: Array) -> Array:
    return f.reshape(-1, f.shape[-1])


def root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def raw_gram(f: Array) -> Array:
    return flat(f).T @ flat(f)


def classic(image: Array, own: Features, content: Features, style: Features) -> Terms:
    """Style 1e6, content 1, total variation 1e2; Gram over positions times channels; features in their own size."""

    def style_term(layer: str) -> float:
        channels = own[layer].shape[-1]
        grams = [raw_gram(f[layer]) / f[layer].size for f in (own, style)]
        unit = channels * np.sqrt(np.mean(grams[1] ** 2))  # what makes the target's mean square 1 / C^2
        return float(np.mean((grams[0] / unit - grams[1] / unit) ** 2))

    size = np.sqrt(np.mean(content["block4_conv2"] ** 2))
    content_term = np.mean((own["block4_conv2"] / size - content["block4_conv2"] / size) ** 2)
    differences = np.concatenate([np.diff(image / 255, axis=axis).ravel() for axis in (0, 1)])
    style_mean = np.mean([style_term(layer) for layer in BLOCK_STARTS])
    return content_term, 1e6 * style_mean, 1e2 * np.mean(differences**2)


def gatys2016(image: Array, own: Features, content: Features, style: Features) -> Terms:
    """Equations 1, 4 and 5 of the paper, alpha / beta = 1e-3, w = 1/5."""
    alpha, beta = 1.0, 1e3
    content_term, style_term = 0.5 * np.sum((own["block4_conv2"] - content["block4_conv2"]) ** 2), 0.0
    for layer in BLOCK_STARTS:
        positions, channels = flat(own[layer]).shape
        difference = np.sum((raw_gram(own[layer]) - raw_gram(style[layer])) ** 2)
        style_term += 1 / 5 * difference / (4 * positions**2 * channels**2)
    return alpha * content_term, beta * style_term, 0.0


def neural_style(image: Array, own: Features, content: Features, style: Features) -> Terms:
    """Gram matrices divided by their number of features, mean squares; total variation by its gradient's strength."""
    content_term, style_term = np.mean((own["block4_conv2"] - content["block4_conv2"]) ** 2), 0.0
    for layer in BLOCK_STARTS:
        grams = [raw_gram(f[layer]) / f[layer].size for f in (own, style)]
        style_term += np.mean((grams[0] - grams[1]) ** 2)
    variation = 1e-3 * 0.5 * sum(np.sum(np.diff(image, axis=axis) ** 2) for axis in (0, 1))
    return 5 * content_term, 100 * style_term, variation


def keras_io(image: Array, own: Features, content: Features, style: Features) -> Terms:
    content_term, style_term = np.sum((own["block5_conv2"] - content["block5_conv2"]) ** 2), 0.0
    channels, size = 3, image.shape[0] * image.shape[1]
    for layer in BLOCK_STARTS:
        difference = np.sum((raw_gram(own[layer]) - raw_gram(style[layer])) ** 2)
        style_term += 1 / 5 * difference / (4 * channels**2 * size**2)
    return 2.5e-8 * content_term, 1e-6 * style_term, 1e-6 * power_sum(image)


def tensorflow_tutorial(image: Array, own: Features, content: Features, style: Features) -> Terms:
    def gram(f: Array) -> Array:
        return raw_gram(f) / len(flat(f))

    style_term = sum(np.mean((gram(own[layer]) - gram(style[layer])) ** 2) for layer in BLOCK_STARTS)
    content_term = np.mean((own["block5_conv2"] - content["block5_conv2"]) ** 2)
    variation = sum(np.sum(np.abs(np.diff(image / 255, axis=axis))) for axis in (0, 1))
    return 1e4 * content_term, 1e-2 * style_term / len(BLOCK_STARTS), 30 * float(variation)


def crowsonkb(image: Array, own: Features, content: Features, style: Features) -> Terms:
    def style_term(f: Array, g: Array) -> float:
        (mean, covariance), (target_mean, target) = [(flat(x).mean(0), np.cov(flat(x).T, bias=True)) for x in (f, g)]
        between = root(root(target) @ covariance @ root(target))
        return float(np.mean((mean - target_mean) ** 2) + np.mean(np.diag(target + covariance - 2 * between)))

    parts = np.array([256, 64, 16, 4, 1]) / 341
    total = sum(w * style_term(own[layer], style[layer]) for w, layer in zip(parts, BLOCK_STARTS, strict=True))
    content_term = np.mean((own["block4_conv2"] - content["block4_conv2"]) ** 2)
    return 0.015 * content_term, total, 2 * nine_point(image / 255)


FORMULAS: dict[str, Callable[[Array, Features, Features, Features], Terms]] = {
    formula.__name__.replace("_", "-"): formula
    for formula in (classic, gatys2016, neural_style, keras_io, tensorflow_tutorial, crowsonkb)
}


@pytest.fixture(autouse=True)
def _op_by_op() -> Iterator[None]:
    """Runs what a setting chooses and nothing else: tracing all branches would take most of the time."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def vgg19() -> Objective:
    """With the widths of VGG19, by which some systems divide."""
    return Objective(VGG19(weights.random().arrays))


@pytest.fixture(scope="module")
def narrow() -> Objective:
    """A few channels a layer, so that eigenvalues are computed fast and positions are many to each channel."""
    arrays, generator, inputs = {}, np.random.default_rng(0), 3
    for layer in LAYERS[: LAYERS.index(presets.DEEPEST_LAYER) + 1]:
        kernel = generator.normal(0, np.sqrt(2 / (9 * inputs)), (3, 3, inputs, 4)) / (60 if inputs == 3 else 1)
        arrays |= {f"{layer}/kernel": kernel.astype(np.float32), f"{layer}/bias": np.zeros(4, np.float32)}
        inputs = 4
    return Objective(VGG19(arrays))


@pytest.mark.parametrize("name", sorted(set(presets.PRESETS) - set(presets.OUR_OWN)))
def test_the_loss_is_that_of_the_system(name, request):
    fixture, size, tolerance = ("narrow", 96, 2e-3) if name == "crowsonkb" else ("vgg19", 32, 1e-3)  # there: the ridge
    objective: Objective = request.getfixturevalue(fixture)
    network, side = objective.network, tf.constant(size)
    settings = parse_settings(tf.constant(f"preset={name},size={size}"), network.layers)
    image, content, style = [smooth_picture(size, size, seed) for seed in (1, 2, 3)]
    targets = objective.targets(pictures(content, style), settings, side, side, Measured.nothing())
    total, *terms = objective.losses_and_gradient(tf.constant(image, tf.float32), targets, settings)[0].numpy()
    ours = [settings[f"{which}_weight"] * term for which, term in zip(LOSS_TERMS[1:], terms, strict=True)]

    def features(picture: npt.NDArray[np.uint8]) -> Features:
        computed = network.features(tf.constant(picture, tf.float32), 13, network_options(settings))
        return {layer: f.numpy().astype(np.float64) for layer, f in zip(network.layers, computed, strict=True)}

    expected = FORMULAS[name](image.astype(np.float64), *[features(p) for p in (image, content, style)])
    np.testing.assert_allclose(ours, expected, rtol=tolerance)
    np.testing.assert_allclose(total, sum(expected), rtol=tolerance)


def test_a_preset_uses_those_of_its_layers_that_the_model_has():
    to_block3 = LAYERS[: LAYERS.index("block3_conv1") + 1]
    settings = parse_settings(tf.constant("preset=gatys2016"), to_block3)
    np.testing.assert_array_equal(settings["style_layers"][0], [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(settings["content_layers"][0], [0, 0, 0, 0, 1])  # its deepest, not block4_conv2
