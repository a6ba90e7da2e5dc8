"""Content, style and total variation losses: pure functions, float32 inside.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, with the conventions
of this project: a loss is a mean over its elements unless its name says sum, so that a weight means the same at every
size, and a Gram matrix is divided by the number of positions alone (Gatys divides the loss by 4 N^2 C^2 instead).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from model.parsing import place, switch
from model.vgg19 import gradient_dtype

Loss = Callable[[tf.Tensor], tf.Tensor]
"""From a picture to a scalar."""

EPSILON = 1e-12  # keeps a division by a vanishing normaliser finite
RIDGE = 1e-4  # of the mean variance, added to the variances before a root is taken of a covariance
NOISE = 7e-5  # of a mean's square: how wrong bfloat16 leaves a covariance's eigenvalues; added to the ridge
PARTS = 4  # of features, of which one is there in float32 at a time
ROWS, SEGMENTS = 64, 8  # of features that bfloat16 products need, and parts of a row for the mean, to be no worse
CANCELLATION = 2e-3  # of a mean's square: how wrong a covariance can be that is what remains beside it
LEAST_SPREAD = 0.02  # total variance to the mean's square, above which that error does no harm
LEAST_ROOT = 1e-3  # smallest eigenvalue's root that the iteration is made for, to the matrix's norm
NEWTON_SCHULZ_STEPS = 10  # as near as 18 without scaling: 5e-4 of a rank-deficient loss


def moments(features: tf.Tensor) -> tf.Tensor:
    """Returns the first two raw moments of features over their N positions: the Gram matrix F'F / N, and the mean.

    Raw moments of several pictures blend linearly; covariances do not. So styles are mixed as moments.

    Args:
      features: any float type, [1, h, w, C].

    Returns:
      float32 [C + 1, C]: the Gram matrix, and the mean as last row.
    """
    if features.dtype != tf.bfloat16:
        return _exact_moments(features)
    # Of few rows the roundings do not cancel, and the exact way is cheap.
    few = tf.shape(features)[1] < ROWS
    return tf.cond(few, lambda: _exact_moments(features), lambda: _rounded_moments(features[0]))


def _exact_moments(features: tf.Tensor) -> tf.Tensor:
    flat = _flat(features)
    products = [tf.matmul(flat, flat, transpose_a=True), tf.matmul(tf.ones([1, tf.shape(flat)[0]]), flat)]
    return tf.concat(products, 0) / _rows(features)


def _rounded_moments(rows: tf.Tensor) -> tf.Tensor:
    """Returns `moments` of rows [h, w, C] by products in bfloat16 and their sum in float32.

    Processors have units for them: three times as fast as float32 throughout, and right to 4e-4
    (tests/benchmarks/notes.md). A product is rounded once, so the more of them there are, the better.
    """
    segment = tf.range(tf.shape(rows)[1]) % SEGMENTS
    segments = tf.one_hot(segment, SEGMENTS, axis=0, dtype=rows.dtype)  # [SEGMENTS, w]
    segments = tf.tile(segments[tf.newaxis], tf.stack([tf.shape(rows)[0], 1, 1]))
    gram = tf.reduce_sum(tf.cast(tf.matmul(rows, rows, transpose_a=True), tf.float32), 0)  # of [h, C, C]
    total = tf.reduce_sum(tf.cast(tf.matmul(segments, rows), tf.float32), [0, 1])  # of [h, SEGMENTS, C]
    return tf.concat([gram, total[tf.newaxis]], 0) / _rows(rows)


def moments_gradient(features: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of a loss with respect to features, given that with respect to their `moments`.

    Args:
      features: any float type, [1, h, w, C].
      upstream: float32 [C + 1, C].

    Returns:
      The features' shape, `gradient_dtype` of their type.
    """
    features = tf.cast(features, gradient_dtype(features.dtype))
    return _sums_gradient(features, upstream / _rows(features))


