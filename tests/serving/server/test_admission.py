"""Who may run: one call at a time, in the order of arrival; how many may wait; and how a call leaves the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.errors import Cancelled, DeadlineExceeded, Overloaded, ServingUnavailable
from serving.server.admission import Admission
from tests.serving.server.conftest import Client, available, failure, wait_until


class Calls:
    """Calls that last until they are let go."""

    def __init__(self, admission: Admission) -> None:
        self.admission, self.go, self.ran = admission, threading.Event(), list[int]()
        self.pool = ThreadPoolExecutor(8)

    def add(self, number: int, *arguments: Any) -> Future[None]:
        admitted = self.admission.admitted
        call = self.pool.submit(self._run, number, *arguments)
        wait_until(lambda: self.admission.admitted > admitted or call.done())
        return call

    def _run(self, number: int, *arguments: Any) -> None:
        with self.admission.turn(*arguments):
            self.ran.append(number)
            self.go.wait(10)


@pytest.fixture
def calls() -> Iterator[Calls]:
    made = Calls(Admission(max_waiting=2))
    yield made
    made.go.set()
    assert made.admission.stop(10)
    made.pool.shutdown()


def test_calls_run_one_by_one_and_one_too_many_is_refused(calls: Calls) -> None:
    running = [calls.add(1), calls.add(2), calls.add(3)]
    for refused in (calls.admission.check, calls.add(4).result):
        with pytest.raises(Overloaded, match="runs 1 call and holds 2 more"):
            refused()
    wait_until(lambda: calls.ran == [1])
    calls.go.set()
    for call in running:
        call.result(5)
    assert calls.ran == [1, 2, 3]
    calls.add(5).result(5)  # there is room again


def test_call_that_waits_gives_up_at_its_deadline(calls: Calls) -> None:
    calls.add(1)
    with pytest.raises(DeadlineExceeded, match="Timed out waiting for notification"):
        calls.add(2, time.monotonic() + 0.05).result(5)
    third = calls.add(3)
    calls.go.set()
    third.result(5)
    assert calls.ran == [1, 3]


def test_call_whose_caller_goes_away_leaves_the_queue_unless_it_runs(calls: Calls) -> None:
    go_away: list[Any] = []
    running, leaving = (calls.add(number, None, lambda cancel: not go_away.append(cancel)) for number in (1, 2))
    staying = calls.add(3)
    for cancel in go_away:
        cancel()
    with pytest.raises(Cancelled):
        leaving.result(5)
    assert calls.admission.admitted == 2
    calls.go.set()
    for call in (running, staying):
        call.result(5)
    assert calls.ran == [1, 3]


def test_call_whose_caller_has_gone_already_does_not_run(calls: Calls) -> None:
    with pytest.raises(Cancelled):
        calls.add(1, None, lambda _: False).result(5)
    assert (calls.ran, calls.admission.admitted) == ([], 0)


def test_stop_waits_for_what_runs_as_long_as_it_may_and_drops_the_rest(calls: Calls) -> None:
    running, waiting = calls.add(1), calls.add(2)
    assert not calls.admission.stop(0.05)
    for refused in (waiting, calls.add(3)):
        with pytest.raises(ServingUnavailable, match="The server is stopping"):
            refused.result(5)
    calls.go.set()
    assert calls.admission.stop(5)
    running.result(5)
    assert calls.ran == [1]


@pytest.fixture(scope="module")
def strict(model_dir: Path) -> Iterator[Client]:
    """A server of the zoo on which one call may wait, and a REST call may take 0.3 s."""
    with available(model_dir / "zoo", "zoo", "--max_queued_runs=1", "--rest_api_timeout_in_ms=300") as client:
        yield client


def test_flood_is_refused_and_the_admitted_are_served(strict: Client, gate: threading.Event) -> None:
    admitted = [strict.calling("scalar", x=1.0), strict.calling("scalar", x=2.0)]
    refusal = "The server runs 1 call and holds 1 more in its queue, which is full. Try again later."
    response = strict.post("not even read")
    assert (response.status_code, response.json()) == (429, {"error": refusal})
    assert failure(lambda: strict.run("scalar", x=3.0)) == ("RESOURCE_EXHAUSTED", refusal)
    assert strict.status({"name": "zoo"}).model_version_status  # which waits for nobody
    assert strict.metadata({"name": "zoo"}, "signature_def").metadata
    assert [strict.get(route).status_code for route in ("", "/metadata")] == [200, 200]
    gate.set()
    assert [call.result().outputs["y"].float_val[0] for call in admitted] == [2, 3]
    assert strict.run("scalar", x=3.0)["y"] == 4


def test_deadline_ends_the_run(strict: Client) -> None:
    response = strict.post({"signature_name": "slow", "inputs": 1000})
    assert (response.status_code, response.json()) == (504, {"error": "Timed out waiting for notification"})
    slow = strict.request("slow", seconds=np.float32(1000))
    assert failure(lambda: strict.predict(slow, timeout=0.3))[0] == "DEADLINE_EXCEEDED"
    # One run at a time: so the others are over.
    assert strict.predict(strict.request("scalar", x=1.0), timeout=None).outputs


def test_cancelled_grpc_call_frees_its_place(strict: Client, gate: threading.Event) -> None:
    running = strict.calling("scalar", x=1.0)
    strict.calling("scalar", x=2.0).cancel()
    wait_until(lambda: strict.app.admission.admitted == 1)
    gate.set()
    assert running.result().outputs
