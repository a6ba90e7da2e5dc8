"""Sizes and steps, the loss of a whole picture against the formulas, and the effect of a run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model import colour
from model.errors import clean
from model.images import resize, to_uint8
from model.optimizers import adam_step
from model.parsing import ParsedSettings, parse_settings
from model.stylizer import Pictures, RunState, Stylizer, at_size, averaged_image, plan_sizes, progress
from model.vgg19 import VGG19
from model.weights import Weights
from tests.conftest import CHANNELS, smooth_picture
from tests.model import test_losses as formulas

CONTENT, STYLE = smooth_picture(48, 64, 1), smooth_picture(50, 40, 2)


def settings(text: str) -> ParsedSettings:
    return parse_settings(tf.constant(text), tuple(CHANNELS))


def pictures(content: npt.NDArray[np.uint8] = CONTENT, *styles: npt.NDArray[np.uint8]) -> Pictures:
    styles = styles or (STYLE,)
    array = tf.TensorArray(
        tf.uint8, len(styles), element_shape=[None, None, 3], infer_shape=False, clear_after_read=False
    )
    for index, style in enumerate(styles):
        array = array.write(index, style)
    return Pictures(tf.constant(content), array)


@pytest.fixture(scope="module")
def stylizer(small_weights: Weights) -> Stylizer:
    return Stylizer(VGG19(small_weights.arrays))


def test_sizes_grow_by_the_root_of_two_up_to_the_size_asked_for() -> None:
    sizes = plan_sizes(tf.zeros([768, 1024, 3]), settings("size=512"))
    assert sizes.widths.numpy().tolist() == [128, 181, 256, 362, 512]
    assert sizes.heights.numpy().tolist() == [96, 136, 192, 272, 384]


@pytest.mark.parametrize("size", [16, 127, 128, 129, 180, 182, 511, 513, 4096])
@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (333, 334), (100, 100)])
def test_aspect_ratio_and_size_are_kept_to_the_pixel(size: int, shape: tuple[int, int]) -> None:
    content, text = tf.zeros([*shape, 3]), f"size={size},smallest_size=64"
    if size * min(shape) / max(shape) < 16:
        pytest.skip("too small for the network")
    sizes = plan_sizes(content, settings(text))
    height, width = int(sizes.heights[-1]), int(sizes.widths[-1])
    assert max(height, width) == size
    assert (height, width) == tuple(round(size * n / max(shape)) for n in shape)
    assert int(tf.reduce_min(sizes.heights)) >= 12


@pytest.mark.parametrize("steps", [1, 2, 5, 17, 500, 10_000])
def test_every_step_belongs_to_a_size_and_the_last_size_has_some(steps: int) -> None:
    ends = plan_sizes(tf.zeros([300, 400, 3]), settings(f"steps={steps}")).ends.numpy()
    assert ends[-1] == steps
    assert ends[-1] > ends[-2]
    assert (np.diff(ends) >= 0).all()


def test_a_picture_too_narrow_for_its_size_is_refused() -> None:
    @tf.function(autograph=False)
    def plan() -> tf.Tensor:
        return plan_sizes(tf.zeros([10, 400, 3]), settings("size=512")).heights

    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        plan()
    assert clean(failure.value.message) == (
        "`size` must be at least 640 for a content picture of 400x10 (the short side then has 16 pixels). Received: 512"
    )


def test_progress_counts_pixels_not_steps() -> None:
    sizes = plan_sizes(tf.zeros([300, 400, 3]), settings("size=128,smallest_size=64,steps=30"))
    shares = [float(progress(sizes, tf.constant(step))) for step in range(31)]
    assert shares[0] == 0
    assert shares[-1] == 1
    np.testing.assert_allclose((shares[30] - shares[29]) / (shares[1] - shares[0]), 128 * 96 / (64 * 48), rtol=1e-4)


def numpy_statistics(pictures: list[formulas.Array], statistics: str) -> tuple[formulas.Array, formulas.Array]:
    """Matrix and mean of the blend of several pictures' features, each picture weighing the same."""
    second = np.mean([formulas.gram(f) for f in pictures], 0)
    mean = np.mean([f.reshape(-1, f.shape[-1]).mean(0) for f in pictures], 0)
    if statistics == "gram":
        return second, np.zeros_like(mean)
    return second - np.outer(mean, mean), mean


