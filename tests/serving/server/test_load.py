"""`make soak`: 64 clients at once for minutes, alone and beside clients that attack the server.

Every accepted call is answered rightly, the others are told why, nothing leaks, and the status comes within a second.
NST_SOAK_S sets how long each takes. They print the figures that tests/benchmarks/notes.md records.
"""

import asyncio
import contextlib
import gzip
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Self

import grpc
import pytest

from serving.contract import MODEL_NAME
from serving.errors import Overloaded, ServingUnavailable, StyleTransferError
from serving.server.system import allow_open_files
from serving.transports import connect
from serving.wire import PREDICT
from tests import processes
from tests.conftest import encode, smooth_picture
from tests.served import ROOT, Served

pytestmark = pytest.mark.soak

CLIENTS = 64
SOAK_S = float(os.environ.get("NST_SOAK_S") or 180)
WARM_UP_SHARE = 0.35  # of the time: caches fill and the allocator finds its size
END_SHARE = 0.95  # when all are still there
GROWTH = 1.05
PAUSE_S = 0.2  # before a refused client asks again, at most
STATUS_S = 1.0
INPUTS = {
    "content_bytes": [encode(smooth_picture(20, 24))],
    "style_bytes": [[encode(smooth_picture(24, 24, 1))]],
    "settings": ["size=24,smallest_size=16,steps=3"],
}


class Attack:
    """Clients that hold what the server has and never make a proper call, as long as the `with` block lasts."""

    def __init__(self, served: Served) -> None:
        self.counts = Counter[str]()
        self._grpc = served.grpc.removeprefix("grpc://")
        self._ports = [int(address.rpartition(":")[2]) for address in (served.grpc, served.http)]
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(2)

    def __enter__(self) -> Self:
        allow_open_files(4000)
        self._running = [self._pool.submit(asyncio.run, self._attack()), self._pool.submit(self._hold_calls)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for running in self._running:
            running.result()

    async def _attack(self) -> None:
        deep, wide, junk = b"[" * 200_000, b"[" + b"[]," * 120_000, gzip.compress(bytes(100_000_000))
        attackers = [
            *(self._hold(port, b"", b"") for port in self._ports for _ in range(500)),
            *(self._hold(self._ports[1], b"GET /v1/models HTTP/1.1\r\n", b"A: b\r\n") for _ in range(100)),
            *(self._hold(self._ports[1], _post(1_000_000), b" ") for _ in range(100)),
            *(self._send(b'{"inputs":' + body, "") for body in (deep, wide)),
            *(self._send(junk, "Content-Encoding: gzip\r\n") for _ in range(100)),
        ]
        await asyncio.gather(*attackers)

    async def _hold(self, port: int, first: bytes, more: bytes) -> None:
        """Opens a connection, again whenever the server has closed it, and sends a little every second."""
        while not self._ended.is_set():
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(first)
                reading = asyncio.create_task(reader.read())  # until the server closes the connection
                while not self._ended.is_set() and not reading.done():
                    writer.write(more)
                    await asyncio.wait({reading}, timeout=1)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                writer.close()
                self.counts["connections held"] += 1

    async def _send(self, body: bytes, headers: str) -> None:
        """Sends a request again and again."""
        while not self._ended.is_set():
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._ports[1])
                writer.write(_post(len(body), headers) + body)
                answer = await reader.readline()
                self.counts[f"bodies answered {answer.decode().strip()}"] += 1
                writer.close()
            await asyncio.sleep(random.uniform(0, 2))  # noqa: S311

    def _hold_calls(self) -> None:
        """Keeps calls open that send nothing."""
        with grpc.insecure_channel(self._grpc) as channel:
            begin = channel.stream_unary(PREDICT)
            calls: list[grpc.Future] = []
            while not self._ended.wait(0.1):
                self.counts["calls held"] += sum(call.done() for call in calls)
                calls = [call for call in calls if not call.done()]
                calls += [begin.future(iter(self._ended.wait, True)) for _ in range(50 - len(calls))]
            for call in calls:
                call.cancel()


def _post(length: int, headers: str = "") -> bytes:
    path = f"/v1/models/{MODEL_NAME}:predict"
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n".encode()


def call(server: str, end: float, counts: Counter[str], pictures: set[bytes]) -> None:
    """Calls the server until the end; counts the outcomes."""
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


@contextlib.contextmanager
def nobody(_: Served) -> Iterator[None]:
    yield None


@pytest.mark.parametrize("beside", [nobody, Attack])
def test_64_clients_at_once(
    beside: Callable[[Served], contextlib.AbstractContextManager[Attack | None]], served: Served
) -> None:
    counts, pictures = Counter[str](), set[bytes]()
    for server in (served.grpc, served.http):
        with closing(connect(server)) as way:  # a signature's first run makes its graph: up to a minute
            way.predict("stylize", INPUTS, timeout_s=300)
    files = processes.open_files(served.pid)
    with beside(served) as attack, ThreadPoolExecutor(CLIENTS) as pool:
        end = time.monotonic() + SOAK_S
        servers = served.grpc, served.http
        command = [sys.executable, "-m", "tests.serving.server.probe", str(SOAK_S), *servers]
        probe = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        calls = [pool.submit(call, servers[number % 2], end, counts, pictures) for number in range(CLIENTS)]
        time.sleep(SOAK_S * WARM_UP_SHARE)
        before = processes.memory_mb(served.pid), processes.threads(served.pid)
        time.sleep(SOAK_S * (END_SHARE - WARM_UP_SHARE))
        after = processes.memory_mb(served.pid), processes.threads(served.pid)
        for called in calls:
            called.result()
        slowest = [float(text) for text in probe.communicate()[0].split()]
    time.sleep(1)  # the server notices that all have gone
    files = files, processes.open_files(served.pid)
    print(f"\n{CLIENTS} clients, {SOAK_S:.0f} s: {dict(counts)}; attack: {dict(attack.counts) if attack else 'none'}")
    print(f"slowest status in s: {slowest}; memory in MB, threads: {before} -> {after}; open files: {files}")
    assert set(counts) == {"answered", "refused"}  # 64 are more than the queue holds
    assert len(pictures) == 1
    assert [time_s < STATUS_S for time_s in slowest] == [True, True]
    assert after[0] < before[0] * GROWTH
    assert after[1] <= before[1] + 8  # those that a pool had not needed before
    assert files[1] <= files[0] + 8  # connections that are kept for the next call
