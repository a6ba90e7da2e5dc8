"""Runs in the background, so that the page can redraw: a job for each run, and the queue in which runs wait.

A worker thread consumes `StyleTransferClient.run`; the page reads `Job.snapshot()`. The thread never calls Streamlit,
and shares nothing with the page but the job.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from serving.client import Progress, StyleTransferClient
from serving.errors import Cancelled, ServingFailed, StyleTransferError
from serving.files import sha256
from serving.request import Request
from serving.results import Origin
from ui import knobs
from ui.estimate import PACE

log = logging.getLogger(__name__)

REFINE_STEPS = 40  # extra steps at a result's own size
LARGER_STEPS = 32  # extra steps, shared by two sizes
GROWTH = 2  # factor of the long side when a result is enlarged
POLL_S = 0.2  # how often a waiting run checks whether it has been stopped


class Status(Enum):
    """The state of a job. A stopped or failed job can continue from where it ended."""

    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"  # the current chunk has not ended yet
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Snapshot(Progress):
    """A job at one moment: the progress of its run, and its status.

    Attributes:
      losses: float32 [step, 4], all rows so far.
      seconds: of work, without pauses.
      status: the state of the job.
      model: the model's description, with the settings as it reads them; empty until the server has sent it.
      waits_for: how many other runs must end before this one can start.
      problem: why the job failed, or, while it is active, why the server does not answer at the moment.
    """

    status: Status = Status.NEW
    model: Mapping[str, Any] = field(default_factory=dict)
    waits_for: int = 0
    problem: StyleTransferError | None = None

    def origin(self, request: Request) -> Origin:
        """Returns the picture's origin, with the settings as the model read them."""
        return Origin.of(request, self.model, step=self.step, steps=self.steps)

    @property
    def active(self) -> bool:
        return self.status in (Status.RUNNING, Status.STOPPING)

    @property
    def picture(self) -> bytes:
        """The result, or the preview if there is no result yet; empty if there is neither."""
        return self.image or self.preview


class RunQueue:
    """Lets a few runs work at once; the others wait in order of arrival. All methods may be called from any thread."""

    def __init__(self, places: int) -> None:
        """Makes a queue in which `places` runs may work at once."""
        self._places = places
        self._tickets: list[object] = []  # in order of arrival; the first `_places` are at work
        self._moved = threading.Condition()

    @property
    def has_waiting(self) -> bool:
        return len(self._tickets) > self._places

    @contextmanager
    def turn(self, cancelled: threading.Event, report: Callable[[int], None]) -> Iterator[None]:
        """Waits for a place, and holds it.

        Args:
          cancelled: once set, ends the wait.
          report: called repeatedly with the number of runs that must end first, and finally with 0.

        Raises:
          Cancelled: `cancelled` was set during the wait.
        """
        ticket = object()
        try:
            with self._moved:
                self._tickets.append(ticket)
                while (before := self._tickets.index(ticket) + 1 - self._places) > 0:
                    if cancelled.is_set():
                        raise Cancelled("Stopped while it waited for its turn.")
                    report(before)
                    self._moved.wait(POLL_S)
            report(0)
            yield
        finally:
            with self._moved:
                self._tickets.remove(ticket)
                self._moved.notify_all()


