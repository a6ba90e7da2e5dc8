"""Who may run: one call at a time, in the order of arrival; how many may wait; and how a call leaves the queue."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.errors import DeadlineExceeded, Overloaded, ServingUnavailable
from serving.server.admission import TIMED_OUT, Admission
from tests.serving.server.conftest import Client, failure, started, wait_until
from tests.serving.server.models import request


class Calls:
    """Calls that last until they are let go."""

    def __init__(self) -> None:
        self.admission, self.go, self.ran = Admission(max_waiting=2), asyncio.Event(), list[int]()

    async def add(self, number: int, deadline: float | None = None) -> asyncio.Task[None]:
        call = asyncio.create_task(self._run(number, deadline))
        await asyncio.sleep(0)
        return call

    async def _run(self, number: int, deadline: float | None) -> None:
        async with self.admission.turn(deadline):
            self.ran.append(number)
            await self.go.wait()


def with_calls(test: Callable[[Calls], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Makes a test of a coroutine."""

    def run() -> None:
        asyncio.run(asyncio.wait_for(test(Calls()), 20))

    return run


@with_calls
async def test_calls_run_one_by_one_and_one_too_many_is_refused(calls: Calls) -> None:
    running = [await calls.add(1), await calls.add(2), await calls.add(3)]
    with pytest.raises(Overloaded, match="is running 1 call and its queue of 2"):
        calls.admission.check()
    with pytest.raises(Overloaded):
        await (await calls.add(4))
    assert calls.ran == [1]
    calls.go.set()
    await asyncio.gather(*running)
    await (await calls.add(5))  # there is room again
    assert calls.ran == [1, 2, 3, 5]


@with_calls
async def test_call_that_waits_gives_up_at_its_deadline(calls: Calls) -> None:
    await calls.add(1)
    with pytest.raises(DeadlineExceeded, match="Timed out waiting for notification"):
        await (await calls.add(2, time.monotonic() + 0.05))
    third = await calls.add(3)
    calls.go.set()
    await third
    assert calls.ran == [1, 3]


@with_calls
async def test_cancelled_call_that_works_in_a_thread_keeps_its_turn_to_the_end(calls: Calls) -> None:
    go, ended, untold = threading.Event(), list[int](), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: untold.append(context))

    def fail() -> None:
        go.wait(10)
        ended.append(1)
        raise DeadlineExceeded(TIMED_OUT)

    async def work() -> None:
        async with calls.admission.turn():
            await calls.admission.in_thread(fail)

    running = asyncio.create_task(work())
    await asyncio.sleep(0)
    second = await calls.add(2)
    running.cancel()
    await asyncio.sleep(0.05)
    assert calls.ran == []
    go.set()
    calls.go.set()
    await second
    assert (running.cancelled(), ended, calls.ran) == (True, [1], [2])
    del running
    gc.collect()
    assert not untold  # nobody waits for its failure, which is no fault of the server


@with_calls
async def test_stop_waits_for_what_runs_as_long_as_it_may_and_drops_the_rest(calls: Calls) -> None:
    running, waiting = await calls.add(1), await calls.add(2)
    assert not await calls.admission.stop(0.05)
    for refused in (waiting, await calls.add(3)):
        with pytest.raises(ServingUnavailable, match="The server is stopping"):
            await refused
    calls.go.set()
    assert await calls.admission.stop(5)
    await running
    assert calls.ran == [1]


@pytest.fixture(scope="module")
def strict(zoo_dir: Path) -> Iterator[Client]:
    """A server on which one call may wait, and a REST call may take 0.3 s."""
    with started(zoo_dir, "--max_queued_runs=1", "--rest_api_timeout_in_ms=300") as client:
        yield client


def test_flood_is_refused_and_the_admitted_are_served(strict: Client, gate: threading.Event) -> None:
    admitted = [strict.calling("scalar", x=1.0), strict.calling("scalar", x=2.0)]
    refusal = "The server is running 1 call and its queue of 1 is full. Try again later."
    assert strict.post("not even read") == (429, {"error": refusal})
    assert failure(lambda: strict.run("scalar", x=3.0)) == ("RESOURCE_EXHAUSTED", refusal)
    assert strict.status({"name": "zoo"}).model_version_status  # which waits for nobody
    assert strict.metadata({"name": "zoo"}, "signature_def").metadata
    assert strict.get("")[0] == strict.get("/metadata")[0] == 200
    gate.set()
    assert [call.result().outputs["y"].float_val[0] for call in admitted] == [2, 3]


def test_deadline_ends_the_run(strict: Client) -> None:
    assert strict.post({"signature_name": "slow", "inputs": 1000}) == (504, {"error": TIMED_OUT})
    # One run at a time: so this one is over.
    assert strict.predict(request("scalar", x=1.0), timeout=None).outputs


def test_cancelled_grpc_call_frees_its_place(strict: Client, gate: threading.Event) -> None:
    running = strict.calling("scalar", x=1.0)
    strict.calling("scalar", x=2.0).cancel()
    wait_until(lambda: len(strict.app.admission._queue) == 1)
    gate.set()
    assert running.result().outputs


def test_rest_call_whose_client_goes_away_frees_its_place(strict: Client, gate: threading.Event) -> None:
    running = strict.calling("scalar", x=1.0)
    body = b'{"signature_name": "scalar", "inputs": 1}'
    with strict.connection(b"POST /v1/models/zoo:predict HTTP/1.1\r\nHost: localhost\r\n") as connection:
        connection.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        wait_until(lambda: len(strict.app.admission._queue) == 2)
    wait_until(lambda: len(strict.app.admission._queue) == 1)
    gate.set()
    assert running.result().outputs
