"""The run: where it starts, what it keeps, when it stops, and the effect that it has."""

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model.objective import Measured, Objective, Pictures
from model.parsing import ParsedSettings
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
from tests.conftest import CHANNELS
from tests.model.inputs import CONTENT, Picture, pictures, settings

GRID = 1 / 256  # grey levels; L-BFGS's pictures are multiples of it
OTHER = pictures()._replace(fingerprint=tf.constant(2, tf.int64))  # as of other inputs or settings


def at_64(text: str, smallest: int = 64) -> ParsedSettings:
    return settings(f"size=64,smallest_size={smallest},{text}")


@pytest.fixture(scope="module")
def stylizer(small_weights: Weights) -> Stylizer:
    return Stylizer(Objective(VGG19(small_weights.arrays)))


def run(
    stylizer: Stylizer, text: str, inputs: Pictures | None = None, take: int = 10_000, smallest: int = 64
) -> tuple[RunState, npt.NDArray[np.float32]]:
    """Returns the state and the losses after a whole run at 64 pixels, or after its first steps."""
    inputs, parsed = inputs or pictures(), at_64(text, smallest)
    return goes_on(stylizer, stylizer.initial_state(inputs, parsed), parsed, take, inputs)


def goes_on(
    stylizer: Stylizer, state: RunState, parsed: ParsedSettings, take: int, inputs: Pictures = OTHER
) -> tuple[RunState, npt.NDArray[np.float32]]:
    """Returns the same after the next steps from a state, as of other inputs or settings unless told otherwise."""
    state, losses = stylizer.advance(inputs, parsed, state, tf.constant(take))
    return state, losses.numpy()


def flat(height: int, width: int, *colour: int) -> Picture:
    return np.full((height, width, 3), colour, np.uint8)


@pytest.mark.parametrize(
    "inputs", [pictures(CONTENT, CONTENT), pictures(flat(32, 32, 7), flat(20, 20, 0))], ids=["its own style", "flat"]
)
def test_pictures_without_anything_to_do_come_to_no_harm(stylizer, inputs):
    state, losses = run(stylizer, "steps=5", inputs)
    assert np.isfinite(losses).all()
    assert np.abs(state.image - tf.image.resize(inputs.content, state.image.shape[:2])).mean() < 2


@pytest.mark.parametrize(
    ("content", "dtype"),
    [(CONTENT, tf.float32), (CONTENT, tf.bfloat16), (flat(48, 64, 200, 60, 30), tf.float32)],
    ids=["float32", "bfloat16", "of one colour"],
)
def test_a_picture_takes_on_the_style(small_weights, content, dtype):
    stylizer = Stylizer(Objective(VGG19(small_weights.arrays, dtype)))
    state, losses = run(stylizer, "steps=20,learning_rate=2", pictures(content), smallest=32)
    assert losses.shape == (20, 4)
    assert losses[-1, 2] < 0.5 * losses[0, 2]
    assert size_result(state).numpy().std((0, 1)).min() > 5


def test_the_result_is_the_average_of_the_iterates_without_bias_or_the_last_one(stylizer):
    iterates = [run(stylizer, "steps=3,optimizer=adam", take=take)[0].image.numpy() for take in (1, 2, 3)]
    average, last = [
        size_result(run(stylizer, f"steps=3,optimizer=adam,{result}")[0])
        for result in ("result=average,averaging=0.5", "result=last")
    ]
    expected = (iterates[0] * 0.125 + iterates[1] * 0.25 + iterates[2] * 0.5) / 0.875
    np.testing.assert_allclose(average, expected, atol=1e-3)
    np.testing.assert_array_equal(last, iterates[2])


