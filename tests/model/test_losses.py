"""Losses and their gradients against float64 NumPy, written from the formulas."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model import losses
from model.parsing import choice_index
from model.settings import SETTINGS
from model.vgg19 import gradient_dtype

Array = npt.NDArray[np.float64]

STATISTICS = SETTINGS["statistics"].choices


def features(shape: tuple[int, ...] = (1, 5, 7, 4), seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0, 2, shape)


def numeric_gradient(function: Callable[[Array], float], x: Array, step: float = 1e-5) -> Array:
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


def gram(f: Array) -> Array:
    flat = f.reshape(-1, f.shape[-1])
    return np.einsum("ni,nj->ij", flat, flat) / len(flat)


def style_formula(f: Array, g: Array, statistics: str) -> tuple[float, Array]:
    """The loss of features f [..., C] for the style g [..., C], and its gradient with respect to them, [N, C]."""
    f, g = [x.reshape(-1, x.shape[-1]) for x in (f, g)]
    count, channels = f.shape
    if statistics == "gram":
        difference = gram(f) - gram(g)
        return float(np.mean(difference**2)), 4 * f @ difference / (count * channels**2)
    apart, centred = f.mean(0) - g.mean(0), f - f.mean(0)
    own, target = [np.cov(x.T, bias=True) for x in (f, g)]
    ridge = losses.RIDGE * np.trace(target) / channels + losses.EPSILON
    values, vectors = np.linalg.eigh(target)
    rank = min(channels, len(g) - 1)  # the directions in which the style varies
    root = vectors[:, channels - rank :] * np.sqrt(np.maximum(values[channels - rank :], 0) + ridge)
    values, vectors = np.linalg.eigh(root.T @ (own + ridge * np.eye(channels)) @ root)
    roots = np.maximum(np.sqrt(np.maximum(values, 0)), ridge)
    value = (apart @ apart + np.trace(own + target) + 2 * rank * ridge - 2 * roots.sum()) / channels
    transport = (root @ vectors / roots) @ (root @ vectors).T
    return float(value), 2 * (centred @ (np.eye(channels) - transport) + apart) / (count * channels)


def content(f: Array, g: Array) -> float:
    return float(np.mean((f - g) ** 2))


def variation(image: Array) -> float:
    right, below = np.diff(image, axis=1).ravel(), np.diff(image, axis=0).ravel()
    return float(np.mean(np.concatenate([right, below]) ** 2))


def at(setting: str, choice: str) -> tf.Tensor:
    """Returns a choice as the graph has it."""
    return tf.constant(choice_index(setting, choice))


def target_of(g: Array, statistics: str) -> tf.Tensor:
    places = tf.constant([np.prod(g.shape[:-1])], tf.int32)
    return losses.style_target(moments_of(g)[tf.newaxis], places, at("statistics", statistics))


def moments_of(f: npt.ArrayLike) -> tf.Tensor:
    return losses.moments(tf.constant(f, tf.float32))


def style(f: Array, target: tf.Tensor, statistics: str) -> tuple[float, tf.Tensor]:
    """Value and gradient with respect to the features, put together as the objective does."""
    own = moments_of(f)
    value, slope = losses.style_losses_and_gradient(own[tf.newaxis], target, at("statistics", statistics))
    return float(value[0]), losses.moments_gradient(tf.constant(f, tf.float32), own, slope[0])


@pytest.mark.parametrize("places", [(5, 7), (2, 2)], ids=["many places", "fewer than channels"])
@pytest.mark.parametrize("statistics", STATISTICS)
def test_style_loss_and_gradient_equal_the_formula(statistics, places):
    f, g = features((1, 5, 7, 6), seed=1), features((1, *places, 6), seed=2)
    value, gradient = style(f, target_of(g, statistics), statistics)
    formula, slope = style_formula(f, g, statistics)
    np.testing.assert_allclose(value, formula, rtol=1e-5)
    expected = numeric_gradient(lambda x: style_formula(x, g, statistics)[0], f)
    for one in (gradient, slope.reshape(f.shape)):
        np.testing.assert_allclose(one, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_wasserstein_target_has_a_row_for_each_direction_of_the_style():
    """Of two regions the one with fewer has the rows that are missing as zeros, which change nothing."""
    own, many, few = [moments_of(features((1, *shape, 6), seed)) for seed, shape in enumerate([(5, 7), (2, 3), (1, 3)])]
    wasserstein = at("statistics", "wasserstein")
    both = losses.style_target(tf.stack([many, few]), tf.constant([6, 3]), wasserstein)
    alone = losses.style_target(few[tf.newaxis], tf.constant([3]), wasserstein)
    assert [target.shape for target in (both, alone)] == [(2, 5 + 1, 6), (1, 2 + 1, 6)]
    values = [losses.style_losses_and_gradient(tf.stack([own] * len(t)), t, wasserstein)[0] for t in (both, alone)]
    np.testing.assert_allclose(values[0][1], values[1][0], rtol=1e-5)


@pytest.mark.parametrize("statistics", STATISTICS)
def test_a_style_is_nothing_from_itself_and_its_size_from_all_zeros(statistics):
    g = features()
    target = target_of(g, statistics)
    size = float(losses.style_sizes(target, at("statistics", statistics))[0])
    np.testing.assert_allclose(size, style_formula(np.zeros_like(g), g, statistics)[0], rtol=1e-2)
    assert abs(style(g, target, statistics)[0]) < 1e-4 * size


def test_a_value_that_is_no_number_is_a_loss_that_is_none_and_ends_no_call():
    """A decomposition of such a matrix is an error of TensorFlow's; the run is to end with its last picture."""
    broken = tf.fill([1, 5, 4], float("nan"))
    target = target_of(features(), "wasserstein")
    for own, wanted in ((broken, target), (moments_of(features())[tf.newaxis], target * broken)):
        value, _ = losses.style_losses_and_gradient(own, wanted, at("statistics", "wasserstein"))
        assert np.isnan(value).all()
    assert np.isnan(losses.style_target(broken, tf.constant([35]), at("statistics", "wasserstein"))).any()


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float32, 1e-5), (tf.float16, 2e-3), (tf.bfloat16, 1e-2)])
def test_content_loss_and_gradient_equal_the_formula(dtype, tolerance):
    f, g = (tf.cast(features(seed=seed), dtype) for seed in (1, 2))
    value, gradient = losses.content_loss_and_gradient(f, g, tf.constant(0.5))
    f, g, actual = (tf.cast(x, tf.float64).numpy() for x in (f, g, gradient))
    np.testing.assert_allclose(value, content(f, g), rtol=tolerance)
    np.testing.assert_allclose(actual, (f - g) / f.size, rtol=tolerance, atol=1e-9)
    assert gradient.dtype == gradient_dtype(dtype)


