"""How `make bench` compares and what it writes, with clocks that tests set."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from model.weights import Weights
from tests.benchmarks.bench import quality
from tests.benchmarks.bench.loops import Model, quickest
from tests.benchmarks.bench.records import Record, machine, markdown
from tests.conftest import encode, smooth_picture


def test_the_quickest_of_each_counts_and_all_take_turns() -> None:
    order: list[str] = []

    def timed(name: str, *seconds: float) -> Callable[[], float]:
        left = list(seconds)

        def once() -> float:
            order.append(name)
            return left.pop(0)

        return once

    assert quickest(timed("a", 3, 1, 2), timed("b", 4, 5, 6)) == [1, 4]
    assert order == ["a", "b"] * 3


@pytest.mark.parametrize(("figure", "holds"), [(1.0, True), (1.2, True), (1.21, False), (float("inf"), False)])
def test_a_target_is_the_highest_figure_that_holds(figure: float, holds: bool) -> None:
    record = Record(1, "step", figure, 1.2, "x")
    assert record.holds is holds
    assert record.as_dict()["holds"] is holds


def test_the_table_is_in_order_of_the_targets_and_says_which_are_missed() -> None:
    records = [Record(7, "start", 20.0, 15.0, "s", "cold"), Record(1, "step", 1.19, 1.2, "x")]
    rows = markdown(records, {"cores": 2}).splitlines()[-2:]
    assert rows == ["| 1 | step | 1.19 | 1.2 | yes |  |", "| 7 | start | 20 s | 15 s | **no** | cold |"]


def test_the_machine_is_described() -> None:
    facts = machine()
    assert facts["cores"] >= 1
    assert facts["memory_gb"] > 0
    assert facts["processor"]


def test_the_photograph_has_a_lower_loss_than_noise(small_weights: Weights) -> None:
    content, noise = smooth_picture(48, 48, 1), np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    pair = encode(content), encode(smooth_picture(48, 48, 2))
    judge = quality.Judge(Model.of(small_weights, tf.float32), 48, pair)
    assert judge.loss(pair[0]) < judge.loss(encode(noise))
