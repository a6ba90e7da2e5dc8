"""How a result is scored: by measures that no run has lowered, each at full, half and quarter size.

One scale prefers a picture without large strokes, because a fine filter already matches the statistics there.

- Gram distance: |G - G*| / |G_content - G*| (Frobenius norms of F'F / N), mean over the judged style layers: 0 is the
  painting, 1 the untouched photograph.
- Mean and covariance: the same for the features' mean and for their covariance, mean of the two.
- Content error: mean((F - F_content)^2) / var(F_content) at a middle layer.
- Colour distance: Hellinger distance, 0 to 1, of the RGB-uv histograms to the style's (Afifi, Brubaker and Brown,
  "HistoGAN", CVPR 2021, section 3; their kernel, bins and range).
- Variation ratio: mean absolute difference of neighbours over that of the style picture; 1 is as busy as the painting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from model.errors import InvalidInput
from model.vgg19 import VGG19

STYLE_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3")
"""Judged as far as the judge has them; none is in a default loss."""

CONTENT_LAYER = "block2_conv2"
SCALES = {"full": 1, "half": 2, "quarter": 4}  # what the size is divided by

MEASURES: Mapping[str, str] = {
    "gram": "Gram distance",
    "moments": "mean, covariance",
    "content": "content error",
    "colour": "colour distance",
    "variation": "variation ratio",
}
"""Headings by name of the measure, in the order of the tables."""

Pixels = npt.NDArray[np.float32]
Scores = dict[str, dict[str, float]]
"""By measure and scale."""

BINS = 64
LOG_CHROMA = 3.0  # the histogram's range is from minus to plus this
KERNEL_WIDTH = 0.02  # of the inverse-quadratic kernel, in log-chroma
LEAST_GAP = 1e-6  # share of the target's own size that a distance is at least divided by


class Judge:
    """Scores results of one size under the features of one network."""

    def __init__(self, network: VGG19, size: int) -> None:
        self.style_layers = tuple(name for name in STYLE_LAYERS if name in network.layers)
        if CONTENT_LAYER not in network.layers:
            raise InvalidInput(f"`judge` must have the layer {CONTENT_LAYER}. Received: {', '.join(network.layers)}")
        self._network, self._size = network, size
        self._deepest = max(network.layers.index(name) for name in (*self.style_layers, CONTENT_LAYER))

    def scores(self, result: Image.Image, content: Image.Image, style: Image.Image) -> Scores:
        """Returns every measure of a result at every scale."""
        found: Scores = {name: {} for name in MEASURES}
        for scale, divisor in SCALES.items():
            long_side = self._size / divisor
            height, width = _fitted(result, long_side)
            pictures = [_resized(result, height, width), _resized(content, height, width)]
            pictures.append(_resized(style, *_fitted(style, long_side)))
            values = self._at_one_scale(*pictures)
            for name, value in values.items():
                found[name][scale] = value
        return found

    def _at_one_scale(self, result: Pixels, content: Pixels, style: Pixels) -> dict[str, float]:
        layers = [self._features(picture) for picture in (result, content, style)]
        gram, moments = [], []
        for name in self.style_layers:
            rows = [_rows(features[name]) for features in layers]
            gram.append(relative_distance(*[_gram(r) for r in rows]))
            means, covariances = zip(*[_moments(r) for r in rows], strict=True)
            moments += [relative_distance(*means), relative_distance(*covariances)]
        found, wanted, _ = [features[CONTENT_LAYER] for features in layers]
        return {
            "gram": float(np.mean(gram)),
            "moments": float(np.mean(moments)),
            "content": float(np.mean(np.square(found - wanted)) / max(np.var(wanted), np.finfo(np.float32).tiny)),
            "colour": hellinger(histogram(result), histogram(style)),
            "variation": variation(result) / max(variation(style), LEAST_GAP),
        }

    def _features(self, picture: Pixels) -> dict[str, npt.NDArray[np.float32]]:
        features = self._network.features(tf.constant(picture), self._deepest)
        wanted = {*self.style_layers, CONTENT_LAYER}
        return {
            name: tf.cast(feature, tf.float32).numpy()
            for name, feature in zip(self._network.layers, features, strict=True)
            if name in wanted
        }


def relative_distance(found: Pixels, untouched: Pixels, target: Pixels) -> float:
    """Returns |found - target| / |untouched - target|: 0 at the target, 1 where nothing was done."""
    # A content picture that has the style already leaves nothing to divide by.
    gap = max(np.linalg.norm(untouched - target), LEAST_GAP * np.linalg.norm(target), np.finfo(np.float32).tiny)
    return float(np.linalg.norm(found - target) / gap)


def histogram(picture: Pixels) -> npt.NDArray[np.float64]:
    """Returns the RGB-uv histogram [3, BINS, BINS] with sum 1: for each channel, its logarithmic ratio to the others.

    Args:
      picture: float32 [H, W, 3], RGB, 0 to 255.
    """
    colours = picture.reshape(-1, 3).astype(np.float64) / 255
    strength = np.linalg.norm(colours, axis=1)  # a dark pixel's chroma hardly shows, so it hardly counts
    logs = np.log(colours + 1e-6)
    planes = []
    for channel, others in enumerate(((1, 2), (0, 2), (0, 1))):
        u, v = [_spread(logs[:, channel] - logs[:, other]) for other in others]  # [N, BINS] both
        planes.append((u * strength[:, np.newaxis]).T @ v)
    counts = np.stack(planes)
    return np.asarray(counts / max(counts.sum(), np.finfo(np.float64).tiny))


def _spread(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns how much of each value [N] each bin gets, [N, BINS]; what lies beyond the range falls on its ends."""
    values = np.clip(values, -LOG_CHROMA, LOG_CHROMA)[:, np.newaxis]
    bins = np.linspace(-LOG_CHROMA, LOG_CHROMA, BINS)
    return np.asarray(1 / (1 + np.square((values - bins) / KERNEL_WIDTH)))