def test_a_factor_that_float16_cannot_hold_is_applied_all_the_same():
    large = tf.fill([1, 2, 2, 1], tf.constant(3e4, tf.float16))
    _, gradient = losses.content_loss_and_gradient(large, tf.zeros_like(large), tf.constant(2e-8))
    np.testing.assert_allclose(tf.cast(gradient, tf.float32), np.full([1, 2, 2, 1], 3e-4), rtol=1e-3)


def power_sum(image: Array) -> float:
    a, b = (image[:-1, :-1] - image[1:, :-1]) ** 2, (image[:-1, :-1] - image[:-1, 1:]) ** 2
    return float(np.sum((a + b) ** 1.25))


def nine_point(image: Array) -> float:
    straight = sum(np.mean(np.diff(image, axis=axis) ** 2) for axis in (0, 1))
    diagonal = np.mean((image[1:, 1:] - image[:-1, :-1]) ** 2) + np.mean((image[1:, :-1] - image[:-1, 1:]) ** 2)
    return float(2 * (straight / 3 + diagonal / 12))


@pytest.mark.parametrize(
    ("form", "formula"),
    [
        ("squared", variation),
        ("squared_sum", lambda image: float(sum(np.sum(np.diff(image, axis=axis) ** 2) for axis in (0, 1)))),
        ("absolute_sum", lambda image: float(sum(np.sum(np.abs(np.diff(image, axis=axis))) for axis in (0, 1)))),
        ("power_sum", power_sum),
        ("nine_point", nine_point),
    ],
)
def test_total_variation_and_its_gradient_equal_the_formula(form, formula):
    image = np.random.default_rng(3).uniform(0, 255, (5, 4, 3))
    value, gradient = losses.total_variation(tf.constant(image, tf.float32), at("total_variation", form))
    np.testing.assert_allclose(value, formula(image), rtol=1e-5)
    np.testing.assert_allclose(gradient, numeric_gradient(formula, image, 1e-3), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 1, 3)], ids=str)
