"""How much of the way from random to true features our own weights go, over eight pairs of pictures.

    NST_WEIGHTS=vgg19.npz NST_TEST_IMAGES=DIR python -m tests.benchmarks.own_weights --pictures OUT

Each pair is stylised with random, own and true features to block3_conv1, at the same size and steps, by the presets as
they are for each (BY_WEIGHTS in model/presets.py). The result is judged under the true features: style distance is
|G - G*| / |G_content - G*| with Gram matrices G, mean over the five layers and over full, half and quarter size; 0 is
the painting, 1 the untouched photograph. That favours the true features, since they alone optimise what is measured.

Whoever lets go of the photograph gets nearer to the painting. So random and own features get the content weight by
which their result is as far from the photograph as that of the true ones, by the true features' content error: the mean
square difference at block3_conv1 over the variance of the photograph's features.

No training run has seen any of the pictures. Those marked `selection` helped to choose among training recipes, those
marked `held out` did not. Photographs beside the page's samples come from scikit-image
(model/training/requirements.txt).

The results stay in OUT and are taken from there when run again. A contact sheet, OUT/sheet.png, has a row for each
pair: content, style, random, own, true.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from model.export import describe
from model.layers import LAYERS
from model.presets import BY_WEIGHTS
from model.settings import StyleSettings
from model.signatures import ServedModel
from model.vgg19 import VGG19
from model.weights import OWN_FILE, Weights, from_file, load, random
from tests.benchmarks import painted

DEEPEST = "block3_conv1"
USED = LAYERS[: LAYERS.index(DEEPEST) + 1]
SCALES = (1, 2, 4)
SAMPLES = Path(__file__).parents[2] / "ui" / "samples"
SHEET_PX = 300  # long side of a picture on the contact sheet

ERROR_TOLERANCE = 0.04  # to which content errors are made equal
TRIALS = 6  # of content weights
STEEPNESS = 4.0  # by how much more the weight is changed than the error, both in logarithms
CONTENT_WEIGHTS = (0.1, 10000.0)  # between which they are

Model = Callable[..., dict[str, tf.Tensor]]


@dataclass(frozen=True)
class Pair:
    """A photograph and a painting.

    Attributes:
      content, style: names of the pictures, see `picture`.
      selection: whether the pair helped to choose among training recipes.
    """

    content: str
    style: str
    selection: bool

    def __str__(self) -> str:
        return f"{self.content} + {self.style}"

    @property
    def group(self) -> str:
        return "selection" if self.selection else "held out"


PAIRS = (
    Pair("tubingen", "starry_night", selection=True),
    Pair("golden_gate", "the_scream", selection=True),
    Pair("lighthouse", "waves", selection=True),
    Pair("motorcycle_left", "engraving", selection=True),
    Pair("dusk_lake", "eddies", selection=False),
    Pair("rocket", "stained_glass", selection=False),
    Pair("coffee", "dots", selection=False),
    Pair("lighthouse", "daubs", selection=False),
)


def picture(name: str) -> Image.Image:
    """Returns a picture by its name: painted for this, of the page's samples, of scikit-image's, or a known one."""
    if name in PAINTED:
        return PAINTED[name]()
    file = f"{name}.jpg"
    for path in (SAMPLES / file, Path(os.environ["NST_TEST_IMAGES"]) / file):
        if path.exists():
            return Image.open(path).convert("RGB")
    for suffix in (".png", ".jpg"):
        found = files("skimage") / "data" / f"{name}{suffix}"
        if found.is_file():
            with found.open("rb") as stream:
                return Image.open(stream).convert("RGB")
    raise ValueError(f"`name` must be that of a known picture. Received: {name}")


PAINTED: Mapping[str, Callable[[], Image.Image]] = {
    painter.__name__: painter for painter in (painted.engraving, painted.dots, painted.daubs)
}


def to_block3(weights: Weights) -> Weights:
    """Returns the layers that all compared weights have."""
    arrays = {f"{n}/{part}": weights.arrays[f"{n}/{part}"] for n in USED for part in ("kernel", "bias")}
    return replace(weights, arrays=arrays)


def png(image: Image.Image) -> bytes:
    """Encodes a picture."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


class Judge:
    """Measures results under the true features."""

    def __init__(self, true: Weights, size: int) -> None:
        self._network, self._size = VGG19(true.arrays), size

    def _features(self, image: Image.Image, scale: int) -> list[tf.Tensor]:
        factor = self._size / scale / max(image.size)
        width, height = (round(n * factor) for n in image.size)
        small = image.resize((width, height), Image.Resampling.LANCZOS)
        return self._network.features(tf.constant(np.asarray(small, np.float32)), len(USED) - 1)

    def style_distance(self, result: Image.Image, content: Image.Image, style: Image.Image) -> float:
        """Returns the mean over scales and layers, see the module's docstring."""
        distances = []
        for scale in SCALES:
            grams = [[_gram(f) for f in self._features(p, scale)] for p in (result, content, style)]
            distances += [float(tf.norm(g - s) / tf.norm(c - s)) for g, c, s in zip(*grams, strict=True)]
        return float(np.mean(distances))

    def content_error(self, result: Image.Image, content: Image.Image) -> float:
        """Returns the mean square difference at block3_conv1 over the variance of the content's features."""
        found, wanted = self._features(result, 1)[-1], self._features(content, 1)[-1]
        return float(tf.reduce_mean(tf.square(found - wanted)) / tf.math.reduce_variance(wanted))


def _gram(features: tf.Tensor) -> tf.Tensor:
    rows = tf.reshape(features, [-1, features.shape[-1]])  # [h * w, C]
    return tf.matmul(rows, rows, transpose_a=True) / tf.cast(tf.shape(rows)[0], tf.float32)


