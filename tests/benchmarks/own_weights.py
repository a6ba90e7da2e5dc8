"""How much of the way from random to true features our own weights go, over four pairs of pictures.

    NST_WEIGHTS=vgg19.npz NST_TEST_IMAGES=DIR python -m tests.benchmarks.own_weights --pictures OUT

Each pair is stylised with random, own and true features to block3_conv1, at the same size, steps and settings. The
result is judged under the true features: style distance is |G - G*| / |G_content - G*| with Gram matrices G, mean over
the five layers and over full, half and quarter size; 0 is the painting, 1 the untouched photograph. That favours the
true features, since they alone optimise what is measured. Whoever lets go of the photograph gets nearer to the
painting, so the content error is printed too: relative to the variance of the network's own features, and under the
true ones.
No training run has seen any of the pictures.
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
from model.settings import LAYERS, LOSS_TERMS, StyleSettings
from model.signatures import ServedModel
from model.stylizer import Stylizer
from model.vgg19 import VGG19
from model.weights import OWN_FILE, Weights, from_file, load, random

DEEPEST = "block3_conv1"
USED = LAYERS[: LAYERS.index(DEEPEST) + 1]
SCALES = (1, 2, 4)
SAMPLES = Path(__file__).parents[2] / "ui" / "samples"

LAST_STEPS = 10  # over which the content loss is averaged

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


def stylise(
    model: Model, content: Image.Image, style: Image.Image, settings: StyleSettings
) -> tuple[Image.Image, float]:
    """Returns the result of one call, and the content loss that its last steps had."""
    answer = model(tf.constant([png(content)]), tf.constant([[png(style)]]), tf.constant([str(settings)]))
    content_loss = answer["losses"][0, -LAST_STEPS:, LOSS_TERMS.index("content")]
    return Image.open(io.BytesIO(answer["image_bytes"].numpy()[0])).convert("RGB"), float(tf.reduce_mean(content_loss))


def main() -> None:
    """Prints a Markdown table: style distance and content error of each pair and kind of weights."""
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
    kinds = {"random": random(last=DEEPEST), "own": to_block3(from_file(options.weights)), "true": true}
    models = {
        kind: ServedModel(
            Stylizer(VGG19(weights.arrays, tf.dtypes.as_dtype(options.precision))),
            describe(weights, options.precision),
        ).functions["stylize"]
        for kind, weights in kinds.items()
    }

    print("| pair | random | own | true | gap closed | content error: random, own, true | under the true features |")
    print("|---|---|---|---|---|---|---|")
    closed = []
    for name, (content, style) in pairs().items():
        distance, error, seen = {}, {}, {}
        for kind, model in models.items():
            result, error[kind] = stylise(model, content, style, settings)
            result.save(options.pictures / f"{name}, {kind}.png".replace(" ", "_"))
            distance[kind], seen[kind] = (
                judge.style_distance(result, content, style),
                judge.content_error(result, content),
            )
        closed.append((distance["random"] - distance["own"]) / (distance["random"] - distance["true"]))
        columns = " | ".join(f"{value:.3f}" for value in distance.values())
        errors = " | ".join(", ".join(f"{value:.2f}" for value in values.values()) for values in (error, seen))
        print(f"| {name} | {columns} | {closed[-1]:.0%} | {errors} |", flush=True)
    print(f"| mean | | | | {np.mean(closed):.0%} | | |")


if __name__ == "__main__":
    main()