@pytest.mark.parametrize("form", SETTINGS["total_variation"].choices)
def test_a_flat_picture_has_no_total_variation_and_no_gradient(form, shape):
    value, gradient = losses.total_variation(tf.fill(shape, 7.0), at("total_variation", form))
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, np.zeros(shape))


@pytest.mark.parametrize("height", [1, 3, 4, 7])
def test_means_are_over_all_rows_however_few_there_are(height):
    f = features((1, height, 6, 3))
    flat = f.reshape(-1, 3)
    np.testing.assert_allclose(moments_of(f)[:-1], np.cov(flat.T, bias=True), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(moments_of(f)[-1], flat.mean(0), rtol=1e-6)
    np.testing.assert_allclose(losses.mean_and_square(tf.constant(f, tf.float32)), [f.mean(), (f**2).mean()], rtol=1e-5)


def test_moments_of_a_mixture_are_those_of_its_parts_together():
    """Three times as many positions of the one as of the other."""
    f, g = features((1, 3, 4, 5), 1), 4 + features((1, 1, 4, 5), 2)
    mixed = losses.blended(tf.stack([moments_of(f), moments_of(g)]), tf.constant([0.75, 0.25]))
    np.testing.assert_allclose(mixed[0], moments_of(np.concatenate([f, g], 1)), rtol=1e-5, atol=1e-6)


def test_moments_under_a_mask_are_those_of_the_masked_part():
    f, mask = features(), np.zeros((5, 7), np.float32)
    np.testing.assert_array_equal(losses.moments(tf.constant(f, tf.float32), tf.constant(mask)), np.zeros((5, 4)))
    mask[:3] = 0.5
    under = losses.moments(tf.constant(f, tf.float32), tf.constant(mask))
    np.testing.assert_allclose(under, moments_of(f[:, :3]), rtol=1e-5, atol=1e-6)


def test_gradient_of_moments_under_a_mask_equals_the_formula():
    generator = np.random.default_rng(7)
    f, mask = features((1, 3, 4, 2)), generator.uniform(0, 1, (3, 4))
    upstream = generator.normal(size=(3, 2))
    upstream[0, 1] = upstream[1, 0]  # as the gradient at a symmetric matrix is

    def weighted(x: Array) -> float:
        flat, w = x.reshape(-1, 2), mask.reshape(-1, 1) / mask.sum()
        mean = (w * flat).sum(0)
        return float(np.sum(upstream[:-1] * ((w * (flat - mean)).T @ (flat - mean))) + upstream[-1] @ mean)

    x, weights = tf.constant(f, tf.float32), tf.constant(mask, tf.float32)
    actual = losses.moments_gradient(x, losses.moments(x, weights), tf.constant(upstream, tf.float32), weights)
    np.testing.assert_allclose(actual, numeric_gradient(weighted, f), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_moments_of_half_precision_features_are_exact_and_their_gradient_keeps_what_is_tiny(dtype):
    """A mean over a large picture leaves each feature a gradient that is below float16's range."""
    f, upstream = tf.cast(features((1, 40, 50, 6)), dtype), tf.random.stateless_normal([7, 6], (1, 2))
    upstream = tf.concat([upstream[:-1] + tf.transpose(upstream[:-1]), upstream[-1:]], 0)
    own = losses.moments(f)
    np.testing.assert_allclose(own, moments_of(tf.cast(f, tf.float32)), rtol=1e-6)
    gradient = losses.moments_gradient(f, own, 1e-9 * upstream)
    assert gradient.dtype == gradient_dtype(dtype)
    exact = losses.moments_gradient(tf.cast(f, tf.float32), own, 1e-9 * upstream)
    error = tf.norm(tf.cast(gradient, tf.float32) - exact) / tf.norm(exact)
    assert float(error) < 0.01