def test_enlarging_carries_the_optimiser_along(stylizer):
    """A gradient's share for a pixel falls with the number of pixels; so do Adam's means of it."""
    parsed = at_64("steps=6,optimizer=adam", 32)
    sizes = plan_sizes(pictures().content, parsed)
    before, _ = run(stylizer, "steps=6,optimizer=adam", take=int(sizes.ends[0]), smallest=32)
    after = enlarged_to(before, parsed, sizes.heights[1], sizes.widths[1])
    ratio = float(tf.size(before.image)) / float(tf.size(after.image))
    assert after.image.shape == (sizes.heights[1], sizes.widths[1], 3)
    assert float(after.kept_weight) == 0
    means, expected = [tf.reduce_mean(state.optimizer.slots[1:], [1, 2, 3]) for state in (after, before)]
    np.testing.assert_allclose(means, expected * [ratio, ratio**2], rtol=0.05)
    assert float(tf.reduce_min(after.optimizer.slots[2])) >= 0


def start(stylizer: Stylizer, text: str, inputs: Pictures | None = None) -> npt.NDArray[np.float32]:
    return stylizer.initial_state(inputs or pictures(), at_64(text)).image.numpy()


@pytest.mark.parametrize(("kind", "least"), [("content", 0.2), ("noise", 50)])
def test_the_noise_of_a_start_depends_on_the_seed_alone(stylizer, kind, least):
    """Every start carries some, since of a picture of one colour nothing would tell one place from another."""
    inputs = pictures(flat(48, 64, 90, 140, 200))
    once, again, other = [start(stylizer, f"start={kind},seed={seed}", inputs) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).mean() > least
    assert once.std((0, 1)).min() > least


@pytest.mark.parametrize(
    ("text", "initial", "expected"),
    [
        ("", None, CONTENT),
        ("start=grey", None, np.broadcast_to([123.68, 116.779, 103.939], CONTENT.shape)),
        ("start=noise", CONTENT[::-1], CONTENT[::-1]),
    ],
    ids=["the content", "plain grey", "a picture that is sent along"],
)
def test_a_run_starts_from_what_is_asked_for_once_rounded_to_eight_bits(stylizer, text, initial, expected):
    np.testing.assert_allclose(start(stylizer, text, pictures(initial=initial)), expected, atol=DITHER + GRID)


@pytest.mark.parametrize(("smallest", "shape"), [(64, (48, 64, 3)), (32, (24, 32, 3))])
def test_a_loss_that_is_not_finite_stops_the_run_with_the_last_finite_picture_of_its_size(
    small_weights, smallest, shape
):
    """Here the style loss is beyond float32's range."""
    arrays = {name: value * (1e19 if "block1_conv1" in name else 1) for name, value in small_weights.arrays.items()}
    overflowing = Stylizer(Objective(VGG19(arrays)))
    text = "steps=9,style_layers=block1_conv1,content_weight=0,normalisation=none"
    state, losses = run(overflowing, text, smallest=smallest)
    assert int(state.stopped) == NOT_FINITE
    assert len(losses) == 1
    start = overflowing.initial_state(pictures(), at_64(text, smallest)).image
    np.testing.assert_array_equal(size_result(state), start)
    assert start.shape == shape


def test_the_result_can_keep_the_colours_of_the_content(stylizer):
    grey = pictures(CONTENT[..., :1].repeat(3, -1))
    noise = stylizer.initial_state(grey, at_64("start=noise"))
    shown = [result_image(noise, grey, settings(f"colours={name}")).numpy() for name in ("of_content", "of_style")]
    assert shown[0].std(-1).max() < 1
    assert shown[1].std(-1).mean() > 20


def test_the_content_stays_where_no_mask_is(stylizer):
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    inputs = pictures(masks=[mask])
    state, _ = run(stylizer, "steps=8", inputs)
    result = result_image(state, inputs, settings("")).numpy()
    np.testing.assert_allclose(result[:, 33:], CONTENT[:, 33:], atol=1e-3)
    assert np.abs(result[:, :31] - CONTENT[:, :31]).mean() > 2


