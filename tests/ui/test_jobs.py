"""The job: a run in a thread that can stop, fail and continue; and the queue in which it waits for its turn."""

import dataclasses
import threading

import numpy as np
import pytest

from model.limits import MAX_SIZE_PX
from model.settings import StyleSettings
from serving.errors import ServingFailed, ServingUnavailable
from serving.files import sha256
from serving.request import Request
from tests.ui.fakes import FakeClient, encoded, until
from ui import jobs
from ui.jobs import Job, RunQueue, Snapshot, Status

STEPS = 40
REQUEST = Request(encoded(), (encoded(colour=(1, 2, 3)),), StyleSettings(steps=STEPS))


def job_of(client: FakeClient, queue: RunQueue | None = None, unattended=lambda: False) -> Job:
    return Job(client, REQUEST, queue or RunQueue(1), unattended)


def ended(job: Job) -> Snapshot:
    """Starts a job, waits for its end, and returns its snapshot."""
    job.start()
    job.wait(5)
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
    job.wait(5)
    now = job.snapshot()
    assert (now.status, now.problem, now.step, len(now.losses)) == (Status.STOPPED, None, 10, 10)
    assert now.picture == (encoded() if renders else now.preview) != b""
    gated.gate = None
    now = ended(job)
    assert gated.states == [b"", b"10"]
    assert (now.status, len(now.losses)) == (Status.DONE, STEPS)


def test_a_result_is_refined_at_its_size_and_enlarged_above_it_up_to_the_limit():
    result = encoded(40, 30)
    asked = dataclasses.replace(REQUEST, settings=StyleSettings(size=1500, seed=4), sha256={"content": ("c",)})
    refined = dataclasses.replace(
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
    job.wait(5)
    assert job.snapshot().origin(REQUEST).model["digest"] == "0123"


def test_an_unattended_run_lets_a_waiting_run_go_first_and_then_continues(gated):
    gated.chunks = 5
    other, queue, watched = FakeClient(gate=threading.Semaphore(0)), RunQueue(1), threading.Event()
    job = job_of(gated, queue, unattended=lambda: not watched.is_set())
    next_one = job_of(other, queue)
    begin(job)
    gated.gate.release()
    until(lambda: job.snapshot().step == 16)  # nobody waits: it keeps its place
    watched.set()
    next_one.start()
    until(lambda: next_one.snapshot().waits_for == 1)
    gated.gate.release()
    until(lambda: job.snapshot().step == 24)  # somebody watches: it keeps its place
    watched.clear()
    gated.gate.release()
    until(lambda: next_one.snapshot().step == 10)
    assert (job.snapshot().status, job.snapshot().step) == (Status.RUNNING, 32)
    until(lambda: job.snapshot().waits_for == 1)
    gated.gate.release(9)
    other.gate.release(9)
    job.wait(5)
    assert (job.snapshot().status, len(job.snapshot().losses)) == (Status.DONE, STEPS)
    assert (gated.states, other.states) == ([b"", b"32"], [b""])