class Job:
    """One run of the served model, in a thread of its own. All methods may be called from any thread.

    Attributes:
      request: the pictures and the settings.
      number: unique in this process.
    """

    _numbers = itertools.count(1)

    def __init__(
        self, client: StyleTransferClient, request: Request, queue: RunQueue, unattended: Callable[[], bool]
    ) -> None:
        """Prepares a run.

        Args:
          client: a client of the server.
          request: the pictures and the settings.
          queue: the queue in which it waits for its turn.
          unattended: returns whether nobody has the page open any more; the run then lets waiting runs go first.
        """
        self.number = next(self._numbers)
        self.request = request
        self._client = client
        self._queue = queue
        self._unattended = unattended
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._worker: threading.Thread | None = None
        self._now = Snapshot(steps=request.settings.steps)

    def snapshot(self) -> Snapshot:
        with self._lock:
            return self._now

    @property
    def active(self) -> bool:
        return self.snapshot().active

    @property
    def problem(self) -> StyleTransferError | None:
        return self.snapshot().problem

    def start(self) -> None:
        """Starts the run, or continues it from where it ended; does nothing while it runs or once it is done."""
        with self._lock:
            if self._now.active or self._now.status is Status.DONE:
                return
            self._cancelled = threading.Event()
            self._now = replace(self._now, status=Status.RUNNING, problem=None, seconds_left=None)
            # A daemon: a call that hangs must not keep the process from ending.
            self._worker = threading.Thread(target=self._work, args=(self._cancelled,), name="stylisation", daemon=True)
            self._worker.start()

    def stop(self) -> None:
        """Ends the run after the current chunk, and keeps the picture."""
        with self._lock:
            if self._now.status is Status.RUNNING:
                self._cancelled.set()
                self._now = replace(self._now, status=Status.STOPPING)

    def wait(self, timeout_s: float | None = None) -> None:
        """Waits until the run has ended."""
        if self._worker is not None:
            self._worker.join(timeout_s)

    def _work(self, cancelled: threading.Event) -> None:
        problem: StyleTransferError | None = None
        try:
            while self._gives_way(cancelled):
                pass  # go to the end of the queue, then continue from the last state
        except Cancelled:
            cancelled.set()
        except StyleTransferError as error:
            problem = error
        except Exception as error:  # nothing above this thread could show the error to the visitor
            log.exception("A run failed unexpectedly.")
            problem = ServingFailed(f"{type(error).__name__}: {error}", "INTERNAL")
        with self._lock:
            if self._now.complete:
                status, problem = Status.DONE, None
                self._now = replace(self._now, state=b"")  # 25 MB at 512 pixels, no longer needed
            elif cancelled.is_set():
                status, problem = Status.STOPPED, None
            else:
                status = Status.FAILED
                problem = problem or ServingFailed("The run ended before its last step.", "INTERNAL")
            self._now = replace(self._now, status=status, problem=problem, seconds_left=None, waits_for=0)

    def _gives_way(self, cancelled: threading.Event) -> bool:
        """Waits for its turn and runs; returns whether it ended early to let a waiting run go first."""
        with self._queue.turn(cancelled, lambda waits_for: self._set(waits_for=waits_for)):
            before = self._now.seconds
            run = self._client.run(self.request, state=self._now.state, cancelled=cancelled, on_retry=self._set_problem)
            for progress in run:
                self._add(progress, before)
                self._describe_model()
                if not self._now.complete and self._unattended() and self._queue.has_waiting:
                    return True
        return False

    def _set(self, **values: Any) -> None:
        with self._lock:
            self._now = replace(self._now, **values)

    def _set_problem(self, problem: StyleTransferError) -> None:
        """Keeps the first reason why the server does not answer, until it answers again."""
        with self._lock:
            self._now = replace(self._now, problem=self._now.problem or problem)

    def _add(self, progress: Progress, before: float) -> None:
        """Adds a chunk to the snapshot; `before` is how many seconds earlier turns took."""
        with self._lock:
            if self._now.step:  # a run's first chunk includes loading
                PACE.learn(self.request, self._now.step, progress.step, before + progress.seconds - self._now.seconds)
            losses, seconds = np.concatenate([self._now.losses, progress.losses]), before + progress.seconds
            self._now = replace(self._now, **{**vars(progress), "losses": losses, "seconds": seconds}, problem=None)

    def _describe_model(self) -> None:
        """Gets the model's description, once a chunk has shown that the server answers; retries after a failure."""
        if not self._now.model:
            with contextlib.suppress(StyleTransferError):
                self._set(model=self._client.describe(self.request.settings))


def refined(request: Request, result: bytes) -> Request:
    """Returns a request for more steps on a result, at its own size."""
    return _onward(request, result, size=request.settings.size, steps=REFINE_STEPS)


def enlarged(request: Request, result: bytes) -> Request | None:
    """Returns a request that enlarges a result, or None if it already has the largest size."""
    size = min(GROWTH * request.settings.size, int(knobs.SETTINGS["size"].high))
    return _onward(request, result, size=size, steps=LARGER_STEPS) if size > request.settings.size else None


def _onward(request: Request, result: bytes, *, size: int, steps: int) -> Request:
    # The result replaces all sizes up to its own; only the larger ones remain to be painted.
    smallest = min(request.settings.size + 1, size)
    return replace(
        request,
        settings=request.settings.replace(size=size, steps=steps, smallest_size=smallest),
        initial=result,
        sha256={**request.sha256, "initial": (sha256(result),)},
    )
