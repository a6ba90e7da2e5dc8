"""VGG19's convolutions: their names, as in Keras, and their widths. Imports no TensorFlow."""

from typing import NamedTuple

from model.limits import MAX_SIZE_PX

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of each block's convolutions."""

LAYERS = tuple(
    f"block{block}_conv{conv}" for block, convs in enumerate((2, 2, 4, 4, 4), start=1) for conv in range(1, convs + 1)
)
"""The convolutions, in forward order."""

BLOCK_STARTS = tuple(layer for layer in LAYERS if layer.endswith("_conv1"))
"""The first convolution of each block. All except block1_conv1 take the pooled output of the layer before."""


class Layer(NamedTuple):
    """A layer of the style or content loss.

    Attributes:
      name: one of LAYERS.
      weight: weight of its loss, from 0.
      up_to: the largest long side, in pixels, at which it counts; MAX_SIZE_PX: it counts at every size.
    """

    name: str
    weight: float = 1.0
    up_to: int = MAX_SIZE_PX


def block_of(layer: str) -> int:
    """Returns the index of a layer's block, 0 for the first."""
    return int(layer.removeprefix("block").partition("_")[0]) - 1
