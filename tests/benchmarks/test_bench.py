"""How `make bench` compares: by a clock that tests set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.bench.record import Record, compare, seconds
from tests.benchmarks.bench.serving import export_size


class Clock:
    """A clock that moves only when something works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, *durations_s: float) -> Callable[[], None]:
        left = list(durations_s)

        def work() -> None:
            self.now += left.pop(0)

        return work


def test_ratio_is_the_median_of_pairs_and_leaves_the_warm_up_out() -> None:
    clock = Clock()
    # The machine is slow in the third pair; something else comes in between in the fourth.
    reference, work = clock.work(9.0, 1.0, 2.0, 10.0), clock.work(90.0, 1.5, 3.0, 60.0)
    record = compare("a", reference, work, 1.5, rounds=3, clock=clock)
    assert (record.value, record.target, record.unit) == (1.5, 1.5, "ratio")
    assert record.details == {"reference_s": 2.0, "taken_s": 3.0}
    assert record.holds


def test_seconds_are_those_of_the_clock() -> None:
    clock = Clock()
    assert seconds(clock.work(2.5), clock) == 2.5


@pytest.mark.parametrize(("value", "holds"), [(1.0, True), (1.5, True), (1.51, False)])
def test_a_target_is_the_highest_that_holds(value: float, holds: bool) -> None:
    assert Record("a", value, 1.5).holds is holds


def test_size_is_that_of_all_files_of_the_newest_version(tmp_path: Path) -> None:
    for name, size in (("1/saved_model.pb", 9_000_000), ("2/saved_model.pb", 3_000_000), ("2/variables/a", 500_000)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    assert (export_size(tmp_path).value, export_size(tmp_path).unit) == (3.5, "MB")
