"""VGG19 against Keras's own, and its backward pass against automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from model import weights as weights_module
from model.settings import LAYERS
from model.vgg19 import IMAGENET_MEAN_BGR, VGG19, preprocess
from model.weights import Weights
from tests.conftest import smooth_picture


def picture(height: int = 33, width: int = 46) -> tf.Tensor:
    return tf.constant(smooth_picture(height, width), tf.float32)


def test_preprocessing_is_that_of_keras() -> None:
    image = picture()
    expected = tf.keras.applications.vgg19.preprocess_input(image.numpy())
    np.testing.assert_allclose(preprocess(image), expected, atol=1e-4)


def test_preprocessing_can_be_undone() -> None:
    image = picture()
    undone = (preprocess(image).numpy() + IMAGENET_MEAN_BGR)[..., ::-1]
    np.testing.assert_allclose(undone, image, atol=1e-4)


def test_features_equal_those_of_keras_away_from_the_edge() -> None:
    """At the edge they differ on purpose: it is repeated there where Keras puts zeros (see the module)."""
    own = weights_module.random()
    keras = tf.keras.applications.VGG19(include_top=False, weights=None)
    for layer in own.layers:
        keras.get_layer(layer).set_weights([own.arrays[f"{layer}/kernel"], own.arrays[f"{layer}/bias"]])
    outputs = [keras.get_layer(layer).output for layer in own.layers]
    image = picture(224, 240)
    expected = tf.keras.Model(keras.inputs, outputs)(preprocess(image)[tf.newaxis])
    network = VGG19(own.arrays)
    assert network.layers == own.layers == LAYERS[: LAYERS.index("block5_conv1") + 1]
    for ours, theirs in zip(network.features(image, len(LAYERS)), expected, strict=True):
        assert ours.shape == theirs.shape
        # The first convolution's difference spreads by one position a layer; half a side is further than it gets.
        row, column = ours.shape[1] // 2, ours.shape[2] // 2
        np.testing.assert_allclose(ours[0, row, column], theirs[0, row, column], rtol=1e-3, atol=1e-4)


def test_a_flat_picture_has_flat_features_up_to_its_edge(small_weights: Weights) -> None:
    for features in VGG19(small_weights.arrays).features(tf.fill([16, 16, 3], 200.0), 4):
        np.testing.assert_allclose(features, tf.broadcast_to(features[:, 2:3, 2:3], features.shape), rtol=1e-4)


@pytest.mark.parametrize("last", [0, 1, 2, 4])
def test_layers_after_the_last_are_not_computed(small_weights: Weights, last: int) -> None:
    features = VGG19(small_weights.arrays).features(picture(), tf.constant(last))
    assert [int(tf.size(f)) > 0 for f in features] == [index <= last for index in range(5)]


@pytest.mark.parametrize("weighed", [{0}, {2}, {1, 4}, {0, 1, 2, 3, 4}])
@pytest.mark.parametrize("shape", [(16, 16), (33, 46), (47, 30)])
def test_backward_pass_equals_automatic_differentiation(
    small_weights: Weights, weighed: set[int], shape: tuple[int, int]
) -> None:
    network, image, last = VGG19(small_weights.arrays), picture(*shape), max(weighed)

    def seed(features: tf.Tensor) -> tf.Tensor:
        return tf.cos(tf.reshape(tf.range(tf.size(features), dtype=tf.float32), tf.shape(features)))

    with tf.GradientTape() as tape:
        tape.watch(image)
        features = network.features(image, last)
        loss = tf.add_n([tf.reduce_sum(features[index] * seed(features[index])) for index in weighed])
    expected = tape.gradient(loss, image)

    def add_loss(index: int, features: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return gradient + seed(features) if index in weighed else gradient

    actual = network.image_gradient(image, network.features(image, last), last, add_loss)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_bfloat16_features_are_close_and_gradients_float32(small_weights: Weights) -> None:
    image = picture()
    exact, short = [VGG19(small_weights.arrays, dtype).features(image, 4)[-1] for dtype in (tf.float32, tf.bfloat16)]
    assert short.dtype == tf.bfloat16
    error = np.linalg.norm(exact - tf.cast(short, tf.float32)) / np.linalg.norm(exact)
    assert error < 0.02
