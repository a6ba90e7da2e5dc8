"""The stylisation: targets, one step, the loop over steps and sizes.

Coarse to fine: the picture is made at sizes that grow by sqrt(2). At each size the targets are computed once, Adam
takes its share of the steps, and the bias-corrected average of its iterates, enlarged, starts the next size. The
optimiser's moments are carried along.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from model import colour, images, losses
from model.checks import checked
from model.optimizers import adam_step
from model.parsing import ParsedSettings
from model.settings import MAX_SIZE_PX
from model.vgg19 import VGG19

STEPS_RATIO = 0.8  # steps at one size over those at the next smaller one
SHORT_SIDE_PX = 16  # the least that four poolings by two leave something of


class RunState(NamedTuple):
    """Where a run stands; all that a later call needs to go on.

    Attributes:
      step: int32 scalar, steps taken since the start of the run.
      averaged: int32 scalar, iterates in `average`: those of the present size.
      image: float32 [H, W, 3], the last iterate, 0 to 255.
      average: float32 [H, W, 3], running average of the iterates, before correction of its bias to zero.
      first: float32 [H, W, 3], Adam's mean of the gradients.
      second: float32 [H, W, 3], Adam's mean of their squares.
    """

    step: tf.Tensor
    averaged: tf.Tensor
    image: tf.Tensor
    average: tf.Tensor
    first: tf.Tensor
    second: tf.Tensor


class Targets(NamedTuple):
    """What a size is optimised towards, each a list over the L layers; empty where a layer is not weighed.

    Attributes:
      style: float32 [C + 1, C], statistics of the blended styles.
      style_scale: float32 scalars; one over the content picture's style loss, so that the loss starts at 1.
      content: features of the content picture [1, h, w, C].
      content_scale: float32 scalars; one over the variance of those features.
    """

    style: list[tf.Tensor]
    style_scale: list[tf.Tensor]
    content: list[tf.Tensor]
    content_scale: list[tf.Tensor]


class Pictures(NamedTuple):
    """The decoded inputs of one run.

    Attributes:
      content: uint8 [H, W, 3].
      styles: TensorArray of uint8 [h, w, 3].
    """

    content: tf.Tensor
    styles: tf.TensorArray


class Sizes(NamedTuple):
    """The sizes of a run and how the steps divide among them.

    Attributes:
      heights, widths: int32 [K], pixels, from coarse to fine.
      ends: int32 [K], the step at which each size ends.
    """

    heights: tf.Tensor
    widths: tf.Tensor
    ends: tf.Tensor


_IMAGE = tf.TensorShape([None, None, 3])
_STATE_SHAPES = RunState(tf.TensorShape([]), tf.TensorShape([]), _IMAGE, _IMAGE, _IMAGE, _IMAGE)


def plan_sizes(content: tf.Tensor, settings: ParsedSettings) -> Sizes:
    """Lays out the sizes of a run.

    The long sides are size / sqrt(2)^k down to `smallest_size`, and the last is `size` to the pixel. No size is so
    small that the short side would leave the network nothing.

    Args:
      content: [H, W, 3], gives the aspect ratio.
      settings: `size`, `smallest_size`, `steps`.
    """
    height, width = [tf.cast(n, tf.float32) for n in tf.unstack(tf.shape(content)[:2])]
    long, short = tf.maximum(height, width), tf.minimum(height, width)
    size = tf.cast(settings["size"], tf.float32)
    least = tf.math.ceil(SHORT_SIDE_PX * long / short)
    size = checked(
        size,
        size >= least,
        "`size` must be at least ",
        tf.cast(least, tf.int32),
        " for a content picture of ",
        tf.cast(width, tf.int32),
        "x",
        tf.cast(height, tf.int32),
        f" (the short side then has {SHORT_SIDE_PX} pixels). Received: ",
        settings["size"],
    )
    smallest = tf.minimum(tf.maximum(tf.cast(settings["smallest_size"], tf.float32), least), size)
    # 1e-3 forgives what rounding takes from a ratio that is a power of sqrt(2).
    halvings = tf.floor(2.0 * tf.math.log(size / smallest) / tf.math.log(2.0) + 1e-3)
    below = tf.range(halvings, -0.5, -1.0)  # [K]: K-1, ..., 1, 0
    long_sides = tf.round(size / tf.pow(2.0, below / 2.0))
    short_sides = tf.maximum(1.0, tf.round(long_sides * short / long))
    shares = tf.pow(STEPS_RATIO, tf.reverse(below, [0]))
    # Rounded down, so that the last size always has a step.
    ends = tf.floor(tf.cumsum(shares) / tf.reduce_sum(shares) * tf.cast(settings["steps"], tf.float32) + 1e-3)
    ends = tf.concat([tf.cast(ends[:-1], tf.int32), settings["steps"][tf.newaxis]], 0)
    wide = width >= height
    return Sizes(
        heights=tf.cast(tf.where(wide, short_sides, long_sides), tf.int32),
        widths=tf.cast(tf.where(wide, long_sides, short_sides), tf.int32),
        ends=tf.minimum(ends, settings["steps"]),
    )


def progress(sizes: Sizes, step: tf.Tensor) -> tf.Tensor:
    """Returns the share of a run's work that is done at a step, float32 scalar; a step costs what its pixels do."""
    pixels = tf.cast(sizes.heights * sizes.widths, tf.float32)
    starts = tf.concat([[0], sizes.ends[:-1]], 0)
    all_steps = tf.cast(sizes.ends - starts, tf.float32)
    done = tf.clip_by_value(tf.cast(step - starts, tf.float32), 0.0, all_steps)
    return tf.reduce_sum(done * pixels) / tf.reduce_sum(all_steps * pixels)


