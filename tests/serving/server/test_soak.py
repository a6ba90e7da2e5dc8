"""64 clients at once for minutes: every accepted call is answered rightly, the others are told why, and nothing leaks.

Run by `make soak`; NST_SOAK_S sets how long. It prints the figures that serving/README.md records.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from contextlib import closing

import pytest

from serving.errors import Overloaded, ServingUnavailable, StyleTransferError
from serving.transports import connect
from tests import processes
from tests.conftest import encode, smooth_picture
from tests.served import Served

CLIENTS = 64
SOAK_S = float(os.environ.get("NST_SOAK_S") or 180)
WARM_UP_SHARE = 0.35  # of the time: caches fill and the allocator finds its size
GROWTH = 1.05
PAUSE_S = 0.2  # before a refused client asks again, at most
INPUTS = {
    "content_bytes": [encode(smooth_picture(20, 24))],
    "style_bytes": [[encode(smooth_picture(24, 24, 1))]],
    "settings": ["size=24,smallest_size=16,steps=3"],
}


@pytest.mark.soak
def test_64_clients_at_once(served: Served) -> None:
    over, counts, pictures = threading.Event(), Counter[str](), set[bytes]()

    def ask(server: str) -> None:
        with closing(connect(server)) as way:
            while not over.is_set():
                try:
                    answer = way.predict("stylize", INPUTS, outputs=["image_bytes"], timeout_s=300)
                except StyleTransferError as error:
                    fine = isinstance(error, (Overloaded, ServingUnavailable)) and str(error)
                    counts["refused" if fine else f"{error.code}: {error}"] += 1
                    time.sleep(random.uniform(0, PAUSE_S))  # noqa: S311
                else:
                    counts["answered"] += 1
                    pictures.add(answer["image_bytes"][0])

    def figures() -> tuple[float, int, int]:
        return processes.memory_mb(served.pid), processes.threads(served.pid), processes.open_files(served.pid)

    asking = [threading.Thread(target=ask, args=((served.grpc, served.http)[i % 2],)) for i in range(CLIENTS)]
    for server in (served.grpc, served.http):
        with closing(connect(server)) as way:  # the first run of each set of outputs makes its graph: up to a minute
            way.predict("stylize", INPUTS, outputs=["image_bytes"], timeout_s=300)
    for thread in asking:
        thread.start()
    time.sleep(SOAK_S * WARM_UP_SHARE)
    before = figures()
    time.sleep(SOAK_S * (1 - WARM_UP_SHARE))
    after = figures()
    over.set()
    for thread in asking:
        thread.join(300)
    print(f"\n{CLIENTS} clients, {SOAK_S:.0f} s: {dict(counts)}; memory in MB, threads, files: {before} -> {after}")
    assert set(counts) == {"answered", "refused"}  # 64 are more than the queue holds
    assert len(pictures) == 1
    assert after[0] < before[0] * GROWTH
    assert after[1] <= before[1] + 8  # those that a pool had not needed before
    assert after[2] <= before[2] + 8  # connections that are just being made anew
