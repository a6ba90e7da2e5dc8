"""The job: a run in a thread, that can be stopped, fail, and go on."""

import dataclasses
import threading

import numpy as np

from model.limits import MAX_SIZE_PX
from model.settings import StyleSettings
from serving.errors import ServingFailed, ServingUnavailable
from serving.files import sha256
from serving.request import Request
from serving.results import Origin
from tests.ui.fakes import FakeClient, encoded, until
from ui import jobs
from ui.jobs import Job, Status
from ui.line import Line

STEPS = 40


def request() -> Request:
    return Request(encoded(), (encoded(colour=(1, 2, 3)),), StyleSettings(steps=STEPS))


def test_runs_to_the_end_and_keeps_every_loss():
    client = FakeClient(chunks=4)
    job = Job(client, request())
    assert job.snapshot().status is Status.NEW
    job.start()
    job.wait(5)
    now = job.snapshot()
    assert now.status is Status.DONE
    assert not now.active
    assert now.step == now.steps == STEPS
    assert now.fraction_done == 1
    np.testing.assert_allclose(now.losses[:, 2], 8 / np.arange(1, STEPS + 1), rtol=1e-6)
    assert now.picture == now.image == encoded()
    assert client.calls[0].settings == request().settings
    assert client.states[0] == b""


def test_a_snapshot_does_not_change_behind_the_page():
    client = FakeClient()
    client.gate = threading.Semaphore(0)
    job = Job(client, request())
    job.start()
    until(lambda: job.snapshot().step == 10)
    then = job.snapshot()
    client.gate.release(3)
    job.wait(5)
    assert then.step == 10
    assert len(then.losses) == 10
    assert then.active


def stopped_job(client: FakeClient) -> Job:
    client.gate = threading.Semaphore(0)
    job = Job(client, request())
    job.start()
    until(lambda: job.snapshot().step == 10)
    job.stop()
    assert job.snapshot().status is Status.STOPPING
    assert job.snapshot().active
    client.gate.release()
    job.wait(5)
    return job


def test_stop_keeps_the_picture():
    now = stopped_job(FakeClient()).snapshot()
    assert now.status is Status.STOPPED
    assert now.problem is None
    assert now.step == 10
    assert now.picture == now.preview != b""


def test_stop_takes_the_full_picture_when_the_client_renders_it():
    client = FakeClient()
    client.renders = True
    now = stopped_job(client).snapshot()
    assert now.status is Status.STOPPED
    assert now.picture == now.image == encoded()
    assert len(now.losses) == 10


def test_goes_on_from_where_it_was_stopped():
    client = FakeClient()
    job = stopped_job(client)
    client.gate = None
    job.start()
    job.wait(5)
    now = job.snapshot()
    assert client.states[1] == b"10"
    assert now.status is Status.DONE
    assert len(now.losses) == STEPS


def test_a_result_says_what_the_model_read_and_what_it_was_made_from():
    client = FakeClient()
    client.reads = {"style_layers": "block1_conv1:1", "size": 64}
    asked = StyleSettings("classic", steps=STEPS)
    sha256 = {"content": ("c",), "styles": ("s",), "initial": ("i",)}
    job = Job(client, Request(encoded(), (encoded(),), asked, initial=encoded(9, 9), sha256=sha256))
    job.start()
    job.wait(5)
    origin = job.snapshot().origin(job.request)
    assert origin.settings == asked.replace(style_layers=(("block1_conv1", 1.0),), size=64)
    assert origin.settings.preset == "classic"
    assert origin.model["digest"] == "0123"
    assert (origin.content_sha256, origin.styles_sha256) == ("c", ("s",))
    assert Origin.from_text(origin.to_text()).guides_sha256 == {"initial": ("i",)}
    assert client.calls[0].initial == encoded(9, 9)


