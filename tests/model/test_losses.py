"""Losses and their gradients against float64 NumPy, written from the formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model import losses

Array = npt.NDArray[np.float64]


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


def gram_style(f: Array, g: Array) -> float:
    return float(np.mean((gram(f) - gram(g)) ** 2))


def mean_covariance_style(f: Array, g: Array) -> float:
    a, b = f.reshape(-1, f.shape[-1]), g.reshape(-1, g.shape[-1])
    covariance = np.cov(a.T, bias=True) - np.cov(b.T, bias=True)
    mean = a.mean(0) - b.mean(0)
    return float((np.sum(covariance**2) + np.sum(mean**2)) / f.shape[-1] ** 2)


def content(f: Array, g: Array) -> float:
    return float(np.mean((f - g) ** 2))


def variation(image: Array) -> float:
    right, below = np.diff(image, axis=1).ravel(), np.diff(image, axis=0).ravel()
    return float(np.mean(np.concatenate([right, below]) ** 2))


def style(statistics: str) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    def loss(f: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
        ours, target = [losses.style_statistics(losses.moments(x), tf.constant(statistics)) for x in (f, g)]
        return losses.style_loss(ours, target)

    return loss


@pytest.mark.parametrize(
    ("ours", "formula"),
    [
        (style("gram"), gram_style),
        (style("mean_covariance"), mean_covariance_style),
        (losses.content_loss, content),
    ],
    ids=["gram", "mean_covariance", "content"],
)
def test_loss_and_gradient_equal_the_formula(
    ours: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], formula: Callable[[Array, Array], float]
) -> None:
    f, g = features(seed=1), features(seed=2)
    target = tf.constant(g, tf.float32)
    value, gradient = losses.value_and_gradient(lambda x: ours(x, target), tf.constant(f, tf.float32))
    np.testing.assert_allclose(value, formula(f, g), rtol=1e-5)
    np.testing.assert_allclose(gradient, numeric_gradient(lambda x: formula(x, g), f), rtol=1e-4, atol=1e-6)


def test_total_variation_and_its_gradient_equal_the_formula() -> None:
    image = np.random.default_rng(3).uniform(0, 255, (5, 4, 3))
    value, gradient = losses.value_and_gradient(losses.total_variation, tf.constant(image, tf.float32))
    np.testing.assert_allclose(value, variation(image), rtol=1e-5)
    np.testing.assert_allclose(gradient, numeric_gradient(variation, image, 1e-3), rtol=1e-3, atol=1e-3)


def test_total_variation_of_a_single_pixel_is_nothing() -> None:
    assert losses.total_variation(tf.ones([1, 1, 3])) == 0


def test_moments_of_a_known_picture() -> None:
    raw = losses.moments(tf.constant([[[[1.0, 2.0], [3.0, 0.0]]]]))
    np.testing.assert_allclose(raw, [[5.0, 1.0], [1.0, 2.0], [2.0, 1.0]])


def test_losses_mean_the_same_at_every_size() -> None:
    f, g = features(seed=4), features(seed=5)
    tall_f, tall_g = [np.concatenate([x, x], 1) for x in (f, g)]
    for loss in (style("gram"), style("mean_covariance"), losses.content_loss):
        once = loss(tf.constant(f, tf.float32), tf.constant(g, tf.float32))
        twice = loss(tf.constant(tall_f, tf.float32), tf.constant(tall_g, tf.float32))
        np.testing.assert_allclose(once, twice, rtol=1e-5)


def test_style_does_not_see_where_things_are() -> None:
    f = features()
    shuffled = np.random.default_rng(0).permutation(f.reshape(-1, 4)).reshape(f.shape)
    assert style("gram")(tf.constant(f, tf.float32), tf.constant(shuffled, tf.float32)) < 1e-10


def test_moments_of_half_precision_features_are_float32() -> None:
    f = features() * 255
    raw = losses.moments(tf.cast(f, tf.bfloat16))
    assert raw.dtype == tf.float32
    np.testing.assert_allclose(raw[:-1], gram(f), rtol=2e-2)