def guided_moments(features: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Returns `moments` where masks are, each position counting as much as the mask says.

    Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer", CVPR 2017, section 4: features times a
    guidance channel whose squares sum to one; a mask here is that channel's square.

    Args:
      features: any float type, [1, h, w, C].
      masks: float32 [R, h, w], 0 to 1.

    Returns:
      float32 [R, C + 1, C]; zeros where a mask is all black.
    """
    flat = _flat(features)

    def of_region(weights: tf.Tensor) -> tf.Tensor:
        weighted = flat * weights  # [N, C]
        gram = tf.matmul(weighted, flat, transpose_a=True)
        return tf.concat([gram, tf.reduce_sum(weighted, 0, keepdims=True)], 0)

    # One region after another, so that memory does not grow with their number.
    return tf.map_fn(of_region, _guides(masks), parallel_iterations=1)


def guided_moments_gradient(features: tf.Tensor, masks: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Returns the gradient with respect to features, given `upstream` [R, C + 1, C] at their `guided_moments`."""
    flat, guides = _flat(features), _guides(masks)

    def add_region(region: tf.Tensor, gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        own = _sums_gradient(flat[tf.newaxis, tf.newaxis], upstream[region])[0, 0]
        return region + 1, gradient + guides[region] * own

    _, gradient = tf.while_loop(
        lambda region, _: region < tf.shape(masks)[0], add_region, (0, tf.zeros_like(flat)), parallel_iterations=1
    )
    return tf.cast(tf.reshape(gradient, tf.shape(features)), gradient_dtype(features.dtype))


def _sums_gradient(features: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Returns the gradient at features [1, h, w, C], given `upstream` [C + 1, C] at sums of their products and of them.

    The Gram matrix is symmetric: one product instead of two. The mean's share is a bias of it. The product is a
    convolution, since TensorFlow's own with a bias makes two more copies of the features and takes twice the time.
    """
    kernel = tf.cast(_symmetric(upstream[:-1]), features.dtype)[tf.newaxis, tf.newaxis]  # [1, 1, C, C]
    return tf.nn.bias_add(tf.nn.conv2d(features, kernel, 1, "VALID"), tf.cast(upstream[-1], features.dtype))


def _flat(features: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.cast(features, tf.float32), tf.stack([-1, tf.shape(features)[-1]]))  # [N, C]


def _rows(features: tf.Tensor) -> tf.Tensor:
    """Returns the number of positions of features [..., C], float32 scalar."""
    return tf.cast(tf.reduce_prod(tf.shape(features)[:-1]), tf.float32)


def _guides(masks: tf.Tensor) -> tf.Tensor:
    """Returns masks [R, h, w] as weights of the positions, [R, N, 1], with sum 1."""
    weights = tf.reshape(masks, tf.stack([tf.shape(masks)[0], -1, 1]))
    return weights / tf.maximum(tf.reduce_sum(weights, 1, keepdims=True), EPSILON)


def _symmetric(matrix: tf.Tensor) -> tf.Tensor:
    return matrix + tf.linalg.matrix_transpose(matrix)


def style_target(raw: tf.Tensor, statistics: tf.Tensor) -> tf.Tensor:
    """Turns styles' raw moments into what `style_losses` compares with.

    Args:
      raw: float32 [R, C + 1, C], from `moments`, one for each region.
      statistics: int32 scalar, as the setting is parsed: `gram`, `mean_covariance` or `wasserstein`.

    Returns:
      float32 [R, C + 1, C]: a matrix and a row. For `gram` the Gram matrix and zeros; for `mean_covariance` the
      covariance and the mean; for `wasserstein` the covariance's square root and the mean.
    """

    def with_root() -> tf.Tensor:
        about_mean = _statistics(raw, 1.0)
        covariance = about_mean[:, :-1]
        ridge = _ridge(tf.linalg.trace(covariance), about_mean[:, -1]) + EPSILON  # [R]
        # A decomposition of what is not finite would end the call; as a loss that is not, it ends the run.
        finite = tf.reduce_all(tf.math.is_finite(covariance), [1, 2], keepdims=True)
        identity = tf.eye(tf.shape(raw)[-1])
        covariance = tf.where(finite, covariance + _over_matrices(ridge) * identity, identity)
        values, vectors = tf.linalg.eigh(covariance)
        roots = tf.sqrt(tf.maximum(values, 0.0))[:, tf.newaxis]  # [R, 1, C]
        root = tf.where(finite, tf.matmul(vectors * roots, vectors, transpose_b=True), float("nan"))
        return tf.concat([root, about_mean[:, -1:]], 1)

    return tf.cond(_is_wasserstein(statistics), with_root, lambda: _statistics(raw, _is_about_mean(statistics)))


def _ridge(variance: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """Returns what is added to the variances of a style and of what is compared with it, [R].

    Args:
      variance: float32 [R], the style's variances together.
      mean: float32 [R, C], the style's.
    """
    return RIDGE * variance / _channels(mean) + NOISE * tf.reduce_sum(tf.square(mean), -1)


def style_losses(raw: tf.Tensor, target: tf.Tensor, statistics: tf.Tensor) -> tf.Tensor:
    """Returns the distance of a picture's features from a style's, float32 [R].

    `gram`: mean((G - G*)^2) over the C x C elements. `mean_covariance`: the same of covariances, and the squared
    differences of the C means added before dividing by C^2. `wasserstein`: the squared Wasserstein-2 distance of two
    Gaussians over C,

        (|mu - mu*|^2 + tr(S + S* - 2 (S*^1/2 S S*^1/2)^1/2)) / C.

    Args:
      raw: float32 [R, C + 1, C], moments of the picture's features, one for each region.
      target: float32 [R, C + 1, C], from `style_target`.
      statistics: int32 scalar, as for the target.
    """
    return style_losses_and_gradient(raw, target, statistics)[0]


def style_losses_and_gradient(raw: tf.Tensor, target: tf.Tensor, statistics: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns `style_losses`, and the gradient of each with respect to its moments, float32 [R, C + 1, C]."""
    return tf.cond(
        _is_wasserstein(statistics),
        lambda: _wasserstein(raw, target),
        lambda: _squares(raw, target, _is_about_mean(statistics)),
    )


def style_sizes(target: tf.Tensor, statistics: tf.Tensor) -> tf.Tensor:
    """Returns the distance of nothing at all from a style, float32 [R]: what its loss can be measured in."""
    channels = _channels(target)
    elements = tf.where(_is_wasserstein(statistics), channels, channels**2)
    return tf.reduce_sum(tf.square(target), [1, 2]) / elements


def _squares(raw: tf.Tensor, target: tf.Tensor, about_mean: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    difference = _statistics(raw, about_mean) - target
    elements = _channels(raw) ** 2
    slope = _statistics_gradient(raw, 2.0 / elements * difference, about_mean)
    return tf.reduce_sum(tf.square(difference), [1, 2]) / elements, slope


def _is_wasserstein(statistics: tf.Tensor) -> tf.Tensor:
    return tf.equal(statistics, place("statistics", "wasserstein"))


def _is_about_mean(statistics: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.equal(statistics, place("statistics", "mean_covariance")), tf.float32)


def _statistics(raw: tf.Tensor, about_mean: tf.Tensor | float) -> tf.Tensor:
    """Returns covariance and mean [R, C + 1, C] where `about_mean` is 1, Gram matrix and zeros where it is 0."""
    mean = raw[:, -1:] * about_mean  # [R, 1, C]
    return tf.concat([raw[:, :-1] - tf.matmul(mean, mean, transpose_a=True), mean], 1)


def _statistics_gradient(raw: tf.Tensor, slope: tf.Tensor, about_mean: tf.Tensor | float) -> tf.Tensor:
    """Returns the gradient with respect to the moments, given that with respect to their `_statistics`."""
    mean = raw[:, -1:] * about_mean  # [R, 1, C]
    of_mean = about_mean * slope[:, -1:] - tf.matmul(mean, _symmetric(slope[:, :-1]))
    return tf.concat([slope[:, :-1], of_mean], 1)


def _channels(raw: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(raw)[-1], tf.float32)


def _wasserstein(raw: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    about_mean = _statistics(raw, 1.0)
    root, channels, identity = target[:, :-1], _channels(raw), tf.eye(tf.shape(raw)[-1])
    mean, variance = about_mean[:, -1], tf.linalg.trace(about_mean[:, :-1])  # [R, C], [R]
    wanted = tf.reduce_sum(tf.square(root), [1, 2])  # [R], trace of S*
    # Of features that are all the same the covariance is rounding alone, and may have roots that are none.
    level = tf.reduce_sum(tf.square(mean), -1) + EPSILON  # [R]
    shortage = tf.nn.relu(1.0 - variance / level / LEAST_SPREAD)
    ridge = _ridge(wanted, target[:, -1]) + CANCELLATION * level * tf.square(shortage)
    covariance = about_mean[:, :-1] + _over_matrices(ridge) * identity
    apart = mean - target[:, -1]
    trace, inverse = trace_of_root(tf.matmul(tf.matmul(root, covariance), root))
    value = tf.reduce_sum(tf.square(apart), -1) + tf.linalg.trace(covariance) + wanted - 2.0 * trace

    of_covariance = identity - tf.matmul(tf.matmul(root, inverse), root)
    of_ridge = CANCELLATION * tf.linalg.trace(of_covariance) * shortage  # that comes from the shortage, [R]
    of_variance = -2.0 / LEAST_SPREAD * of_ridge
    of_level = of_ridge * (shortage + 2.0 / LEAST_SPREAD * variance / level)
    of_mean = 2.0 * (apart + of_level[:, tf.newaxis] * mean)
    slope = tf.concat([of_covariance + _over_matrices(of_variance) * identity, of_mean[:, tf.newaxis]], 1)
    return value / channels, _statistics_gradient(raw, slope, 1.0) / channels


def _over_matrices(scalars: tf.Tensor) -> tf.Tensor:
    """Returns [R] as [R, 1, 1]."""
    return scalars[:, tf.newaxis, tf.newaxis]


def _newton_schulz_scales() -> list[float]:
    """Returns by how much each step stretches the roots, which lie between `least` and 1 before it."""
    scales, least = [], LEAST_ROOT
    for _ in range(NEWTON_SCHULZ_STEPS):
        scale = math.sqrt(3 / (1 + least + least**2))
        scales.append(scale)
        least *= 1.5 * scale - 0.5 * scale**3 * least**2
    return scales


def trace_of_root(matrices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the traces [R] of the roots of symmetric positive matrices [R, C, C], and the inverse roots [R, C, C].

    Half the inverse root is the gradient of such a trace.

    Newton-Schulz iteration for both roots at once (Higham, "Functions of Matrices", 2008, equation 6.35), scaled for
    the interval that the eigenvalues are in at each step (Chen and Chow, "A stable scaling of Newton-Schulz for
    improving the sign function computation of a Hermitian matrix", 2014). An eigenvalue that is tiny beside the largest
    is not reached in the given steps; both roots are then too small there, which leaves the gradient finite.
    """
    identity = tf.eye(tf.shape(matrices)[-1])
    norm = tf.norm(matrices, axis=[1, 2], keepdims=True) + EPSILON  # [R, 1, 1]
    start = matrices / norm
    scales = tf.constant(_newton_schulz_scales())

    def factor(i: tf.Tensor | int, product: tf.Tensor) -> tf.Tensor:
        return 1.5 * scales[i] * identity - 0.5 * scales[i] ** 3 * product

    def step(i: tf.Tensor, root: tf.Tensor, inverse: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        by = factor(i, tf.matmul(inverse, root))
        return i + 1, tf.matmul(root, by), tf.matmul(by, inverse)

    # The first inverse root is the identity, and of the last root only the trace is wanted: three products fewer.
    by = factor(0, start)
    last = NEWTON_SCHULZ_STEPS - 1
    _, root, inverse = tf.while_loop(
        lambda i, *_: i < last, step, (tf.constant(1), tf.matmul(start, by), by), parallel_iterations=1
    )
    by = factor(last, tf.matmul(inverse, root))
    trace = tf.reduce_sum(root * tf.linalg.matrix_transpose(by), [1, 2])
    scale = tf.sqrt(norm)
    return trace * scale[:, 0, 0], tf.matmul(by, inverse) / scale


def content_loss_and_gradient(features: tf.Tensor, target: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean square difference of features and target, and `weight` times its gradient.

    Args:
      features: any float type, [1, h, w, C].
      target: of the same shape and type.
      weight: float32 scalar.

    Returns:
      float32 scalar; the gradient with respect to the features, of their shape and `gradient_dtype` of their type.
    """
    # Rounded to the features' type: in float32 it and its multiples were the most that a step held at once.
    difference = features - target
    value = _by_parts(difference, lambda part: tf.reduce_sum(tf.square(part))) / _count(difference)
    # Once nothing else reads the difference, its multiple takes its place.
    with tf.control_dependencies([value]):
        factor = 2.0 * weight / _count(difference)
    dtype = gradient_dtype(features.dtype)
    return value, tf.cast(factor, dtype) * tf.cast(difference, dtype)


def mean_and_square(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean of features [1, h, w, C] of any float type, and that of their squares, float32 scalars."""
    sums = _by_parts(features, lambda part: tf.stack([tf.reduce_sum(part), tf.reduce_sum(tf.square(part))]))
    mean, square = tf.unstack(sums / _count(features))
    return mean, square


def _by_parts(features: tf.Tensor, sums: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Returns sums over features, made of parts of them one after the other: in float32 all would be large."""
    rows = features[0]
    height, total = tf.shape(rows)[0], tf.constant(0.0)
    for part in range(PARTS):
        with tf.control_dependencies([total]):
            some = rows[part * height // PARTS : (part + 1) * height // PARTS]
        total += sums(tf.cast(some, tf.float32))
    return total


def _count(x: tf.Tensor) -> tf.Tensor:
    return tf.maximum(tf.cast(tf.size(x), tf.float32), 1.0)


def total_variation(image: tf.Tensor, form: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the total variation of a picture, and its gradient.

    Args:
      image: float32 [H, W, 3], 0 to 255.
      form: int32 scalar, as the setting is parsed. `squared`: mean of the squared differences to the right and below,
        together; `squared_sum`: their sum; `absolute_sum`: sum of the absolute differences (tf.image.total_variation);
        `power_sum`: sum of (dx^2 + dy^2)^1.25 (keras.io); `nine_point`: 2 (mean dx^2 / 3 + mean dy^2 / 3 + mean of both
        diagonals' squares / 12) (crowsonkb).

    Returns:
      float32 scalar, and float32 [H, W, 3].
    """
    forms = {"squared": _squared, **{name: _with_gradient(f) for name, f in _FORMS.items()}}
    branches = {name: lambda form=form: form(image) for name, form in forms.items()}
    value, gradient = switch("total_variation", form, branches)
    return value, tf.ensure_shape(gradient, image.shape)


def _squared(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    right, below = _right(image), _below(image)
    differences = tf.maximum(tf.cast(tf.size(right) + tf.size(below), tf.float32), 1.0)
    # Written out because the automatic gradient of four slices costs more than all the rest of this loss.
    from_right = tf.pad(right, [[0, 0], [1, 0], [0, 0]]) - tf.pad(right, [[0, 0], [0, 1], [0, 0]])
    from_below = tf.pad(below, [[1, 0], [0, 0], [0, 0]]) - tf.pad(below, [[0, 1], [0, 0], [0, 0]])
    value = (tf.reduce_sum(tf.square(right)) + tf.reduce_sum(tf.square(below))) / differences
    return value, (from_right + from_below) * (2.0 / differences)


def _squared_sum(image: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(_right(image))) + tf.reduce_sum(tf.square(_below(image)))


def _absolute_sum(image: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.abs(_right(image))) + tf.reduce_sum(tf.abs(_below(image)))


def _power_sum(image: tf.Tensor) -> tf.Tensor:
    squares = tf.square(_right(image)[:-1]) + tf.square(_below(image)[:, :-1])  # [H-1, W-1, 3]
    return tf.reduce_sum(tf.pow(squares, 1.25))


def _nine_point(image: tf.Tensor) -> tf.Tensor:
    falling, rising = image[1:, 1:] - image[:-1, :-1], image[1:, :-1] - image[:-1, 1:]  # [H-1, W-1, 3]
    straight = _mean_square(_right(image)) + _mean_square(_below(image))
    return 2.0 * (straight / 3.0 + (_mean_square(falling) + _mean_square(rising)) / 12.0)


_FORMS: dict[str, Loss] = {
    "squared_sum": _squared_sum,
    "absolute_sum": _absolute_sum,
    "power_sum": _power_sum,
    "nine_point": _nine_point,
}


def _right(image: tf.Tensor) -> tf.Tensor:
    return image[:, 1:] - image[:, :-1]  # [H, W-1, 3]


def _below(image: tf.Tensor) -> tf.Tensor:
    return image[1:] - image[:-1]  # [H-1, W, 3]


def _mean_square(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(x)) / _count(x)


def _with_gradient(loss: Loss) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    def value_and_gradient(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(image)
            value = loss(image)
        return value, tape.gradient(value, image)

    return value_and_gradient
