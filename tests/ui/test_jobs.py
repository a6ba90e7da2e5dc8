"""The job: a run in a thread that can stop, fail and continue; and the queue in which it waits for its turn."""

import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from model.limits import MAX_SIZE_PX
from model.settings import StyleSettings
from serving.errors import ServingFailed, ServingUnavailable
from serving.files import sha256
from serving.request import Request
from serving.run_file import SavedRun
from tests.ui.fakes import FakeClient, FakeOwner, encoded, until
from ui import jobs
from ui.film import LONGEST_PX
from ui.jobs import Job, RunQueue, Snapshot, Status

STEPS = 40
REQUEST = Request(encoded(), (encoded(colour=(1, 2, 3)),), StyleSettings(steps=STEPS))


def job_of(client: FakeClient, queue: RunQueue | None = None, owner: FakeOwner | None = None, **how) -> Job:
    return Job(client, REQUEST, queue or RunQueue(1), owner or FakeOwner(), **how)


def ended(job: Job) -> Snapshot:
    """Starts a job, waits for its end, and returns its snapshot."""
    job.start()
    until(lambda: not job.active)
    return job.snapshot()


def begin(job: Job) -> None:
    """Starts a job and waits for the end of its first chunk."""
    job.start()
    until(lambda: job.snapshot().step)


@pytest.fixture
def gated() -> FakeClient:
    """A client whose runs wait after their first chunk, of 10 steps."""
    return FakeClient(gate=threading.Semaphore(0))


def test_a_job_runs_to_the_end_once_however_often_it_is_started_and_keeps_every_loss():
    client = FakeClient(reads={"padding": "zero"})
    job = job_of(client)
    job.start()
    ended(job)
    now = ended(job)
    assert (now.status, now.step, now.steps, now.fraction_done) == (Status.DONE, STEPS, STEPS, 1)
    np.testing.assert_allclose(now.losses[:, 2], 8 / np.arange(1, STEPS + 1), rtol=1e-6)
    assert now.picture == encoded()
    assert client.calls == [REQUEST]
    assert now.origin(REQUEST).settings == REQUEST.settings.replace(padding="zero")  # as the model reads them


@pytest.mark.parametrize("renders", [False, True], ids=["the preview", "the full picture, if the client renders it"])
def test_stop_keeps_the_picture_and_the_run_continues_from_there(gated, renders):
    gated.renders = renders
    job = job_of(gated)
    begin(job)
    job.stop()
    assert job.snapshot().status is Status.STOPPING
    assert job.active
    gated.gate.release()
    until(lambda: not job.active)
    now = job.snapshot()
    assert (now.status, now.problem, now.step, len(now.losses)) == (Status.STOPPED, None, 10, 10)
    assert now.picture == (encoded() if renders else now.preview) != b""
    gated.gate = None
    now = ended(job)
    assert gated.states == [b"", b"10"]
    assert (now.status, len(now.losses)) == (Status.DONE, STEPS)


def test_a_run_that_has_painted_for_as_long_as_it_may_ends_as_by_stop_and_has_as_long_again(monkeypatch):
    monkeypatch.setattr(jobs, "MOST_S", 1.5)
    client, owner = FakeClient(chunks=8, renders=True), FakeOwner()  # half a second each
    job = job_of(client, owner=owner)
    now = ended(job)
    assert (now.status, now.problem, now.step, now.image) == (Status.STOPPED, None, 15, encoded())
    assert now.can_continue
    assert [ended(job).step, ended(job).step] == [30, STEPS]
    assert job.snapshot().status is Status.DONE
    assert owner.kept == [(job.number, status) for status in (Status.STOPPED, Status.STOPPED, Status.DONE)]


def test_waiting_for_the_server_takes_nothing_from_the_time_that_a_run_may_paint(gated, monkeypatch):
    monkeypatch.setattr(jobs, "MOST_S", 2.0)
    gated.outage, gated.breaks_at = ServingUnavailable("gone"), 1
    gated.gate.release(9)
    assert ended(job_of(gated)).step == 30  # the second chunk's second is not counted


def test_the_time_that_a_run_may_paint_goes_on_counting_when_it_has_let_another_run_go_first(gated, monkeypatch):
    monkeypatch.setattr(jobs, "MOST_S", 3.0)
    queue, owner = RunQueue(1), FakeOwner(away=True)
    job, next_one = job_of(gated, queue, owner), job_of(FakeClient(), queue)
    begin(job)
    next_one.start()
    until(lambda: next_one.snapshot().waits_for == 1)
    gated.gate.release(9)
    until(lambda: not job.active)
    assert (gated.states, job.snapshot().step) == ([b"", b"20"], 30)


def test_stop_frees_the_place_of_a_run_whose_server_hangs_and_its_picture_is_kept_when_the_server_answers(gated):
    queue, owner, free = RunQueue(1), FakeOwner(), FakeClient()
    hanging, next_one = job_of(gated, queue, owner), job_of(free, queue)
    begin(hanging)
    hanging.stop()
    assert ended(next_one).status is Status.DONE
    assert (hanging.active, hanging.running, owner.kept) == (True, False, [])
    gated.gate.release()
    until(lambda: not hanging.active)
    assert owner.kept == [(hanging.number, Status.STOPPED)]


def test_a_job_hands_over_its_picture_before_its_end_shows_and_goes_on_to_the_next_after_that():
    owner = FakeOwner()
    job = job_of(FakeClient(), owner=owner)
    owner.watched.append(job)
    ended(job)
    assert owner.kept == [(job.number, Status.DONE)]
    until(lambda: owner.advances == [[Status.DONE]])


