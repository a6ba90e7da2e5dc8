"""The run: from the starting image, over sizes and steps, to the result.

The image is optimised from coarse to fine, at sizes that grow by sqrt(2). At each size the targets are computed once
per call and the optimiser takes its share of the steps. The next size starts from the enlarged result and the enlarged
state of the optimiser.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from model import colour, contract, images, masks, optimizers
from model.objective import Measured, Objective, Pictures, is_masked
from model.optimizers import OptimizerState
from model.parsing import ParsedSettings, is_chosen, switch
from model.settings import LOSS_TERMS
from model.sizes import plan_sizes
from model.vgg19 import IMAGENET_MEAN_BGR

DITHER = 0.5  # grey levels, largest noise added to every start: flat areas have no gradient; rounding hides the noise
RUNNING, CONVERGED, NOT_FINITE = range(3)
STOPPED = ("", contract.CONVERGED, contract.NOT_FINITE)
"""The output `stopped`, indexed by RunState.stopped."""


class RunState(NamedTuple):
    """The state of a run: all that a later call needs to go on.

    Attributes:
      step: int32 scalar, steps since the start of the run; a size that converged early counts with all its steps.
      stopped: int32 scalar, RUNNING, CONVERGED or NOT_FINITE.
      kept: float32 [K, H, W, 3], the weighted sum of the iterates at the present size; K is 1 if the setting `result`
        is `average`, 0 if it is `last`.
      kept_weight: float32 scalar, the sum of the weights in `kept`; 0: no iterate was added yet.
      optimizer: the optimiser's state, with the last iterate.
      fingerprint: int64 scalar, hash of the inputs and settings that `measured` and the losses belong to; 0: none yet.
      measured: `Targets.measured` of the present size, which the next call reuses.
    """

    step: tf.Tensor
    stopped: tf.Tensor
    kept: tf.Tensor
    kept_weight: tf.Tensor
    optimizer: OptimizerState
    fingerprint: tf.Tensor
    measured: Measured

    @property
    def image(self) -> tf.Tensor:
        """The last iterate, float32 [H, W, 3], 0 to 255."""
        return self.optimizer.image


STATE_SPECS = RunState(
    step=tf.TensorSpec([], tf.int32),
    stopped=tf.TensorSpec([], tf.int32),
    kept=tf.TensorSpec([None, None, None, 3]),
    kept_weight=tf.TensorSpec([]),
    optimizer=OptimizerState(
        slots=tf.TensorSpec([None, None, None, 3]),
        points=tf.TensorSpec([None, None, None, 3], tf.int16),
        pairs=tf.TensorSpec([None, None, None, 3], tf.int8),
        units=tf.TensorSpec([None]),
        numbers=tf.TensorSpec([4]),
    ),
    fingerprint=tf.TensorSpec([], tf.int64),
    measured=Measured(style=tf.TensorSpec([None]), content=tf.TensorSpec([None], tf.bfloat16)),
)
"""Types and shapes of a state, for the loops and for decoding."""

_Loop = tuple[RunState, tf.Tensor, tf.TensorArray]


def size_result(state: RunState) -> tf.Tensor:
    """Returns the present size's result, float32 [H, W, 3]: the average if one is kept, else the last iterate."""
    return tf.cond(
        state.kept_weight > 0, lambda: state.kept[0] / state.kept_weight, lambda: state.optimizer.last_accepted
    )


def result_image(state: RunState, pictures: Pictures, settings: ParsedSettings) -> tf.Tensor:
    """Returns the picture that is shown, float32 [H, W, 3]: with the chosen colours; the content outside the masks."""
    image = size_result(state)
    height, width = tf.unstack(tf.shape(image)[:2])
    coloured = tf.cond(
        is_chosen(settings, "colours", "of_content"),
        lambda: colour.with_colours_of(image, images.fitted(pictures.content, height, width)),
        lambda: image,
    )

    def covered() -> tf.Tensor:
        regions = masks.regions(pictures.content_masks, height, width)
        cover = tf.minimum(tf.reduce_sum(regions, 0), 1.0)[..., tf.newaxis]  # [H, W, 1]
        content = images.fitted(pictures.content, height, width)
        return content + cover * (coloured - content)

    return tf.cond(is_masked(pictures), covered, lambda: coloured)


