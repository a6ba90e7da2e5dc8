"""How a result is scored: by measures that no run has lowered. Less is better, but for the variation, best at 1.

Gram distance, content error, colour and variation are taken at full, half and quarter size: one scale prefers a picture
without large strokes, because a fine filter already matches the statistics there. The other two are taken at full and
half size: deep layers have hardly any positions in a quarter.

- Gram distance: |G - G*| / |G_content - G*| (Frobenius norms of F'F / N), mean over the judged style layers: 0 is the
  painting, 1 the untouched photograph. It sees how often features occur together, not where.
- Earth mover's distance: the relaxed one of Kolkin, Salavon and Shakhnarovich ("Style Transfer by Relaxed Optimal
  Transport and Self-Similarity", CVPR 2019, eq. 3 to 5), over that of the untouched photograph. Each place of the
  result should have its like in the painting, and the reverse, by the cosine distance of hypercolumns. It sees a form
  that is missing, where Gram matrices see sums. A hypercolumn is made of the judged style layers. Each is
  divided by the root mean square length of its vectors in the painting, so that none counts by its scale or width: the
  paper does not.
- Self-similarity distance: the paper's content loss (eq. 6), 0 for the untouched photograph. It is the mean change of
  the cosine distance of two places, in units of the mean distance of a place to all. It sees what is one thing and what
  another, whatever they are painted with.
- Content error: mean((F - F_content)^2) / var(F_content) at a layer that holds edges.
- Colour distance: Hellinger distance, 0 to 1, of the RGB-uv histograms to the style's (Afifi, Brubaker and Brown,
  "HistoGAN", CVPR 2021, section 3; their kernel, bins and range).
- Variation ratio: mean absolute difference of neighbours over that of the style picture; 1 is as busy as the painting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from model.errors import InvalidInput
from model.layers import LAYERS, block_of
from model.vgg19 import VGG19

STYLE_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")
"""Judged as far as the judge has them; no preset uses one."""

CONTENT_LAYER = "block2_conv2"
SIMILARITY_LAYER = "block4_conv1"  # or the deepest that the judge has
SCALES = {"full": 1, "half": 2, "quarter": 4}  # what the size is divided by

MEASURES: Mapping[str, str] = {
    "gram": "Gram distance",
    "emd": "earth mover's distance",
    "similarity": "self-similarity distance",
    "content": "content error",
    "colour": "colour distance",
    "variation": "variation ratio",
}
"""Headings by name of the measure, in the order of the tables."""

NOT_AT_A_QUARTER = ("emd", "similarity")

Pixels = npt.NDArray[np.float32]
Scores = dict[str, dict[str, float]]
"""By measure and scale."""

EMD_PLACES = 2048
SIMILARITY_PLACES = 1024
SEED = 0  # of the places
BINS = 64
LOG_CHROMA = 3.0  # the histogram's range is from minus to plus this
KERNEL_WIDTH = 0.02  # of the inverse-quadratic kernel, in log-chroma
LEAST_GAP = 1e-4  # a distance is divided by no less: rounding alone makes some 1e-7
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class _Statistics:
    """What the measures need to know of a picture at one scale.

    Attributes:
      grams: [C, C] for each judged style layer.
      parts: [places, C] for each judged style layer: the features at the same places of the picture.
      distances: [places, places], cosine distances of places at the self-similarity's layer.
      content: [h, w, C], features at CONTENT_LAYER.
      histogram: [3, BINS, BINS].
      variation: in grey levels.
    """

    grams: list[Pixels]
    parts: list[Pixels]
    distances: Pixels
    content: Pixels
    histogram: npt.NDArray[np.float64]
    variation: float


class Judge:
    """Scores results for one pair of pictures under the features of one network.

    Attributes:
      style_layers, similarity_layer: those of STYLE_LAYERS that the network has, and where it judges self-similarity.
    """

    def __init__(self, network: VGG19, size: int, content: Image.Image, style: Image.Image) -> None:
        if CONTENT_LAYER not in network.layers:
            raise InvalidInput(f"`judge` must have the layer {CONTENT_LAYER}. Received: {', '.join(network.layers)}")
        self._network = network
        self.style_layers = tuple(name for name in STYLE_LAYERS if name in network.layers)
        self.similarity_layer = network.layers[: LAYERS.index(SIMILARITY_LAYER) + 1][-1]
        sizes = {scale: size / divisor for scale, divisor in SCALES.items()}
        self._shapes = {scale: _fitted(content, long_side) for scale, long_side in sizes.items()}
        self._content = {scale: self._statistics(content, shape) for scale, shape in self._shapes.items()}
        self._style = {scale: self._statistics(style, _fitted(style, sizes[scale])) for scale in sizes}

    def scores(self, result: Image.Image) -> Scores:
        """Returns every measure of a result, which takes the content's shape, at every scale that it is taken at."""
        found: Scores = {name: {} for name in MEASURES}
        for scale, shape in self._shapes.items():
            values = _compared(self._statistics(result, shape), self._content[scale], self._style[scale])
            for name, value in values.items():
                if scale != "quarter" or name not in NOT_AT_A_QUARTER:
                    found[name][scale] = value
        return found

    def _statistics(self, image: Image.Image, shape: tuple[int, int]) -> _Statistics:
        height, width = shape
        rgb = image.convert("RGB")
        if rgb.size != (width, height):
            rgb = rgb.resize((width, height), Image.Resampling.LANCZOS)
        picture = np.asarray(rgb, np.float32)
        wanted = {*self.style_layers, self.similarity_layer, CONTENT_LAYER}
        deepest = max(self._network.layers.index(name) for name in wanted)
        found = zip(self._network.layers, self._network.features(tf.constant(picture), deepest), strict=True)
        features = {name: tf.cast(one, tf.float32).numpy()[0] for name, one in found if name in wanted}  # [h, w, C]
        y, x = np.divmod(places(height * width, EMD_PLACES), width)
        similar = _rows(features[self.similarity_layer])
        return _Statistics(
            grams=[_gram(_rows(features[name])) for name in self.style_layers],
            parts=[sampled(features[name], y, x, 2 ** block_of(name)) for name in self.style_layers],
            distances=cosine_distances(*[similar[places(len(similar), SIMILARITY_PLACES)]] * 2),
            content=features[CONTENT_LAYER],
            histogram=histogram(picture),
            variation=variation(picture),
        )


