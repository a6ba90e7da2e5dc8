"""How long a run takes, estimated from the runs before it."""

import pytest

from model.settings import StyleSettings
from model.work import work
from serving.request import Request
from tests.ui.fakes import encoded
from ui.estimate import LEAST_CHUNKS, Pace, plan


def request(width: int = 64, height: int = 48, **settings) -> Request:
    return Request(encoded(width, height), (encoded(),), StyleSettings(**settings))


def seconds_of(made: Request, first: int, last: int, a_step: float, a_unit: float) -> float:
    return (last - first) * a_step + work(plan(made), first, last) * a_unit


@pytest.mark.parametrize(("a_step", "a_unit"), [(0.02, 0.0), (0.0, 30.0), (0.01, 5.0)], ids=["GPU", "CPU", "both"])
def test_one_run_tells_how_long_another_of_another_size_takes(a_step, a_unit):
    pace, seen, asked = Pace(), request(size=384, steps=72), request(size=1024, steps=300)
    for first in range(0, 72, 6):
        assert pace.seconds(asked) is None or first >= 6 * LEAST_CHUNKS
        pace.learn(seen, first, first + 6, seconds_of(seen, first, first + 6, a_step, a_unit))
    assert pace.seconds(asked) == pytest.approx(seconds_of(asked, 0, 300, a_step, a_unit), rel=0.01)


def test_a_run_at_one_size_tells_how_long_another_of_this_size_takes():
    pace, one = Pace(), request(preset="gatys2016")
    for first in range(0, 50, 10):
        pace.learn(one, first, first + 10, 20.0)
    assert pace.seconds(one) == pytest.approx(1000.0)


def test_a_slower_server_is_noticed_within_a_hundred_chunks():
    pace, one = Pace(), request()
    for seconds in (1.0, 2.0):
        for _ in range(100):
            pace.learn(one, 0, 10, seconds)
    assert 1.6 < pace.seconds(one) / 18 < 2.0
