"""The run: where it starts, what it keeps, when it stops, and the effect that it has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model.objective import Measured, Objective, Pictures
from model.sizes import plan_sizes
from model.stylizer import (
    CONVERGED,
    DITHER,
    NOT_FINITE,
    RUNNING,
    RunState,
    Stylizer,
    enlarged_to,
    result_image,
    size_result,
)
from model.vgg19 import VGG19
from model.weights import Weights
from tests.conftest import CHANNELS, smooth_picture
from tests.model.inputs import CONTENT, pictures, settings

GRID = 1 / 256  # grey levels; L-BFGS's pictures are multiples of it
OTHER = pictures()._replace(fingerprint=tf.constant(2, tf.int64))  # as of other inputs or settings


@pytest.fixture(scope="module")
def stylizer(small_weights: Weights) -> Stylizer:
    return Stylizer(Objective(VGG19(small_weights.arrays)))


def run(
    stylizer: Stylizer, text: str, inputs: Pictures | None = None, take: int = 10_000, smallest: int = 64
) -> tuple[RunState, npt.NDArray[np.float32]]:
    """Returns the state and the losses after a whole run at 64 pixels, or after its first steps."""
    inputs, parsed = inputs or pictures(), settings(f"size=64,smallest_size={smallest},{text}")
    state = stylizer.initial_state(inputs, parsed)
    state, losses = stylizer.advance(inputs, parsed, state, tf.constant(take))
    return state, losses.numpy()


def test_a_style_that_is_the_content_does_no_harm(stylizer: Stylizer) -> None:
    state, losses = run(stylizer, "steps=20", pictures(CONTENT, CONTENT))
    assert np.isfinite(losses).all()
    assert np.abs(state.image - CONTENT).mean() < 2


def test_flat_pictures_do_no_harm(stylizer: Stylizer) -> None:
    inputs = pictures(np.full((32, 32, 3), 7, np.uint8), np.zeros((20, 20, 3), np.uint8))
    state, losses = run(stylizer, "steps=3", inputs)
    assert np.isfinite(losses).all()
    assert np.isfinite(state.image).all()


def test_a_run_lowers_the_style_loss(stylizer: Stylizer) -> None:
    _, losses = run(stylizer, "steps=50,learning_rate=2", smallest=32)
    assert losses.shape == (50, 4)
    assert losses[-1, 2] < 0.4 * losses[0, 2]


def test_the_result_is_the_average_of_the_iterates_without_bias(stylizer: Stylizer) -> None:
    parsed = settings("size=64,smallest_size=64,optimizer=adam,result=average,averaging=0.5,steps=3")
    state = stylizer.initial_state(pictures(), parsed)
    iterates = []
    for _ in range(3):
        state, _ = stylizer.advance(pictures(), parsed, state, tf.constant(1))
        iterates.append(state.image.numpy())
    expected = (iterates[0] * 0.125 + iterates[1] * 0.25 + iterates[2] * 0.5) / 0.875
    np.testing.assert_allclose(size_result(state), expected, atol=1e-3)


def test_enlarging_carries_the_optimiser_along(stylizer: Stylizer) -> None:
    """A gradient's share for a pixel falls with the number of pixels; so do Adam's means of it."""
    parsed = settings("size=64,smallest_size=32,steps=20,optimizer=adam")
    sizes = plan_sizes(pictures().content, parsed)
    before, _ = stylizer.advance(pictures(), parsed, stylizer.initial_state(pictures(), parsed), sizes.ends[0])
    after = enlarged_to(before, parsed, sizes.heights[1], sizes.widths[1])
    ratio = float(tf.size(before.image)) / float(tf.size(after.image))
    assert after.image.shape == (sizes.heights[1], sizes.widths[1], 3)
    assert float(after.kept_weight) == 0
    np.testing.assert_allclose(
        tf.reduce_mean(after.optimizer.slots[1]), tf.reduce_mean(before.optimizer.slots[1]) * ratio, rtol=0.05
    )
    np.testing.assert_allclose(
        tf.reduce_mean(after.optimizer.slots[2]), tf.reduce_mean(before.optimizer.slots[2]) * ratio**2, rtol=0.05
    )
    assert float(tf.reduce_min(after.optimizer.slots[2])) >= 0


@pytest.mark.parametrize(("kind", "least"), [("content", 0.2), ("noise", 50)])
def test_the_noise_of_a_start_depends_on_the_seed_alone(stylizer: Stylizer, kind: str, least: float) -> None:
    """Every start carries some, since of a picture of one colour nothing would tell one place from another."""
    flat = pictures(np.full((48, 64, 3), (90, 140, 200), np.uint8))
    once, again, other = [start(stylizer, f"start={kind},seed={seed}", flat) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).mean() > least
    assert once.std((0, 1)).min() > least


def test_a_start_from_the_content_is_the_content_once_rounded_to_eight_bits(stylizer: Stylizer) -> None:
    assert np.abs(start(stylizer, "") - CONTENT).max() <= DITHER + GRID


def start(stylizer: Stylizer, text: str, inputs: Pictures | None = None) -> npt.NDArray[np.float32]:
    return stylizer.initial_state(inputs or pictures(), settings("size=64,smallest_size=64," + text)).image.numpy()


def test_a_run_can_start_from_plain_grey(stylizer: Stylizer) -> None:
    image = start(stylizer, "start=grey")
    np.testing.assert_allclose(image, np.broadcast_to([123.68, 116.779, 103.939], image.shape), atol=DITHER + GRID)


def test_a_picture_that_is_sent_along_is_the_start(stylizer: Stylizer) -> None:
    picture = smooth_picture(48, 64, 8)
    image = start(stylizer, "start=noise", pictures(initial=picture))
    np.testing.assert_allclose(image, picture, atol=DITHER + GRID)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_of_few_steps_is_not_blurred(stylizer: Stylizer, steps: int) -> None:
    """At each size it takes a step; what is small and then enlarged without one has lost its detail."""
    fine = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    parsed = settings(f"size=64,smallest_size=16,steps={steps}")
    state = stylizer.initial_state(pictures(fine), parsed)
    state, losses = stylizer.advance(pictures(fine), parsed, state, tf.constant(steps))
    assert len(losses) == steps
    detail = [np.abs(np.diff(image, axis=1)).mean() for image in (size_result(state), fine.astype(float))]
    assert detail[0] > 0.25 * detail[1]


def test_the_last_step_can_be_the_result(stylizer: Stylizer) -> None:
    text = "steps=3,result=last,optimizer=adam"
    state, _ = run(stylizer, text)
    np.testing.assert_array_equal(size_result(state), state.image)


SMOOTH = "style_weight=0,content_weight=0,history=20"  # until the picture is of one colour, which is soon


def test_a_run_ends_once_lbfgs_finds_no_lower_loss(stylizer: Stylizer) -> None:
    parsed = settings(f"size=24,smallest_size=24,steps=2000,{SMOOTH}")
    state = stylizer.initial_state(pictures(), parsed)
    state, losses = stylizer.advance(pictures(), parsed, state, tf.constant(2000))
    assert int(state.stopped) == CONVERGED
    assert len(losses) == int(state.step) < 2000
    assert losses[-1, 0] < 1e-6 * losses[0, 0]  # neighbours differ by a few hundredths of a grey level


def test_a_size_that_ends_early_hands_over_to_the_next(stylizer: Stylizer) -> None:
    inputs, parsed = pictures(), settings(f"size=33,smallest_size=22,steps=4000,{SMOOTH}")
    first_end = int(plan_sizes(inputs.content, parsed).ends[0])
    state = stylizer.initial_state(inputs, parsed)
    state, losses = stylizer.advance(inputs, parsed, state, tf.constant(first_end))
    assert len(losses) < first_end
    assert int(state.step) >= first_end
    state, _ = stylizer.advance(inputs, parsed, state, tf.constant(4000))
    assert int(state.stopped) == CONVERGED
    assert state.image.shape == (25, 33, 3)


@pytest.fixture(scope="module")
def overflowing(small_weights: Weights) -> Stylizer:
    """A network with a style loss beyond float32's range."""
    arrays = {name: value * (1e19 if "block1_conv1" in name else 1) for name, value in small_weights.arrays.items()}
    return Stylizer(Objective(VGG19(arrays)))


