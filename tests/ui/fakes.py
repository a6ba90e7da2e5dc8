"""A client that needs no server, with runs of a few chunks and small real pictures; and a wait."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from model.settings import StyleSettings
from serving.client import Progress
from serving.errors import StyleTransferError
from serving.request import Request
from serving.responses import Description, WeightsInfo
from tests.conftest import encode
from ui.jobs import Job, Snapshot, Status


def encoded(
    width: int = 24, height: int = 16, kind: str = "PNG", colour: tuple[int, int, int] = (200, 90, 40)
) -> bytes:
    return encode(Image.new("RGB", (width, height), colour), kind)


def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Waits until other threads make a condition true."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


@dataclass
class FakeClient:
    """Answers like `StyleTransferClient`, with a record for each chunk of steps."""

    chunks: int = 4  # of a run
    gate: threading.Semaphore | None = None  # each release lets a run take one more chunk after the first
    problem: StyleTransferError | None = None  # raised by `describe`
    outage: StyleTransferError | None = None  # reported before a chunk, until the gate lets the chunk come
    run_problem: Exception | None = None  # raised by `run`
    breaks_at: int = 0  # the chunk before which `outage` or `run_problem` occurs
    ends_early: str = ""  # why a run ends with its second chunk
    renders: bool = False  # whether a cancelled run ends with the result as PNG
    notice: str = ""  # about the weights
    reads: dict[str, Any] = field(default_factory=dict)  # settings that the model reads differently from the request
    calls: list[Request] = field(default_factory=list)  # what `run` was called with
    states: list[bytes] = field(default_factory=list)

    def describe(self, settings: StyleSettings | None = None) -> Description:
        if self.problem is not None:
            raise self.problem
        weights = WeightsInfo("imagenet", "0123456789abcdef", notice=self.notice)
        read = (settings or StyleSettings()).replace(**self.reads)
        return Description("0123", weights, precision="bfloat16", device="CPU", settings=read)

    def run(
        self, request: Request, *, state: bytes = b"", cancelled: threading.Event | None = None,
        on_retry: Callable[[StyleTransferError], object],
    ) -> Iterator[Progress]:  # fmt: skip
        self.calls.append(request)
        self.states.append(state)
        settings, done = request.settings, int(state or b"0")
        chunk = settings.steps // self.chunks
        for number in range(done // chunk, self.chunks):
            if self.run_problem is not None and number == self.breaks_at:
                raise self.run_problem
            if self.outage is not None and number == self.breaks_at:
                on_retry(self.outage)
                on_retry(type(self.outage)("still"))
            if self.gate is not None and number:
                self.gate.acquire(timeout=10)
            if cancelled is not None and cancelled.is_set():
                if self.renders:
                    yield self._record(number * chunk, settings.steps, np.empty((0, 4), np.float32), image=True)
                return
            steps = np.arange(number * chunk + 1, (number + 1) * chunk + 1, dtype=np.float32)
            losses = np.stack([9 / steps, 1 - 1 / (steps + 1), 8 / steps, 0.1 + 0 * steps], axis=-1)
            if self.ends_early and number:
                yield self._record((number + 1) * chunk, settings.steps, losses, image=True, stopped=self.ends_early)
                return
            yield self._record((number + 1) * chunk, settings.steps, losses, image=number + 1 == self.chunks)

    def _record(self, step: int, steps: int, losses: np.ndarray, *, image: bool, stopped: str = "") -> Progress:
        return Progress(
            step=step,
            steps=steps,
            fraction_done=step / steps,
            losses=losses.astype(np.float32),
            preview=encoded(kind="JPEG"),
            image=encoded() if image else b"",
            state=str(step).encode(),
            seconds=(step - int(self.states[-1] or b"0")) / 10,
            steps_per_s=10.0,
            seconds_left=(steps - step) / 10,
            stopped=stopped,
        )


@dataclass
class FakeOwner:
    """An owner of jobs that takes down what it is told."""

    away: bool = False
    kept: list[tuple[int, Status]] = field(default_factory=list)  # number and status of each job that ended
    advances: list[list[Status]] = field(default_factory=list)  # what the jobs in `watched` showed at each call
    watched: list[Job] = field(default_factory=list)

    def unattended(self) -> bool:
        return self.away

    def keep(self, job: Job, ended: Snapshot) -> None:
        assert job.active  # the picture is kept before the end shows
        self.kept.append((job.number, ended.status))

    def advance(self) -> None:
        self.advances.append([job.snapshot().status for job in self.watched])


def header_of(width: int, height: int) -> bytes:
    """Returns a BMP with a header of this size and almost no pixels."""
    data = bytearray(encoded(1, 1, "BMP"))
    data[18:22], data[22:26] = width.to_bytes(4, "little"), height.to_bytes(4, "little")
    return bytes(data)
