"""Visits: kept apart, found again, and forgotten."""

import threading
import time

from model.settings import StyleSettings
from serving.request import Request
from tests.ui.fakes import FakeClient, encoded, until
from ui import sources
from ui.jobs import Job, Status
from ui.visits import Visits, new_key


def running_job() -> Job:
    client = FakeClient()
    client.gate = threading.Semaphore(0)
    return Job(client, Request(encoded(), (encoded(),), StyleSettings(steps=40)))


def test_a_page_that_comes_again_in_time_finds_its_visit_with_the_run_still_going_on():
    visits = Visits(grace_s=30)
    visit = visits.enter("a")
    visit.take(running_job())
    visits.leave("a")
    assert visits.enter("a") is visit
    assert visit.job.snapshot().status is Status.RUNNING
    assert visits.enter("b") is not visit


def test_a_page_that_comes_again_gets_the_whole_time_anew():
    visits = Visits(grace_s=0.5)
    visits.enter("a")
    visits.leave("a")
    visits.enter("a")
    time.sleep(0.7)
    assert "a" in visits


def test_a_visit_without_a_page_is_forgotten_and_its_run_stopped():
    visits = Visits(grace_s=0.02)
    visit = visits.enter("a")
    visit.take(running_job())
    visits.leave("a")
    until(lambda: "a" not in visits)
    until(lambda: visit.job.snapshot().status is not Status.RUNNING)
    assert visits.enter("a") is not visit


def test_a_visit_lasts_as_long_as_one_of_its_pages():
    visits = Visits(grace_s=0.0)
    visit = visits.enter("a")
    assert visits.enter("a") is visit
    visits.leave("a")
    time.sleep(0.05)
    assert "a" in visits
    visits.leave("a")
    until(lambda: "a" not in visits)


def test_a_visit_is_unattended_once_its_page_has_been_away_for_longer_than_a_reload_takes(monkeypatch):
    visits = Visits(grace_s=30)
    visit = visits.enter("a")
    visits.leave("a")
    assert not visit.unattended()
    monkeypatch.setattr("ui.visits.RELOAD_S", -1.0)
    assert visit.unattended()
    visits.enter("a")
    assert not visit.unattended()


def test_a_new_run_takes_the_place_of_the_one_before_which_is_stopped():
    visit = Visits().enter("a")
    first, second = running_job(), running_job()
    visit.take(first)
    visit.take(second)
    assert visit.job is second
    assert first.snapshot().status in (Status.STOPPING, Status.STOPPED)


def test_keys_are_long_and_never_the_same():
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert min(map(len, keys)) >= 22  # 128 bits, six to a character


def test_a_pasted_picture_is_a_file_named_by_its_type_and_anything_else_is_none():
    assert sources.of_url("data:image/png;base64,aGFsbG8=", "pasted") == sources.File("pasted.png", b"hallo")
    for url in ("", "data:text/html;base64,aGFsbG8=", "data:image/png;base64,?", "http://example.com/a.png"):
        assert sources.of_url(url, "pasted") is None
