"""How long a run will take on this server, learned from the runs before it.

A run starts small: the plan of its sizes (model/sizes.py) says how many steps it takes at each size, and how much work
a step is there. The time of a step is a part that is the same at every size, and a part that grows with the work: on a
graphics card the first is the larger, on a processor the second. Both are fitted to what this page's runs have taken.
Before the first of them there is no estimate: a trial run would take a place on a server that visitors wait for, and a
guess from the device's name can be wrong by ten times.
"""

from __future__ import annotations

import io
import math
import threading
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.layers import LAYERS, WIDTHS, block_of
from model.limits import SHORT_SIDE_PX
from serving.request import Request

STEPS_RATIO = 0.7  # as in model/sizes.py, which needs TensorFlow
Floats = npt.NDArray[np.float64]

MEMORY = 0.98  # weight of what was learned before, at each chunk: old servers and old loads are forgotten
LEAST_CHUNKS = 3


class Size(NamedTuple):
    """One size of a run.

    Attributes:
      end: the step at which it ends.
      cost: work of one of its steps: 10^12 multiplications of a forward pass.
    """

    end: int
    cost: float


def _products() -> list[float]:
    """Returns the multiplications for each pixel of a forward pass up to each of LAYERS."""
    products, total, before = [], 0.0, 3
    for layer in LAYERS:
        width = WIDTHS[block_of(layer)]
        total += 9 * before * width / 4 ** block_of(layer)
        products.append(total)
        before = width
    return products


PRODUCTS = _products()


def plan(request: Request) -> list[Size]:
    """Returns the sizes of a run, from coarse to fine, as model/sizes.py plans them."""
    with Image.open(io.BytesIO(request.content)) as image:
        ratio = min(image.size) / max(image.size)
    settings = request.settings
    smallest = min(max(settings.smallest_size, math.ceil(SHORT_SIDE_PX / ratio)), settings.size)
    count = 1 + min(math.floor(2 * math.log2(settings.size / smallest) + 1e-3), settings.steps - 1)
    ends = np.cumsum(STEPS_RATIO ** np.arange(count))
    ends = np.arange(1, count + 1) + np.floor(ends / ends[-1] * (settings.steps - count) + 1e-3)
    sides = [round(settings.size / 2 ** (below / 2)) for below in reversed(range(count))]
    layers = [*settings.style_layers] * (settings.style_weight > 0)
    layers += [*settings.content_layers] * (settings.content_weight > 0)
    used = [[LAYERS.index(one.name) for one in layers if one.weight and side <= one.up_to] for side in sides]
    costs = [
        PRODUCTS[max(of_side, default=0)] * side**2 * ratio / 1e12 for of_side, side in zip(used, sides, strict=True)
    ]
    return [Size(int(end), cost) for end, cost in zip(ends, costs, strict=True)]


def work(sizes: list[Size], first: int, last: int) -> float:
    """Returns the work of the steps after `first` up to `last`."""
    starts = [0, *(size.end for size in sizes)]
    within = [max(min(last, size.end) - max(first, start), 0) for start, size in zip(starts, sizes, strict=False)]
    return sum(steps * size.cost for steps, size in zip(within, sizes, strict=True))


class Pace:
    """Seconds for a step and for a unit of work, fitted to chunks of steps. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._squares, self._sums = np.zeros((2, 2)), np.zeros(2)  # of the normal equations
        self._chunks = 0

    def learn(self, request: Request, first: int, last: int, seconds: float) -> None:
        """Adds a chunk: the steps after `first` up to `last` took `seconds`."""
        if last <= first or seconds <= 0:
            return
        row = np.array([last - first, work(plan(request), first, last)]) / seconds  # its product with the pace is 1
        with self._lock:
            self._squares = MEMORY * self._squares + np.outer(row, row)
            self._sums = MEMORY * self._sums + row
            self._chunks += 1

    def seconds(self, request: Request) -> float | None:
        """Returns how long a run will take, or None as long as too little is known."""
        with self._lock:
            if self._chunks < LEAST_CHUNKS:
                return None
            squares, sums = self._squares.copy(), self._sums.copy()
        sizes = plan(request)
        total = np.array([request.settings.steps, work(sizes, 0, request.settings.steps)])
        return float(total @ _fit(squares, sums))


def _fit(squares: Floats, sums: Floats) -> Floats:
    """Returns the pace, neither part of which is negative, with the least sum of squared relative errors."""
    if np.linalg.cond(squares) < 1e8:
        both = np.linalg.solve(squares, sums)
        if both.min() >= 0:
            return both
    alone = sums / squares.diagonal()  # by one part alone; the gain of each is sums^2 / squares
    return np.where(np.arange(2) == np.argmax(alone * sums), alone, 0.0)


PACE = Pace()
