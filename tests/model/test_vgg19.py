"""VGG19 against Keras's own, and its backward pass against automatic differentiation."""

import numpy as np
import pytest
import tensorflow as tf

from model import weights as weights_module
from model.layers import LAYERS
from model.vgg19 import VGG19, NetworkOptions, preprocess
from tests.conftest import smooth_picture


def picture(height: int = 33, width: int = 46) -> tf.Tensor:
    return tf.constant(smooth_picture(height, width), tf.float32)


def test_preprocessing_is_that_of_keras():
    image = picture()
    expected = tf.keras.applications.vgg19.preprocess_input(image.numpy())
    np.testing.assert_allclose(preprocess(image), expected, atol=1e-4)


def test_features_equal_those_of_keras():
    """With zeros around; by default the edge is repeated (see the module)."""
    own = weights_module.random()
    keras = tf.keras.applications.VGG19(include_top=False, weights=None)
    for layer in own.layers:
        keras.get_layer(layer).set_weights([own.arrays[f"{layer}/kernel"], own.arrays[f"{layer}/bias"]])
    outputs = [keras.get_layer(layer).output for layer in own.layers]
    image, network = picture(), VGG19(own.arrays)
    expected = tf.keras.Model(keras.inputs, outputs)(preprocess(image)[tf.newaxis])
    assert network.layers == own.layers == LAYERS[: LAYERS.index("block5_conv2") + 1]
    features = network.features(image, len(LAYERS), NetworkOptions(zero_padding=True))
    for one, theirs in zip(features, expected, strict=True):
        np.testing.assert_allclose(one, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
        assert 10 < np.sqrt(np.mean(np.square(one))) < 1000  # of random weights: they neither fade out nor grow


def test_average_pooling_is_the_doubled_mean_over_squares_of_two(small_weights):
    network, image = VGG19(small_weights.arrays), picture(32, 46)
    first = network.features(image, 1)[1].numpy()[0]
    pooled = 2 * first.reshape(16, 2, 23, 2, -1).mean((1, 3))
    padded = np.pad(pooled, ((1, 1), (1, 1), (0, 0)), mode="edge")
    kernel, bias = [small_weights.arrays[f"block2_conv1/{part}"] for part in ("kernel", "bias")]
    at = np.maximum(np.einsum("ijc,ijcd->d", padded[5:8, 9:12], kernel) + bias, 0)
    np.testing.assert_allclose(
        network.features(image, 2, NetworkOptions(average_pooling=True))[2][0, 5, 9], at, rtol=1e-4
    )


def test_a_flat_picture_has_flat_features_up_to_its_edge(small_weights):
    for features in VGG19(small_weights.arrays).features(tf.fill([16, 16, 3], 200.0), 4):
        np.testing.assert_allclose(features, tf.broadcast_to(features[:, 2:3, 2:3], features.shape), rtol=1e-4)


@pytest.mark.parametrize("last", [0, 2, 4])
def test_layers_after_the_last_are_not_computed(small_weights, last):
    features = VGG19(small_weights.arrays).features(picture(), tf.constant(last))
    assert [int(tf.size(f)) > 0 for f in features] == [index <= last for index in range(5)]


@pytest.mark.parametrize(
    "options", [NetworkOptions(), NetworkOptions(average_pooling=True), NetworkOptions(zero_padding=True)], ids=str
)
@pytest.mark.parametrize("weighed", [{0}, {1, 4}])
@pytest.mark.parametrize("flips_kernels", [False, True])
def test_backward_pass_equals_automatic_differentiation(small_weights, flips_kernels, weighed, options):
    network, image, last = VGG19(small_weights.arrays, flips_kernels=flips_kernels), picture(), max(weighed)

    def seed(features: tf.Tensor) -> tf.Tensor:
        return tf.cos(tf.reshape(tf.range(tf.size(features), dtype=tf.float32), tf.shape(features)))

    with tf.GradientTape() as tape:
        tape.watch(image)
        features = network.features(image, last, options)
        loss = tf.add_n([tf.reduce_sum(features[index] * seed(features[index])) for index in weighed])
    expected = tape.gradient(loss, image)

    def add_loss(index: int, features: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return gradient + seed(features) if index in weighed else gradient

    actual = network.image_gradient(image, network.features(image, last, options), last, add_loss, options)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_float16_carries_back_what_is_too_small_for_it(small_weights):
    image, gradients = picture(), []
    for dtype in (tf.float32, tf.float16):
        network = VGG19(small_weights.arrays, dtype)

        def add_loss(index: int, features: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
            return gradient + 1e-12 * tf.cast(features, gradient.dtype)

        gradients.append(network.image_gradient(image, network.features(image, 4), 4, add_loss))
    exact, short = gradients
    assert 0 < np.linalg.norm(exact - short) < 0.05 * np.linalg.norm(exact)
