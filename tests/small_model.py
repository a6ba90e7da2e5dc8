"""The tests' small network, and `python -m tests.small_model DIR`, which exports it for any model server."""

import os
import sys
from pathlib import Path

import numpy as np

from model.layers import BLOCK_STARTS
from model.weights import Weights

CHANNELS = {"block1_conv1": 4, "block1_conv2": 5, "block2_conv1": 6, "block2_conv2": 3, "block3_conv1": 7}

DEFAULT_LAYERS = {"style_layers": BLOCK_STARTS[:3], "content_layers": BLOCK_STARTS[2:3]}
"""What the default recipe comes to on this network, which lacks its deep layers."""


def small_network() -> Weights:
    """Five layers of a few channels each."""
    generator = np.random.default_rng(1)
    arrays, inputs = {}, 3
    for layer, outputs in CHANNELS.items():
        kernel = generator.normal(0, np.sqrt(2 / (9 * inputs)), (3, 3, inputs, outputs))
        arrays[f"{layer}/kernel"] = (kernel / (60 if inputs == 3 else 1)).astype(np.float32)
        arrays[f"{layer}/bias"] = generator.normal(0, 0.1, outputs).astype(np.float32)
        inputs = outputs
    return Weights("small", arrays)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.small_model DIR")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from model.export import export

    print(export(small_network(), Path(sys.argv[1]), "float32"))
