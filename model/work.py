"""The sizes of a run and the work of its steps, for whoever plans without TensorFlow."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from model.layers import LAYERS, WIDTHS, block_of
from model.limits import SHORT_SIDE_PX, STEPS_RATIO
from model.settings import StyleSettings


class Size(NamedTuple):
    """One size of a run.

    Attributes:
      end: the step at which it ends.
      cost: work of one of its steps: 10^12 multiplications of a forward pass.
    """

    end: int
    cost: float


_PAIRS = zip(LAYERS, [3, *(WIDTHS[block_of(layer)] for layer in LAYERS)], strict=False)
PRODUCTS = list(accumulate(9 * before * WIDTHS[block_of(layer)] / 4 ** block_of(layer) for layer, before in _PAIRS))
"""The multiplications for each pixel of a forward pass up to each of LAYERS."""


def plan_work(settings: StyleSettings, ratio: float) -> list[Size]:
    """Returns the sizes of a run, from coarse to fine, as `plan_sizes` of model/sizes.py plans them.

    `ratio` is that of the short side of the content picture to its long side.
    """
    smallest = min(max(settings.smallest_size, math.ceil(SHORT_SIDE_PX / ratio)), settings.size)
    count = 1 + min(math.floor(2 * math.log2(settings.size / smallest) + 1e-3), settings.steps - 1)
    shares = list(accumulate(STEPS_RATIO**index for index in range(count)))
    layers = [*settings.style_layers] * (settings.style_weight > 0)
    layers += [*settings.content_layers] * (settings.content_weight > 0)
    sizes = []
    for index, share in enumerate(shares):
        end = 1 + index + math.floor(share / shares[-1] * (settings.steps - count) + 1e-3)
        side = round(settings.size / 2 ** ((count - 1 - index) / 2))
        used = [LAYERS.index(one.name) for one in layers if one.weight and side <= one.up_to]
        sizes.append(Size(end, PRODUCTS[max(used, default=0)] * side**2 * ratio / 1e12))
    return sizes


def work(sizes: Sequence[Size], first: int, last: int) -> float:
    """Returns the work of the steps after `first` up to `last`."""
    total, start = 0.0, 0
    for size in sizes:
        total += max(min(last, size.end) - max(first, start), 0) * size.cost
        start = size.end
    return total
