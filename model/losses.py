"""Content, style and total variation losses and their gradients: pure functions, float32 inside.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016. Two things differ from
the paper. A loss is a mean over its elements unless its name says sum: a weight then means the same at every size. And
a Gram matrix is divided by the number of positions, where Gatys divides the loss by 4 N^2 C^2.
"""

from collections.abc import Callable

import tensorflow as tf

from model.parsing import choice_index, switch
from model.vgg19 import gradient_dtype

EPSILON = 1e-12  # keeps a division finite where the divisor vanishes
RIDGE = 1e-4  # of the style's mean variance, added to all variances: 1 % of the standard deviation, too little to see
PARTS = 4  # features are summed in this many parts, to hold only one part in float32 at a time


def moments(features: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the covariance and the mean of features over their N positions.

    The features are centred before they are multiplied. A difference of large products would lose its digits, above all
    where a device rounds the factors of a product to 10 bits (TF32) or 7 (bfloat16). And X'X has no negative
    eigenvalues, however the elements of X are rounded.

    Args:
      features: any float type, [1, h, w, C].
      weights: float32 [h, w], the weight of each position, 0 to 1; None: all the same.

    Returns:
      float32 [C + 1, C]: the covariance, and the mean as last row; zeros if all weights are 0.
    """
    count = _positions(features, weights)
    if weights is None:
        mean = _by_parts(_sum_of_rows, features[0]) / count
        products = _by_parts(lambda part: _squared(part - mean), features[0])
    else:
        guide = weights[..., tf.newaxis]  # [h, w, 1]
        mean = _by_parts(lambda part, own: _sum_of_rows(own * part), features[0], guide) / count
        products = _by_parts(lambda part, own: _squared(tf.sqrt(own) * (part - mean)), features[0], guide)
    return tf.concat([products / count, mean[tf.newaxis]], 0)


def moments_gradient(
    features: tf.Tensor, own: tf.Tensor, upstream: tf.Tensor, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Returns the gradient of a loss at features, [1, h, w, C] of `gradient_dtype`, given that at their `moments`.

    Args:
      features: any float type, [1, h, w, C].
      own: float32 [C + 1, C], their moments.
      upstream: float32 [C + 1, C], the gradient with respect to the moments; symmetric in the rows of the covariance.
      weights: float32 [h, w], as for the moments.
    """
    features = tf.cast(features, gradient_dtype(features.dtype))
    upstream /= _positions(features, weights)
    kernel, mean = 2.0 * upstream[:-1], own[-1]
    # The features are centred on the mean, rounded to their type; the bias corrects for the rounding.
    centre = tf.cast(mean, features.dtype)
    bias = upstream[-1] - _times(kernel, mean - tf.cast(centre, tf.float32))
    kernel = tf.cast(kernel, features.dtype)[tf.newaxis, tf.newaxis]  # [1, 1, C, C]
    # A 1x1 convolution: `tf.matmul` and an addition would make two more copies of the features.
    gradient = tf.nn.conv2d(features - centre, kernel, 1, "VALID")
    gradient = tf.nn.bias_add(gradient, tf.cast(bias, features.dtype))
    return gradient if weights is None else tf.cast(weights, features.dtype)[tf.newaxis, ..., tf.newaxis] * gradient


def _positions(features: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Returns the number of positions, or the sum of their weights, float32 scalar."""
    if weights is None:
        return tf.cast(tf.reduce_prod(tf.shape(features)[:-1]), tf.float32)
    return tf.maximum(tf.reduce_sum(weights), EPSILON)


def blended(parts: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """Returns the moments of a mixture, float32 [1, C + 1, C], by the law of total covariance.

    Takes the moments of its parts, float32 [S, C + 1, C], and their shares, float32 [S], with sum 1.
    """
    mixed = tf.reduce_sum(shares[:, tf.newaxis, tf.newaxis] * parts, 0)
    mean_difference = parts[:, -1] - mixed[-1]  # [S, C]
    between = tf.reduce_sum(shares[:, tf.newaxis, tf.newaxis] * _outer(mean_difference), 0)
    return tf.concat([mixed[:-1] + between, mixed[-1:]], 0)[tf.newaxis]


def style_target(style: tf.Tensor, positions: tf.Tensor, statistics: tf.Tensor) -> tf.Tensor:
    """Turns the moments of styles into the target of `style_losses_and_gradient`.

    Args:
      style: float32 [R, C + 1, C], from `moments`, one for each region.
      positions: int32 [R], the number of positions that the moments were taken over. It bounds the covariance's rank.
      statistics: int32 scalar, the parsed setting.

    Returns:
      float32 [R, rows, C]. For `gram`: the Gram matrix, and a row of zeros. For `wasserstein`: a factor U of the
      covariance U'U, and the mean as last row. The rows of U are the covariance's eigenvectors, the largest variance
      first, times the square roots of their variances plus the ridge. U has as many rows as the largest rank that the
      positions allow; in a region of lower rank the last ones are zeros.
    """

    def factor_and_mean() -> tf.Tensor:
        covariance = tf.cast(style[:, :-1], tf.float64)
        ridge = RIDGE * tf.linalg.trace(covariance) / _channels(covariance) + EPSILON  # [R]
        values, vectors = _eigen(covariance)
        roots = tf.sqrt(tf.maximum(values, 0.0) + ridge[:, tf.newaxis])  # [R, C], the smallest first
        rank = tf.minimum(tf.reduce_max(positions) - 1, tf.shape(style)[-1])
        vary = tf.sequence_mask(positions - 1, rank, tf.float64)
        rows = tf.reverse(tf.linalg.matrix_transpose(vectors * roots[:, tf.newaxis]), [1])
        factor = rows[:, :rank] * vary[..., tf.newaxis]
        return tf.concat([tf.cast(factor, tf.float32), style[:, -1:]], 1)

    return tf.cond(_is_wasserstein(statistics), factor_and_mean, lambda: _gram(style))


def style_losses_and_gradient(own: tf.Tensor, target: tf.Tensor, statistics: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the distance of an image's features from a style's, and its gradient with respect to their moments.

    `gram`: mean((G - G*)^2) over the C x C elements. `wasserstein`: the squared Wasserstein-2 distance of two Gaussians
    divided by C,

        (|mu - mu*|^2 + tr(S + S* - 2 (U S U')^1/2)) / C,   S* = U'U,

    with a ridge added to both covariances in the directions in which the style varies. U S U' has the eigenvalues of
    the usual S*^1/2 S S*^1/2, but only the style's rank: a few dozen of 512 at small sizes.

    Args:
      own: float32 [R, C + 1, C], moments of the image's features, one for each region.
      target: float32 [R, rows, C], from `style_target`.
      statistics: int32 scalar, the parsed setting.

    Returns:
      float32 [R], 0 or more, and float32 [R, C + 1, C].
    """
    return tf.cond(_is_wasserstein(statistics), lambda: _wasserstein(own, target), lambda: _of_grams(own, target))


def style_sizes(target: tf.Tensor, statistics: tf.Tensor) -> tf.Tensor:
    """Returns the distance of a style target from zero, float32 [R]: the divisor for `normalisation=target`."""
    channels = _channels(target)
    elements = tf.where(_is_wasserstein(statistics), channels, channels**2)
    return tf.reduce_sum(tf.square(target), [1, 2]) / elements


def _gram(own: tf.Tensor) -> tf.Tensor:
    """Returns the Gram matrices S + mu mu' of moments, with zeros in place of the means, [R, C + 1, C]."""
    mean = own[:, -1]
    return tf.concat([own[:, :-1] + _outer(mean), tf.zeros_like(mean)[:, tf.newaxis]], 1)


def _of_grams(own: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    difference = _gram(own) - target
    elements = _channels(own) ** 2
    slope = 2.0 / elements * difference[:, :-1]
    of_mean = 2.0 * _times(slope, own[:, -1])
    slope = tf.concat([slope, of_mean[:, tf.newaxis]], 1)
    return tf.reduce_sum(tf.square(difference), [1, 2]) / elements, slope


def _wasserstein(own: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what `style_losses_and_gradient` does, computed in float64, which no device rounds.

    Near the end of a run the distance is a ten-thousandth of the traces that are subtracted. In float64 the C x C
    matrices take little time.
    """
    factor, covariance = [tf.cast(one[:, :-1], tf.float64) for one in (target, own)]
    channels, variances = _channels(covariance), tf.reduce_sum(tf.square(factor), 2)  # [R, r], those of S*
    ranks = tf.math.count_nonzero(variances, -1, dtype=tf.float64)  # [R]
    size = tf.reduce_sum(variances, -1)  # [R], tr S* with its ridge
    ridge = RIDGE * size / (channels + RIDGE * ranks)
    mean_difference = tf.cast(own[:, -1] - target[:, -1], tf.float64)  # [R, C]
    identity = tf.eye(tf.shape(own)[-1], dtype=tf.float64)
    widened = covariance + ridge[:, tf.newaxis, tf.newaxis] * identity
    values, vectors = _eigen(tf.matmul(factor, tf.matmul(widened, factor, transpose_b=True)))
    roots = tf.sqrt(tf.maximum(values, 0.0))
    traces = tf.linalg.trace(covariance) + ranks * ridge + size
    distance = tf.reduce_sum(tf.square(mean_difference), -1) + traces - 2.0 * tf.reduce_sum(roots, -1)
    half = tf.matmul(factor, vectors, transpose_a=True)  # [R, C, r]
    # In the rows of U both covariances are at least the ridge; EPSILON is for a style of one colour.
    least = tf.maximum(roots, ridge[:, tf.newaxis] + EPSILON)[:, tf.newaxis]
    transport = tf.matmul(half / least, half, transpose_b=True)  # optimal map from own features to the style's
    slope = tf.concat([identity - transport, 2.0 * mean_difference[:, tf.newaxis]], 1)
    distance = tf.where(distance < 0.0, tf.zeros_like(distance), distance)  # rounding; NaN stays NaN
    return tf.cast(distance / channels, tf.float32), tf.cast(slope / channels, tf.float32)


def _eigen(matrices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns eigenvalues [R, C] and eigenvectors [R, C, C]; NaN as eigenvalues where a matrix is not finite.

    The decomposition of such a matrix would fail the call. A loss of NaN ends the run and keeps the last finite image.
    """
    finite = tf.reduce_all(tf.math.is_finite(matrices), [1, 2])
    identity = tf.eye(tf.shape(matrices)[-1], dtype=matrices.dtype)
    values, vectors = tf.linalg.eigh(tf.where(finite[:, tf.newaxis, tf.newaxis], matrices, identity))
    return tf.where(finite[:, tf.newaxis], values, float("nan")), vectors


def _is_wasserstein(statistics: tf.Tensor) -> tf.Tensor:
    return tf.equal(statistics, choice_index("statistics", "wasserstein"))


def _outer(vectors: tf.Tensor) -> tf.Tensor:
    """Returns vv', [R, C, C], for vectors v [R, C], without a matrix product, which may round its factors."""
    return vectors[:, :, tf.newaxis] * vectors[:, tf.newaxis]


def _times(matrices: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """Returns symmetric matrices [..., C, C] times vectors [..., C], also without a matrix product."""
    return tf.reduce_sum(matrices * vectors[..., tf.newaxis], -2)


def _channels(own: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(own)[-1], own.dtype)


def _sum_of_rows(part: tf.Tensor) -> tf.Tensor:
    """Returns the sum [C] of [h, w, C], row by row: a single sum over all positions would lose digits."""
    return tf.reduce_sum(tf.reduce_sum(part, 1), 0)


def _squared(part: tf.Tensor) -> tf.Tensor:
    """Returns X'X, [C, C], for X of shape [h, w, C]."""
    flat = tf.reshape(part, tf.stack([-1, tf.shape(part)[-1]]))
    return tf.matmul(flat, flat, transpose_a=True)


def content_loss_and_gradient(features: tf.Tensor, target: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean squared difference of features and target, and its gradient, multiplied by `weight`.

    Features and target have any float type and shape [1, h, w, C]. Loss and weight are float32 scalars; the gradient
    with respect to the features has their shape and the `gradient_dtype` of their type.
    """
    # In the features' type: in float32 the difference and its gradient would set a step's peak of memory.
    difference = features - tf.cast(target, features.dtype)
    value = _by_parts(lambda part: tf.reduce_sum(tf.square(part)), difference[0]) / _count(difference)
    # The product below can reuse the memory of the difference once nothing else reads it.
    with tf.control_dependencies([value]):
        factor = 2.0 * weight / _count(difference)
    dtype = gradient_dtype(features.dtype)
    return value, tf.cast(factor, dtype) * tf.cast(difference, dtype)


def mean_and_square(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean of features [1, h, w, C], any float type, and the mean of their squares, float32 scalars."""
    sums = _by_parts(lambda part: tf.stack([tf.reduce_sum(part), tf.reduce_sum(tf.square(part))]), features[0])
    mean, square = tf.unstack(sums / _count(features))
    return mean, square


def _by_parts(sums: Callable[..., tf.Tensor], *tensors: tf.Tensor) -> tf.Tensor:
    """Returns the total of `sums` over PARTS of tensors [h, ...], cast to float32 one part at a time to save memory."""
    height, total = tf.shape(tensors[0])[0], tf.constant(0.0)
    for part in range(PARTS):
        with tf.control_dependencies([total]):
            some = [rows[part * height // PARTS : (part + 1) * height // PARTS] for rows in tensors]
        total += sums(*[tf.cast(rows, tf.float32) for rows in some])
    return total


def _count(x: tf.Tensor) -> tf.Tensor:
    return tf.maximum(tf.cast(tf.size(x), tf.float32), 1.0)


def total_variation(image: tf.Tensor, kind: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the total variation of an image [H, W, 3], 0 to 255, and its gradient; both are float32.

    Its kind is the parsed setting, int32 scalar. `squared`: the mean over all squared differences dx^2 and dy^2;
    `squared_sum`: their sum; `absolute_sum`: sum of the absolute differences (tf.image.total_variation); `power_sum`:
    sum of (dx^2 + dy^2)^1.25 (keras.io); `nine_point`: 2 ((mean dx^2 + mean dy^2) / 3 + (the mean squares of both
    diagonal differences) / 12) (crowsonkb).
    """

    def by_tape(loss: Callable[[tf.Tensor], tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(image)
            value = loss(image)
        return value, tape.gradient(value, image)

    branches = {name: lambda loss=loss: by_tape(loss) for name, loss in _BY_TAPE.items()}
    value, gradient = switch("total_variation", kind, {"squared": lambda: _squared_mean(image), **branches})
    return value, tf.ensure_shape(gradient, image.shape)


def _squared_mean(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    right, below = _differences(image)
    count = tf.maximum(tf.cast(tf.size(right) + tf.size(below), tf.float32), 1.0)
    # By hand: the automatic gradient of the four slices costs more than the rest of this loss.
    from_right = tf.pad(right, [[0, 0], [1, 0], [0, 0]]) - tf.pad(right, [[0, 0], [0, 1], [0, 0]])
    from_below = tf.pad(below, [[1, 0], [0, 0], [0, 0]]) - tf.pad(below, [[0, 1], [0, 0], [0, 0]])
    value = (tf.reduce_sum(tf.square(right)) + tf.reduce_sum(tf.square(below))) / count
    return value, (from_right + from_below) * (2.0 / count)


def _squared_sum(image: tf.Tensor) -> tf.Tensor:
    right, below = _differences(image)
    return tf.reduce_sum(tf.square(right)) + tf.reduce_sum(tf.square(below))


def _power_sum(image: tf.Tensor) -> tf.Tensor:
    right, below = _differences(image)
    return tf.reduce_sum(tf.pow(tf.square(right[:-1]) + tf.square(below[:, :-1]), 1.25))  # of [H-1, W-1, 3]


def _nine_point(image: tf.Tensor) -> tf.Tensor:
    falling, rising = image[1:, 1:] - image[:-1, :-1], image[1:, :-1] - image[:-1, 1:]  # [H-1, W-1, 3]
    right, below = _differences(image)
    straight = _mean_square(right) + _mean_square(below)
    return 2.0 * (straight / 3.0 + (_mean_square(falling) + _mean_square(rising)) / 12.0)


_BY_TAPE = {
    "squared_sum": _squared_sum,
    "absolute_sum": tf.image.total_variation,
    "power_sum": _power_sum,
    "nine_point": _nine_point,
}


def _differences(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns dx [H, W-1, 3] and dy [H-1, W, 3]: the pixel on the right, or below, minus each pixel."""
    return image[:, 1:] - image[:, :-1], image[1:] - image[:-1]


def _mean_square(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(x)) / _count(x)