def hellinger(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Returns the Hellinger distance of two histograms with sum 1: 0 for equal ones, 1 for disjoint ones."""
    return float(np.linalg.norm(np.sqrt(first) - np.sqrt(second)) / np.sqrt(2))


def variation(picture: Pixels) -> float:
    """Returns the mean absolute difference of neighbouring pixels, in grey levels."""
    return float(np.mean(np.abs(np.diff(picture, axis=0))) + np.mean(np.abs(np.diff(picture, axis=1)))) / 2


def mean_over_scales(scores: Scores) -> dict[str, float]:
    """Returns each measure's mean over the scales."""
    return {name: float(np.mean(list(scores[name].values()))) for name in MEASURES}


def mean_over_pairs(scores: Sequence[Scores]) -> Scores:
    """Returns each measure's mean at each scale."""
    return {name: {scale: float(np.mean([s[name][scale] for s in scores])) for scale in SCALES} for name in MEASURES}


def _fitted(picture: Image.Image, long_side: float) -> tuple[int, int]:
    factor = long_side / max(picture.size)
    return max(1, round(picture.height * factor)), max(1, round(picture.width * factor))


def _resized(picture: Image.Image, height: int, width: int) -> Pixels:
    rgb = picture.convert("RGB")
    if rgb.size != (width, height):
        rgb = rgb.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(rgb, np.float32)


def _rows(features: Pixels) -> Pixels:
    return features.reshape(-1, features.shape[-1])  # [h * w, C]


def _gram(rows: Pixels) -> Pixels:
    return rows.T @ rows / len(rows)  # [C, C]


def _moments(rows: Pixels) -> tuple[Pixels, Pixels]:
    mean = rows.mean(0)
    return mean, _gram(rows) - np.outer(mean, mean)
