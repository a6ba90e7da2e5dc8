"""Targets 3, 7 and 10: what serving costs, how soon a server is there, and how soon a picture is."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.export import export
from model.settings import StyleSettings
from model.weights import Weights
from serving.client import CHUNK_S, StyleTransferClient
from serving.request import Request
from serving.transports import Transport, connect
from tests.benchmarks.bench.loops import CONTENT, ONE_SIZE, PAIR, STYLE
from tests.benchmarks.bench.records import Record
from tests.served import serving

OVERHEADS: Mapping[str, float] = {"grpc": 1.05, "http": 1.10}
PICTURE_S: Mapping[str, float] = {"quick": 30.0, "balanced": 90.0}  # on two cores with AVX2 alone
PREVIEW_S = 2.0
CHUNKS = 4
ROUNDS = 3
COLD_START_S = 15.0
FIRST_REQUEST, FIRST_SIZE = 1.1, 512
SAVED_MODEL_MB = 60.0
TIMEOUT_S = 600.0


def through_a_server(path: Path, sizes: Sequence[int]) -> Iterator[Record]:
    """Measures a server with an exported model: its start, its first request, whole pictures, and chunks.

    Args:
      path: of the model.
      sizes: long sides in pixels, of the chunks.
    """
    begin = time.perf_counter()
    with serving(path) as server:
        start_s = time.perf_counter() - begin
        yield Record(7, "start of the server until it is available", start_s, COLD_START_S, "s", "with warm-up")
        served = {"grpc": connect(server.grpc), "http": connect(server.http)}
        first, second = (_chunks(served["grpc"], FIRST_SIZE, 1, 1) for _ in range(2))
        detail = f"{first:.2f} s and {second:.2f} s, a step at {FIRST_SIZE} pixels over gRPC"
        yield Record(7, "first request over second", first / second, FIRST_REQUEST, "x", detail)

        yield from _pictures(server.grpc)

        ways = {"local": connect(str(path)), **served}
        for size in sizes:
            yield from _overheads(ways, size)
        for transport in ways.values():
            transport.close()


def _pictures(server: str) -> Iterator[Record]:
    """Makes a picture by each preset as a user does, and takes the time until its first preview and its end."""
    with StyleTransferClient(server, timeout_s=TIMEOUT_S) as client:
        for preset, limit in PICTURE_S.items():
            first, *_, last = client.run(Request(CONTENT, [STYLE], StyleSettings(preset)))
            detail = f"{last.steps} steps, first preview after {first.seconds:.2f} s"
            yield Record(10, f"picture by {preset}", last.seconds, limit, "s", detail)
            if preset == "quick":
                yield Record(10, "first preview", first.seconds, PREVIEW_S, "s", preset)


def _overheads(ways: Mapping[str, Transport], size: int) -> Iterator[Record]:
    """Compares chunks of about CHUNK_S over each way but `local` with one call of as many steps in `local`."""
    local = ways["local"]
    _chunks(local, size, 1, 1)  # the first call of a session optimises the graph
    one, five = (min(_chunks(local, size, 1, take) for _ in range(2)) for take in (1, 5))
    take = max(round(CHUNK_S / ((five - one) / 4)), 1)
    seconds = {way: float("inf") for way in ways}
    for _ in range(ROUNDS):
        for way, transport in ways.items():
            calls, steps = (1, take * CHUNKS) if way == "local" else (CHUNKS, take)
            seconds[way] = min(seconds[way], _chunks(transport, size, calls, steps))
    for way, limit in OVERHEADS.items():
        detail = f"{CHUNKS} chunks of {take} steps in {seconds[way]:.2f} s, one call in {seconds['local']:.2f} s"
        name = f"chunks over {way} to one call in the process, {size} pixels"
        yield Record(3, name, seconds[way] / seconds["local"], limit, "x", detail)


def saved_model_size(weights: Weights, folder: Path, precision: str) -> Record:
    """Returns the size of an export with all layers that the presets use."""
    path = export(weights, folder, precision)
    size = sum(os.path.getsize(file) for file in path.rglob("*") if file.is_file())
    return Record(7, "SavedModel", size / 1e6, SAVED_MODEL_MB, "MB", f"to {weights.layers[-1]}, {precision}")


def _chunks(transport: Transport, size: int, calls: int, take: int) -> float:
    """Returns the seconds of a run's first calls; the first of them starts it."""
    inputs: dict[str, Any] = {**PAIR, "settings": [f"size={size},steps=1000,{ONE_SIZE}"], "take_steps": [take]}
    begin = time.perf_counter()
    carry_on(transport, inputs, calls)
    return time.perf_counter() - begin


def carry_on(transport: Transport, inputs: Mapping[str, Any], calls: int) -> bytes:
    """Makes the first calls of a run, whose inputs but for the state are given; returns the state after them."""
    state = b""
    for _ in range(calls):
        answer = transport.predict("advance", {**inputs, "state_bytes": [state]}, timeout_s=TIMEOUT_S)
        state = answer["state_bytes"][0]
    return state
