"""Measures every target for speed and memory, and writes down the figure beside each.

    make bench              # seven minutes on two cores, ten with PyTorch's rows
    BENCH=full make bench   # the large sizes too: three quarters of an hour, and 20 GB of memory

Ratios are of one run, taken in turns, since machines are noisy. Writes bench.md and bench.json. What was learned
from them stands in tests/benchmarks/notes.md.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before anything imports TensorFlow
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")  # as a server has it

import tensorflow as tf

from model.errors import StyleTransferError
from model.export import choose_precision, export, served_layers
from model.layers import BLOCK_STARTS
from model.weights import load, random
from tests.benchmarks.bench import memory, peer, quality, served, speed
from tests.benchmarks.bench.loops import Model
from tests.benchmarks.bench.records import Record, machine, markdown


def measure(weights_name: str, full: bool) -> Iterator[Record]:
    """Takes all measurements, one after the other."""
    weights, deep = served_layers(load(weights_name, report=_say)), random(last=BLOCK_STARTS[-1])
    precision = choose_precision()
    dtype = tf.as_dtype(precision)
    # First, since what TensorFlow has once taken for this process is not there for those that these start.
    with tempfile.TemporaryDirectory() as folder:
        yield served.saved_model_size(deep, Path(folder) / "deep", precision)
        base = Path(folder) / "style_transfer"
        export(weights, base, precision)
        yield from served.through_a_server(base, (256, 512) if full else (256,))
        for size in memory.LIMITS_GB if full else (1024,):
            yield from memory.peaks(base, size)
    # One model of each kind, since the first call of one takes a quarter of a minute.
    full_model = Model.of(weights, tf.float32)
    ours = full_model if dtype == tf.float32 else Model.of(weights, dtype)
    deep_models = {each: Model.of(deep, each) for each in {tf.float32, dtype}}
    for model in deep_models.values():
        yield from speed.over_floor(model, (256, 512, 1024) if full else (256,))
    yield speed.shallow(deep_models[dtype], 256)
    yield speed.per_pixel(ours, (256, 512, 1024, 2048) if full else (256, 384, 512))
    yield from peer.beside_torch(full_model, (256, 512))
    if dtype != tf.float32:
        size, steps = (512, 300) if full else (256, 100)
        yield from quality.half_against_full(full_model, ours, size, steps)
        yield quality.time_to_quality(full_model, ours, size)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", default="imagenet", help="as model.export takes them (default: imagenet)")
    parser.add_argument("--full", action="store_true", help="the large sizes too")
    parser.add_argument("--output", type=Path, default=Path("artifacts/bench"), help="folder of the table")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    facts, records, begin = machine(), list[Record](), time.perf_counter()
    try:
        for record in measure(options.weights, options.full):
            records.append(record)
            taken = f"{time.perf_counter() - begin:.0f} s"
            _say(f"{taken}: {record.target}: {record.name}: {record.figure:.3g} (<= {record.limit:g}) {record.detail}")
            # Written after each, so that a run that is cut short leaves what it found.
            document = {"machine": facts, "records": [record.as_dict() for record in records]}
            (options.output / "bench.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
            (options.output / "bench.md").write_text(markdown(records, facts), encoding="utf-8")
    except StyleTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print((options.output / "bench.md").read_text(encoding="utf-8"))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
