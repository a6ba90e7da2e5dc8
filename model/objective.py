"""The objective: the weighted sum of an image's style, content and total variation losses, and its gradient."""

from collections.abc import Callable
from typing import NamedTuple, Self

import tensorflow as tf

from model import colour, images, losses, masks
from model.graph import checked, noinline
from model.layers import BLOCK_STARTS, block_of
from model.limits import MAX_SIZE_PX
from model.parsing import ParsedSettings, choice_index, is_chosen
from model.sizes import Sizes, least_long_side
from model.vgg19 import VGG19, NetworkOptions, gradient_dtype

LEAST_GAP = (0.5 / 127.5) ** 2  # of a style target's size: the squared rounding error of 8-bit pixels at mid-range


class Pictures(NamedTuple):
    """The inputs of one run, with S styles.

    Attributes:
      content: uint8 [H, W, 3].
      styles: string [S], encoded: they are decoded only if the targets are not known from an earlier call.
      content_masks: string [S], encoded masks over the content (see model/masks.py), or empty strings.
      style_masks: string [S], encoded masks over each style picture, or empty strings.
      initial: string scalar, the encoded picture to start from, or empty.
      fingerprint: int64 scalar, a hash of all inputs and settings. Measurements are valid only for the same hash.
    """

    content: tf.Tensor
    styles: tf.Tensor
    content_masks: tf.Tensor
    style_masks: tf.Tensor
    initial: tf.Tensor
    fingerprint: tf.Tensor


class Measured(NamedTuple):
    """The results of passes through the network; a state carries them to the next call.

    Attributes:
      style: float32 [N]. First the number of rows of each layer's style target (0: not in use). Then, layer by layer,
        the target, its scales and the content scale.
      content: bfloat16 [M], the features of the content at the content layers, concatenated. The rounding changes the
        content loss by 1e-5 of the features' mean square; at block3_conv1 they take 32 bytes a pixel of the state.
    """

    style: tf.Tensor
    content: tf.Tensor

    @classmethod
    def nothing(cls) -> Self:
        """Returns empty measurements."""
        return cls(tf.zeros([0]), tf.zeros([0], tf.bfloat16))


class Targets(NamedTuple):
    """The targets of one size. Lists have an element for each of the L layers, empty if the layer is not in use.

    With masks over the content there is one region for each style, else a single region for the blend of all styles.

    Attributes:
      masks: float32 [R, h, w], each region's mask at the layer's resolution; [0, 1, 1] without masks.
      shares: float32 [R], weight of each region, with sum 1.
      style: float32 [R, rows, C], from `losses.style_target`.
      style_scale: float32 [R], factor on each region's style loss.
      content: bfloat16 [1, h, w, C], features of the content picture.
      content_scale: float32 scalar, factor on the content loss.
      measured: the packed form of everything except masks and shares.
    """

    masks: list[tf.Tensor]
    shares: tf.Tensor
    style: list[tf.Tensor]
    style_scale: list[tf.Tensor]
    content: list[tf.Tensor]
    content_scale: list[tf.Tensor]
    measured: Measured


