"""Target 4: the most memory that a run takes, measured in a process of its own.

python -m tests.benchmarks.bench.memory WEIGHTS PRECISION SIZE
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Mapping

from tests.benchmarks.bench.records import Record

LIMITS_GB: Mapping[int, float] = {1024: 2.5, 2048: 7.0, 4096: 20.0}
"""By the long side; below 4096 the picture is a square."""

TIMEOUT_S = 1200


def peak(weights: str, precision: str, size: int) -> Record:
    """Returns the peak of a process that takes two steps at one size."""
    command = [sys.executable, "-m", __name__, weights, precision, str(size)]
    name = f"peak memory at {size} pixels"
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return Record(4, name, float("inf"), LIMITS_GB[size], "GB", f"did not finish: {type(error).__name__}")
    return Record(4, name, float(run.stdout.split()[-1]), LIMITS_GB[size], "GB", "resident, TensorFlow included")


def _measure(weights: str, precision: str, size: int) -> float:
    import tensorflow as tf

    from model.weights import load
    from tests.benchmarks.bench.loops import ONE_SIZE, Model, square

    model = Model.of(load(weights), tf.as_dtype(precision))
    inputs = {"content_bytes": square(model.pair["content_bytes"].numpy()[0], size)} if size < max(LIMITS_GB) else {}
    model.advance(f"{ONE_SIZE},size={size}", 2, **inputs)["step"].numpy()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    print(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))
