"""How much of the way from random to true features our own weights go, over four pairs of pictures.

    NST_WEIGHTS=vgg19.npz NST_TEST_IMAGES=DIR python -m tests.benchmarks.own_weights --pictures OUT

Each pair is stylised with random, own and true features to block3_conv1, at the same size and steps, and at the same
content error: the content weight of the random and own features is searched until their result is as far from the
photograph as the true features' is, since whoever lets go of the photograph gets nearer to the painting. The result is
judged under the true features: style distance is |G - G*| / |G_content - G*| with Gram matrices G, mean over the five
layers and over full, half and quarter size; 0 is the painting, 1 the untouched photograph. That favours the true
features, since they alone optimise what is measured. No training run has seen any of the pictures.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from model.export import describe
from model.settings import LAYERS, StyleSettings
from model.signatures import ServedModel
from model.stylizer import Stylizer
from model.vgg19 import VGG19
from model.weights import OWN_FILE, Weights, from_file, load, random

DEEPEST = "block3_conv1"
USED = LAYERS[: LAYERS.index(DEEPEST) + 1]
SCALES = (1, 2, 4)
SAMPLES = Path(__file__).parents[2] / "ui" / "samples"

TOLERANCE = 0.03  # of the content error
MOST_RUNS = 6

Model = Callable[..., dict[str, tf.Tensor]]


def pairs() -> dict[str, tuple[Image.Image, Image.Image]]:
    """Returns content and style picture by name of the pair: two well-known ones, and two of the page's samples."""
    known = Path(os.environ["NST_TEST_IMAGES"])
    names = [
        (known, "tubingen", "starry_night"),
        (known, "golden_gate", "the_scream"),
        (SAMPLES, "dusk_lake", "eddies"),
        (SAMPLES, "lighthouse", "waves"),
    ]
    return {
        f"{content} + {style}": (Image.open(folder / f"{content}.jpg"), Image.open(folder / f"{style}.jpg"))
        for folder, content, style in names
    }


def to_block3(weights: Weights) -> Weights:
    """Returns the layers that all compared weights have."""
    return Weights(
        weights.name, {f"{n}/{part}": weights.arrays[f"{n}/{part}"] for n in USED for part in ("kernel", "bias")}
    )


def png(picture: Image.Image) -> bytes:
    """Encodes a picture."""
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "PNG")
    return stream.getvalue()


class Judge:
    """Measures results under the true features."""

    def __init__(self, true: Weights, size: int) -> None:
        self._network, self._size = VGG19(true.arrays), size

    def _features(self, picture: Image.Image, scale: int) -> list[tf.Tensor]:
        factor = self._size / scale / max(picture.size)
        width, height = (round(n * factor) for n in picture.size)
        small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
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


def stylise(model: Model, content: Image.Image, style: Image.Image, settings: StyleSettings) -> Image.Image:
    """Returns the result of one call."""
    answer = model(tf.constant([png(content)]), tf.constant([[png(style)]]), tf.constant([str(settings)]))
    return Image.open(io.BytesIO(answer["image_bytes"].numpy()[0])).convert("RGB")


def at_content_error(
    wanted: float, model: Model, judge: Judge, content: Image.Image, style: Image.Image, settings: StyleSettings
) -> tuple[Image.Image, StyleSettings]:
    """Searches the content weight at which the result has the content error that is wanted, to TOLERANCE."""
    tried: list[tuple[float, float]] = []  # logarithms of weight and error
    for _ in range(MOST_RUNS):
        result = stylise(model, content, style, settings)
        error = judge.content_error(result, content)
        if abs(error / wanted - 1) < TOLERANCE:
            break
        tried.append((np.log(settings.content_weight), np.log(error)))
        slope = -0.4  # of error over weight, both logarithmic, until two runs tell
        if len(tried) > 1:
            (w0, e0), (w1, e1) = tried[-2:]
            slope = min(-0.1, (e1 - e0) / (w1 - w0))
        weight = float(np.exp(tried[-1][0] + (np.log(wanted) - tried[-1][1]) / slope))
        settings = settings.replace(content_weight=weight)
    return result, settings


def main() -> None:
    """Prints a Markdown table: style distance, content error and content weight of each pair and kind of weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=OWN_FILE, help="the weights to measure (.npz)")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16", help="of the convolutions")
    parser.add_argument("--settings", default="size=384,steps=300", help="name=value pairs for all weights")
    parser.add_argument("--pictures", type=Path, required=True, help="folder for the results")
    options = parser.parse_args()

    options.pictures.mkdir(parents=True, exist_ok=True)
    settings = StyleSettings.parse(options.settings)
    true = to_block3(load("imagenet"))
    judge = Judge(true, settings.size)
    kinds = {"true": true, "own": to_block3(from_file(options.weights)), "random": random(last=DEEPEST)}
    models = {
        kind: ServedModel(
            Stylizer(VGG19(weights.arrays, tf.dtypes.as_dtype(options.precision))),
            describe(weights, options.precision),
        ).functions["stylize"]
        for kind, weights in kinds.items()
    }

    print("| pair | random | own | true | gap closed | content error (and weight): random, own, true |")
    print("|---|---|---|---|---|---|")
    closed = []
    for name, (content, style) in pairs().items():
        distance, error, weight = {}, {}, {}
        for kind, model in models.items():
            if kind == "true":
                result, used = stylise(model, content, style, settings), settings
            else:
                result, used = at_content_error(error["true"], model, judge, content, style, settings)
            result.save(options.pictures / f"{name}, {kind}.png".replace(" ", "_"))
            distance[kind] = judge.style_distance(result, content, style)
            error[kind], weight[kind] = judge.content_error(result, content), used.content_weight
        closed.append((distance["random"] - distance["own"]) / (distance["random"] - distance["true"]))
        order = ("random", "own", "true")
        columns = " | ".join(f"{distance[kind]:.3f}" for kind in order)
        errors = ", ".join(f"{error[kind]:.2f} ({weight[kind]:.3g})" for kind in order)
        print(f"| {name} | {columns} | {closed[-1]:.0%} | {errors} |", flush=True)
    print(f"| mean | | | | {np.mean(closed):.0%} | |")


if __name__ == "__main__":
    main()