def test_a_job_ends_and_the_next_one_starts_even_if_its_picture_cannot_be_kept(monkeypatch):
    owner = FakeOwner()
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    monkeypatch.setattr(owner, "keep", lambda job, now: 1 / 0)
    assert ended(job_of(FakeClient(), owner=owner)).status is Status.DONE
    until(lambda: len(owner.advances) == 1)


def test_a_saved_run_continues_at_its_step(gated):
    job = job_of(gated, saved=SavedRun(REQUEST, "0123", b"20", 20, STEPS))
    gated.gate.release()
    begin(job)
    until(lambda: job.snapshot().step == 30)
    assert gated.states == [b"20"]
    gated.gate.release()
    until(lambda: not job.active)
    assert (job.snapshot().status, len(job.snapshot().losses)) == (Status.DONE, STEPS - 20)


def test_the_first_preview_is_expected_at_any_moment_unless_the_run_waits_or_the_server_is_away():
    starting = Snapshot(status=Status.RUNNING)
    others = ({"preview": b"1"}, {"waits_for": 1}, {"problem": ServingUnavailable("")}, {"status": Status.STOPPING})
    assert [starting.starting, *(replace(starting, **one).starting for one in others)] == [True, *[False] * 4]


def stopped(client: FakeClient) -> Job:
    """Returns a job that was stopped after a chunk."""
    job = job_of(client)
    begin(job)
    job.stop()
    client.gate.release()
    until(lambda: not job.active)
    return job


def test_a_finished_job_holds_no_state_and_those_that_ended_early_only_so_much(gated, monkeypatch):
    assert ended(job_of(FakeClient())).state == b""
    monkeypatch.setattr(jobs, "_ended_early", [])
    monkeypatch.setattr(jobs, "KEPT_STATES_BYTES", 2 * len(b"10"))
    first, second, third = stopped(gated), stopped(gated), stopped(gated)
    assert [job.snapshot().can_continue for job in (first, second, third)] == [False, True, True]
    gated.gate = None
    assert ended(second).status is Status.DONE  # and there is room again
    gated.gate = threading.Semaphore(0)
    stopped(gated)
    assert third.snapshot().can_continue


def test_while_there_is_no_preview_a_job_shows_its_photograph_decoded_only_once(monkeypatch):
    job = Job(FakeClient(), replace(REQUEST, content=encoded(1024, 512)), RunQueue(1), FakeOwner())
    shown = job.photograph
    with Image.open(io.BytesIO(shown)) as image:
        assert (image.format, image.size) == ("JPEG", (LONGEST_PX, LONGEST_PX // 2))
    assert job.photograph is shown


def test_a_result_is_refined_at_its_size_and_enlarged_above_it_up_to_the_limit():
    result = encoded(40, 30)
    asked = replace(REQUEST, settings=StyleSettings(size=1500, seed=4), sha256={"content": ("c",)})
    refined = replace(
        asked,
        settings=StyleSettings(size=1500, seed=4, steps=jobs.REFINE_STEPS, smallest_size=1500),
        initial=result,
        sha256={"content": ("c",), "initial": (sha256(result),)},
    )
    assert jobs.refined(asked, result) == refined
    larger = jobs.enlarged(asked, result)
    assert (larger.settings.size, larger.settings.smallest_size, larger.initial) == (3000, 1501, result)
    largest = jobs.enlarged(larger, result)
    assert largest.settings.size == MAX_SIZE_PX
    assert jobs.enlarged(largest, result) is None


def test_after_a_bug_the_picture_is_kept_and_the_run_can_continue(caplog):
    client = FakeClient(run_problem=ZeroDivisionError("a bug"), breaks_at=2)
    job = job_of(client)
    now = ended(job)
    assert (now.status, type(now.problem), now.step, bool(now.picture)) == (Status.FAILED, ServingFailed, 20, True)
    assert "ZeroDivisionError" in caplog.text
    client.run_problem = None
    now = ended(job)
    assert (now.status, now.problem, now.step) == (Status.DONE, None, STEPS)


def test_an_outage_is_reported_until_the_server_answers_and_describes_its_model(gated):
    gated.outage, gated.breaks_at, gated.problem = ServingUnavailable("gone"), 1, ServingUnavailable("busy")
    job = job_of(gated)
    job.start()
    until(lambda: job.problem is gated.outage)
    now = job.snapshot()
    assert (now.active, now.step, bool(now.picture), now.model) == (True, 10, True, None)
    gated.problem = None
    gated.gate.release()
    until(lambda: job.snapshot().step == 20)
    assert job.problem is None
    gated.gate.release(9)
    until(lambda: not job.active)
    assert job.snapshot().origin(REQUEST).model["digest"] == "0123"


def test_an_unattended_run_lets_a_waiting_run_go_first_and_then_continues(gated):
    gated.chunks = 5
    other, queue, owner = FakeClient(gate=threading.Semaphore(0)), RunQueue(1), FakeOwner(away=True)
    job = job_of(gated, queue, owner)
    next_one = job_of(other, queue)
    begin(job)
    gated.gate.release()
    until(lambda: job.snapshot().step == 16)  # nobody waits: it keeps its place
    owner.away = False
    next_one.start()
    until(lambda: next_one.snapshot().waits_for == 1)
    gated.gate.release()
    until(lambda: job.snapshot().step == 24)  # somebody watches: it keeps its place
    owner.away = True
    gated.gate.release()
    until(lambda: next_one.snapshot().step == 10)
    assert (job.snapshot().status, job.snapshot().step) == (Status.RUNNING, 32)
    until(lambda: job.snapshot().waits_for == 1)
    gated.gate.release(9)
    other.gate.release(9)
    until(lambda: not job.active)
    assert (job.snapshot().status, len(job.snapshot().losses)) == (Status.DONE, STEPS)
    assert (gated.states, other.states) == ([b"", b"32"], [b""])
