"""What serving costs: a stretch through the server, the cold start, the first request, the export's size."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model.settings import StyleSettings
from model.versions import find_versions
from serving.server.servable import Servable
from serving.transports import Arrays, Transport, connect
from tests import served
from tests.benchmarks.bench.record import Record, compare, seconds
from tests.conftest import encode, smooth_picture
from tests.ports import free_port

STRETCH_S = 1.0  # of work, as a call of the client asks for it
SIZE_PX = 256
LONGEST_S = 300.0  # of a call on a slow machine
GRPC_TARGET, REST_TARGET = 1.03, 1.08
START_TARGET_S, FIRST_TARGET, EXPORT_TARGET_MB = 15.0, 1.10, 60.0


def through_the_server(base: Path, *, stretch_s: float = STRETCH_S, rounds: int = 7) -> list[Record]:
    """Returns `advance` over gRPC and REST against the same call in this process.

    Args:
      base: the model's base path; its newest version is measured.
      stretch_s: about how long a call is to take.
      rounds: calls each way.
    """
    servable = Servable.load("in_process", find_versions(base)[-1])
    take = _steps_of(servable, stretch_s)

    def in_process() -> Arrays:
        return servable.predict("advance", _as_arrays(_inputs(take)))

    grpc, rest = free_port(), free_port()
    with served.serving(base, grpc, rest):
        ways = (("gRPC", f"grpc://127.0.0.1:{grpc}", GRPC_TARGET), ("REST", f"http://127.0.0.1:{rest}", REST_TARGET))
        records = []
        for way, address, target in ways:
            transport = connect(address)
            name = f"`advance` over {way}, stretches of {take} steps, against the same in one process"
            records.append(compare(name, in_process, lambda t=transport: _call(t, take), target, rounds=rounds))
            transport.close()
    servable.close()
    return records


def cold_start(base: Path) -> list[Record]:
    """Returns the time from nothing to AVAILABLE, warm-up included, and the first request against the second."""
    grpc, rest = free_port(), free_port()
    started = time.perf_counter()
    process = served.start(base, grpc, rest)
    try:
        served.wait_until_available(process, rest)
        start_s = time.perf_counter() - started
        transport = connect(f"grpc://127.0.0.1:{grpc}")
        first_s, second_s = (seconds(lambda: _call(transport, 8)) for _ in range(2))
        transport.close()
    finally:
        served.stop(process)
    details = {"reference_s": second_s, "taken_s": first_s}
    return [
        Record("cold start to AVAILABLE, with warm-up", start_s, START_TARGET_S, "s"),
        Record("first request against the second", first_s / second_s, FIRST_TARGET, details=details),
    ]


def export_size(base: Path) -> Record:
    """Returns the size of the newest version's files."""
    files = [path for path in find_versions(base)[-1].path.rglob("*") if path.is_file()]
    return Record("SavedModel", sum(path.stat().st_size for path in files) / 1e6, EXPORT_TARGET_MB, "MB")


def _inputs(take: int) -> dict[str, Any]:
    content, style = encode(smooth_picture(SIZE_PX * 3 // 4, SIZE_PX, 1)), encode(smooth_picture(SIZE_PX, SIZE_PX, 2))
    settings = StyleSettings(size=SIZE_PX, smallest_size=SIZE_PX, steps=10_000)
    return {
        "content_bytes": [content],
        "style_bytes": [[style]],
        "settings": [str(settings)],
        "state_bytes": [b""],
        "take_steps": [take],
    }


def _as_arrays(inputs: Mapping[str, Any]) -> Arrays:
    take = np.int32(inputs["take_steps"])
    return {name: np.array(value, object) for name, value in inputs.items()} | {"take_steps": take}


def _call(transport: Transport, take: int) -> Arrays:
    return transport.predict("advance", _inputs(take), timeout_s=LONGEST_S)


def _steps_of(servable: Servable, stretch_s: float) -> int:
    """Returns how many steps take about so long in this process."""

    def taken(steps: int) -> float:
        return seconds(lambda: servable.predict("advance", _as_arrays(_inputs(steps))))

    taken(1)  # builds and rewrites the graph
    one_s, nine_s = taken(1), taken(9)
    step_s = max((nine_s - one_s) / 8, 1e-4)
    return max(1, round((stretch_s - one_s) / step_s) + 1)
