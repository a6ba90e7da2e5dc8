"""Optimisers against their published algorithms, and what they do when a step goes wrong."""

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model import optimizers
from model.optimizers import MAX_REJECTED, OptimizerState, lbfgs_direction
from model.parsing import ParsedSettings
from tests.model.inputs import settings

Array = npt.NDArray[np.float64]
Loss = Callable[[tf.Tensor], tf.Tensor]

SHAPE = (2, 3, 3)
GRID = 1 / 256  # grey levels; L-BFGS's pictures are multiples of it
SCALES = tf.constant(np.geomspace(1e-3, 1.0, 18).reshape(SHAPE), tf.float32)
VALLEY = tf.constant(np.random.default_rng(0).uniform(50, 200, SHAPE), tf.float32)


def bowl(x: tf.Tensor) -> tf.Tensor:
    """A quadratic a thousand times steeper one way than another, lowest at VALLEY."""
    return tf.reduce_sum(SCALES * tf.square(x - VALLEY))


def run(parsed: ParsedSettings, steps: int, loss: Loss = bowl) -> tuple[list[float], list[optimizers.Step]]:
    """Returns the loss before each step, and the steps."""
    state, values, taken = optimizers.initial(tf.fill(SHAPE, 128.0), parsed), [], []
    for number in range(1, steps + 1):
        image = state.image
        with tf.GradientTape() as tape:
            tape.watch(image)
            value = loss(image)
        step = optimizers.take_step(tape.gradient(value, image), value, state, parsed, tf.constant(number))
        state = step.state
        values.append(float(value))
        taken.append(step)
    return values, taken


def test_steps_of_adam_are_those_of_the_paper_with_the_numbers_of_the_settings():
    """Algorithm 1 of Kingma and Ba in float64."""
    _, steps = run(settings("optimizer=adam,learning_rate=2,beta_1=0.8,beta_2=0.9,epsilon=0.5"), 5)
    scales, valley, image = SCALES.numpy().astype(float), VALLEY.numpy().astype(float), np.full(SHAPE, 128.0)
    first = second = np.zeros(SHAPE)
    for t, step in enumerate(steps, 1):
        gradient = 2 * scales * (image - valley)
        first, second = 0.8 * first + 0.2 * gradient, 0.9 * second + 0.1 * gradient**2
        image = image - 2 * (first / (1 - 0.8**t)) / (np.sqrt(second / (1 - 0.9**t)) + 0.5)
        np.testing.assert_allclose(step.state.image, image, atol=1e-3)


def test_gradient_descent_follows_the_gradient_at_a_rate_that_decays_every_hundred_steps():
    slope = tf.random.stateless_uniform(SHAPE, (1, 2), -1)
    parsed = settings("optimizer=sgd,learning_rate=1,learning_rate_decay=0.5")
    _, steps = run(parsed, 102, lambda x: tf.reduce_sum(slope * x))
    images = [np.full(SHAPE, 128.0)] + [step.state.image for step in steps]
    rates = np.reshape([1.0] * 100 + [0.5] * 2, (-1, 1, 1, 1))
    np.testing.assert_allclose(np.diff(images, axis=0), -rates * slope, atol=1e-4)


def bfgs_direction(gradient: Array, moves: list[Array], slopes: list[Array]) -> Array:
    """-H g with the dense inverse Hessian of Nocedal and Wright, equation 6.17, from gamma I (7.20); oldest first."""
    h = np.eye(len(gradient)) * (moves[-1] @ slopes[-1]) / (slopes[-1] @ slopes[-1])
    for s, y in zip(moves, slopes, strict=True):
        v = np.eye(len(s)) - np.outer(y, s) / (y @ s)
        h = v.T @ h @ v + np.outer(s, s) / (y @ s)
    return -h @ gradient


