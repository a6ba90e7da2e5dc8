"""Exports the served model: `python -m model.export --weights imagenet|random|PATH --output DIR`."""

import argparse
import os
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import InvalidInput, StyleTransferError
from model.layers import LAYERS, WIDTHS
from model.limits import MAX_INPUT_PX, MAX_SIZE_PX, MAX_STEPS, MAX_STYLES
from model.presets import DEEPEST_LAYER
from model.versions import find_versions
from model.weights import Weights, load

if TYPE_CHECKING:
    from model.signatures import ServedModel

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
MEASURABLE_S = 0.005  # far longer than it takes to start an operation
MEASURED_S = 0.2  # how long is measured, so that what else the machine does has its pauses
GAIN = 0.8  # of float32's time; smaller savings are within a busy machine's noise


def choose_precision() -> str:
    """Returns the type in which this machine convolves fastest; float32 unless another saves a fifth of its time.

    The types are timed, because a device's name does not say whether it computes in a type or only converts it. That
    takes a second or two, or half a minute where a GPU's kernels are compiled first. float16 is tried on GPUs only:
    TensorFlow's CPU kernels convert it.
    """
    import tensorflow as tf

    side, exact = _measurable(tf.float32)
    short = [tf.bfloat16, tf.float16] if tf.config.list_physical_devices("GPU") else [tf.bfloat16]
    seconds, fastest = min((_convolution_s(dtype, side), dtype.name) for dtype in short)
    return fastest if seconds < GAIN * exact else "float32"


def build(weights: Weights, precision: str) -> "ServedModel":
    """Returns the model that is exported, with the form of gradients that this machine computes fastest."""
    import tensorflow as tf

    from model.signatures import ServedModel
    from model.vgg19 import VGG19

    dtype = tf.as_dtype(precision)
    network = VGG19(weights.arrays, dtype, flips_kernels=_flipping_is_faster(dtype))
    description = {
        "digest": f"{weights.digest}-{precision}",
        "weights": {key: getattr(weights, key) for key in ("name", "digest", "source", "credit", "notice")},
        "layers": list(weights.layers),
        "precision": precision,
        "gradients_by": "Conv2D" if network.flips_kernels else "Conv2DBackpropInput",
        "limits": {"size_px": MAX_SIZE_PX, "steps": MAX_STEPS, "styles": MAX_STYLES, "input_px": MAX_INPUT_PX},
        "tensorflow": tf.__version__,
    }
    return ServedModel(network, description)


def _flipping_is_faster(dtype: Any) -> bool:
    """Tells whether this machine's CPU computes gradients faster with flipped kernels; cuDNN has its own way."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return False
    side, seconds = _measurable(dtype)
    return _convolution_s(dtype, side, flipped=True) < seconds


def _measurable(dtype: Any) -> tuple[int, float]:
    """Returns the pixels of a side that takes long enough, and the seconds that `_convolution_s` has for it."""
    side = 32
    while (seconds := _convolution_s(dtype, side)) < MEASURABLE_S:
        side *= 2
    return side, seconds


def _convolution_s(dtype: Any, side: int, flipped: bool = False) -> float:
    """Returns the seconds that a block1 convolution and its gradient take at `side` x `side` pixels, least of many."""
    import tensorflow as tf

    from model.vgg19 import gradient_at_padded

    x, kernel = tf.ones([1, side, side, WIDTHS[0]], dtype), tf.ones([3, 3, WIDTHS[0], WIDTHS[0]], dtype)

    def once() -> float:
        begin = time.perf_counter()
        gradient = gradient_at_padded(tf.nn.conv2d(x, kernel, 1, "SAME"), kernel, flipped)
        gradient[0, 0, 0, 0].numpy()  # waits for a GPU
        return time.perf_counter() - begin

    once()  # chooses and loads kernels
    seconds = [once() for _ in range(3)]
    while sum(seconds) < MEASURED_S:
        seconds.append(once())
    return min(seconds)


def served_layers(weights: Weights) -> Weights:
    """Returns the weights without the layers beyond the deepest one that a preset uses."""
    used = LAYERS[: LAYERS.index(DEEPEST_LAYER) + 1]
    return replace(weights, arrays={key: a for key, a in weights.arrays.items() if key.partition("/")[0] in used})


def export(weights: Weights, output: Path, precision: str = "auto") -> Path:
    """Writes a new version of the model and returns its directory, `output`/N.

    It is written to a draft directory and then renamed: a server that watches `output` never sees half a version.

    Raises:
      InvalidInput: `output` is not a directory, or cannot be written to.
    """
    import tensorflow as tf

    from model import warmup

    served = build(weights, choose_precision() if precision == "auto" else precision)
    try:
        output.mkdir(parents=True, exist_ok=True)
        # tensorflow_model_server ignores the draft, whose name is not an integer.
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=output) as folder:
            draft = Path(folder) / "version"
            tf.saved_model.save(served, str(draft), signatures=dict(served.functions))
            warmup.write(draft)
            return _placed(draft, output)
    except (OSError, tf.errors.OpError) as error:
        fault = f"`output` must be a directory that can be written to. Received: {output} ({error})"
        raise InvalidInput(fault) from error


def _placed(draft: Path, output: Path) -> Path:
    """Renames a draft to the next version in `output`; tries a higher number if another export takes this one."""
    number = max((version.number for version in find_versions(output)), default=0)
    while True:
        number += 1
        version = output / str(number)
        try:
            return draft.rename(version)
        except OSError:
            if not version.exists():
                raise


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model.export", description=__doc__)
    add = parser.add_argument
    add("--weights", default="imagenet", help="imagenet, random, or a .whl, .h5 or .npz file (default: imagenet)")
    add("--output", type=Path, required=True, help="base path; the model is written to OUTPUT/VERSION")
    add("--precision", choices=PRECISIONS, default="auto", help="type of the convolutions (default: auto)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if arguments is None:
        # By default SIGTERM would leave the draft directory and a running pip behind, and Ctrl-C print a traceback.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        weights = served_layers(load(options.weights, report=lambda line: print(line, file=sys.stderr, flush=True)))
        version = export(weights, options.output, options.precision)
    except StyleTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{version}: {weights.name} weights, digest {weights.digest}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