@pytest.mark.parametrize("then", ["optimizer=adam", "optimizer=sgd", "history=3"])
def test_a_change_of_optimiser_goes_on_from_the_last_accepted_picture(stylizer, then):
    before, _ = run(stylizer, "steps=20", take=3)
    trial, *others = tf.unstack(before.optimizer.points)  # a trial point that would never be accepted:
    far = before._replace(optimizer=before.optimizer._replace(points=tf.stack([-trial, *others])))
    after, _ = goes_on(stylizer, far, at_64(f"steps=20,{then}"), 0)
    np.testing.assert_array_equal(after.image, before.optimizer.last_accepted)
    after, losses = goes_on(stylizer, after, at_64(f"steps=20,{then}"), 2)
    assert np.isfinite(losses).all()
    back, losses = goes_on(stylizer, after, at_64("steps=20"), 2, pictures())
    assert np.isfinite(losses).all()
    assert np.isfinite(back.image).all()


def test_a_run_that_has_stopped_goes_on_by_other_settings_alone(stylizer):
    begun, _ = run(stylizer, "steps=20", take=2)
    stopped = begun._replace(stopped=tf.constant(CONVERGED))
    for inputs, steps in ((pictures(), 0), (OTHER, 3)):
        state, losses = goes_on(stylizer, stopped, at_64("steps=20"), 3, inputs)
        assert len(losses) == steps
        assert int(state.stopped) == (RUNNING if steps else CONVERGED)


def of_another(measured: Measured, factor: float = 2.0) -> Measured:
    """Returns targets that are another picture's by a factor; how many rows each has stays."""
    rows, targets = measured.style[: len(CHANNELS)], measured.style[len(CHANNELS) :]
    return measured._replace(style=tf.concat([rows, factor * targets], 0))


def test_the_targets_in_a_state_are_taken_for_the_same_inputs_alone(stylizer):
    parsed = at_64("steps=3,result=last")
    state, _ = run(stylizer, "steps=3,result=last", take=1)
    foreign = state._replace(measured=of_another(state.measured))
    for inputs, is_taken in ((OTHER, False), (pictures(), True)):
        own, others = [goes_on(stylizer, one, parsed, 1, inputs)[1] for one in (state, foreign)]
        assert (own != others).any() == is_taken


@pytest.mark.parametrize("result", ["last", "average"])
def test_a_change_in_mid_run_is_followed_although_its_losses_are_higher(stylizer, result):
    text = f"steps=99,optimizer=lbfgs,result={result},style_weight="
    before, old = run(stylizer, text + "1000", take=5)
    after, new = goes_on(stylizer, before, at_64(text + "20000"), 10)
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
def test_what_was_kept_for_one_result_is_shown_in_its_own_brightness_for_another(stylizer, first, then, take):
    before, _ = run(stylizer, f"steps=9,optimizer=adam,{first}", take=2)
    after, _ = goes_on(stylizer, before, at_64(f"steps=9,optimizer=adam,{then}"), take)
    assert np.abs(size_result(after) - after.image).mean() < 20


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", "sgd"])
def test_a_loss_that_is_not_finite_in_mid_run_leaves_a_picture_from_which_other_settings_go_on(stylizer, optimizer):
    text = f"steps=40,optimizer={optimizer}"
    before, _ = run(stylizer, text, take=3)
    broken = before._replace(measured=of_another(before.measured, float("nan")))
    after, _ = goes_on(stylizer, broken, at_64(text), 40, pictures())
    assert int(after.stopped) == NOT_FINITE
    np.testing.assert_array_equal(size_result(after), size_result(before))
    after, losses = goes_on(stylizer, after, at_64(text), 3)
    assert np.isfinite(losses).all()
    assert np.isfinite(size_result(after)).all()


def test_a_larger_size_has_targets_of_its_own(stylizer):
    parsed, found = at_64("steps=6", 32), []
    state = stylizer.initial_state(pictures(), parsed)
    for _ in range(6):
        state, _ = goes_on(stylizer, state, parsed, 1, pictures())
        found.append((state.image.shape, state.measured.style.numpy().tobytes()))
    assert len(set(found)) == len(plan_sizes(pictures().content, parsed).ends)