def direction(gradient: Array, moves: list[Array], slopes: list[Array]) -> Array:
    """What L-BFGS makes of pairs, oldest first, with a place left that is not in use yet."""
    generator, empty = np.random.default_rng(2), np.zeros(18)
    stack = np.reshape([*moves[::-1], empty, *slopes[::-1], empty], (-1, *SHAPE))
    units = generator.uniform(0.5, 2, len(stack))
    pairs = tf.constant(stack / units[:, None, None, None], tf.float32)
    flat = tf.constant(gradient.reshape(SHAPE), tf.float32)
    return np.ravel(lbfgs_direction(flat, pairs, tf.constant(units, tf.float32), tf.constant(len(moves))))


@pytest.mark.parametrize("useless", [{}, {0: 0.0}, {2: -1.0}, {4: 0.0}], ids=str)
def test_the_direction_of_lbfgs_is_that_of_dense_bfgs_over_its_pairs_with_curvature(useless):
    generator = np.random.default_rng(1)
    moves = [generator.normal(size=18) for _ in range(4)]
    gradient, slopes = generator.normal(size=18), [move * generator.uniform(0.5, 2, 18) for move in moves]
    expected = bfgs_direction(gradient, moves, slopes)
    for place, curvature in useless.items():
        moves.insert(place, np.arange(18.0))
        slopes.insert(place, curvature * np.arange(18.0))
    np.testing.assert_allclose(direction(gradient, moves, slopes), expected, rtol=1e-3, atol=1e-4)


def test_the_first_step_from_nearly_the_bottom_does_not_leave_it():
    parsed = settings("optimizer=lbfgs")
    state = optimizers.initial(VALLEY + 1e-2, parsed)
    loss, gradient = bowl(state.image), 2.0 * SCALES * (state.image - VALLEY)
    step = optimizers.take_step(gradient, loss, state, parsed, tf.constant(1))
    assert float(bowl(step.state.image)) < float(loss)


def test_lbfgs_finds_the_bottom_of_a_narrow_valley():
    losses, _ = run(settings("optimizer=lbfgs,learning_rate=50"), 60)
    assert min(losses) < 1e-4 * losses[0]


def test_lbfgs_never_keeps_a_step_that_raises_the_loss_beyond_its_rounding():
    def hilly(x: tf.Tensor) -> tf.Tensor:
        return bowl(x) + 300 * tf.reduce_sum(tf.sin(x))

    losses, steps = run(settings("optimizer=lbfgs,learning_rate=100"), 40, hilly)
    accepted = [loss for loss, step in zip(losses, steps, strict=True) if step.accepted]
    assert len(accepted) < len(losses)
    assert (np.diff(accepted) < optimizers.ROUNDING * np.abs(accepted[:-1])).all()


def test_lbfgs_goes_on_where_rounding_hides_that_the_loss_falls():
    def rough(x: tf.Tensor) -> tf.Tensor:
        """The bowl on top of much that does not change, and wrong by up to a ten thousandth."""
        level = 10 * bowl(tf.fill(SHAPE, 128.0))
        return bowl(x) + level * (1 + 1e-4 * tf.sin(1e4 * tf.stop_gradient(tf.reduce_sum(x))))

    _, steps = run(settings("optimizer=lbfgs,learning_rate=50"), 60, rough)
    assert not any(step.exhausted for step in steps)
    assert float(bowl(steps[-1].result)) < 1e-4 * float(bowl(tf.fill(SHAPE, 128.0)))


def test_lbfgs_moves_no_further_than_the_learning_rate_on_average():
    _, steps = run(settings("optimizer=lbfgs,learning_rate=3"), 10)
    images = [np.full(SHAPE, 128.0)] + [step.state.image.numpy() for step in steps]
    moves = [np.abs(b - a).mean() for a, b in itertools.pairwise(images)]
    assert max(moves) <= 3 + GRID
    assert moves[0] <= optimizers.INITIAL_STEP + GRID


