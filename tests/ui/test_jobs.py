"""The job: a run in a thread, that can be stopped, fail, and go on; and the queue where it waits for its turn."""

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


def job_of(
    client: FakeClient, queue: RunQueue | None = None, request: Request = REQUEST, *, unattended=lambda: False
) -> Job:
    return Job(client, request, queue or RunQueue(1), unattended)


def ended(job: Job) -> Snapshot:
    """Starts a job, waits for its end, and returns where it stands."""
    job.start()
    job.wait(5)
    return job.snapshot()


def begin(job: Job) -> None:
    """Starts a job and waits for the end of its first chunk."""
    job.start()
    until(lambda: job.snapshot().step == 10)


@pytest.fixture
def gated() -> FakeClient:
    """A client whose runs wait after their first chunk, of 10 steps."""
    return FakeClient(gate=threading.Semaphore(0))


def test_runs_to_the_end_and_keeps_every_loss():
    client = FakeClient(reads={"padding": "zero"})
    job = job_of(client)
    assert job.snapshot().status is Status.NEW
    now = ended(job)
    assert now.status is Status.DONE
    assert now.step == now.steps == STEPS
    assert now.fraction_done == 1
    np.testing.assert_allclose(now.losses[:, 2], 8 / np.arange(1, STEPS + 1), rtol=1e-6)
    assert now.picture == now.image == encoded()
    assert client.calls == [REQUEST]
    assert now.origin(REQUEST).settings == REQUEST.settings.replace(padding="zero")  # as the model reads them


@pytest.mark.parametrize("renders", [False, True], ids=["the preview", "the full picture, if the client renders it"])
def test_stop_keeps_the_picture_and_the_run_goes_on_from_there(gated, renders):
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


def test_a_model_that_did_not_describe_itself_at_first_is_asked_again(gated):
    gated.problem = ServingUnavailable("busy")
    job = job_of(gated)
    begin(job)
    assert job.snapshot().origin(REQUEST).settings == REQUEST.settings
    gated.problem = None
    gated.gate.release(9)
    job.wait(5)
    assert job.snapshot().origin(REQUEST).model["digest"] == "0123"


RESULT = encoded(40, 30)


def test_refining_takes_more_steps_from_the_result_at_its_size_alone():
    asked = Request(encoded(), (encoded(),), StyleSettings(size=512, seed=4), sha256={"content": ("c",)})
    more = jobs.refined(asked, RESULT)
    assert more.initial == RESULT
    assert more.settings == StyleSettings(size=512, seed=4, steps=jobs.REFINE_STEPS, smallest_size=512)
    assert more.sha256 == {"content": ("c",), "initial": (sha256(RESULT),)}
    assert (more.content, more.styles) == (asked.content, asked.styles)


def test_a_larger_picture_goes_on_above_the_size_of_the_result_up_to_the_limit():
    asked = Request(encoded(), (encoded(),), StyleSettings(size=300))
    larger = jobs.enlarged(asked, RESULT)
    assert (larger.settings.size, larger.settings.smallest_size, larger.initial) == (600, 301, RESULT)
    largest = jobs.enlarged(dataclasses.replace(asked, settings=StyleSettings(size=3000)), RESULT)
    assert largest.settings.size == MAX_SIZE_PX
    assert jobs.enlarged(largest, RESULT) is None


@pytest.mark.parametrize(
    ("failure", "kind"), [(ServingUnavailable("gone"), ServingUnavailable), (ZeroDivisionError("a bug"), ServingFailed)]
)
def test_a_failure_and_a_bug_keep_the_picture_and_the_way_on(caplog, failure, kind):
    client = FakeClient(run_problem=failure, breaks_at=2)
    job = job_of(client)
    now = ended(job)
    assert (now.status, type(now.problem), now.step) == (Status.FAILED, kind, 20)
    assert now.picture
    assert ("ZeroDivisionError" in caplog.text) == isinstance(failure, ZeroDivisionError)
    client.run_problem = None
    now = ended(job)
    assert (now.status, now.problem) == (Status.DONE, None)


def test_the_reason_why_a_server_does_not_answer_stands_until_it_does(gated):
    gated.outage, gated.breaks_at = ServingUnavailable("gone"), 1
    job = job_of(gated)
    job.start()
    until(lambda: job.problem is gated.outage)
    now = job.snapshot()
    assert (now.active, now.step, bool(now.picture)) == (True, 10, True)
    gated.gate.release()
    until(lambda: job.snapshot().step == 20)
    assert job.problem is None
    gated.gate.release(9)
    job.wait(5)
    assert job.snapshot().status is Status.DONE


def test_a_run_that_nobody_watches_gives_way_to_one_that_waits_and_goes_on_after_it(gated):
    other = FakeClient(gate=threading.Semaphore(0))
    queue = RunQueue(1)
    job = job_of(gated, queue, unattended=lambda: True)
    next_one = job_of(other, queue)
    begin(job)
    gated.gate.release()
    until(lambda: job.snapshot().step == 20)  # nobody waits: it keeps its place
    next_one.start()
    until(lambda: next_one.snapshot().waits_for == 1)
    gated.gate.release()
    until(lambda: next_one.snapshot().step == 10)
    assert (job.snapshot().status, job.snapshot().step) == (Status.RUNNING, 30)
    until(lambda: job.snapshot().waits_for == 1)
    gated.gate.release(9)
    other.gate.release(9)
    next_one.wait(5)
    job.wait(5)
    assert job.snapshot().status is Status.DONE
    assert len(job.snapshot().losses) == STEPS
    assert gated.states == [b"", b"30"]


def test_a_run_that_somebody_watches_keeps_its_place(gated):
    other, queue = FakeClient(), RunQueue(1)
    job, next_one = job_of(gated, queue), job_of(other, queue)
    begin(job)
    next_one.start()
    until(lambda: next_one.snapshot().waits_for == 1)
    gated.gate.release(9)
    job.wait(5)
    next_one.wait(5)
    assert len(gated.calls) == len(other.calls) == 1


def test_starting_twice_runs_once(gated):
    job = job_of(gated)
    begin(job)
    job.start()
    gated.gate.release(9)
    job.wait(5)
    ended(job)
    assert len(gated.calls) == 1
