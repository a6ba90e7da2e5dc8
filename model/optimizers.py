"""Optimisers as pure step functions over their state: Adam, limited-memory BFGS, gradient descent.

No library fits. TensorFlow's own optimisers keep their state in variables, which a stateless served graph cannot have.
TensorFlow Probability's L-BFGS (last released in November 2024) runs to the end, with a line search of its own: between
its steps there are no losses, no result and no way to stop.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from model.parsing import ParsedSettings, is_chosen, switch

DECAY_STEPS = 100  # steps between two applications of `learning_rate_decay`
INITIAL_STEP = 1.0  # mean change of a pixel, in grey levels, in a step of L-BFGS before any curvature is known
BACKTRACK = 0.25  # the next trial step as a fraction of the rejected one
ROUNDING = 1e-3  # relative error of a loss from bfloat16 features, which have 8 bits of precision
MAX_REJECTED = 8  # trial points in a row; 0.25^8 of a step no longer changes the image
LEAST_CURVATURE = 1e-10  # least s'y / sqrt(s's y'y) of a useful pair


class OptimizerState(NamedTuple):
    """The state of an optimiser.

    Attributes:
      slots: float32 [K, H, W, 3]. Adam: the image, the mean of the gradients, the mean of their squares. Gradient
        descent: the image. L-BFGS: none.
      points: int16 [P, H, W, 3]. L-BFGS: the trial point and the last accepted image, both in 1/256 of a grey level
        from 127.5, and the gradient at the last accepted image. The others: none.
      pairs: int8 [2 m, H, W, 3], -127 to 127. L-BFGS with a history of m: m differences of images, then m differences
        of gradients, newest first. The others: m = 0. They are the largest part of a state, hence int8; rounded
        differences still give a usable curvature.
      units: float32 [2 m], the value of a 1 in each of `pairs`.
      numbers: float32 [4]. L-BFGS: loss of the last accepted image (infinity: none yet), pairs in the history, trial
        points rejected in a row, the value of a 1 in the gradient of `points`.
    """

    slots: tf.Tensor
    points: tf.Tensor
    pairs: tf.Tensor
    units: tf.Tensor
    numbers: tf.Tensor

    @property
    def image(self) -> tf.Tensor:
        """The image whose loss is computed next, float32 [H, W, 3], 0 to 255; for L-BFGS the trial point."""
        return tf.cond(tf.shape(self.points)[0] > 0, lambda: _off_grid(self.points[0]), lambda: self.slots[0])

    @property
    def last_accepted(self) -> tf.Tensor:
        """The last accepted image, float32 [H, W, 3]; `image` if there is none, or with another optimiser."""
        return tf.cond(tf.math.is_finite(self.numbers[0]), lambda: _off_grid(self.points[1]), lambda: self.image)


class Step(NamedTuple):
    """The outcome of an optimiser's step.

    Attributes:
      state: the optimiser's state after the step.
      result: float32 [H, W, 3], the image that becomes the result if the step was accepted.
      accepted: bool scalar, whether the step was accepted.
      failed: bool scalar, whether the loss or the gradient was not finite and the run cannot go on.
      exhausted: bool scalar, whether MAX_REJECTED trial points in a row did not lower the loss.
    """

    state: OptimizerState
    result: tf.Tensor
    accepted: tf.Tensor
    failed: tf.Tensor
    exhausted: tf.Tensor


def initial(image: tf.Tensor, settings: ParsedSettings) -> OptimizerState:
    """Returns the state before the first step from an image, float32 [H, W, 3]."""
    is_lbfgs, nothing = is_chosen(settings, "optimizer", "lbfgs"), tf.zeros_like(image)
    slots = tf.where(is_lbfgs, 0, tf.where(is_chosen(settings, "optimizer", "adam"), 3, 1))
    pairs = tf.where(is_lbfgs, 2 * settings["history"], 0)
    return OptimizerState(
        slots=tf.stack([image, nothing, nothing])[:slots],
        points=tf.stack([_on_grid(image), *[tf.cast(nothing, tf.int16)] * 2])[: tf.where(is_lbfgs, 3, 0)],
        pairs=tf.zeros(tf.concat([[pairs], tf.shape(image)], 0), tf.int8),
        units=tf.zeros([pairs]),
        numbers=tf.constant([float("inf"), 0.0, 0.0, 1.0]),
    )


def state_for(state: OptimizerState, settings: ParsedSettings) -> OptimizerState:
    """Returns the state for changed settings: it goes on from the last accepted image and forgets its loss.

    Adam's means and L-BFGS's pairs are kept if optimiser and history stay the same.
    """
    start = initial(state.last_accepted, settings)
    same = [tf.shape(old)[0] == tf.shape(new)[0] for old, new in zip(state, start, strict=True)]

    def kept() -> OptimizerState:
        return start._replace(
            slots=state.slots, pairs=state.pairs, units=state.units, numbers=_without_loss(state.numbers)
        )

    return tf.cond(tf.reduce_all(same), kept, lambda: start)


def enlarged(state: OptimizerState, settings: ParsedSettings, image: tf.Tensor) -> OptimizerState:
    """Carries a state to the next size, where the run goes on from `image`, float32 [H, W, 3].

    The losses are means, so the gradient at a pixel shrinks as the number of pixels grows. L-BFGS keeps its pairs, but
    not the last accepted image and its gradient, which belong to the smaller size.
    """
    start, shape = initial(image, settings), tf.shape(image)[:2]
    old, new = [tf.cast(tf.reduce_prod(n), tf.float32) for n in (tf.shape(state.pairs)[1:3], shape)]
    ratio = old / new

    def resized(pictures: tf.Tensor) -> tf.Tensor:
        # Keys' cubic kernel, as for the image itself.
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
    gradient: tf.Tensor, loss: tf.Tensor, state: OptimizerState, settings: ParsedSettings, step: tf.Tensor
) -> Step:
    """Takes one step of the optimiser that the settings name.

    Takes the gradient, float32 [H, W, 3], and the loss, float32 scalar, at `state.image`, and the number of the step,
    int32 scalar, 1 for the first step of the run.
    """
    finite = tf.math.is_finite(loss) & tf.reduce_all(tf.math.is_finite(gradient))
    decays = tf.cast((step - 1) // DECAY_STEPS, tf.float32)
    rate = settings["learning_rate"] * tf.pow(settings["learning_rate_decay"], decays)

    def simple(stepped: Callable[[], tf.Tensor]) -> Step:
        # After a gradient that is not finite, Adam's means would not be either, even under other settings.
        slots = tf.cond(finite, stepped, lambda: state.slots)
        return Step(state._replace(slots=slots), slots[0], finite, ~finite, tf.constant(False))

    def adam() -> tf.Tensor:
        """Kingma and Ba, 2015, algorithm 1, with that epsilon, not "epsilon hat"."""
        image, first, second = tf.unstack(state.slots, num=3)
        t, beta_1, beta_2 = tf.cast(step, tf.float32), settings["beta_1"], settings["beta_2"]
        first = beta_1 * first + (1.0 - beta_1) * gradient
        second = beta_2 * second + (1.0 - beta_2) * tf.square(gradient)
        mean, square = first / (1.0 - tf.pow(beta_1, t)), second / (1.0 - tf.pow(beta_2, t))
        image -= rate * mean / (tf.sqrt(square) + settings["epsilon"])
        return tf.stack([tf.clip_by_value(image, 0.0, 255.0), first, second])

    branches = {
        "adam": lambda: simple(adam),
        "lbfgs": lambda: lbfgs_step(gradient, loss, finite, state, rate),
        "sgd": lambda: simple(lambda: tf.clip_by_value(state.slots - rate * gradient, 0.0, 255.0)),
    }
    return switch("optimizer", settings["optimizer"], branches)


def lbfgs_step(
    gradient: tf.Tensor, loss: tf.Tensor, finite: tf.Tensor, state: OptimizerState, longest: tf.Tensor
) -> Step:
    """One step of limited-memory BFGS (Nocedal and Wright, "Numerical Optimization", 2006, section 7.2), backtracking.

    A step evaluates one trial point. The first is the full step, shortened to `longest` grey levels on average. If the
    loss there is not finite, or not lower, the trial point is rejected, and the next one lies at BACKTRACK of the way
    from the last accepted image to it. If the two losses differ by no more than ROUNDING, the gradients decide instead
    (the idea of Hager and Zhang's approximate Wolfe conditions, "A new conjugate gradient method with guaranteed
    descent and an efficient line search", 2005).

    Takes what `take_step` does; `finite`, bool scalar: loss and gradient are finite; `longest`, float32 scalar.
    """
    loss_before, known_pairs, rejected, unit_before = tf.unstack(state.numbers)
    image, before = _off_grid(state.points[0]), _off_grid(state.points[1])
    slope_before = unit_before * tf.cast(state.points[2], tf.float32)
    has_before = tf.math.is_finite(loss_before)
    # If rounding may hide the change of the loss, the mean slope along the step tells whether the loss fell.
    within_rounding = tf.abs(loss - loss_before) <= ROUNDING * tf.abs(loss_before)
    rise = tf.reduce_sum((gradient + slope_before) * (image - before))
    fell = tf.where(within_rounding, rise < 0.0, loss < loss_before)
    accepted = finite & (~has_before | fell)

    def advance() -> OptimizerState:
        newest, newest_units = _rounded(tf.stack([image - before, gradient - slope_before]), tf.int8)
        products = _products(tf.cast(newest, tf.float32))  # of unscaled pairs: the units do not change the angle
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
        # Without curvature, no further than to where the loss would be zero along its tangent (Polyak's step).
        slope = tf.maximum(tf.reduce_mean(tf.abs(gradient)), _TINY)
        polyak_step = loss / slope / tf.maximum(tf.reduce_sum(tf.square(gradient / slope)), _TINY)
        first = tf.minimum(longest, tf.where(loss > 0, tf.minimum(INITIAL_STEP, polyak_step), INITIAL_STEP))
        # Without curvature the length of the gradient means nothing: the step is scaled to `first`, up or down.
        informed, length = downhill & (known > 0), tf.maximum(tf.reduce_mean(tf.abs(direction)), _TINY)
        scale = tf.where(informed, tf.minimum(longest / length, 1.0), first / length)
        target = tf.clip_by_value(image + scale * direction, 0.0, 255.0)
        slope, unit = _rounded(gradient[tf.newaxis], tf.int16)
        points = tf.stack([_on_grid(target), state.points[0], slope[0]])
        numbers = tf.stack([loss, tf.where(downhill, known, 0.0), 0.0, unit[0]])
        return state._replace(points=points, pairs=pairs, units=units, numbers=numbers)

    def backtrack() -> OptimizerState:
        nearer = _on_grid(before + BACKTRACK * (image - before))
        # With no accepted image yet, the trial point stays.
        points = tf.cond(has_before, lambda: tf.concat([nearer[tf.newaxis], state.points[1:]], 0), lambda: state.points)
        return state._replace(points=points, numbers=tf.stack([loss_before, known_pairs, rejected + 1.0, unit_before]))

    after = tf.cond(accepted, advance, backtrack)
    too_many_rejected = after.numbers[2] >= MAX_REJECTED
    no_start = ~finite & ~has_before
    return Step(
        state=after,
        result=image,
        accepted=accepted,
        failed=no_start | (too_many_rejected & ~finite),
        exhausted=too_many_rejected & finite,
    )


def lbfgs_direction(gradient: tf.Tensor, pairs: tf.Tensor, units: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Returns -H g for the L-BFGS approximation H of the inverse Hessian, with H0 = (s'y / y'y) I of the newest pair.

    The compact form of Byrd, Nocedal and Schnabel, "Representations of quasi-Newton matrices and their use in limited
    memory methods", 1994, theorem 2.2, needs no loops: beside inner products of images it is algebra on m x m matrices.

    Args:
      gradient: float32 [H, W, 3].
      pairs: any type, [2 m, H, W, 3]: differences of images s, then of gradients y, newest first.
      units: float32 [2 m], the value of a 1 in each of `pairs`.
      known: int32 scalar, the number of known pairs.

    Returns:
      float32 [H, W, 3]; -g if no pair is known.
    """
    history = tf.size(units) // 2
    vectors = tf.concat([tf.cast(pairs, tf.float32), gradient[tf.newaxis]], 0)
    units = tf.concat([units, [1.0]], 0)
    scales = tf.cast(units, tf.float64)
    products = scales[:, tf.newaxis] * tf.cast(_products(vectors), tf.float64) * scales
    s_y, y_y = products[:history, history:-1], products[history:-1, history:-1]
    # A pair may have lost its positive curvature when it was resized.
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
_CENTRE, _PER_LEVEL = 127.5, 256.0  # the grid of L-BFGS's images: 0 to 255 in 16 bits


def _on_grid(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(_PER_LEVEL * (image - _CENTRE)), tf.int16)


def _off_grid(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(image, tf.float32) / _PER_LEVEL + _CENTRE


def _rounded(pictures: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns float32 [K, H, W, 3] scaled and rounded to an integer type, and the value of a 1 in each, float32 [K]."""
    units = tf.reduce_max(tf.abs(pictures), [1, 2, 3]) / dtype.max
    rounded = tf.round(tf.math.divide_no_nan(pictures, units[:, tf.newaxis, tf.newaxis, tf.newaxis]))
    return tf.cast(rounded, dtype), units


def _without_loss(numbers: tf.Tensor) -> tf.Tensor:
    """Returns a state's `numbers` without the loss of the last accepted image; the number of pairs stays."""
    return tf.stack([float("inf"), numbers[1], 0.0, 1.0])


def _pushed(newest: tf.Tensor, memory: tf.Tensor) -> tf.Tensor:
    """Returns [2 m, ...] with the newest pair, [2, ...], in front and the oldest left out."""
    history = tf.shape(memory)[0] // 2
    return tf.concat([newest[:1], memory[: history - 1], newest[1:], memory[history:-1]], 0)


def _products(vectors: tf.Tensor) -> tf.Tensor:
    """Returns the inner products [K, K] of K tensors [K, ...]."""
    rows = tf.reshape(vectors, tf.stack([tf.shape(vectors)[0], -1]))
    return tf.matmul(rows, rows, transpose_b=True)
