"""Optimisers as pure step functions over their state: Adam, limited-memory BFGS, gradient descent.

Written here rather than taken from a library: TensorFlow's own optimisers keep their state in variables, which a served
graph that remembers nothing cannot have, and TensorFlow Probability's L-BFGS (last released in November 2024) runs a
line search of its own to the end, with no losses, no result and no stop between its steps.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from model.parsing import ParsedSettings, is_chosen, switch

DECAY_STEPS = 100  # between two applications of `learning_rate_decay`
INITIAL_STEP = 1.0  # grey levels that L-BFGS moves pixels by on average while it knows no curvature
BACKTRACK = 0.25  # share of a rejected step that is tried next
ROUNDING = 1e-3  # of a loss: features of 8 bits (bfloat16) leave it right to about this
MAX_REJECTED = 8  # steps in a row that do not lower the loss: 0.25^8 of a step is nothing
LEAST_CURVATURE = 1e-10  # s'y over s's and y'y's root, below which a pair says nothing


class OptimizerState(NamedTuple):
    """What an optimiser remembers.

    Attributes:
      slots: float32 [K, H, W, 3]. Adam: the picture, mean of the gradients, mean of their squares. Gradient descent:
        the picture. L-BFGS: none.
      points: int16 [P, H, W, 3]. L-BFGS: the trial point and the last accepted picture, in steps of 1/256 of a grey
        level about 127.5, and the gradient at the latter. The others: none.
      pairs: int8 [2 m, H, W, 3], -127 to 127. L-BFGS with a history of m: differences of m pictures, then of their
        gradients, newest first. The others: m = 0. They are the most of a state, and rounded pairs are pairs of a
        matrix too.
      units: float32 [2 m], what a 1 in each of `pairs` stands for.
      numbers: float32 [4]. L-BFGS: loss of the last accepted picture (infinite: there is none), pairs in the history,
        trial points rejected in a row, what a 1 in the gradient stands for.
    """

    slots: tf.Tensor
    points: tf.Tensor
    pairs: tf.Tensor
    units: tf.Tensor
    numbers: tf.Tensor

    @property
    def image(self) -> tf.Tensor:
        """The picture whose loss is to be computed next, float32 [H, W, 3], 0 to 255: L-BFGS's trial point."""
        return tf.cond(tf.shape(self.points)[0] > 0, lambda: _off_grid(self.points[0]), lambda: self.slots[0])

    @property
    def last_accepted(self) -> tf.Tensor:
        """The last accepted picture, float32 [H, W, 3], where `image` may be a trial point of L-BFGS."""
        return tf.cond(tf.math.is_finite(self.numbers[0]), lambda: _off_grid(self.points[1]), lambda: self.image)


class Step(NamedTuple):
    """What an optimiser's step gives.

    Attributes:
      state: the optimiser's state after the step.
      result: float32 [H, W, 3], the picture that counts for the result.
      accepted: bool scalar, whether `result` is a new one.
      failed: bool scalar, whether the loss or the gradient was not finite and no step can be taken.
      exhausted: bool scalar, whether no step lowers the loss any more.
    """

    state: OptimizerState
    result: tf.Tensor
    accepted: tf.Tensor
    failed: tf.Tensor
    exhausted: tf.Tensor


def initial(image: tf.Tensor, settings: ParsedSettings) -> OptimizerState:
    """Returns the state before the first step from a picture, float32 [H, W, 3]."""
    slots, points, pairs = _counts(settings)
    start, nothing = image[tf.newaxis], tf.zeros_like(image)
    return OptimizerState(
        slots=tf.concat([start, tf.tile(nothing[tf.newaxis], [2, 1, 1, 1])], 0)[:slots],
        points=tf.stack([_on_grid(image), *[tf.cast(nothing, tf.int16)] * 2])[:points],
        pairs=tf.zeros(tf.concat([[pairs], tf.shape(image)], 0), tf.int8),
        units=tf.zeros([pairs]),
        numbers=tf.constant([float("inf"), 0.0, 0.0, 1.0]),
    )


def state_for(state: OptimizerState, settings: ParsedSettings) -> OptimizerState:
    """Returns the state that goes on from the last accepted picture, without its loss.

    What else it remembers stays if it is of the optimiser that the settings name.
    """
    start = initial(state.last_accepted, settings)
    same = [tf.shape(old)[0] == tf.shape(new)[0] for old, new in zip(state, start, strict=True)]

    def kept() -> OptimizerState:
        return start._replace(
            slots=state.slots, pairs=state.pairs, units=state.units, numbers=_without_loss(state.numbers)
        )

    return tf.cond(tf.reduce_all(same), kept, lambda: start)


