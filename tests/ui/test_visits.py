"""Visits: kept apart, found again, and forgotten; and their results."""

import threading
from collections.abc import Callable

import pytest

from model.settings import StyleSettings
from serving.errors import ServingUnavailable
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
    """What is to be called when the time of grace is over, for each timer that was set."""
    set_so_far: list[Callable[[], object]] = []

    class Timer:
        def __init__(self, seconds, function, arguments):
            assert seconds == visits.GRACE_S
            self.function, self.arguments = function, arguments

        def start(self):
            set_so_far.append(lambda: self.function(*self.arguments))

    monkeypatch.setattr(visits.threading, "Timer", Timer)
    return set_so_far


def test_a_page_that_comes_again_in_time_finds_its_visit_with_the_run_still_going_on(timers, running):
    known = Visits()
    visit = known.enter("a")
    visit.take(running)
    known.leave(visit)
    assert known.enter("a") is visit
    assert known.enter("b") is not visit
    timers[0]()
    assert running.snapshot().status is Status.RUNNING
    assert "a" in known
    known.leave(visit)
    timers[0]()
    assert "a" in known  # it has the whole time anew


def test_a_visit_whose_last_page_has_gone_is_forgotten_and_its_run_stopped(timers, running):
    known = Visits()
    visit = known.enter("a")
    assert known.enter("a") is visit
    visit.take(running)
    known.leave(visit)
    assert not timers
    known.leave(visit)
    timers[0]()
    assert "a" not in known
    assert running.snapshot().status is not Status.RUNNING
    assert known.enter("a") is not visit


def test_a_visit_is_unattended_once_its_page_has_been_away_for_longer_than_a_reload_takes(timers, monkeypatch):
    known = Visits()
    visit = known.enter("a")
    known.leave(visit)
    assert not visit.unattended()
    monkeypatch.setattr(visits, "RELOAD_S", -1.0)
    assert visit.unattended()
    known.enter("a")
    assert not visit.unattended()


def test_a_new_run_takes_the_place_of_the_one_before_which_is_stopped(running):
    visit, second = Visit("a"), job(FakeClient())
    visit.take(running)
    visit.take(second)
    assert visit.work is second
    assert running.snapshot().status in (Status.STOPPING, Status.STOPPED)


def finish(visit: Visit, work: Job) -> None:
    visit.take(work)
    work.wait(5)
    visit.keep_result()
    visit.keep_result()  # as each drawing of the page does


def test_a_visit_keeps_its_last_results_and_what_was_deleted_stays_away():
    visit = Visit("a")
    made = [job(FakeClient(chunks=1)) for _ in range(visits.MOST_RESULTS + 1)]
    for work in made:
        finish(visit, work)
    latest_first = [work.number for work in made[:0:-1]]
    assert [one.number for one in visit.results] == latest_first
    assert visit.results[0].origin.settings.steps == 40
    assert visit.results[0].origin.model["digest"] == "0123"
    visit.delete_result(latest_first[0])
    visit.keep_result()
    assert [one.number for one in visit.results] == latest_first[1:]


def test_a_run_that_goes_on_replaces_its_earlier_result():
    visit, client = Visit("a"), FakeClient(run_problem=ServingUnavailable("gone"), breaks_at=2)
    work = job(client)
    finish(visit, work)
    assert [one.origin.step for one in visit.results] == [20]
    assert visit.results[0].png.startswith(b"\x89PNG")  # of a preview, which is JPEG
    client.run_problem = None
    finish(visit, work)
    assert [one.origin.step for one in visit.results] == [40]