OVERFLOW = "steps=9,style_layers=block1_conv1,content_weight=0,normalisation=none"


def test_a_loss_that_is_not_finite_stops_the_run_with_the_last_finite_picture(overflowing: Stylizer) -> None:
    state, losses = run(overflowing, OVERFLOW)
    assert int(state.stopped) == NOT_FINITE
    assert len(losses) == 1
    np.testing.assert_allclose(size_result(state), CONTENT, atol=DITHER + GRID)


def test_a_run_that_stops_at_a_coarse_size_keeps_its_picture(overflowing: Stylizer) -> None:
    state, _ = run(overflowing, OVERFLOW, smallest=32)
    assert int(state.stopped) == NOT_FINITE
    assert size_result(state).shape == (24, 32, 3)


def test_the_content_stays_where_no_mask_is(stylizer: Stylizer) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    inputs = pictures(masks=[mask])
    state, _ = run(stylizer, "steps=20", inputs)
    result = result_image(state, inputs, settings("")).numpy()
    np.testing.assert_allclose(result[:, 33:], CONTENT[:, 33:], atol=1e-3)
    assert np.abs(result[:, :31] - CONTENT[:, :31]).mean() > 5


@pytest.mark.parametrize("then", ["optimizer=adam", "optimizer=sgd", "history=3"])
def test_a_change_of_optimiser_goes_on_from_the_last_accepted_picture(stylizer: Stylizer, then: str) -> None:
    before, _ = run(stylizer, "steps=20", take=5)
    trial, *others = tf.unstack(before.optimizer.points)  # a trial point that would never be accepted:
    far = before._replace(optimizer=before.optimizer._replace(points=tf.stack([-trial, *others])))
    parsed = settings(f"size=64,smallest_size=64,steps=20,{then}")
    after, _ = stylizer.advance(OTHER, parsed, far, tf.constant(0))
    np.testing.assert_array_equal(after.image, before.optimizer.last_accepted)
    _, losses = stylizer.advance(OTHER, parsed, after, tf.constant(2))
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("first", ["adam", "sgd"])
def test_lbfgs_goes_on_from_a_state_of_another_optimiser(stylizer: Stylizer, first: str) -> None:
    begun, _ = run(stylizer, f"steps=6,optimizer={first}", take=2)
    after, losses = stylizer.advance(OTHER, settings("size=64,smallest_size=64,steps=6"), begun, tf.constant(3))
    assert len(losses) == 3
    assert np.isfinite(after.image).all()


