"""Visits: kept apart, found again, and forgotten; and their results."""

import threading

import pytest

from model.settings import StyleSettings
from serving.request import Request
from tests.ui.fakes import FakeClient, encoded
from ui import visits
from ui.jobs import Job, RunQueue, Status
from ui.visits import Visit, Visits


def job(client: FakeClient | None = None) -> Job:
    """Returns a job that needs nobody, or else one that waits after its first chunk."""
    if client is None:
        client = FakeClient()
        client.gate = threading.Semaphore(0)
    request = Request(encoded(), (encoded(),), StyleSettings("classic", steps=40))
    return Job(client, request, RunQueue(1), lambda: False)


class Timer:
    """Stands in for `threading.Timer`, and rings when a test says so."""

    set: list["Timer"]

    def __init__(self, seconds, function, arguments):
        assert seconds == visits.GRACE_S
        self.ring = lambda: function(*arguments)

    def start(self):
        Timer.set.append(self)


@pytest.fixture
def timers(monkeypatch) -> list[Timer]:
    Timer.set = []
    monkeypatch.setattr(visits.threading, "Timer", Timer)
    return Timer.set


def test_a_page_that_comes_again_in_time_finds_its_visit_with_the_run_still_going_on(timers):
    known = Visits()
    visit = known.enter("a")
    visit.take(job())
    known.leave(visit)
    assert known.enter("a") is visit
    assert known.enter("b") is not visit
    timers[0].ring()
    assert visit.work.snapshot().status is Status.RUNNING
    assert "a" in known
    known.leave(visit)
    timers[0].ring()
    assert "a" in known  # which has the whole time anew
    timers[1].ring()
    assert "a" not in known


def test_a_visit_without_a_page_is_forgotten_and_its_run_stopped(timers):
    known = Visits()
    visit = known.enter("a")
    visit.take(job())
    known.leave(visit)
    timers[0].ring()
    assert "a" not in known
    assert visit.work.snapshot().status is not Status.RUNNING
    assert known.enter("a") is not visit


def test_a_visit_lasts_as_long_as_one_of_its_pages(timers):
    known = Visits()
    visit = known.enter("a")
    assert known.enter("a") is visit
    known.leave(visit)
    assert not timers
    known.leave(visit)
    timers[0].ring()
    assert "a" not in known


def test_a_visit_is_unattended_once_its_page_has_been_away_for_longer_than_a_reload_takes(monkeypatch):
    known = Visits()
    visit = known.enter("a")
    known.leave(visit)
    assert not visit.unattended()
    monkeypatch.setattr(visits, "RELOAD_S", -1.0)
    assert visit.unattended()
    known.enter("a")
    assert not visit.unattended()


def test_a_new_run_takes_the_place_of_the_one_before_which_is_stopped():
    visit, first, second = Visit("a"), job(), job()
    visit.take(first)
    visit.take(second)
    assert visit.work is second
    assert first.snapshot().status in (Status.STOPPING, Status.STOPPED)


def test_keys_are_long_and_never_the_same():
    keys = {visits.new_key() for _ in range(100)}
    assert len(keys) == 100
    assert min(map(len, keys)) >= 22  # 128 bits, six to a character


def finish(visit: Visit, work: Job) -> None:
    visit.take(work)
    work.wait(5)
    visit.keep_result()


def test_a_visit_keeps_its_last_results_and_what_was_deleted_stays_away():
    visit = Visit("a")
    made = [job(FakeClient(chunks=1)) for _ in range(visits.MOST_RESULTS + 1)]
    for work in made:
        finish(visit, work)
    visit.keep_result()  # as each drawing of the page does
    assert [one.number for one in visit.results] == [work.number for work in made[:0:-1]]
    assert visit.results[0].origin.settings.steps == 40
    assert visit.results[0].origin.model["digest"] == "0123"
    visit.delete_result(made[-1].number)
    visit.keep_result()
    assert [one.number for one in visit.results] == [work.number for work in made[-2:0:-1]]


def test_a_run_that_goes_on_replaces_its_earlier_result():
    visit, client = Visit("a"), FakeClient()
    client.run_problem, client.breaks_at = ZeroDivisionError(), 2
    work = job(client)
    finish(visit, work)
    assert [one.origin.step for one in visit.results] == [20]
    assert visit.results[0].png.startswith(b"\x89PNG")  # of a preview, which is JPEG
    client.run_problem = None
    finish(visit, work)
    assert [one.origin.step for one in visit.results] == [40]
