"""Target 4: the most memory that a run takes, in a process that loads an exported model and in a server.

python -m tests.benchmarks.bench.memory MODEL SETTINGS CONTENT STYLE
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serving.transports import connect
from tests.benchmarks.bench.loops import ONE_SIZE, sample_pair, square
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
    pair = sample_pair()
    content, style = pair["content_bytes"][0], pair["style_bytes"][0][0]
    settings = f"{ONE_SIZE},size={size},steps=1000"
    with tempfile.TemporaryDirectory() as folder:
        content = content if size == max(LIMITS_GB) else square(content, size).numpy()[0]
        paths = Path(folder) / "content", Path(folder) / "style"
        for path, picture in zip(paths, (content, style), strict=True):
            path.write_bytes(picture)
        command = [sys.executable, "-m", __name__, str(model), settings, *map(str, paths)]
        name = f"peak memory at {size} pixels, one call in the process"
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
            yield Record(4, name, float(run.stdout.split()[-1]), LIMITS_GB[size], "GB", "resident, TensorFlow included")
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            yield Record(4, name, float("inf"), LIMITS_GB[size], "GB", f"did not finish: {type(error).__name__}")
        with serving(model) as server:
            transport = connect(server.grpc)
            state = carry_on(transport, _inputs(settings, content, style), CHUNKS)
            transport.close()
            peak_gb = memory_mb(server.process.pid, peak=True) / 1000
            name = f"peak memory at {size} pixels, {CHUNKS} calls to a server"
            yield Record(4, name, peak_gb, LIMITS_GB[size], "GB", f"a state of {len(state) / 1e6:.0f} MB")


def _inputs(settings: str, content: bytes, style: bytes) -> dict[str, Any]:
    return {"content_bytes": [content], "style_bytes": [[style]], "settings": [settings], "take_steps": [STEPS]}


if __name__ == "__main__":
    _, model_path, text, *pictures = sys.argv
    carry_on(connect(model_path), _inputs(text, *(Path(picture).read_bytes() for picture in pictures)), 1)
    print(memory_mb("self", peak=True) / 1000)
