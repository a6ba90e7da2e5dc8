"""A figure beside its target, and how two ways of doing the same are compared on a noisy machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    """One line of the benchmark.

    Attributes:
      name: what was measured.
      value: the figure.
      target: what it must not exceed.
      unit: of both: `ratio`, `s` or `MB`.
      details: what it was made from, by name, with the unit in the name.
    """

    name: str
    value: float
    target: float
    unit: str = "ratio"
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Returns how long a call took."""
    started = clock()
    work()
    return clock() - started


def compare(
    name: str,
    reference: Callable[[], object],
    work: Callable[[], object],
    target: float,
    *,
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> Record:
    """Returns the ratio of the time of `work` to that of `reference`, whose calls take turns.

    What slows a machine down for a while slows both down, so the ratio of each pair is steadier than either time; the
    median leaves out the pairs that it came in between of.

    Args:
      name: of the record.
      reference: what `work` is held against.
      work: does the same in another way.
      target: the highest ratio.
      rounds: pairs that count; one more goes before, to warm both up.
      clock: seconds.
    """
    pairs = [(seconds(reference, clock), seconds(work, clock)) for _ in range(rounds + 1)][1:]
    return Record(
        name,
        statistics.median(taken / reference_s for reference_s, taken in pairs),
        target,
        details={
            "reference_s": statistics.median(reference_s for reference_s, _ in pairs),
            "taken_s": statistics.median(taken for _, taken in pairs),
        },
    )
