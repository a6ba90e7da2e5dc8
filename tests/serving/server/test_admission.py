"""Who may run: one call at a time, in the order of arrival; how many may wait; and how a call leaves the queue.

And, in `make soak`, 64 clients at once for minutes: every accepted call is answered rightly, the others are told why,
and nothing leaks. NST_SOAK_S sets how long. It prints the figures that serving/README.md records.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.errors import DeadlineExceeded, Overloaded, ServingUnavailable, StyleTransferError
from serving.server.admission import TIMED_OUT, Admission
from serving.transports import connect
from tests import processes
from tests.conftest import encode, smooth_picture
from tests.served import Served
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
async def test_cancelled_call_leaves_the_queue(calls: Calls) -> None:
    running, leaving, staying = await calls.add(1), await calls.add(2), await calls.add(3)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert calls.admission.admitted == 2
    calls.go.set()
    await asyncio.gather(running, staying)
    assert calls.ran == [1, 3]


@with_calls
async def test_cancelled_call_that_works_in_a_thread_keeps_its_turn_to_the_end(calls: Calls) -> None:
    go, ended = threading.Event(), list[int]()

    async def work() -> None:
        async with calls.admission.turn():
            await calls.admission.in_thread(lambda: go.wait(10) and ended.append(1))

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
    wait_until(lambda: strict.app.admission.admitted == 1)
    gate.set()
    assert running.result().outputs


def test_rest_call_whose_client_goes_away_frees_its_place(strict: Client, gate: threading.Event) -> None:
    running = strict.calling("scalar", x=1.0)
    body = b'{"signature_name": "scalar", "inputs": 1}'
    with strict.connection(b"POST /v1/models/zoo:predict HTTP/1.1\r\nHost: localhost\r\n") as connection:
        connection.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        wait_until(lambda: strict.app.admission.admitted == 2)
    wait_until(lambda: strict.app.admission.admitted == 1)
    gate.set()
    assert running.result().outputs


CLIENTS = 64
SOAK_S = float(os.environ.get("NST_SOAK_S") or 180)
WARM_UP_SHARE = 0.35  # of the time: caches fill and the allocator finds its size
END_SHARE = 0.95  # when all are still there
GROWTH = 1.05
PAUSE_S = 0.2  # before a refused client asks again, at most
INPUTS = {
    "content_bytes": [encode(smooth_picture(20, 24))],
    "style_bytes": [[encode(smooth_picture(24, 24, 1))]],
    "settings": ["size=24,smallest_size=16,steps=3"],
}


@pytest.mark.soak
def test_64_clients_at_once(served: Served) -> None:
    counts, pictures = Counter[str](), set[bytes]()

    def ask(server: str) -> None:
        with closing(connect(server)) as way:
            while time.monotonic() < end:
                try:
                    answer = way.predict("stylize", INPUTS, timeout_s=300)
                except StyleTransferError as error:
                    fine = isinstance(error, (Overloaded, ServingUnavailable)) and str(error)
                    counts["refused" if fine else f"{error.code}: {error}"] += 1
                    time.sleep(random.uniform(0, PAUSE_S))  # noqa: S311
                else:
                    counts["answered"] += 1
                    pictures.add(answer["image_bytes"][0])

    def figures() -> tuple[float, int, int]:
        return processes.memory_mb(served.pid), processes.threads(served.pid), processes.open_files(served.pid)

    for server in (served.grpc, served.http):
        with closing(connect(server)) as way:  # a signature's first run makes its graph: up to a minute
            way.predict("stylize", INPUTS, timeout_s=300)
    end = time.monotonic() + SOAK_S
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask, (served.grpc, served.http)[number % 2]) for number in range(CLIENTS)]
        time.sleep(SOAK_S * WARM_UP_SHARE)
        before = figures()
        time.sleep(SOAK_S * (END_SHARE - WARM_UP_SHARE))
        after = figures()
    for asked in asking:
        asked.result()
    print(f"\n{CLIENTS} clients, {SOAK_S:.0f} s: {dict(counts)}; memory in MB, threads, files: {before} -> {after}")
    assert set(counts) == {"answered", "refused"}  # 64 are more than the queue holds
    assert len(pictures) == 1
    assert after[0] < before[0] * GROWTH
    assert after[1] <= before[1] + 8  # those that a pool had not needed before
    assert after[2] <= before[2] + 8  # connections that are just being made anew
