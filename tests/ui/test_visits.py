"""Visits: how they are kept apart, found again and forgotten; and their results."""

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from model.settings import StyleSettings
from serving.request import Request
from tests.ui.fakes import FakeClient, encoded
from ui import visits
from ui.jobs import Job, RunQueue, Status
from ui.visits import Visit, Visits


def job(client: FakeClient) -> Job:
    request = Request(encoded(), (encoded(),), StyleSettings("classic", steps=40))
    return Job(client, request, RunQueue(1), lambda: False)


@pytest.fixture
def running() -> Job:
    """A job that waits after its first chunk."""
    return job(FakeClient(gate=threading.Semaphore(0)))


@pytest.fixture
def timers(monkeypatch) -> list[Callable[[], object]]:
    """The calls that the timers would make when the grace period is over."""
    calls: list[Callable[[], object]] = []

    def timer(seconds, function, arguments):
        assert seconds == visits.GRACE_S
        return SimpleNamespace(start=lambda: calls.append(lambda: function(*arguments)))

    monkeypatch.setattr(visits.threading, "Timer", timer)
    return calls


def test_a_visit_is_found_again_during_the_grace_period_and_then_stopped_and_forgotten(timers, running):
    known = Visits()
    visit = known.enter("a")
    assert known.enter("a") is visit
    assert known.enter("b") is not visit
    visit.take(running)
    known.leave(visit)
    assert not timers  # there is another page
    known.leave(visit)
    known.enter("a")
    timers[0]()
    known.leave(visit)
    timers[0]()
    assert "a" in known  # its grace period starts again
    assert running.snapshot().status is Status.RUNNING
    timers[1]()
    assert "a" not in known
    assert running.snapshot().status is not Status.RUNNING


def test_a_visit_is_unattended_once_its_page_is_away_for_longer_than_a_reload_takes(timers, monkeypatch):
    known = Visits()
    visit = known.enter("a")
    known.leave(visit)
    assert not visit.unattended()
    monkeypatch.setattr(visits, "RELOAD_S", -1.0)
    assert visit.unattended()
    known.enter("a")
    assert not visit.unattended()


def test_a_new_run_stops_and_replaces_the_one_before(running):
    visit, second = Visit("a"), job(FakeClient())
    visit.take(running)
    visit.take(second)
    assert visit.work is second
    assert running.snapshot().status in (Status.STOPPING, Status.STOPPED)


def test_a_visit_keeps_its_last_results_and_deleted_ones_do_not_come_back():
    visit = Visit("a")
    made = [job(FakeClient(chunks=1)) for _ in range(visits.MOST_RESULTS + 1)]
    for work in made:
        visit.take(work)
        work.wait(5)
        visit.keep_result()
        visit.keep_result()  # as every redraw of the page does
    latest_first = [work.number for work in made[:0:-1]]
    assert [one.number for one in visit.results] == latest_first
    assert visit.results[0].origin.model["digest"] == "0123"
    visit.delete_result(latest_first[0])
    visit.keep_result()
    assert [one.number for one in visit.results] == latest_first[1:]
