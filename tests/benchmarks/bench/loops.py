"""The two loops that are compared: a run's own step, and the bare convolutions of its network."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import tensorflow as tf
from PIL import Image

from model.contract import SIGNATURES
from model.export import build
from model.layers import BLOCK_STARTS
from model.limits import MAX_SIZE_PX
from model.signatures import ServedModel
from model.vgg19 import AFTER_POOLING
from model.weights import Weights
from tests.conftest import decoded, encode
from ui.samples import CONTENTS, STYLES

ONE_SIZE = f"smallest_size={MAX_SIZE_PX}"
FIVE_LAYERS = f"style_layers={'/'.join(BLOCK_STARTS)}"
"""Weighs all five style layers of Gatys et al., as the targets do."""

FEW, MANY = 1, 5  # steps of two calls, whose difference is the price of the steps alone
ROUNDS = 3  # of all that is compared, one after the other; the quickest of each counts
LARGE, LARGE_ROUNDS = 512, 2  # pixels; a step is so long there that what else the machine does weighs less


CONTENT, STYLE = CONTENTS[0].path.read_bytes(), STYLES[0].path.read_bytes()  # those of a first visit
PAIR = {"content_bytes": [CONTENT], "style_bytes": [[STYLE]]}


@dataclass(frozen=True)
class Model:
    """A model in this process."""

    served: ServedModel
    weights: Weights
    dtype: tf.DType

    @classmethod
    def of(cls, weights: Weights, dtype: tf.DType) -> Self:
        return cls(build(weights, dtype.name), weights, dtype)

    def advance(self, text: str, take: int, state: bytes = b"", **inputs: Any) -> dict[str, Any]:
        """Takes the next steps of a run in a call of its own."""
        given = {**PAIR, **inputs, "settings": [text], "state_bytes": [state], "take_steps": [take]}
        tensors = [tf.constant(given[tensor.name]) for tensor in SIGNATURES["advance"].inputs]
        answer: dict[str, Any] = self.served.functions["advance"](*tensors)
        return answer


Timed = Callable[[], float]
"""Does something once and returns the seconds that a step of it took."""


def step(model: Model, size: int, text: str = "") -> Timed:
    """Returns the timed step of a run of square pictures at one size, without what a call costs once."""
    settings = f"{text},{ONE_SIZE},size={size},steps=1000"
    content = [square(CONTENT, size)]
    state = model.advance(settings, FEW, content_bytes=content)["state_bytes"].numpy()[0]

    def seconds(take: int) -> float:
        begin = time.perf_counter()
        model.advance(settings, take, state, content_bytes=content)["step"].numpy()
        return time.perf_counter() - begin

    seconds(FEW)
    return lambda: (seconds(MANY) - seconds(FEW)) / (MANY - FEW)


def floor(model: Model, size: int) -> Timed:
    """Returns the timed pass there and back through the convolution, bias, ReLU and pooling of all layers."""
    arrays = {name: tf.cast(array, model.dtype) for name, array in model.weights.arrays.items()}

    def deepest(x: tf.Tensor) -> tf.Tensor:
        for name in model.weights.layers:
            if name in AFTER_POOLING:
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")
            x = tf.nn.conv2d(x, arrays[f"{name}/kernel"], 1, "SAME")
            x = tf.nn.relu(tf.nn.bias_add(x, arrays[f"{name}/bias"]))
        return x

    @tf.function(autograph=False)
    def passes(image: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        def once(i: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = deepest(x)
            return i + 1, x + tape.gradient(y, x)  # each pass depends on the one before it

        return tf.while_loop(lambda i, _: i < count, once, (tf.constant(0), image), parallel_iterations=1)[1]

    image = tf.cast(tf.random.stateless_uniform([1, size, size, 3], [0, 0]), model.dtype)

    def timed() -> float:
        begin = time.perf_counter()
        passes(image, tf.constant(MANY - FEW)).numpy()
        return (time.perf_counter() - begin) / (MANY - FEW)

    timed()
    return timed


def quickest(*timed: Timed, size: int = 0) -> list[float]:
    """Returns the least seconds of each, taken in turns, so that what else the machine does falls on all alike."""
    seconds = [[one() for one in timed] for _ in range(ROUNDS if size < LARGE else LARGE_ROUNDS)]
    return [min(column) for column in zip(*seconds, strict=True)]


def square(picture: bytes, size: int) -> bytes:
    """Returns the upper left of an encoded picture as one of so many pixels each way."""
    image = decoded(picture)
    side = min(image.shape[:2])
    return encode(Image.fromarray(image[:side, :side]).resize((size, size), Image.Resampling.LANCZOS))