def test_a_model_that_is_not_told_at_first_is_asked_for_again():
    client = FakeClient()
    client.problem = ServingUnavailable("busy")
    client.gate = threading.Semaphore(0)
    job = Job(client, request())
    job.start()
    until(lambda: job.snapshot().step == 10)
    assert job.snapshot().origin(job.request).settings == request().settings
    client.problem = None
    client.gate.release(9)
    job.wait(5)
    assert job.snapshot().origin(job.request).model["digest"] == "0123"


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


def test_a_failure_keeps_the_picture_and_the_way_on():
    client = FakeClient()
    client.run_problem, client.breaks_at = ServingUnavailable("gone"), 2
    job = Job(client, request())
    job.start()
    job.wait(5)
    now = job.snapshot()
    assert now.status is Status.FAILED
    assert isinstance(now.problem, ServingUnavailable)
    assert now.step == 20
    assert now.picture
    client.run_problem = None
    job.start()
    job.wait(5)
    assert job.snapshot().status is Status.DONE
    assert job.snapshot().problem is None


def test_a_server_that_does_not_answer_for_a_while_is_told_until_it_does():
    client = FakeClient()
    client.outage, client.breaks_at, client.gate = ServingUnavailable("gone"), 1, threading.Semaphore(0)
    job = Job(client, request())
    job.start()
    until(lambda: job.snapshot().problem is client.outage)
    now = job.snapshot()
    assert now.active
    assert (now.step, bool(now.picture)) == (10, True)
    client.gate.release()
    until(lambda: job.snapshot().step == 20)
    assert job.snapshot().problem is None
    client.gate.release(9)
    job.wait(5)
    assert job.snapshot().status is Status.DONE


def test_a_run_that_nobody_looks_at_gives_way_to_one_that_waits_and_goes_on_after_it():
    left, other = FakeClient(), FakeClient()
    left.gate, other.gate = threading.Semaphore(0), threading.Semaphore(0)
    line, seen = Line(1), threading.Event()
    job = Job(left, request(), line, unattended=lambda: not seen.is_set())
    next_one = Job(other, request(), line)
    job.start()
    until(lambda: job.snapshot().step == 10)
    left.gate.release()
    until(lambda: job.snapshot().step == 20)  # nobody waits: it keeps its place
    next_one.start()
    until(lambda: next_one.snapshot().waits_for == 1)
    left.gate.release()
    until(lambda: next_one.snapshot().step == 10)
    assert (job.snapshot().status, job.snapshot().step) == (Status.RUNNING, 30)
    until(lambda: job.snapshot().waits_for == 1)
    left.gate.release(9)
    other.gate.release(9)
    next_one.wait(5)
    job.wait(5)
    assert job.snapshot().status is Status.DONE
    assert len(job.snapshot().losses) == STEPS
    assert left.states == [b"", b"30"]


def test_a_run_that_somebody_looks_at_keeps_its_place():
    client, other = FakeClient(), FakeClient()
    client.gate, line = threading.Semaphore(0), Line(1)
    job, next_one = Job(client, request(), line, unattended=lambda: False), Job(other, request(), line)
    job.start()
    until(lambda: job.snapshot().step == 10)
    next_one.start()
    until(lambda: next_one.snapshot().waits_for == 1)
    client.gate.release(9)
    job.wait(5)
    next_one.wait(5)
    assert len(client.calls) == len(other.calls) == 1


def test_a_bug_becomes_a_problem_and_not_a_dead_thread(caplog):
    client = FakeClient()
    client.run_problem = ZeroDivisionError("a bug")
    job = Job(client, request())
    job.start()
    job.wait(5)
    now = job.snapshot()
    assert now.status is Status.FAILED
    assert isinstance(now.problem, ServingFailed)
    assert "ZeroDivisionError" in caplog.text


def test_starting_twice_runs_once():
    client = FakeClient()
    client.gate = threading.Semaphore(0)
    job = Job(client, request())
    job.start()
    job.start()
    client.gate.release(9)
    job.wait(5)
    job.start()
    job.wait(5)
    assert len(client.calls) == 1