@dataclass(frozen=True)
class Measures:
    """What is measured of one result.

    Attributes:
      distance: style distance, see the module's docstring.
      error: content error under the true features.
      weight: the content weight that it was made with.
    """

    distance: float
    error: float
    weight: float


Result = tuple[Image.Image, Measures]


class Bench:
    """Stylises and measures with one kind of weights, into a folder."""

    def __init__(self, weights: Weights, precision: str, settings: str, judge: Judge, folder: Path) -> None:
        self._weights, self._precision, self._settings = weights, precision, settings
        self._judge, self._folder = judge, folder

    @functools.cached_property
    def _model(self) -> Model:
        network = VGG19(self._weights.arrays, tf.dtypes.as_dtype(self._precision))
        return ServedModel(network, describe(self._weights, self._precision)).functions["stylize"]

    def measure(self, pair: Pair, content_weight: float) -> Result:
        """Returns the result of a pair and its measures, from the folder if they are there."""
        settings = f"{self._settings},content_weight={content_weight:g}"
        run = f"{pair} {self._weights.digest} {self._precision} {settings} {BY_WEIGHTS.get(self._weights.kind)}"
        path = self._folder / f"{hashlib.sha256(run.encode()).hexdigest()[:16]}.png"
        facts = path.with_suffix(".json")
        if facts.exists():
            return Image.open(path).convert("RGB"), Measures(**json.loads(facts.read_text()))
        content, style = picture(pair.content), picture(pair.style)
        answer = self._model(tf.constant([png(content)]), tf.constant([[png(style)]]), tf.constant([settings]))
        result = Image.open(io.BytesIO(answer["image_bytes"].numpy()[0])).convert("RGB")
        measures = Measures(
            self._judge.style_distance(result, content, style),
            self._judge.content_error(result, content),
            content_weight,
        )
        result.save(path)
        facts.write_text(json.dumps(asdict(measures)))
        return result, measures

    def at_error(self, pair: Pair, error: float, start: float) -> Result:
        """Returns the result whose content error is nearest to one, by content weights that are tried from `start`."""
        low, high, weight = *CONTENT_WEIGHTS, start
        nearest = None
        for _ in range(TRIALS):
            found = self.measure(pair, float(f"{weight:.3g}"))
            if nearest is None or _off(found, error) < _off(nearest, error):
                nearest = found
            if _off(nearest, error) < ERROR_TOLERANCE:
                break
            low, high = (weight, high) if found[1].error > error else (low, weight)
            # The error falls with the weight, more slowly than one over it.
            guess = weight * (found[1].error / error) ** STEEPNESS
            weight = guess if low < guess < high else math.sqrt(low * high)
        assert nearest
        return nearest


def _off(found: Result, error: float) -> float:
    return abs(found[1].error / error - 1)


def contact_sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """Returns one picture with all of them, each at most SHEET_PX long, in rows."""
    sheet = Image.new("RGB", (SHEET_PX * max(map(len, rows)), SHEET_PX * len(rows)), "white")
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            small = image.copy()
            small.thumbnail((SHEET_PX, SHEET_PX), Image.Resampling.LANCZOS)
            sheet.paste(small, (j * SHEET_PX, i * SHEET_PX))
    return sheet


def main() -> None:
    """Prints a Markdown table: each pair's style distances at equal content error, random, own and true."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=OWN_FILE, help="the weights to measure (.npz)")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16", help="of the convolutions")
    parser.add_argument("--settings", default="size=384,steps=180", help="name=value pairs for all weights")
    parser.add_argument("--pairs", default="", help="measure only pairs with this in `CONTENT + STYLE, GROUP`")
    parser.add_argument("--pictures", type=Path, required=True, help="folder for the results")
    options = parser.parse_args()

    options.pictures.mkdir(parents=True, exist_ok=True)
    settings = StyleSettings.parse(options.settings)  # for the size, and the error of a wrong text
    true = to_block3(load("imagenet"))
    # A candidate is measured by the presets that it would have in the place of our own.
    own = replace(to_block3(from_file(options.weights)), kind="own")
    judge = Judge(true, settings.size)
    weights = {"random": random(last=DEEPEST), "own": own, "true": true}
    benches = {k: Bench(w, options.precision, options.settings, judge, options.pictures) for k, w in weights.items()}

    print("| pair | | random | own | true | gap closed | content error | content weight |")
    print("|---|---|---|---|---|---|---|---|")
    closed: dict[bool, list[float]] = {True: [], False: []}
    rows = []
    for pair in PAIRS:
        if options.pairs not in f"{pair}, {pair.group}":
            continue
        true_result = benches["true"].measure(pair, settings.content_weight)
        error = true_result[1].error
        found = [benches[kind].at_error(pair, error, settings.content_weight) for kind in ("random", "own")]
        found.append(true_result)
        rows.append([picture(pair.content), picture(pair.style), *(image for image, _ in found)])
        random_, own, true_ = (measures.distance for _, measures in found)
        gap = (random_ - own) / (random_ - true_)
        closed[pair.selection].append(gap)
        errors, weighed = (
            ", ".join(f"{getattr(measures, which):.3g}" for _, measures in found) for which in ("error", "weight")
        )
        print(
            f"| {pair} | {pair.group} | {random_:.3f} | {own:.3f} | {true_:.3f} | {gap:.0%} | {errors} | {weighed} |",
            flush=True,
        )
    for name, gaps in (("selection", closed[True]), ("held out", closed[False]), ("all", closed[True] + closed[False])):
        if gaps:
            print(f"| mean | {name} | | | | {np.mean(gaps):.0%}, lowest {min(gaps):.0%} | | |")
    contact_sheet(rows).save(options.pictures / "sheet.png")


if __name__ == "__main__":
    main()
