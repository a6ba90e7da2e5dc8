"""How long a run will take on this server, learned from the runs before it.

A run starts small: the plan of its sizes (model/work.py) says how many steps it takes at each size, and how much work
a step is there. The time of a step is a part that is the same at every size, and a part that grows with the work: on a
graphics card the first is the larger, on a processor the second. Both are fitted to what this page's runs have taken.
Before the first of them there is no estimate: a trial run would take a place on a server that visitors wait for, and a
guess from the device's name can be wrong by ten times.
"""

import io
import threading

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.work import Size, plan_work, work
from serving.request import Request

Floats = npt.NDArray[np.float64]

MEMORY = 0.98  # weight of what was learned before, at each chunk: old servers and old loads are forgotten
LEAST_CHUNKS = 3


def plan(request: Request) -> list[Size]:
    """Returns the sizes of a run, as model/work.py plans them."""
    with Image.open(io.BytesIO(request.content)) as image:
        return plan_work(request.settings, min(image.size) / max(image.size))


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