def enlarged(state: OptimizerState, settings: ParsedSettings, image: tf.Tensor) -> OptimizerState:
    """Carries a state to the next size, at which it goes on from a picture, float32 [H, W, 3].

    The losses are means, so a pixel's share of the gradient shrinks as the pixels grow in number. The last accepted
    picture and its gradient are of the smaller size, so L-BFGS starts from the next one, with its pairs.
    """
    start, shape = initial(image, settings), tf.shape(image)[:2]
    old, new = [tf.cast(tf.reduce_prod(n), tf.float32) for n in (tf.shape(state.pairs)[1:3], shape)]
    ratio = old / new

    def resized(pictures: tf.Tensor) -> tf.Tensor:
        # Keys' cubic kernel, as for the picture.
        return tf.image.resize(tf.cast(pictures, tf.float32), shape, method="bicubic", antialias=True)

    def adam() -> OptimizerState:
        means = resized(state.slots[1:])
        return start._replace(slots=tf.stack([image, means[0] * ratio, tf.nn.relu(means[1]) * tf.square(ratio)]))

    def lbfgs() -> OptimizerState:
        factors = tf.repeat(tf.stack([1.0, ratio]), settings["history"])
        pairs, units = _rounded(resized(state.pairs), tf.int8)
        return start._replace(pairs=pairs, units=factors * state.units * units, numbers=_without_loss(state.numbers))

    return switch("optimizer", settings["optimizer"], {"adam": adam, "lbfgs": lbfgs, "sgd": lambda: start})


