"""What a layer learns: a dictionary of the 3x3 patches that its input is made of.

The first layer's comes from spherical k-means on whitened patches (Coates and Ng, "Learning Feature Representations
with K-means", 2012), which finds more directions than a patch of three colours has dimensions. Whitening levels the
strong directions, so that no channel repeats another, but leaves directions weaker than the average as weak as they
are: full whitening spends the channels on noise.

In deeper layers a patch has far more dimensions than there are channels, and the channels of k-means all follow the
local contrast together. So these take the strongest principal components, turned to be independent (Hyvarinen,
"Fast and Robust Fixed-Point Algorithms for Independent Component Analysis", 1999): before rectification no two are
correlated. Each makes two channels, one for either sign, so that nothing is lost by rectification.

A channel answers above its own median or so, with a standard deviation tied to its mean, so that no channel outweighs
the others in a covariance.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

FAINTEST = 1e-6  # a length below which a patch or a centroid has no direction
LEAST_VARIANCE = 1e-3  # of a component, relative to the mean variance of the patches


class Whitening(NamedTuple):
    """An affine map that levels the variances of patches.

    Attributes:
      mean: float32 `[D]`.
      matrix: float32 `[D, K]`, symmetric where K is D; whitened = (patch - mean) @ matrix.
    """

    mean: Array
    matrix: Array


def fit_whitening(patches: Array, floor: float) -> Whitening:
    """Fits W = (C + floor * trace(C) / D * I)^(-1/2), with C the covariance of the patches.

    Args:
      patches: float32 `[N, D]`.
      floor: variance, relative to the mean variance, below which directions are not raised any further.

    Returns:
      The whitening for patches of this kind.
    """
    mean = patches.mean(0)
    centred = patches - mean
    variances, directions = np.linalg.eigh((centred.T @ centred / len(patches)).astype(np.float64))
    variances = np.maximum(variances, 0)
    scale = (variances + floor * variances.mean() + np.finfo(np.float32).tiny) ** -0.5  # [D]
    return Whitening(mean, ((directions * scale) @ directions.T).astype(np.float32))


def outstanding(patches: Array, whitening: Whitening, share: float) -> Array:
    """Returns the unit vectors of the patches that stand out most once whitened.

    Args:
      patches: float32 `[N, D]`.
      whitening: fitted to such patches.
      share: part of the patches to keep, by length.

    Returns:
      float32 `[share * N, D]`, of length 1.
    """
    whitened = (patches - whitening.mean) @ whitening.matrix
    lengths = np.linalg.norm(whitened, axis=1)
    kept = np.argsort(-lengths, kind="stable")[: max(1, int(len(lengths) * share))]
    return whitened[kept] / (lengths[kept, None] + FAINTEST)


def first_centroids(points: Array, count: int, rng: np.random.Generator) -> Array:
    """Returns `count` of the points, `[count, D]`; points serve twice where there are too few."""
    return points[rng.choice(len(points), count, replace=len(points) < count)]


def kmeans_step(points: Array, centroids: Array, rng: np.random.Generator) -> tuple[Array, float]:
    """Takes one round of spherical k-means: c_k <- sum of <x, c_k> x over the x nearest to c_k, at length 1.

    Args:
      points: float32 `[N, D]`, of length 1.
      centroids: float32 `[K, D]`, of length 1.
      rng: chooses points to take the place of centroids that are nearest to none.

    Returns:
      The new centroids `[K, D]`, and the mean cosine between the points and their nearest old centroid.
    """
    cosines = points @ centroids.T  # [N, K]
    nearest = cosines.argmax(1)
    best = cosines[np.arange(len(points)), nearest]
    shares = np.zeros_like(cosines)
    shares[np.arange(len(points)), nearest] = best
    moved = shares.T @ points  # [K, D]
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    lost = lengths[:, 0] < FAINTEST
    moved[lost], lengths[lost] = first_centroids(points, int(lost.sum()), rng), 1
    return moved / lengths, float(best.mean())


def fit_components(patches: Array, count: int) -> Whitening:
    """Fits the strongest principal components of patches, each at variance 1.

    Args:
      patches: float32 `[N, D]`.
      count: number of components, at most D.

    Returns:
      The whitening for patches of this kind, with a matrix `[D, count]`.
    """
    mean = patches.mean(0)
    centred = patches - mean
    variances, axes = np.linalg.eigh((centred.T @ centred / len(patches)).astype(np.float64))
    strongest = np.argsort(-variances, kind="stable")[:count]
    # The least variance keeps components that hardly occur from being raised without bound.
    least = LEAST_VARIANCE * variances.mean() + np.finfo(np.float32).tiny
    scale = (np.maximum(variances[strongest], 0) + least) ** -0.5  # [count]
    return Whitening(mean, (axes[:, strongest] * scale).astype(np.float32))


def first_rotation(count: int, rng: np.random.Generator) -> Array:
    """Returns a random orthogonal matrix, float32 `[count, count]`."""
    return np.linalg.qr(rng.normal(size=(count, count)))[0].astype(np.float32)


def independence_step(points: Array, rotation: Array) -> tuple[Array, float]:
    """Takes one round of symmetric FastICA with tanh: r <- E[x tanh(x r)] - E[1 - tanh(x r)^2] r, made orthogonal.

    Args:
      points: float32 `[N, K]`, of mean 0 and covariance I.
      rotation: float32 `[K, K]`, orthogonal, with the directions as columns.

    Returns:
      The new rotation, and the mean of tanh^2, which falls as the components become sparse.
    """
    bent = np.tanh(points @ rotation)  # [N, K]
    slope = 1 - np.square(bent).mean(0)  # [K]
    moved = (points.T @ bent / len(points) - rotation * slope).astype(np.float64)
    left, _, right = np.linalg.svd(moved)
    return (left @ right).astype(np.float32), float(1 - slope.mean())


def to_filters(patches: Array, directions: Array, silent: float, mean: float) -> tuple[Array, Array]:
    """Turns directions into a layer's filters: relu(patch @ filters + bias).

    A filter's bias silences it on the given share of patches. Its scale makes the standard deviation of its
    activations equal to the other filters'. The layer's scale counts too where means are compared beside covariances,
    since these grow with its square: a small one lets the means weigh more.

    Args:
      patches: float32 `[N, D]`, to measure the activations on.
      directions: float32 `[D, K]`, of any length.
      silent: share of patches to which a filter does not answer.
      mean: mean activation of the layer.

    Returns:
      Filters float32 `[D, K]`, and biases float32 `[K]`.
    """
    raw = patches @ directions  # [N, K]
    threshold = np.quantile(raw, silent, axis=0).astype(np.float32)
    active = np.maximum(raw - threshold, 0)
    gain = 1 / (active.std(0) + FAINTEST)
    gain *= mean / ((active.mean(0) * gain).mean() + FAINTEST)
    return directions * gain, -threshold * gain