@pytest.mark.parametrize("statistics", ["gram", "mean_covariance"])
def test_losses_of_a_picture_equal_the_formulas(stylizer: Stylizer, statistics: str) -> None:
    """Weights, layers, normalisation and the blend of two styles, in float64 NumPy on the network's features."""
    parsed = settings(
        f"size=64,smallest_size=64,statistics={statistics},style_weight=7,content_weight=3,total_variation_weight=0.01,"
        "style_layers=block1_conv1:2/block2_conv1:1,content_layers=block2_conv2:1/block1_conv2:3"
    )
    second_style = smooth_picture(64, 48, 3)
    inputs = pictures(CONTENT, STYLE, second_style)
    targets = stylizer.targets(inputs, parsed, stylizer.initial_state(inputs, parsed))
    image = tf.constant(smooth_picture(48, 64, 4), tf.float32)
    actual, _ = stylizer.losses_and_gradient(image, targets, parsed)

    def features(picture: tf.Tensor) -> dict[str, formulas.Array]:
        computed = stylizer.network.features(tf.cast(picture, tf.float32), 4)
        return {name: f.numpy().astype(np.float64) for name, f in zip(CHANNELS, computed, strict=True)}

    own, content = features(image), features(CONTENT)
    styles = [features(resize(STYLE, 64, 51)), features(resize(second_style, 64, 48))]

    def style_term(layer: str) -> float:
        target = numpy_statistics([style[layer] for style in styles], statistics)

        def distance(f: formulas.Array) -> float:
            matrix, mean = numpy_statistics([f], statistics)
            return float(np.sum((matrix - target[0]) ** 2) + np.sum((mean - target[1]) ** 2))

        return distance(own[layer]) / distance(content[layer])

    def content_term(layer: str) -> float:
        return formulas.content(own[layer], content[layer]) / float(content[layer].var())

    content_loss = 0.25 * content_term("block2_conv2") + 0.75 * content_term("block1_conv2")
    style_loss = 2 / 3 * style_term("block1_conv1") + 1 / 3 * style_term("block2_conv1")
    variation = formulas.variation(image.numpy().astype(np.float64))
    total = 3 * content_loss + 7 * style_loss + 0.01 * variation
    np.testing.assert_allclose(actual, [total, content_loss, style_loss, variation], rtol=1e-3)


def test_style_loss_is_one_and_content_loss_nothing_for_the_content_itself(stylizer: Stylizer) -> None:
    parsed = settings("size=64,smallest_size=64")
    state = stylizer.initial_state(pictures(), parsed)
    losses, _ = stylizer.losses_and_gradient(state.image, stylizer.targets(pictures(), parsed, state), parsed)
    np.testing.assert_allclose(losses[1:3], [0, 1], atol=1e-5)


@pytest.mark.parametrize(
    "text", ["", "statistics=gram", "style_weight=0", "content_weight=0", "style_layers=block1_conv2"]
)
def test_gradient_is_the_slope_of_the_total_loss(stylizer: Stylizer, text: str) -> None:
    parsed = settings("size=64,smallest_size=64," + text)
    state = stylizer.initial_state(pictures(), parsed)
    targets = stylizer.targets(pictures(), parsed, state)
    image = tf.constant(smooth_picture(48, 64, 4), tf.float32)
    _, gradient = stylizer.losses_and_gradient(image, targets, parsed)
    direction = gradient / tf.norm(gradient)

    def total(distance: float) -> float:
        return float(stylizer.losses_and_gradient(image + distance * direction, targets, parsed)[0][0])

    np.testing.assert_allclose(total(0.5) - total(-0.5), tf.norm(gradient), rtol=1e-2)


def test_a_style_that_is_the_content_does_no_harm(stylizer: Stylizer) -> None:
    parsed = settings("size=64,smallest_size=64,steps=3")
    inputs = pictures(CONTENT, CONTENT)
    state, losses = stylizer.advance(inputs, parsed, stylizer.initial_state(inputs, parsed), tf.constant(3))
    assert np.isfinite(losses).all()
    assert np.isfinite(state.image).all()


def test_flat_pictures_do_no_harm(stylizer: Stylizer) -> None:
    parsed = settings("size=64,smallest_size=64,steps=3")
    inputs = pictures(np.full((32, 32, 3), 7, np.uint8), np.zeros((20, 20, 3), np.uint8))
    state, losses = stylizer.advance(inputs, parsed, stylizer.initial_state(inputs, parsed), tf.constant(3))
    assert np.isfinite(losses).all()
    assert np.isfinite(state.image).all()


def test_a_run_lowers_the_style_loss(stylizer: Stylizer) -> None:
    parsed = settings("size=64,smallest_size=32,steps=80,learning_rate=2")
    _, losses = stylizer.advance(pictures(), parsed, stylizer.initial_state(pictures(), parsed), tf.constant(80))
    assert losses.shape == (80, 4)
    assert losses[-1, 2] < 0.1 * losses[0, 2]


def test_the_content_weight_holds_the_content(stylizer: Stylizer) -> None:
    ends = []
    for weight in (1, 1_000_000):
        parsed = settings(f"size=64,smallest_size=64,steps=20,content_weight={weight}")
        _, losses = stylizer.advance(pictures(), parsed, stylizer.initial_state(pictures(), parsed), tf.constant(20))
        ends.append(float(losses[-1, 1]))
    assert ends[1] < 0.2 * ends[0]


def test_total_variation_smooths(stylizer: Stylizer) -> None:
    parsed = settings("size=64,smallest_size=64,steps=30,style_weight=0,content_weight=0,total_variation_weight=1")
    _, losses = stylizer.advance(pictures(), parsed, stylizer.initial_state(pictures(), parsed), tf.constant(30))
    assert losses[-1, 3] < 0.5 * losses[0, 3]