def test_lbfgs_comes_back_from_where_the_loss_is_not_finite():
    def cliff(x: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.reduce_max(tf.abs(x - 128)) > 2, float("nan"), 1.0) * bowl(x)

    losses, steps = run(settings("optimizer=lbfgs,learning_rate=50"), 12, cliff)
    assert not np.isfinite(losses).all()
    assert np.isfinite(steps[-1].result).all()
    assert not any(step.failed for step in steps[: MAX_REJECTED - 1])
    assert np.nanmin(losses) < losses[0]


def test_lbfgs_says_when_no_step_helps():
    _, steps = run(settings("optimizer=lbfgs"), MAX_REJECTED + 2, lambda x: tf.reduce_sum(tf.abs(x)) * 0 + 5)
    assert bool(steps[MAX_REJECTED].exhausted)
    assert not bool(steps[MAX_REJECTED - 1].exhausted)


def test_a_loss_that_is_not_finite_moves_nothing():
    for optimizer in ("adam", "sgd", "lbfgs"):
        _, (step,) = run(settings(f"optimizer={optimizer}"), 1, lambda x: tf.reduce_sum(x) * float("nan"))
        assert bool(step.failed)
        assert not bool(step.accepted)
        np.testing.assert_array_equal(step.state.image, np.full(SHAPE, 128.0))


def test_every_optimiser_stays_within_black_and_white():
    for optimizer in ("adam", "sgd", "lbfgs"):
        _, steps = run(settings(f"optimizer={optimizer},learning_rate=255"), 130, lambda x: 1e4 * tf.reduce_sum(-x))
        assert float(tf.reduce_max(steps[-1].state.image)) == 255


def test_enlarging_keeps_what_a_pair_says_of_the_curvature():
    """Losses are means: a pixel's gradient falls with the number of pixels, s'y stays, y'y falls with it."""
    parsed = settings("optimizer=lbfgs,history=1")
    generator = np.random.default_rng(0)
    smooth = [np.kron(generator.normal(size=(3, 3, 3)), np.ones((8, 8, 1))) for _ in range(2)]
    state = optimizers.initial(tf.zeros([24, 24, 3]), parsed)._replace(
        pairs=tf.cast(tf.round(np.stack(smooth) * 30), tf.int8),
        units=tf.constant([0.5, 2.0]),
        numbers=tf.constant([5.0, 1.0, 2.0, 1.0]),
    )
    larger = optimizers.enlarged(state, parsed, tf.zeros([48, 48, 3]))
    assert larger.pairs.shape == (2, 48, 48, 3)
    np.testing.assert_array_equal(larger.numbers[:3], [np.inf, 1, 0])

    def products(state: OptimizerState) -> tuple[float, float]:
        move, slope = state.units[:, tf.newaxis, tf.newaxis, tf.newaxis] * tf.cast(state.pairs, tf.float32)
        return float(tf.reduce_sum(move * slope)), float(tf.reduce_sum(tf.square(slope)))

    before, after = products(state), products(larger)
    np.testing.assert_allclose(after, [before[0], before[1] / 4], rtol=0.1)


def test_the_newest_pairs_are_remembered_to_a_hundredth_of_their_largest_part():
    parsed = settings("optimizer=lbfgs,history=2,learning_rate=50")
    _, steps = run(parsed, 4)
    assert all(step.accepted for step in steps)
    images = [tf.fill(SHAPE, 128.0)] + [step.state.image for step in steps]
    state = steps[-1].state
    pairs = state.units[:, tf.newaxis, tf.newaxis, tf.newaxis] * tf.cast(state.pairs, tf.float32)
    assert float(state.numbers[1]) == 2
    for move, slope, (before, after) in zip(pairs[:2], pairs[2:], ((2, 3), (1, 2)), strict=True):
        expected = images[after] - images[before]
        np.testing.assert_allclose(move, expected, atol=0.005 * np.abs(expected).max())
        np.testing.assert_allclose(slope, 2 * SCALES * expected, atol=0.005 * np.abs(2 * SCALES * expected).max())
