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
from tests.serving.server.conftest import Client, failure, served, wait_until


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
    made.admission.stop()
    made.pool.shutdown()


def test_calls_run_one_by_one_and_one_too_many_is_refused(calls: Calls) -> None:
    running = [calls.add(1), calls.add(2), calls.add(3)]
    time.sleep(0.05)
    assert calls.ran == [1]
    for refused in (calls.admission.check, calls.add(4).result):
        with pytest.raises(Overloaded, match="runs 1 call and holds 2 more"):
            refused()
    calls.go.set()
    for call in running:
        call.result(5)
    assert calls.ran == [1, 2, 3]
    calls.add(5).result(5)  # there is room again


def test_call_that_waits_gives_up_at_its_deadline(calls: Calls) -> None:
    calls.add(1)
    late = calls.add(2, time.monotonic() + 0.05)
    with pytest.raises(DeadlineExceeded, match="Timed out waiting for notification"):
        late.result(5)
    third = calls.add(3)
    calls.go.set()
    third.result(5)
    assert calls.ran == [1, 3]


@pytest.mark.parametrize("turn", ["first", "second"])
def test_call_whose_caller_goes_away_leaves_the_queue(turn: str, calls: Calls) -> None:
    calls.add(1)
    cancels: list[Any] = []

    def on_end_of_call(cancel: Any) -> bool:
        cancels.append(cancel)
        return True

    before = calls.add(2) if turn == "second" else None
    leaving = calls.add(3, None, on_end_of_call)
    assert cancels[0]()
    with pytest.raises(Cancelled):
        leaving.result(5)
    calls.go.set()
    if before:
        before.result(5)
    calls.add(4).result(5)
    assert 3 not in calls.ran


def test_call_whose_caller_has_gone_already_does_not_run(calls: Calls) -> None:
    with pytest.raises(Cancelled):
        calls.add(1, None, lambda _: False).result(5)
    assert (calls.ran, calls.admission.admitted) == ([], 0)


def test_error_of_a_run_reaches_its_caller_and_frees_its_place(calls: Calls) -> None:
    with pytest.raises(TimeoutError, match="of the run itself"), calls.admission.turn(time.monotonic() + 5):
        raise TimeoutError("of the run itself")
    assert calls.admission.admitted == 0


def test_stop_ends_what_runs_and_drops_what_waits(calls: Calls) -> None:
    running, waiting = calls.add(1), calls.add(2)
    stopping = calls.pool.submit(calls.admission.stop)
    for refused in (waiting, calls.add(3)):
        with pytest.raises(ServingUnavailable, match="The server is stopping"):
            refused.result(5)
    assert not stopping.done()
    calls.go.set()
    for ending in (running, stopping):
        ending.result(5)
    assert calls.ran == [1]


@pytest.fixture(scope="module")
def strict(model_dir: Path) -> Iterator[Client]:
    """A server of the zoo on which one call may wait, and a REST call may take 0.3 s."""
    with served(model_dir / "zoo", "zoo", "--max_queued_runs=1", "--rest_api_timeout_in_ms=300") as client:
        client.wait_until_available()
        yield client


def slow(seconds: float) -> dict[str, Any]:
    return {"signature_name": "slow", "inputs": seconds}


def test_flood_is_refused_and_the_admitted_are_served(strict: Client) -> None:
    admitted = strict.calling("slow", seconds=np.float32(1)), strict.calling("slow", seconds=np.float32(0))
    refusal = "The server runs 1 call and holds 1 more in its queue, which is full. Try again later."
    response = strict.post("not even read")
    assert (response.status_code, response.json()) == (429, {"error": refusal})
    assert failure(lambda: strict.run("slow", seconds=np.float32(0))) == ("RESOURCE_EXHAUSTED", refusal)
    assert [tuple(call.result().outputs) for call in admitted] == [("y",), ("y",)]
    assert strict.post(slow(0)).status_code == 200


def test_rest_timeout_ends_the_run(strict: Client) -> None:
    started = time.monotonic()
    response = strict.post(slow(20))
    assert (response.status_code, response.json()) == (504, {"error": "Timed out waiting for notification"})
    assert strict.post(slow(0)).status_code == 200  # one run at a time: so the other is over
    assert time.monotonic() - started < 5


def test_deadline_of_a_grpc_call_ends_the_run(zoo: Client) -> None:
    started = time.monotonic()
    request = zoo.request("slow", seconds=np.float32(20))
    assert failure(lambda: zoo.predict(request, timeout=0.3))[0] == "DEADLINE_EXCEEDED"
    zoo.run("slow", seconds=np.float32(0))
    assert time.monotonic() - started < 5


def test_no_deadline_is_no_limit(zoo: Client) -> None:
    assert zoo.predict(zoo.request("slow", seconds=np.float32(0.1)), timeout=None).outputs["y"].bool_val[0]


def test_cancelled_grpc_call_frees_its_place(strict: Client) -> None:
    running = strict.calling("slow", seconds=np.float32(1))
    strict.calling("slow", seconds=np.float32(20)).cancel()
    wait_until(lambda: strict.app.admission.admitted == 1)
    assert running.running()
    running.result()


def test_status_and_metadata_answer_at_once_while_a_call_runs(zoo: Client) -> None:
    running = zoo.calling("slow", seconds=np.float32(1))
    slowest = 0.0
    while running.running():
        for ask in (zoo.get, zoo.status, lambda: zoo.get("/metadata"), lambda: zoo.metadata("signature_def")):
            started = time.monotonic()
            ask()
            slowest = max(slowest, time.monotonic() - started)
    assert slowest < 0.7  # a few ms on an idle machine; behind the run it would be up to 1 s
