"""Visits: how they are kept apart, found again and forgotten; and their results."""

import io
import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image

from model.settings import StyleSettings
from serving.errors import ServingFailed
from serving.request import Request
from tests.conftest import encode
from tests.ui.fakes import FakeClient, encoded, until
from ui import visits
from ui.jobs import Job, RunQueue, Status
from ui.visits import Visit, Visits

REQUEST = Request(encoded(), (encoded(),), StyleSettings("classic", steps=40))


def job(visit: Visit, client: FakeClient | None = None, request: Request = REQUEST) -> Job:
    return Job(client or FakeClient(chunks=1), request, RunQueue(9), visit)


@pytest.fixture
def gated() -> FakeClient:
    """A client whose runs wait after their first chunk."""
    return FakeClient(gate=threading.Semaphore(0))


@pytest.fixture
def timers(monkeypatch) -> list[Callable[[], object]]:
    """The calls that the timers would make when the grace period is over."""
    calls: list[Callable[[], object]] = []

    def timer(seconds, function, arguments):
        assert seconds == visits.GRACE_S
        return SimpleNamespace(start=lambda: calls.append(lambda: function(*arguments)))

    monkeypatch.setattr(visits.threading, "Timer", timer)
    return calls


def test_a_visit_is_found_again_during_the_grace_period_and_then_stopped_and_forgotten(timers, gated):
    known = Visits()
    visit = known.enter("a")
    assert known.enter("a") is visit
    assert known.enter("b") is not visit
    running, waiting = job(visit, gated), job(visit, gated)
    visit.line_up(running, waiting)
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
    assert [one.running for one in (running, waiting)] == [False, False]
    gated.gate.release(9)
    until(lambda: not running.active)
    assert not waiting.active


def test_a_visit_is_unattended_once_its_page_is_away_for_longer_than_a_reload_takes(timers, monkeypatch):
    known = Visits()
    visit = known.enter("a")
    known.leave(visit)
    assert not visit.unattended()
    monkeypatch.setattr(visits, "RELOAD_S", -1.0)
    assert visit.unattended()
    known.enter("a")
    assert not visit.unattended()


def test_runs_start_one_after_another_in_the_order_in_which_they_were_lined_up(gated):
    visit = Visit("a")
    first, second, third, fourth = (job(visit, gated) for _ in range(4))
    visit.line_up(first)
    visit.line_up(second, third)
    visit.line_up(fourth)
    assert (visit.work, visit.lined_up, visit.active) == (first, (second, third, fourth), True)
    visit.remove(third)
    gated.gate.release(3)
    until(lambda: visit.work is second)
    assert visit.lined_up == (fourth,)
    gated.gate.release(6)
    until(lambda: not visit.active)
    assert [one.number for one in visit.results] == [fourth.number, second.number, first.number]


def test_after_stop_the_next_run_starts_at_once_though_the_server_hangs(gated):
    visit = Visit("a")
    hanging, lined_up, later = job(visit, gated), job(visit), job(visit)
    visit.line_up(hanging, lined_up)
    until(lambda: hanging.snapshot().step)
    visit.stop()
    assert visit.work is lined_up
    until(lambda: not visit.active)
    visit.line_up(later)
    until(lambda: not visit.active)
    gated.gate.release()
    until(lambda: not hanging.active)
    assert [one.number for one in visit.results] == [hanging.number, later.number, lined_up.number]


def test_a_run_that_fails_gives_way_to_the_next_and_is_reported_until_a_new_one_is_lined_up(gated):
    visit = Visit("a")
    failing = job(visit, FakeClient(run_problem=ServingFailed("no")))
    visit.line_up(job(visit, gated), failing, job(visit))
    gated.gate.release(9)
    until(lambda: not visit.active)
    assert visit.failed is failing
    visit.line_up(job(visit))
    assert visit.failed is None


def finish(visit: Visit, request: Request = REQUEST) -> Job:
    """Runs a job to its end."""
    work = job(visit, request=request)
    visit.line_up(work)
    until(lambda: not work.active)
    return work


def test_results_are_kept_as_long_as_there_is_room_and_the_latest_always(monkeypatch):
    visit = Visit("a")
    made = [finish(visit) for _ in range(3)]
    assert [one.number for one in visit.results] == [work.number for work in reversed(made)]
    assert visit.results[0].origin.model["digest"] == "0123"
    latest = visit.results[0]
    shared = sum(map(len, REQUEST.pictures["content"] + REQUEST.pictures["styles"]))
    room = 2 * (len(latest.png) + len(latest.thumbnail) + sum(map(len, latest.film))) + shared
    monkeypatch.setattr(visits, "RESULTS_BYTES", room)
    made.append(finish(visit))
    assert [one.number for one in visit.results] == [made[3].number, latest.number]
    monkeypatch.setattr(visits, "RESULTS_BYTES", 1)
    made.append(finish(visit))
    assert [one.number for one in visit.results] == [made[4].number]
    visit.delete_result(made[4].number)
    assert (visit.results, visit.result_of(made[4])) == ((), None)


def test_a_result_is_as_transparent_as_its_photograph():
    cut_out = Image.new("RGBA", (48, 32), (200, 90, 40, 255))
    cut_out.paste((0, 0, 0, 0), (0, 0, 24, 32))
    visit = Visit("a")
    finish(visit, replace(REQUEST, content=encode(cut_out)))
    with Image.open(io.BytesIO(visit.results[0].png)) as image:
        assert (image.mode, image.size) == ("RGBA", (24, 16))
        assert [image.getpixel((at, 8))[3] for at in (4, 20)] == [0, 255]