class Stylizer(tf.Module):
    """Optimises one image at a time; all methods are graph code and take what `parse_settings` returns."""

    def __init__(self, objective: Objective) -> None:
        super().__init__(name="stylizer")
        self.objective = objective

    def initial_state(self, pictures: Pictures, settings: ParsedSettings) -> RunState:
        """Returns the state before the first step, at the smallest size, from `pictures.initial` or as `start` says."""
        sizes = plan_sizes(pictures.content, settings)
        height, width = sizes.heights[0], sizes.widths[0]
        noise = tf.random.stateless_uniform([height, width, 3], tf.stack([settings["seed"], 0]))
        starts = {
            "content": lambda: images.fitted(pictures.content, height, width),
            "noise": lambda: 255.0 * noise,
            "grey": lambda: tf.fill([height, width, 3], 0.0) + tf.constant(IMAGENET_MEAN_BGR[::-1]),
        }
        image = tf.cond(
            pictures.initial == "",
            lambda: switch("start", settings["start"], starts),
            lambda: images.fitted(images.decode(pictures.initial, "initial_bytes"), height, width),
        )
        image = tf.clip_by_value(image + DITHER * (2.0 * noise - 1.0), 0.0, 255.0)
        return begin_size(tf.constant(0), optimizers.initial(image, settings), settings)

    def advance(
        self, pictures: Pictures, settings: ParsedSettings, state: RunState, take_steps: tf.Tensor
    ) -> tuple[RunState, tf.Tensor]:
        """Takes the next steps of a run, int32 scalar, at one or several sizes; fewer if the run ends before.

        Returns the state after the steps, and the losses before each of them, float32 [N, 4] (see LOSS_TERMS).
        """
        sizes = plan_sizes(pictures.content, settings)
        state = resumed(state, settings, pictures.fingerprint)
        stop = tf.minimum(state.step + take_steps, settings["steps"])
        rows = tf.TensorArray(tf.float32, tf.maximum(stop - state.step, 0), element_shape=[len(LOSS_TERMS)])
        shapes = (tf.nest.map_structure(lambda spec: spec.shape, STATE_SPECS), tf.TensorShape([]), tf.TensorShape(None))

        def repeated(body: Callable[..., _Loop], until: tf.Tensor, *variables: tf.Tensor) -> _Loop:
            def goes_on(state: RunState, *_: tf.Tensor) -> tf.Tensor:
                return (state.step < until) & (state.stopped == RUNNING)

            return tf.while_loop(goes_on, body, variables, shape_invariants=shapes, parallel_iterations=1)

        def steps_of_a_size(state: RunState, taken: tf.Tensor, rows: tf.TensorArray) -> _Loop:
            level = tf.reduce_sum(tf.cast(sizes.ends <= state.step, tf.int32))
            height, width = sizes.heights[level], sizes.widths[level]
            state = enlarged_to(state, settings, height, width)
            targets = self.objective.targets(pictures, settings, height, width, state.measured)
            state = state._replace(fingerprint=pictures.fingerprint, measured=targets.measured)

            def one_step(state: RunState, taken: tf.Tensor, rows: tf.TensorArray) -> _Loop:
                terms, gradient = self.objective.losses_and_gradient(state.image, targets, settings)
                state = update(state, terms[0], gradient, settings, sizes.ends[level])
                return state, taken + 1, rows.write(taken, terms)

            return repeated(one_step, tf.minimum(stop, sizes.ends[level]), state, taken, rows)

        state, taken, rows = repeated(steps_of_a_size, stop, state, tf.constant(0), rows)
        return state, rows.stack()[:taken]


def begin_size(step: tf.Tensor, optimizer: OptimizerState, settings: ParsedSettings) -> RunState:
    """Returns the state before the first step at the size of the optimiser's image."""
    return RunState(
        step=step,
        stopped=tf.constant(RUNNING),
        kept=_nothing_kept(optimizer.image, settings),
        kept_weight=tf.constant(0.0),
        optimizer=optimizer,
        fingerprint=tf.constant(0, tf.int64),
        measured=Measured.nothing(),
    )


def resumed(state: RunState, settings: ParsedSettings, fingerprint: tf.Tensor) -> RunState:
    """Returns the state unchanged if the fingerprint of inputs and settings is its own.

    With other inputs or settings the same image has another loss. The run then goes on from the last accepted image. It
    keeps the optimiser's memory and the average only if the settings still call for them.
    """

    def changed() -> RunState:
        nothing = _nothing_kept(state.image, settings)
        own = tf.shape(state.kept)[0] == tf.shape(nothing)[0]
        return state._replace(
            stopped=tf.constant(RUNNING),
            kept=tf.cond(own, lambda: state.kept, lambda: nothing),
            kept_weight=tf.where(own, state.kept_weight, 0.0),
            optimizer=optimizers.state_for(state.optimizer, settings),
            measured=Measured.nothing(),
        )

    return tf.cond(state.fingerprint == fingerprint, lambda: state, changed)


def _nothing_kept(image: tf.Tensor, settings: ParsedSettings) -> tf.Tensor:
    count = tf.where(is_chosen(settings, "result", "last"), 0, 1)
    return tf.zeros(tf.concat([[count], tf.shape(image)], 0))


def update(state: RunState, loss: tf.Tensor, gradient: tf.Tensor, settings: ParsedSettings, end: tf.Tensor) -> RunState:
    """Returns the state after one step, given loss and gradient at its image; the size ends at the step `end`."""
    step = optimizers.take_step(gradient, loss, state.optimizer, settings, state.step + 1)
    decay, is_last_size = settings["averaging"], end == settings["steps"]
    # Without an average K is 0, and these are empty tensors.
    kept = tf.where(step.accepted, decay * state.kept + (1.0 - decay) * step.result, state.kept)
    adds = step.accepted & is_chosen(settings, "result", "average")
    return state._replace(
        step=tf.where(step.exhausted & ~is_last_size, end, state.step + 1),
        stopped=tf.where(step.failed, NOT_FINITE, tf.where(step.exhausted & is_last_size, CONVERGED, RUNNING)),
        kept=kept,
        kept_weight=tf.where(adds, decay * state.kept_weight + (1.0 - decay), state.kept_weight),
        optimizer=step.state,
    )


def enlarged_to(state: RunState, settings: ParsedSettings, height: tf.Tensor, width: tf.Tensor) -> RunState:
    """Returns the state at a size: unchanged if it has this size, else a new size's start from the last result."""

    def larger() -> RunState:
        image = images.fitted(size_result(state), height, width)
        return begin_size(state.step, optimizers.enlarged(state.optimizer, settings, image), settings)

    return tf.cond(tf.reduce_all(tf.shape(state.image)[:2] == [height, width]), lambda: state, larger)