def _compared(result: _Statistics, content: _Statistics, style: _Statistics) -> dict[str, float]:
    grams = zip(result.grams, content.grams, style.grams, strict=True)
    units = [float(np.sqrt(np.mean(np.sum(np.square(part), 1)))) for part in style.parts]
    columns = [_hypercolumns(statistics.parts, units) for statistics in (result, content, style)]
    moved, unmoved = [relaxed_emd(cosine_distances(own, columns[2])) for own in columns[:2]]
    return {
        "gram": float(np.mean([relative_distance(*three) for three in grams])),
        "emd": moved / max(unmoved, LEAST_GAP),
        "similarity": self_similarity_distance(result.distances, content.distances),
        "content": float(np.mean(np.square(result.content - content.content)) / max(np.var(content.content), _TINY)),
        "colour": hellinger(result.histogram, style.histogram),
        "variation": result.variation / max(style.variation, LEAST_GAP),
    }


def places(count: int, most: int) -> npt.NDArray[np.int64]:
    """Returns which of so many places are looked at: at most `most`, drawn without repeats, always the same ones."""
    return np.random.default_rng(SEED).choice(count, min(count, most), replace=False)


def sampled(features: Pixels, y: npt.NDArray[np.int64], x: npt.NDArray[np.int64], pixels_per_position: int) -> Pixels:
    """Returns features at places of the picture, between the positions of their layer, bilinearly.

    Args:
      features: float32 [h, w, C].
      y: row of each place in the picture, and `x`: its column, [places].
      pixels_per_position: side of the square of pixels whose centre is where a position of the layer is.

    Returns:
      float32 [places, C]; between the edge and the outermost positions, those.
    """
    (top, bottom, down), (left, right, along) = [
        _neighbours((pixels + 0.5) / pixels_per_position - 0.5, count)
        for pixels, count in zip((y, x), features.shape, strict=False)
    ]
    upper = features[top, left] * (1 - along) + features[top, right] * along
    lower = features[bottom, left] * (1 - along) + features[bottom, right] * along
    return np.asarray(upper * (1 - down) + lower * down)


def _neighbours(at: npt.NDArray[np.float64], count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Pixels]:
    """Returns the positions before and after, and how far it is from the one to the other, [places, 1]."""
    at = np.clip(at, 0, count - 1)
    before = at.astype(np.int64)
    return before, np.minimum(before + 1, count - 1), (at - before).astype(np.float32)[:, np.newaxis]


def _hypercolumns(parts: Sequence[Pixels], units: Sequence[float]) -> Pixels:
    return np.concatenate([part / max(unit, _TINY) for part, unit in zip(parts, units, strict=True)], 1)


def cosine_distances(first: Pixels, second: Pixels) -> Pixels:
    """Returns 1 - cosine, 0 to 2, of each row of [N, C] with each row of [M, C]: [N, M]; zeros are 1/2 from others."""
    first, second = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY) for rows in (first, second)]
    # Half the squared distance of unit vectors, so that zeros are like zeros; rounding can take it below 0.
    squares = [np.square(rows).sum(1) / 2 for rows in (first, second)]
    return np.asarray(np.maximum(squares[0][:, np.newaxis] + squares[1] - first @ second.T, 0))


def relaxed_emd(distances: Pixels) -> float:
    """Returns the relaxed earth mover's distance for distances [N, M]: each goes where it is nearest, dearer way round.

    Both ways bound the true distance from below, where all of N weigh alike and so do all of M.
    """
    return float(max(distances.min(1).mean(), distances.min(0).mean()))


def self_similarity_distance(found: Pixels, wanted: Pixels) -> float:
    """Returns the mean change of distances between places, [places, places] both, in units of their mean: 0 to 2.

    Each column is divided by its sum, so that only how far places are from each other in proportion counts. The mean
    difference is then about 1 / places, whence the factor.
    """
    found, wanted = [distances / np.maximum(distances.sum(0), _TINY) for distances in (found, wanted)]
    return float(np.mean(np.abs(found - wanted)) * len(found))


def relative_distance(found: Pixels, untouched: Pixels, target: Pixels) -> float:
    """Returns |found - target| / |untouched - target|: 0 at the target, 1 where nothing was done."""
    # A content picture that has the style already leaves nothing to divide by.
    gap = max(float(np.linalg.norm(untouched - target)), LEAST_GAP * float(np.linalg.norm(target)), _TINY)
    return float(np.linalg.norm(found - target)) / gap


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
    return {
        name: {scale: float(np.mean([one[name][scale] for one in scores])) for scale in scores[0][name]}
        for name in MEASURES
    }


def _fitted(picture: Image.Image, long_side: float) -> tuple[int, int]:
    factor = long_side / max(picture.size)
    return max(1, round(picture.height * factor)), max(1, round(picture.width * factor))


def _rows(features: Pixels) -> Pixels:
    return features.reshape(-1, features.shape[-1])  # [h * w, C]


def _gram(rows: Pixels) -> Pixels:
    return rows.T @ rows / len(rows)  # [C, C]