def take_step(
    gradient: tf.Tensor,
    loss: tf.Tensor,
    state: OptimizerState,
    settings: ParsedSettings,
    step: tf.Tensor,
) -> Step:
    """Takes one step of the optimiser that the settings name.

    Args:
      gradient: float32 [H, W, 3], at the picture of `state`.
      loss: float32 scalar, its.
      state: the optimiser's.
      settings: `optimizer` and its numbers.
      step: int32 scalar, 1 for the first step of the run.
    """
    finite = tf.math.is_finite(loss) & tf.reduce_all(tf.math.is_finite(gradient))
    decays = tf.cast((step - 1) // DECAY_STEPS, tf.float32)
    rate = settings["learning_rate"] * tf.pow(settings["learning_rate_decay"], decays)

    def simple(update: tf.Tensor, *means: tf.Tensor) -> Step:
        image = state.slots[0]
        moved = tf.where(finite, tf.clip_by_value(image - update, 0.0, 255.0), image)
        return Step(state._replace(slots=tf.stack([moved, *means])), moved, finite, ~finite, tf.constant(False))

    def adam() -> Step:
        update, first, second = adam_step(
            gradient, state.slots[1], state.slots[2], step,
            learning_rate=rate, beta_1=settings["beta_1"], beta_2=settings["beta_2"], epsilon=settings["epsilon"],
        )  # fmt: skip
        return simple(update, first, second)

    branches = {
        "adam": adam,
        "lbfgs": lambda: lbfgs_step(gradient, loss, finite, state, rate),
        "sgd": lambda: simple(rate * gradient),
    }
    return switch("optimizer", settings["optimizer"], branches)


def adam_step(
    gradient: tf.Tensor,
    first: tf.Tensor,
    second: tf.Tensor,
    step: tf.Tensor,
    *,
    learning_rate: tf.Tensor | float,
    beta_1: tf.Tensor | float = 0.9,
    beta_2: tf.Tensor | float = 0.99,
    epsilon: tf.Tensor | float = 1e-8,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One step of Adam (Kingma and Ba, 2015, algorithm 1; epsilon as there, outside the corrected root).

    Takes float32 tensors of one shape, the gradient and the running means of gradients and of their squares, and the
    step, int32 scalar, 1 for the first. Returns what to subtract from the variable, and both means after the step.
    """
    t = tf.cast(step, tf.float32)
    first = beta_1 * first + (1.0 - beta_1) * gradient
    second = beta_2 * second + (1.0 - beta_2) * tf.square(gradient)
    corrected_first = first / (1.0 - tf.pow(beta_1, t))
    corrected_second = second / (1.0 - tf.pow(beta_2, t))
    return learning_rate * corrected_first / (tf.sqrt(corrected_second) + epsilon), first, second


def lbfgs_step(
    gradient: tf.Tensor, loss: tf.Tensor, finite: tf.Tensor, state: OptimizerState, longest: tf.Tensor
) -> Step:
    """One step of limited-memory BFGS (Nocedal and Wright, "Numerical Optimization", 2006, section 7.2), backtracking.

    There is no line search: the full step is tried, no longer than `longest` grey levels on average. Where it did not
    lower the loss, or the loss is not finite, the next trial point is nearer to the last accepted image, by BACKTRACK.
    So every step is one evaluation, and a step that goes wrong is never kept. Between losses that differ by no more
    than ROUNDING the gradients decide (the idea of Hager and Zhang's approximate Wolfe conditions, "A new conjugate
    gradient method with guaranteed descent and an efficient line search", 2005).

    Takes what `take_step` does; `finite` is a bool scalar, whether loss and gradient are, `longest` a float32 scalar.
    """
    loss_before, known_pairs, rejected, unit_before = tf.unstack(state.numbers)
    image, before = _off_grid(state.points[0]), _off_grid(state.points[1])
    slope_before = unit_before * tf.cast(state.points[2], tf.float32)
    has_before = tf.math.is_finite(loss_before)
    # Where rounding may hide by how much the loss changed, the gradients at both ends tell whether it fell.
    hidden = tf.abs(loss - loss_before) <= ROUNDING * tf.abs(loss_before)
    rise = tf.reduce_sum((gradient + slope_before) * (image - before))
    fell = tf.where(hidden, rise < 0.0, loss < loss_before)
    accepted = finite & (~has_before | fell)

    def advance() -> OptimizerState:
        newest, newest_units = _rounded(tf.stack([image - before, gradient - slope_before]), tf.int8)
        products = _products(tf.cast(newest, tf.float32))  # the units do not change an angle
        curved = products[0, 1] > LEAST_CURVATURE * tf.sqrt(products[0, 0] * products[1, 1])
        useful = has_before & curved
        pairs, units = tf.cond(
            useful,
            lambda: (_pushed(newest, state.pairs), _pushed(newest_units, state.units)),
            lambda: (state.pairs, state.units),
        )
        history = tf.size(units) // 2
        known = tf.minimum(known_pairs + tf.cast(useful, tf.float32), tf.cast(history, tf.float32))
        direction = lbfgs_direction(gradient, pairs, units, tf.cast(known, tf.int32))
        downhill = tf.reduce_sum(direction * gradient) < 0
        direction = tf.cond(downhill, lambda: direction, lambda: -gradient)
        # Without curvature no further than to where this slope would bring the loss to nothing (Polyak's step).
        slope = tf.maximum(tf.reduce_mean(tf.abs(gradient)), _TINY)
        to_nothing = loss / slope / tf.maximum(tf.reduce_sum(tf.square(gradient / slope)), _TINY)
        first = tf.minimum(longest, tf.where(loss > 0, tf.minimum(INITIAL_STEP, to_nothing), INITIAL_STEP))
        # Without curvature the gradient's own length means nothing: it is brought to `first`, not only below it.
        informed, length = downhill & (known > 0), tf.maximum(tf.reduce_mean(tf.abs(direction)), _TINY)
        scale = tf.where(informed, tf.minimum(longest / length, 1.0), first / length)
        target = tf.clip_by_value(image + scale * direction, 0.0, 255.0)
        slope, unit = _rounded(gradient[tf.newaxis], tf.int16)
        points = tf.stack([_on_grid(target), state.points[0], slope[0]])
        numbers = tf.stack([loss, tf.where(downhill, known, 0.0), 0.0, unit[0]])
        return state._replace(points=points, pairs=pairs, units=units, numbers=numbers)

    def backtrack() -> OptimizerState:
        nearer = _on_grid(before + BACKTRACK * (image - before))
        # A first picture without a loss has none before it to go back to.
        points = tf.cond(has_before, lambda: tf.concat([nearer[tf.newaxis], state.points[1:]], 0), lambda: state.points)
        return state._replace(points=points, numbers=tf.stack([loss_before, known_pairs, rejected + 1.0, unit_before]))

    after = tf.cond(accepted, advance, backtrack)
    given_up = after.numbers[2] >= MAX_REJECTED
    nowhere = ~finite & ~has_before
    return Step(
        state=after,
        result=image,
        accepted=accepted,
        failed=nowhere | (given_up & ~finite),
        exhausted=given_up & finite,
    )


def lbfgs_direction(gradient: tf.Tensor, pairs: tf.Tensor, units: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Returns -H g for the L-BFGS approximation H of the inverse Hessian, which starts from the newest s'y / y'y.

    In the compact form of Byrd, Nocedal and Schnabel, "Representations of quasi-Newton matrices and their use in
    limited memory methods", 1994, theorem 2.2: all but inner products of the pictures is arithmetic on m numbers, and
    without loops.

    Args:
      gradient: float32 [H, W, 3].
      pairs: [2 m, H, W, 3], s and then y, newest first, of any type.
      units: float32 [2 m], what a 1 in each of them stands for.
      known: int32 scalar, how many pairs are known.

    Returns:
      float32 [H, W, 3]; -g if no pair is known.
    """
    history = tf.size(units) // 2
    vectors = tf.concat([tf.cast(pairs, tf.float32), gradient[tf.newaxis]], 0)
    units = tf.concat([units, [1.0]], 0)
    scales = tf.cast(units, tf.float64)
    products = scales[:, tf.newaxis] * tf.cast(_products(vectors), tf.float64) * scales
    s_y, y_y = products[:history, history:-1], products[history:-1, history:-1]
    # A pair that has lost its curvature on the way to a larger size says nothing.
    in_use = ((tf.range(history) < known) & (tf.linalg.diag_part(s_y) > 0))[:, tf.newaxis]
    s_g, y_g = [tf.where(in_use, column, 0.0) for column in tf.split(products[:-1, -1:], 2)]
    newest = tf.argmax(tf.cast(in_use[:, 0], tf.float32))  # the first of those in use
    gamma = tf.where(in_use[newest, 0], s_y[newest, newest] / y_y[newest, newest], 1.0)
    # With the newest first, the upper triangle R of the paper is a lower one.
    both, identity = in_use & tf.transpose(in_use), tf.eye(history, dtype=tf.float64)
    triangle = tf.where(both, tf.linalg.band_part(s_y, -1, 0), identity)
    inner = tf.where(both, identity * s_y + gamma * y_y, 0.0)
    of_y = tf.linalg.triangular_solve(triangle, s_g)
    of_s = tf.linalg.triangular_solve(triangle, tf.matmul(inner, of_y) - gamma * y_g, adjoint=True)
    weights = tf.concat([-of_s[:, 0], gamma * of_y[:, 0], -gamma[tf.newaxis]], 0)
    return tf.tensordot(units * tf.cast(weights, tf.float32), vectors, 1)


_TINY = 1e-30
_CENTRE, _PER_LEVEL = 127.5, 256.0  # of the grid that L-BFGS's pictures are on, so that 0 to 255 fit into 16 bits


def _counts(settings: ParsedSettings) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns how many slots, points and pairs the optimiser has, int32 scalars."""
    is_lbfgs = is_chosen(settings, "optimizer", "lbfgs")
    slots = tf.where(is_lbfgs, 0, tf.where(is_chosen(settings, "optimizer", "adam"), 3, 1))
    return slots, tf.where(is_lbfgs, 3, 0), tf.where(is_lbfgs, 2 * settings["history"], 0)


def _on_grid(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(_PER_LEVEL * (image - _CENTRE)), tf.int16)


def _off_grid(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(image, tf.float32) / _PER_LEVEL + _CENTRE


def _rounded(pictures: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """Rounds float32 [K, H, W, 3] to an integer type, and returns what a 1 stands for in each, float32 [K]."""
    units = tf.reduce_max(tf.abs(pictures), [1, 2, 3]) / dtype.max
    rounded = tf.round(tf.math.divide_no_nan(pictures, units[:, tf.newaxis, tf.newaxis, tf.newaxis]))
    return tf.cast(rounded, dtype), units


def _without_loss(numbers: tf.Tensor) -> tf.Tensor:
    """Returns a state's `numbers` where no loss is known that the next could be held against; pairs stay."""
    return tf.stack([float("inf"), numbers[1], 0.0, 1.0])


def _pushed(newest: tf.Tensor, memory: tf.Tensor) -> tf.Tensor:
    """Returns [2 m, ...] with the newest move and slope, [2, ...], in place of the oldest."""
    history = tf.shape(memory)[0] // 2
    return tf.concat([newest[:1], memory[: history - 1], newest[1:], memory[history:-1]], 0)


def _products(vectors: tf.Tensor) -> tf.Tensor:
    """Returns the inner products [K, K] of [K, ...]."""
    rows = tf.reshape(vectors, tf.stack([tf.shape(vectors)[0], -1]))
    return tf.matmul(rows, rows, transpose_b=True)