def test_a_run_that_has_stopped_goes_on_by_other_settings_alone(stylizer: Stylizer) -> None:
    begun, _ = run(stylizer, "steps=20", take=5)
    stopped, parsed = begun._replace(stopped=tf.constant(CONVERGED)), settings("size=64,smallest_size=64,steps=20")
    for inputs, steps in ((pictures(), 0), (OTHER, 3)):
        state, losses = stylizer.advance(inputs, parsed, stopped, tf.constant(3))
        assert len(losses) == steps
        assert int(state.stopped) == (RUNNING if steps else CONVERGED)


def of_another(measured: Measured, factor: float = 2.0) -> Measured:
    """Returns targets that are another picture's by a factor; how many rows each has stays."""
    rows, targets = measured.style[: len(CHANNELS)], measured.style[len(CHANNELS) :]
    return measured._replace(style=tf.concat([rows, factor * targets], 0))


def test_the_targets_in_a_state_are_taken_for_the_same_inputs_alone(stylizer: Stylizer) -> None:
    state, _ = run(stylizer, "steps=3,result=last", take=1)
    foreign = state._replace(measured=of_another(state.measured))
    np.testing.assert_array_equal(goes_on(stylizer, foreign, OTHER)[1], goes_on(stylizer, state, OTHER)[1])
    assert (goes_on(stylizer, foreign, pictures())[1] != goes_on(stylizer, state, pictures())[1]).any()


@pytest.mark.parametrize("result", ["last", "average"])
def test_a_change_in_mid_run_is_followed_although_its_losses_are_higher(stylizer: Stylizer, result: str) -> None:
    text = f"steps=99,optimizer=lbfgs,result={result},style_weight="
    before, old = run(stylizer, text + "1000", take=10)
    parsed = settings(f"size=64,smallest_size=64,{text}20000")
    after, new = stylizer.advance(OTHER, parsed, before, tf.constant(20))
    assert new[0, 0] > old[-1, 0]
    assert new[-1, 0] < 0.95 * new[0, 0]
    assert int(after.stopped) == RUNNING
    assert np.abs(size_result(after) - size_result(before)).mean() > 0.1


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("result=average", "result=last"),
        ("result=average,averaging=0.5", "result=average,averaging=0.99"),
        ("result=last", "result=average"),
    ],
)
@pytest.mark.parametrize("take", [0, 1])
def test_what_was_kept_for_one_result_is_shown_in_its_own_brightness_for_another(
    stylizer: Stylizer, first: str, then: str, take: int
) -> None:
    before, _ = run(stylizer, f"steps=9,optimizer=adam,{first}", take=2)
    parsed = settings(f"size=64,smallest_size=64,steps=9,optimizer=adam,{then}")
    after, _ = stylizer.advance(OTHER, parsed, before, tf.constant(take))
    assert np.abs(size_result(after) - after.image).mean() < 20


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", "sgd"])
def test_a_loss_that_is_not_finite_in_mid_run_leaves_the_last_finite_picture(
    stylizer: Stylizer, optimizer: str
) -> None:
    text = f"steps=40,optimizer={optimizer}"
    before, _ = run(stylizer, text, take=5)
    parsed = settings(f"size=64,smallest_size=64,{text}")
    broken = before._replace(measured=of_another(before.measured, float("nan")))
    after, _ = stylizer.advance(pictures(), parsed, broken, tf.constant(40))
    assert int(after.stopped) == NOT_FINITE
    np.testing.assert_array_equal(size_result(after), size_result(before))


def goes_on(stylizer: Stylizer, state: RunState, inputs: Pictures) -> tuple[RunState, npt.NDArray[np.float32]]:
    state, losses = stylizer.advance(
        inputs, settings("size=64,smallest_size=64,steps=3,result=last"), state, tf.constant(1)
    )
    return state, losses.numpy()


def test_a_larger_size_has_targets_of_its_own(stylizer: Stylizer) -> None:
    parsed = settings("size=64,smallest_size=32,steps=12")
    state = stylizer.initial_state(pictures(), parsed)
    found = []
    for _ in range(12):
        state, _ = stylizer.advance(pictures(), parsed, state, tf.constant(1))
        found.append((state.image.shape, state.measured.style.numpy().tobytes()))
    assert len(set(found)) == len(plan_sizes(pictures().content, parsed).ends)
