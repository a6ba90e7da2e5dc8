"""Target 4: the most memory that a run takes, in a process that loads an exported model and in a server.

python -m tests.benchmarks.bench.memory MODEL SIZE
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serving.transports import connect
from tests.benchmarks.bench.loops import CONTENT, ONE_SIZE, PAIR, square
from tests.benchmarks.bench.records import Record
from tests.benchmarks.bench.served import carry_on
from tests.processes import memory_mb
from tests.served import serving

LIMITS_GB: Mapping[int, float] = {1024: 2.5, 2048: 7.0, 4096: 20.0}
"""By the long side; below 4096 the picture is a square."""

CHUNKS, STEPS = 3, 2  # of a run through a server, and of each call
TIMEOUT_S = 1200.0


def peaks(model: Path, size: int) -> Iterator[Record]:
    """Returns the peaks of a process that makes one call, and of a server that carries a run on over several."""
    name = f"peak memory at {size} pixels, one call in the process"
    try:
        command = [sys.executable, "-m", __name__, str(model), str(size)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        yield Record(4, name, float(run.stdout.split()[-1]), LIMITS_GB[size], "GB", "resident, TensorFlow included")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        yield Record(4, name, float("inf"), LIMITS_GB[size], "GB", f"did not finish: {type(error).__name__}")
    with serving(model) as server:
        transport = connect(server.grpc)
        state = carry_on(transport, _inputs(size), CHUNKS)
        transport.close()
        peak_gb = memory_mb(server.process.pid, peak=True) / 1000
        name = f"peak memory at {size} pixels, {CHUNKS} calls to a server"
        yield Record(4, name, peak_gb, LIMITS_GB[size], "GB", f"a state of {len(state) / 1e6:.0f} MB")


def _inputs(size: int) -> dict[str, Any]:
    content = CONTENT if size == max(LIMITS_GB) else square(CONTENT, size)
    settings = f"{ONE_SIZE},size={size},steps=1000"
    return {**PAIR, "content_bytes": [content], "settings": [settings], "take_steps": [STEPS]}


if __name__ == "__main__":
    carry_on(connect(sys.argv[1]), _inputs(int(sys.argv[2])), 1)
    print(memory_mb("self", peak=True) / 1000)