def test_the_style_can_take_on_the_colours_of_the_content(stylizer: Stylizer) -> None:
    """Matching in the graph is styling with a picture whose colours were matched by hand."""
    content = np.uint8([40, 80, 120]) + smooth_picture(48, 64, 1) // 4
    style = np.uint8([120, 80, 40]) + smooth_picture(64, 50, 2) // 4
    by_hand = colour.matched(tf.cast(style, tf.float32), tf.cast(content, tf.float32))

    def statistics(style: npt.NDArray[np.uint8], colours: str) -> tf.Tensor:
        parsed, inputs = settings(f"size=64,smallest_size=64,colours={colours}"), pictures(content, style)
        return stylizer.targets(inputs, parsed, stylizer.initial_state(inputs, parsed)).style[0]

    expected = statistics(to_uint8(by_hand).numpy(), "of_style")
    assert float(tf.norm(statistics(style, "matched") - expected) / tf.norm(expected)) < 0.02
    assert float(tf.norm(statistics(style, "of_style") - expected) / tf.norm(expected)) > 0.2


def test_the_style_scale_sets_the_size_of_the_style_picture(stylizer: Stylizer) -> None:
    """Waves of 16 pixels at half the scale are waves of 8 pixels."""
    y = np.arange(64)[:, np.newaxis, np.newaxis]
    wide, narrow = [
        np.broadcast_to(127 + 100 * np.sin(2 * np.pi * y / period), (64, 64, 3)).astype(np.uint8) for period in (16, 8)
    ]
    content = smooth_picture(64, 64, 1)

    def statistics(style: npt.NDArray[np.uint8], scale: float) -> tf.Tensor:
        parsed, inputs = settings(f"size=64,smallest_size=64,style_scale={scale}"), pictures(content, style)
        return stylizer.targets(inputs, parsed, stylizer.initial_state(inputs, parsed)).style[2]

    fine = statistics(narrow, 1)
    distance = {scale: float(tf.norm(statistics(wide, scale) - fine) / tf.norm(fine)) for scale in (0.5, 1)}
    assert distance[0.5] < 0.5 * distance[1]


def test_noise_depends_on_the_seed_alone(stylizer: Stylizer) -> None:
    def start(seed: int) -> npt.NDArray[np.float32]:
        return stylizer.initial_state(pictures(), settings(f"size=64,start=noise,seed={seed}")).image.numpy()

    np.testing.assert_array_equal(start(1), start(1))
    assert np.abs(start(1) - start(2)).mean() > 50


def test_the_result_is_the_average_of_the_iterates_without_bias(stylizer: Stylizer) -> None:
    parsed = settings("size=64,smallest_size=64,averaging=0.5,steps=3")
    state = stylizer.initial_state(pictures(), parsed)
    iterates = []
    for _ in range(3):
        state, _ = stylizer.advance(pictures(), parsed, state, tf.constant(1))
        iterates.append(state.image.numpy())
    expected = (iterates[0] * 0.125 + iterates[1] * 0.25 + iterates[2] * 0.5) / 0.875
    np.testing.assert_allclose(averaged_image(state, parsed), expected, atol=1e-3)


def test_steps_of_adam_are_those_of_the_paper() -> None:
    """Algorithm 1 of Kingma and Ba in float64, over five steps of changing gradients."""
    gradients = np.random.default_rng(0).normal(size=(5, 4))
    first = second = np.zeros(4)
    state = (tf.zeros(4), tf.zeros(4))
    for t, gradient in enumerate(gradients, 1):
        first, second = 0.9 * first + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
        expected = 0.3 * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.99**t)) + 1e-8)
        update, *state = adam_step(tf.constant(gradient, tf.float32), *state, tf.constant(t), learning_rate=0.3)
        np.testing.assert_allclose(update, expected, rtol=1e-4)


def test_enlarging_carries_the_optimiser_along(stylizer: Stylizer) -> None:
    """A gradient's share for a pixel falls with the number of pixels; so do Adam's means of it."""
    parsed = settings("size=64,smallest_size=32,steps=20")
    sizes = plan_sizes(pictures().content, parsed)
    before, _ = stylizer.advance(pictures(), parsed, stylizer.initial_state(pictures(), parsed), sizes.ends[0])
    after = RunState(*[tf.identity(x) for x in at_size(before, parsed, sizes.heights[1], sizes.widths[1])])
    ratio = float(tf.size(before.image)) / float(tf.size(after.image))
    assert after.image.shape == (sizes.heights[1], sizes.widths[1], 3)
    assert int(after.averaged) == 0
    np.testing.assert_allclose(tf.reduce_mean(after.first), tf.reduce_mean(before.first) * ratio, rtol=0.05)
    np.testing.assert_allclose(tf.reduce_mean(after.second), tf.reduce_mean(before.second) * ratio**2, rtol=0.05)
    assert float(tf.reduce_min(after.second)) >= 0