class Objective(tf.Module):
    """The loss of an image under a network; all methods are graph code and take what `parse_settings` returns."""

    def __init__(self, network: VGG19) -> None:
        super().__init__(name="objective")
        self.network = network
        features = tf.TensorSpec([1, None, None, None], network.dtype)
        stack, vector, number = [tf.TensorSpec([None] * rank) for rank in (3, 1, 0)]
        positions, index = [tf.TensorSpec(shape, tf.int32) for shape in ([None], [])]
        flag = tf.TensorSpec([], tf.bool)
        self._features = noinline(stack, index, flag, flag)(
            lambda image, last, *options: network.features(image, last, NetworkOptions(*options))
        )
        self._moments = noinline(features, stack)(_moments)
        self._style_target = noinline(features, stack, stack, positions, vector, index, index)(_style_target)
        self._content_scale = noinline(features, index, index)(_content_scale)
        self._style_term = noinline(features, stack, stack, vector, index)(_style_term)
        self._style_gradient = noinline(features, stack, stack, stack)(_style_gradient)
        of_content = tf.TensorSpec(features.shape, tf.bfloat16)
        self._content_term = noinline(features, of_content, number)(losses.content_loss_and_gradient)
        used = tf.TensorSpec([len(network.layers)], tf.bool)
        self._joined = noinline(*[features] * len(network.layers), used)(_joined)

    def targets(
        self, pictures: Pictures, settings: ParsedSettings, height: tf.Tensor, width: tf.Tensor, measured: Measured
    ) -> Targets:
        """Computes the targets for one size of the result: `height` and `width`, int32 scalars, in pixels.

        `measured` is that of earlier targets for the same inputs, settings and size; each part of it may be empty.
        """
        channels, masked = self.network.channels, is_masked(pictures)
        style_weights, content_weights, last = layer_weights(settings, tf.maximum(height, width))
        in_style, in_content = style_weights > 0, content_weights > 0
        masks_at = self._at_layers(masked, lambda: masks.regions(pictures.content_masks, height, width))
        shares = _shares(pictures, settings, masks_at[0])
        options = network_options(settings)
        shapes = [
            tf.where(used, tf.stack([1, height // 2**block, width // 2**block, c]), 0)
            for used, block, c in zip(tf.unstack(in_content), map(block_of, self.network.layers), channels, strict=True)
        ]
        sizes = [tf.reduce_prod(shape) for shape in shapes]

        def content_features() -> tf.Tensor:
            image = images.fitted(pictures.content, height, width)
            return self._joined(*self._features(image, _deepest(in_content), *options), in_content)

        def known() -> Measured:
            is_known = tf.size(measured.content) == tf.add_n(sizes)
            return measured._replace(content=tf.cond(is_known, lambda: measured.content, content_features))

        def unknown() -> Measured:
            image = images.fitted(pictures.content, height, width)
            styles, positions = self._style_moments(pictures, settings, image, in_style)
            # One pass through the network at a time, to save memory.
            with tf.control_dependencies(styles):
                features = self._features(tf.identity(image), last, *options)
            rows, parts = [], []
            for index, content in enumerate(features):
                target, scale = tf.cond(
                    in_style[index],
                    lambda index=index, content=content: self._style_target(
                        content, masks_at[index], styles[index], positions[:, index], shares,
                        settings["statistics"], settings["normalisation"],
                    ),
                    lambda: (tf.zeros([0, 0, 0]), tf.zeros([0])),
                )  # fmt: skip
                content_scale = tf.cond(
                    in_content[index],
                    lambda f=content: self._content_scale(f, settings["normalisation"], settings["content_loss"]),
                    lambda: tf.constant(0.0),
                )
                rows.append(tf.shape(target)[1])
                parts += [tf.reshape(target, [-1]), scale, content_scale[tf.newaxis]]
            style = tf.concat([tf.cast(tf.stack(rows), tf.float32), *parts], 0)
            return Measured(style, self._joined(*features, in_content))

        measured = tf.cond(tf.size(measured.style) > 0, known, unknown)
        count = len(channels)
        rows = tf.cast(measured.style[:count], tf.int32)
        regions = tf.where(rows > 0, tf.where(masked, tf.size(shares), 1), 0)
        lengths = tf.stack([regions * rows * tf.constant(channels), regions, tf.ones_like(rows)], 1)
        parts = tf.split(measured.style[count:], tf.reshape(lengths, [-1]), num=3 * count)
        return Targets(
            masks=masks_at,
            shares=tf.cond(masked, lambda: shares, lambda: tf.ones([1])),
            style=[tf.reshape(parts[3 * i], tf.stack([regions[i], rows[i], c])) for i, c in enumerate(channels)],
            style_scale=parts[1::3],
            content=list(map(tf.reshape, tf.split(measured.content, sizes, num=count), shapes)),
            content_scale=[tf.reshape(part, []) for part in parts[2::3]],
            measured=measured,
        )

    def losses_and_gradient(
        self, image: tf.Tensor, targets: Targets, settings: ParsedSettings
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the losses of an image, and the gradient of their weighted sum, for targets of its size.

        The image is float32 [H, W, 3], 0 to 255. The losses are float32 [4] (see LOSS_TERMS), the gradient with respect
        to the image float32 [H, W, 3].
        """
        style_weights, content_weights, last = layer_weights(settings, tf.reduce_max(tf.shape(image)[:2]))
        in_style, in_content = tf.unstack(style_weights > 0), tf.unstack(content_weights > 0)
        options = network_options(settings)
        activations = self._features(image, last, *options)
        # The style losses of all layers may run in parallel: an eigendecomposition keeps only one core busy.
        style_terms = [
            tf.cond(
                in_style[index],
                lambda index=index, features=features: self._style_term(
                    features, targets.masks[index], targets.style[index],
                    style_weights[index] * targets.shares * targets.style_scale[index], settings["statistics"],
                ),
                lambda c=c: (tf.constant(0.0), tf.zeros([0, c + 1, c]), tf.zeros([0, c + 1, c])),
            )
            for index, (features, c) in enumerate(zip(activations, self.network.channels, strict=True))
        ]  # fmt: skip
        content_terms = []

        def add_loss(index: int, features: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
            def add_style() -> tf.Tensor:
                _, own, slope = style_terms[index]
                slope = _in_turn(settings["style_weight"] * slope, gradient)
                return gradient + self._style_gradient(features, targets.masks[index], own, slope)

            def add_content() -> tuple[tf.Tensor, tf.Tensor]:
                scale = content_weights[index] * targets.content_scale[index]
                weight = _in_turn(settings["content_weight"] * scale, gradient)
                value, own = self._content_term(features, targets.content[index], weight)
                return scale * value, gradient + own

            gradient = tf.cond(in_style[index], add_style, lambda: gradient)
            value, gradient = tf.cond(in_content[index], add_content, lambda: (tf.constant(0.0), gradient))
            content_terms.append(value)
            return gradient

        gradient = self.network.image_gradient(image, activations, last, add_loss, options)
        style, content = tf.add_n([value for value, _, _ in style_terms]), sum(content_terms)
        variation, variation_gradient = losses.total_variation(image, settings["total_variation"])
        gradient += settings["total_variation_weight"] * variation_gradient
        total = (
            settings["content_weight"] * content
            + settings["style_weight"] * style
            + settings["total_variation_weight"] * variation
        )
        return tf.stack([total, content, style, variation]), gradient

    def progress(self, settings: ParsedSettings, sizes: Sizes, step: tf.Tensor) -> tf.Tensor:
        """Returns the fraction of a run's work done before a step, float32 scalar; the work is multiplications."""
        _, _, last = layer_weights(settings, tf.maximum(sizes.heights, sizes.widths))
        costs = tf.gather(self.network.products, last) * tf.cast(sizes.heights * sizes.widths, tf.float32)  # of a step
        starts = tf.concat([[0], sizes.ends[:-1]], 0)
        steps = tf.cast(sizes.ends - starts, tf.float32)
        done = tf.clip_by_value(tf.cast(step - starts, tf.float32), 0.0, steps)
        return tf.reduce_sum(done * costs) / tf.reduce_sum(steps * costs)

    def _style_moments(
        self, pictures: Pictures, settings: ParsedSettings, content_image: tf.Tensor, in_style: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Returns each style's moments at the style layers, and the number of positions they were taken over.

        The moments are float32 [S, C + 1, C] for each layer, zeros for layers not in use; the positions int32 [S, L].
        """
        height, width = tf.unstack(tf.shape(content_image)[:2])

        def of_style(index: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
            image = images.decode(pictures.styles[index], "style_bytes")
            image = _resized_style(image, tf.maximum(height, width), settings)
            matches = is_chosen(settings, "colours", "matched")
            image = tf.cond(matches, lambda: colour.matched(image, content_image), lambda: image)
            mask = pictures.style_masks[index]
            masks_at = self._at_layers(
                mask != "", lambda: masks.of_style(mask, *tf.unstack(tf.shape(image)[:2]))[tf.newaxis]
            )
            features = self._features(image, _deepest(in_style), *network_options(settings))
            moments = [
                tf.cond(
                    in_style[layer],
                    lambda f=f, mask_at=mask_at: self._moments(f, mask_at)[0],
                    lambda c=self.network.channels[layer]: tf.zeros([c + 1, c]),
                )
                for layer, (mask_at, f) in enumerate(zip(masks_at, features, strict=True))
            ]
            return moments, tf.stack([tf.reduce_prod(tf.shape(f)[1:3]) for f in features])

        return tf.map_fn(
            of_style,
            tf.range(tf.size(pictures.styles)),
            fn_output_signature=(
                [tf.TensorSpec([c + 1, c], tf.float32) for c in self.network.channels],
                tf.TensorSpec([len(self.network.layers)], tf.int32),
            ),
            parallel_iterations=1,
        )

    def _at_layers(self, masked: tf.Tensor, regions: Callable[[], tf.Tensor]) -> list[tf.Tensor]:
        """Returns the masks [R, H, W] that `regions` makes at each layer's resolution; [0, 1, 1] if not `masked`."""
        nothing = [tf.zeros([0, 1, 1])] * len(BLOCK_STARTS)
        pyramid = tf.cond(masked, lambda: masks.pyramid(regions()), lambda: nothing)
        return [pyramid[block_of(name)] for name in self.network.layers]


def _shares(pictures: Pictures, settings: ParsedSettings, regions: tf.Tensor) -> tf.Tensor:
    """Returns each style's share, float32 [S], sum 1: its blend weight times its area in masks [S, H, W], if any."""
    given, styles = settings["blend_weights"], tf.size(pictures.styles)
    count, expected = tf.size(given), "`blend_weights` must be one number for each of the "
    fits = (count == 0) | (count == styles)
    given = checked(given, fits, expected, styles, " styles, or empty. Received: ", count)
    blend = tf.cond(count == 0, lambda: tf.ones([styles]), lambda: given)
    areas = tf.cond(_are_masks(regions), lambda: tf.reduce_mean(regions, [1, 2]), lambda: tf.ones_like(blend))
    shares = blend / tf.reduce_sum(blend) * areas
    error = "`blend_weights` must be above 0 for a style whose mask is not black. Received: 0 for all of them"
    shares = checked(shares, tf.reduce_sum(shares) > 0, error)
    return shares / tf.reduce_sum(shares)


def _are_masks(regions: tf.Tensor) -> tf.Tensor:
    return tf.shape(regions)[0] > 0


def _joined(*features_and_used: tf.Tensor) -> tf.Tensor:
    """Concatenates the features [1, h, w, C] of the layers that the last argument, bool [L], marks: bfloat16 [M]."""
    *features, used = features_and_used
    parts = [
        tf.cond(u, lambda f=f: tf.reshape(tf.cast(f, tf.bfloat16), [-1]), lambda: tf.zeros([0], tf.bfloat16))
        for u, f in zip(tf.unstack(used), features, strict=True)
    ]
    return tf.concat(parts, 0)


def _moments(features: tf.Tensor, regions: tf.Tensor) -> tf.Tensor:
    """Returns the moments of features [1, h, w, C] in each region, float32 [R, C + 1, C]; R is 1 without masks.

    Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer", CVPR 2017, section 4, multiply the features
    by a guidance channel, normalised to a sum of squares of one. A mask here is the square of that channel.
    """
    return tf.cond(
        _are_masks(regions),
        # One region at a time: memory does not grow with the number of regions.
        lambda: tf.map_fn(lambda mask: losses.moments(features, mask), regions, parallel_iterations=1),
        lambda: losses.moments(features)[tf.newaxis],
    )


def _style_target(
    content: tf.Tensor, regions: tf.Tensor, styles: tf.Tensor, positions: tf.Tensor, shares: tf.Tensor,
    statistics: tf.Tensor, normalisation: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:  # fmt: skip
    """Returns a layer's style target, [R, rows, C], and the factor on each region's style loss, [R]."""
    styles, positions = tf.cond(
        _are_masks(regions),
        lambda: (styles, positions),
        lambda: (losses.blended(styles, shares), tf.reduce_sum(positions, keepdims=True)),
    )
    target = losses.style_target(styles, positions, statistics)
    size = losses.style_sizes(target, statistics)
    gap, _ = losses.style_losses_and_gradient(_moments(content, regions), target, statistics)
    # If the style is the content itself, the gap is zero.
    return target, _one_over(normalisation, tf.maximum(gap, LEAST_GAP * size), size)


def _content_scale(features: tf.Tensor, normalisation: tf.Tensor, content_loss: tf.Tensor) -> tf.Tensor:
    """Returns the factor on a layer's content loss, float32 scalar."""
    mean, square = losses.mean_and_square(features)
    scale = _one_over(normalisation, square - tf.square(mean), square)
    is_sum = content_loss == choice_index("content_loss", "sum")
    return scale * tf.where(is_sum, tf.cast(tf.size(features), tf.float32), 1.0)


def _style_term(
    features: tf.Tensor, regions: tf.Tensor, target: tf.Tensor, scale: tf.Tensor, statistics: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the style loss, weighted by `scale` [R] and summed over regions; the moments; the gradient at them."""
    own = _moments(features, regions)
    value, slope = losses.style_losses_and_gradient(own, target, statistics)
    return tf.reduce_sum(scale * value), own, scale[:, tf.newaxis, tf.newaxis] * slope


def _style_gradient(features: tf.Tensor, regions: tf.Tensor, own: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of a style term at the features [1, h, w, C], given their moments and `slope` at them."""

    def add_region(region: tf.Tensor, gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return region + 1, gradient + losses.moments_gradient(features, own[region], slope[region], regions[region])

    def of_regions() -> tf.Tensor:
        nothing = tf.zeros_like(features, gradient_dtype(features.dtype))
        return tf.while_loop(
            lambda region, _: region < tf.shape(regions)[0], add_region, (0, nothing), parallel_iterations=1
        )[1]

    return tf.cond(_are_masks(regions), of_regions, lambda: losses.moments_gradient(features, own[0], slope[0]))


def _in_turn(value: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Returns a value from which a layer's own gradient is computed, once that from the deeper layers is there.

    So the gradients of all layers are never in memory at once.
    """
    with tf.control_dependencies([tf.identity(gradient)]):
        return tf.identity(value)


def is_masked(pictures: Pictures) -> tf.Tensor:
    """Returns whether any mask over the content was sent, bool scalar."""
    return tf.reduce_any(tf.not_equal(pictures.content_masks, ""))


def network_options(settings: ParsedSettings) -> NetworkOptions:
    """Returns the pooling and padding that the settings choose."""
    return NetworkOptions(
        average_pooling=is_chosen(settings, "pooling", "average"), zero_padding=is_chosen(settings, "padding", "zero")
    )


def layer_weights(settings: ParsedSettings, long_side: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns each layer's share in the style and in the content term, and the index of the deepest layer in use.

    Given the image's long side, int32 [...], in pixels, they are float32 [..., L] and int32 [...]. The shares of the
    layers that count at every size have the sum 1; layers limited to small sizes are added on top. All shares of a term
    are 0 if its weight is 0.
    """
    long_side = tf.cast(long_side, tf.float32)[..., tf.newaxis]
    shares = []
    for term in ("style", "content"):
        weights, up_to = tf.unstack(settings[f"{term}_layers"])
        everywhere = tf.reduce_sum(tf.where(up_to == MAX_SIZE_PX, weights, 0.0))
        in_use = (settings[f"{term}_weight"] > 0) & (up_to >= long_side)
        shares.append(tf.where(in_use, weights / everywhere, 0.0))
    style, content = shares
    return style, content, _deepest(style + content > 0)


def _deepest(used: tf.Tensor) -> tf.Tensor:
    """Returns the index of the deepest layer in use, int32 [...], for bool [..., L]; 0 if none is in use."""
    return tf.reduce_max(tf.where(used, tf.range(tf.shape(used)[-1]), 0), -1)


def _one_over(normalisation: tf.Tensor, relative: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the factor on a loss: one over the divisor that `normalisation` chooses."""
    is_relative, is_target = [normalisation == choice_index("normalisation", one) for one in ("relative", "target")]
    unit = tf.where(is_relative, relative, tf.where(is_target, size, 1.0))
    return 1.0 / (unit + losses.EPSILON)


def _resized_style(image: tf.Tensor, size: tf.Tensor, settings: ParsedSettings) -> tf.Tensor:
    """Resizes a style picture to the long side that the settings give for a result of this size.

    It keeps its aspect ratio. If its short side would have less than SHORT_SIDE_PX pixels, it is made larger.
    """
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    base = tf.where(settings["style_size"] > 0, settings["style_size"], size)
    long_side = tf.minimum(settings["style_scale"] * tf.cast(base, tf.float32), float(MAX_SIZE_PX))
    long_side = tf.maximum(long_side, least_long_side(image, "style_bytes"))
    target = tf.cast(tf.round(sides * (long_side / tf.reduce_max(sides))), tf.int32)
    return images.resize(image, target[0], target[1])
