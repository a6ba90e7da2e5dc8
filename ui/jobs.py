"""Runs in the background, while the page is free to redraw: a job for each, and the queue that they wait in.

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

from model.limits import MAX_SIZE_PX
from serving.client import Progress, StyleTransferClient
from serving.errors import Cancelled, ServingFailed, StyleTransferError
from serving.files import sha256
from serving.request import Request
from serving.results import Origin

log = logging.getLogger(__name__)

REFINE_STEPS = 40  # more, at a result's own size
LARGER_STEPS = 32  # more, over two sizes
GROWTH = 2  # of the long side, from a result to its larger version
POLL_S = 0.2  # how often a waiting run checks whether it has been stopped


class Status(Enum):
    """Where a job stands. A stopped or failed job can go on from where it was."""

    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"  # the chunk under way is still awaited
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Snapshot(Progress):
    """A job at one moment: where its run stands, and more.

    Attributes:
      losses: float32 [step, 4], all rows so far.
      seconds: of work, without pauses.
      status: where the job stands.
      model: the model's description, with the settings as it reads them; empty until the server has sent it.
      waits_for: how many other runs must end before this one has its turn.
      problem: why the job failed; of an active job, why the server does not answer at the moment.
    """

    status: Status = Status.NEW
    model: Mapping[str, Any] = field(default_factory=dict)
    waits_for: int = 0
    problem: StyleTransferError | None = None

    def origin(self, request: Request) -> Origin:
        """Returns what made the picture, with the settings as the model reads them."""
        return Origin.of(request, self.model, step=self.step, steps=self.steps)

    @property
    def active(self) -> bool:
        return self.status in (Status.RUNNING, Status.STOPPING)

    @property
    def picture(self) -> bytes:
        """The result, or else the preview, or else nothing."""
        return self.image or self.preview


class RunQueue:
    """Lets a few runs work at once; the others wait in order of arrival. All methods may be called from any thread."""

    def __init__(self, places: int) -> None:
        """Takes how many may work at once."""
        self._places = places
        self._tickets: list[object] = []  # those at work first
        self._moved = threading.Condition()

    @property
    def has_waiting(self) -> bool:
        return len(self._tickets) > self._places

    @contextmanager
    def turn(self, cancelled: threading.Event, report: Callable[[int], None]) -> Iterator[None]:
        """Waits for a place, and holds it.

        Args:
          cancelled: once set, ends the wait.
          report: called with the number of runs that must end before, again and again; at last with 0.

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
      request: what is asked for.
      number: unique in this process.
    """

    _numbers = itertools.count(1)

    def __init__(
        self, client: StyleTransferClient, request: Request, queue: RunQueue, unattended: Callable[[], bool]
    ) -> None:
        """Prepares a run.

        Args:
          client: of the server.
          request: what is asked for.
          queue: where it waits for its turn.
          unattended: tells whether nobody watches any more: the run then gives way to others that wait.
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
        """Starts the run, or continues it from where it is; does nothing while it runs or once it is done."""
        with self._lock:
            if self._now.active or self._now.status is Status.DONE:
                return
            self._cancelled = threading.Event()
            self._now = replace(self._now, status=Status.RUNNING, problem=None, seconds_left=None)
            # A daemon: a call that hangs must not keep the process from ending.
            self._worker = threading.Thread(target=self._work, args=(self._cancelled,), name="stylisation", daemon=True)
            self._worker.start()

    def stop(self) -> None:
        """Ends the run after the chunk under way; the picture stays."""
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
                pass  # it waits at the end of the queue, and goes on from its last state
        except Cancelled:
            cancelled.set()
        except StyleTransferError as error:
            problem = error
        except Exception as error:  # the boundary of the thread: nobody above could tell the visitor
            log.exception("A run failed unexpectedly.")
            problem = ServingFailed(f"{type(error).__name__}: {error}", "INTERNAL")
        with self._lock:
            if self._now.complete:
                status, problem = Status.DONE, None
                self._now = replace(self._now, state=b"")  # 25 MB at 512 pixels that nobody needs any more
            elif cancelled.is_set():
                status, problem = Status.STOPPED, None
            else:
                status = Status.FAILED
                problem = problem or ServingFailed("The run ended before its last step.", "INTERNAL")
            self._now = replace(self._now, status=status, problem=problem, seconds_left=None, waits_for=0)

    def _gives_way(self, cancelled: threading.Event) -> bool:
        """Runs when its turn comes; returns whether it gave up its place early, to a run that waits."""
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
        """Keeps the first reason why the server does not answer, until it does."""
        with self._lock:
            self._now = replace(self._now, problem=self._now.problem or problem)

    def _add(self, progress: Progress, before: float) -> None:
        """Adds a chunk to what is known; `before` is how many seconds earlier turns took."""
        with self._lock:
            losses, seconds = np.concatenate([self._now.losses, progress.losses]), before + progress.seconds
            self._now = replace(self._now, **{**vars(progress), "losses": losses, "seconds": seconds}, problem=None)

    def _describe_model(self) -> None:
        """Gets the model's description once, when the server is known to answer; after a failure, tries again."""
        if not self._now.model:
            with contextlib.suppress(StyleTransferError):
                self._set(model=self._client.describe(self.request.settings))


def refined(request: Request, result: bytes) -> Request:
    """Returns a request for more steps on a result, at its own size only."""
    return _onward(request, result, size=request.settings.size, steps=REFINE_STEPS)


def enlarged(request: Request, result: bytes) -> Request | None:
    """Returns a request that enlarges a result, or None where it is as large as can be."""
    size = min(GROWTH * request.settings.size, MAX_SIZE_PX)
    return _onward(request, result, size=size, steps=LARGER_STEPS) if size > request.settings.size else None


def _onward(request: Request, result: bytes, *, size: int, steps: int) -> Request:
    # The result stands for all sizes up to its own; only those above it remain.
    smallest = min(request.settings.size + 1, size)
    return replace(
        request,
        settings=request.settings.replace(size=size, steps=steps, smallest_size=smallest),
        initial=result,
        sha256={**request.sha256, "initial": (sha256(result),)},
    )