def averaged_image(state: RunState, settings: ParsedSettings) -> tf.Tensor:
    """Returns the result as it stands, float32 [H, W, 3]: the averaged iterate, or the start if no step was taken."""
    decay = tf.pow(settings["averaging"], tf.cast(state.averaged, tf.float32))
    return tf.cond(state.averaged > 0, lambda: state.average / (1.0 - decay), lambda: state.image)


def result_image(state: RunState, content: tf.Tensor, settings: ParsedSettings) -> tf.Tensor:
    """Returns what a person gets to see, float32 [H, W, 3]: the averaged picture in the colours that are asked for."""
    image = averaged_image(state, settings)
    height, width = tf.unstack(tf.shape(image)[:2])
    return tf.cond(
        settings["colours"] == "of_content",
        lambda: colour.with_colours_of(image, tf.clip_by_value(images.resize(content, height, width), 0.0, 255.0)),
        lambda: image,
    )


class Stylizer(tf.Module):
    """Optimises one picture at a time; all methods are graph code and take what `parse_settings` returns."""

    def __init__(self, network: VGG19) -> None:
        super().__init__(name="stylizer")
        self.network = network

    def initial_state(self, pictures: Pictures, settings: ParsedSettings) -> RunState:
        """Returns the state before the first step: the content at the smallest size, or noise."""
        sizes = plan_sizes(pictures.content, settings)
        height, width = sizes.heights[0], sizes.widths[0]
        image = tf.cond(
            settings["start"] == "noise",
            lambda: 255.0 * tf.random.stateless_uniform([height, width, 3], tf.stack([settings["seed"], 0])),
            lambda: tf.clip_by_value(images.resize(pictures.content, height, width), 0.0, 255.0),
        )
        image = tf.ensure_shape(image, _IMAGE)
        zeros = tf.zeros_like(image)
        return RunState(tf.constant(0), tf.constant(0), image, zeros, zeros, zeros)

    def advance(
        self, pictures: Pictures, settings: ParsedSettings, state: RunState, take_steps: tf.Tensor
    ) -> tuple[RunState, tf.Tensor]:
        """Takes the next steps of a run, across sizes where they end.

        Args:
          pictures: the decoded inputs.
          settings: parsed settings.
          state: where the run stands.
          take_steps: int32 scalar; fewer are taken where the run ends before.

        Returns:
          The state after the steps, and float32 [N, 4], the losses before each step (see LOSS_TERMS).
        """
        sizes = plan_sizes(pictures.content, settings)
        begin = state.step
        stop = tf.minimum(begin + take_steps, settings["steps"])
        rows = tf.TensorArray(tf.float32, tf.maximum(stop - begin, 0), element_shape=[4])

        def at_one_size(state: RunState, rows: tf.TensorArray) -> tuple[RunState, tf.TensorArray]:
            level = tf.reduce_sum(tf.cast(sizes.ends <= state.step, tf.int32))
            state = at_size(state, settings, sizes.heights[level], sizes.widths[level])
            targets = self.targets(pictures, settings, state)

            def one_step(state: RunState, rows: tf.TensorArray) -> tuple[RunState, tf.TensorArray]:
                terms, gradient = self.losses_and_gradient(state.image, targets, settings)
                rows = rows.write(state.step - begin, terms)
                return _adam(state, gradient, settings), rows

            until = tf.minimum(stop, sizes.ends[level])
            return tf.while_loop(
                lambda state, _: state.step < until,
                one_step,
                (state, rows),
                shape_invariants=(_STATE_SHAPES, tf.TensorShape(None)),
                parallel_iterations=1,
            )

        state, rows = tf.while_loop(
            lambda state, _: state.step < stop,
            at_one_size,
            (state, rows),
            shape_invariants=(_STATE_SHAPES, tf.TensorShape(None)),
            parallel_iterations=1,
        )
        return state, rows.stack()

    def losses_and_gradient(
        self, image: tf.Tensor, targets: Targets, settings: ParsedSettings
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the losses of a picture, float32 [4] (see LOSS_TERMS), and the gradient of their weighted sum.

        Args:
          image: float32 [H, W, 3], 0 to 255.
          targets: for this size.
          settings: weights, layers and statistics.

        Returns:
          The losses, and the gradient with respect to the image, float32 [H, W, 3].
        """
        style_weights, content_weights, last = layer_weights(settings)
        terms = {"style": tf.constant(0.0), "content": tf.constant(0.0)}

        def add_loss(index: int, features: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
            def style(f: tf.Tensor) -> tf.Tensor:
                statistics = losses.style_statistics(losses.moments(f), settings["statistics"])
                return losses.style_loss(statistics, targets.style[index]) * targets.style_scale[index]

            def content(f: tf.Tensor) -> tf.Tensor:
                return losses.content_loss(f, targets.content[index]) * targets.content_scale[index]

            for name, loss, share, weight in (
                ("style", style, style_weights[index], settings["style_weight"]),
                ("content", content, content_weights[index], settings["content_weight"]),
            ):
                value, gradient = tf.cond(
                    share * weight > 0,
                    lambda loss=loss, scale=share * weight, gradient=gradient: _add(loss, features, scale, gradient),
                    lambda gradient=gradient: (tf.constant(0.0), gradient),
                )
                terms[name] += share * value
            return gradient

        activations = self.network.features(image, last)
        gradient = self.network.image_gradient(image, activations, last, add_loss)
        variation, variation_gradient = losses.value_and_gradient(losses.total_variation, image)
        gradient += settings["total_variation_weight"] * variation_gradient
        total = (
            settings["content_weight"] * terms["content"]
            + settings["style_weight"] * terms["style"]
            + settings["total_variation_weight"] * variation
        )
        return tf.stack([total, terms["content"], terms["style"], variation]), gradient

    def targets(self, pictures: Pictures, settings: ParsedSettings, state: RunState) -> Targets:
        """Computes the targets for the state's size; the style pictures are resized to the same long side."""
        style_weights, content_weights, last = layer_weights(settings)
        height, width = tf.unstack(tf.shape(state.image)[:2])

        def moments(image: tf.Tensor) -> list[tf.Tensor]:
            features = self.network.features(image, last)
            return [
                tf.cond(
                    style_weights[index] > 0,
                    lambda f=f: losses.moments(f),
                    lambda c=self.network.channels[index]: tf.zeros([c + 1, c]),
                )
                for index, f in enumerate(features)
            ]

        content_image = images.resize(pictures.content, height, width)

        def style_image(index: tf.Tensor) -> tf.Tensor:
            image = _fit(pictures.styles.read(index), height, width, settings["style_scale"])
            return tf.cond(
                settings["colours"] == "matched", lambda: colour.matched(image, content_image), lambda: image
            )

        count = pictures.styles.size()
        blended = tf.while_loop(
            lambda i, _: i < count,
            lambda i, sums: (
                i + 1,
                [s + m for s, m in zip(sums, moments(style_image(i)), strict=True)],
            ),
            (tf.constant(0), [tf.zeros([c + 1, c]) for c in self.network.channels]),
            parallel_iterations=1,
        )[1]
        style = [losses.style_statistics(sums / tf.cast(count, tf.float32), settings["statistics"]) for sums in blended]

        content = self.network.features(content_image, last)
        style_scale, content_scale = [], []
        for index, features in enumerate(content):

            def style_gap(features: tf.Tensor = features, target: tf.Tensor = style[index]) -> tf.Tensor:
                own = losses.style_statistics(losses.moments(features), settings["statistics"])
                # A style that is the content itself leaves nothing to divide by: then the style's own size serves.
                floor = 1e-6 * losses.style_loss(tf.zeros_like(target), target)
                return 1.0 / (tf.maximum(losses.style_loss(own, target), floor) + losses.EPSILON)

            def variance(features: tf.Tensor = features) -> tf.Tensor:
                return 1.0 / (tf.math.reduce_variance(tf.cast(features, tf.float32)) + losses.EPSILON)

            style_scale.append(tf.cond(style_weights[index] > 0, style_gap, lambda: tf.constant(0.0)))
            content_scale.append(tf.cond(content_weights[index] > 0, variance, lambda: tf.constant(0.0)))
        return Targets(style, style_scale, content, content_scale)


def layer_weights(settings: ParsedSettings) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns each layer's share in the style and content terms, float32 [L] with sum 1, and the deepest in use.

    The deepest layer is an int32 scalar index; layers of a term whose weight is 0 do not count.
    """
    style, content = settings["style_layers"], settings["content_layers"]
    in_use = (style * settings["style_weight"] > 0) | (content * settings["content_weight"] > 0)
    last = tf.reduce_max(tf.where(in_use, tf.range(tf.size(style)), 0))
    return style / tf.reduce_sum(style), content / tf.reduce_sum(content), last


def _add(loss: losses.Loss, x: tf.Tensor, scale: tf.Tensor, gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns loss(x), and `gradient` with `scale` times the loss's added, in x's type."""
    value, own = losses.value_and_gradient(lambda x: scale * loss(x), x)
    return value / scale, gradient + own


def _adam(state: RunState, gradient: tf.Tensor, settings: ParsedSettings) -> RunState:
    update, first, second = adam_step(
        gradient, state.first, state.second, state.step + 1, learning_rate=settings["learning_rate"]
    )
    image = tf.clip_by_value(state.image - update, 0.0, 255.0)
    decay = settings["averaging"]
    average = decay * state.average + (1.0 - decay) * image
    return RunState(state.step + 1, state.averaged + 1, image, average, first, second)


def at_size(state: RunState, settings: ParsedSettings, height: tf.Tensor, width: tf.Tensor) -> RunState:
    """Returns the state at a size: as it is, or enlarged to start the next size from the averaged picture."""
    same = tf.reduce_all(tf.shape(state.image)[:2] == tf.stack([height, width]))

    def enlarged() -> RunState:
        image = tf.clip_by_value(images.resize(averaged_image(state, settings), height, width), 0.0, 255.0)
        # The losses are means, so a pixel's share of the gradient shrinks as the pixels grow in number.
        ratio = tf.cast(tf.size(state.image), tf.float32) / tf.cast(tf.size(image), tf.float32)
        first = images.resize(state.first, height, width) * ratio
        second = tf.nn.relu(images.resize(state.second, height, width)) * tf.square(ratio)
        return RunState(state.step, tf.constant(0), image, tf.zeros_like(image), first, second)

    return tf.cond(same, lambda: state, enlarged)


def _fit(image: tf.Tensor, height: tf.Tensor, width: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Resizes a style picture to `scale` times the long side of height x width, in its own shape."""
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    long_side = tf.minimum(scale * tf.cast(tf.maximum(height, width), tf.float32), float(MAX_SIZE_PX))
    target = tf.maximum(tf.cast(tf.round(sides * (long_side / tf.reduce_max(sides))), tf.int32), SHORT_SIDE_PX)
    return images.resize(image, target[0], target[1])
