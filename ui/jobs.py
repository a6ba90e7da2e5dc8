"""Runs in the background, so that the page can redraw: a job for each run, and the queue in which runs wait.

A worker thread consumes `StyleTransferClient.run`; the page reads `Job.snapshot()`. The thread never calls Streamlit,
and shares nothing with the page but the job and its owner.
"""

import contextlib
import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from serving.client import Progress, StyleTransferClient
from serving.errors import Cancelled, ServingFailed, StyleTransferError
from serving.files import sha256
from serving.pictures import prepare
from serving.request import Request
from serving.responses import Description
from serving.results import Origin
from serving.run_file import SavedRun
from ui import knobs
from ui.estimate import PACE
from ui.film import LONGEST_PX, Film, frame

log = logging.getLogger(__name__)

REFINE_STEPS = 40  # extra steps at a result's own size
LARGER_STEPS = 32  # extra steps, shared by two sizes
GROWTH = 2  # factor of the long side when a result is enlarged
POLL_S = 0.2  # how often a waiting run checks whether it has been stopped
MOST_S = knobs.limit("NST_MAX_SECONDS")  # that a run may paint before it ends as by Stop
KEPT_STATES_BYTES = 1_000_000_000  # of all runs that ended early; one of 4096 x 3275 pixels has 885 MB


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
    """A job at one moment: all losses so far, the seconds of work without pauses, and its status."""

    status: Status = Status.NEW
    painted_s: float = 0.0  # since the start or Continue, without waits for the server
    model: Description | None = None  # with the settings as it reads them; None until the server has sent it
    waits_for: int = 0  # how many other runs must end before this one can start
    problem: StyleTransferError | None = None  # why it failed, or, while active, why the server does not answer now

    def origin(self, request: Request) -> Origin:
        """Returns the picture's origin, with the settings as the model read them."""
        return Origin.of(request, self.model, step=self.step, steps=self.steps)

    @property
    def active(self) -> bool:
        return self.status in (Status.RUNNING, Status.STOPPING)

    @property
    def starting(self) -> bool:
        """Whether the first preview is to be expected at any moment."""
        return self.status is Status.RUNNING and not (self.preview or self.waits_for or self.problem)

    @property
    def picture(self) -> bytes:
        """The result, or the preview if there is no result yet; empty if there is neither."""
        return self.image or self.preview

    @property
    def can_continue(self) -> bool:
        """Whether the run ended early, and its state has not been released."""
        return self.status in (Status.STOPPED, Status.FAILED) and bool(self.state or not self.step)


class Owner(Protocol):
    """For whom a job runs. Its methods are called from the job's thread."""

    def unattended(self) -> bool:
        """Tells whether nobody has the page open any more; the run then lets waiting runs go first."""

    def keep(self, job: "Job", ended: Snapshot) -> None:
        """Keeps the picture of a run that has ended, before the job shows that it has."""

    def advance(self) -> None:
        """Starts what comes next, once the job shows that it has ended."""


class RunQueue:
    """Lets a few runs work at once; the others wait in order of arrival. All methods may be called from any thread."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._tickets: list[threading.Event] = []  # in order of arrival; the first `_places` are at work
        self._moved = threading.Condition()

    @property
    def has_waiting(self) -> bool:
        return len(self._tickets) > self._places

    @contextmanager
    def turn(self, cancelled: threading.Event, report: Callable[[int], None]) -> Iterator[None]:
        """Waits for a place, and holds it; reports repeatedly how many runs must end first, and finally 0.

        Raises:
          Cancelled: `cancelled`, which is the run's ticket, was set during the wait.
        """
        try:
            with self._moved:
                self._tickets.append(cancelled)
                while not cancelled.is_set() and (before := self._tickets.index(cancelled) + 1 - self._places) > 0:
                    report(before)
                    self._moved.wait(POLL_S)
            if cancelled.is_set():
                raise Cancelled("Stopped while it waited for its turn.")
            report(0)
            yield
        finally:
            self.leave(cancelled)

    def leave(self, ticket: threading.Event) -> None:
        """Gives up a place, or the wait for one; does nothing after that."""
        with self._moved:
            if ticket in self._tickets:
                self._tickets.remove(ticket)
                self._moved.notify_all()


_ended_early: "list[weakref.ref[Job]]" = []  # oldest first; they keep their states as far as there is room
_ended_early_lock = threading.Lock()


class Job:
    """One run of the served model, in a thread of its own. All methods may be called from any thread."""

    _numbers = itertools.count(1)

    def __init__(
        self, client: StyleTransferClient, request: Request, queue: RunQueue, owner: Owner,
        saved: SavedRun | None = None,
    ) -> None:  # fmt: skip
        """Prepares a run; a saved one continues where it ended."""
        self.number = next(self._numbers)  # unique in this process
        self.request = request
        self._client = client
        self._queue = queue
        self._owner = owner
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self.film = Film()
        self._now = Snapshot(steps=request.settings.steps)
        if saved is not None:
            self._now = Snapshot(steps=saved.steps, step=saved.step, state=saved.state)

    @cached_property
    def photograph(self) -> bytes:
        """The photograph, small: it is shown until there is a preview."""
        return frame(prepare(self.request.content, "content", longest_px=LONGEST_PX))

    def snapshot(self) -> Snapshot:
        with self._lock:
            return self._now

    @property
    def active(self) -> bool:
        return self.snapshot().active

    @property
    def running(self) -> bool:
        """Whether it is active and has not been stopped."""
        return self.snapshot().status is Status.RUNNING

    @property
    def problem(self) -> StyleTransferError | None:
        return self.snapshot().problem

    def start(self) -> None:
        """Starts the run, or continues it from where it ended; does nothing while it runs or once it is done."""
        with self._lock:
            if self._now.active or self._now.status is Status.DONE:
                return
            self._cancelled = threading.Event()
            self._now = replace(self._now, status=Status.RUNNING, problem=None, seconds_left=None, painted_s=0.0)
            # A daemon: a call that hangs must not keep the process from ending.
            threading.Thread(target=self._work, args=(self._cancelled,), name="stylisation", daemon=True).start()

    def stop(self) -> None:
        """Ends the run after the current chunk, but frees its place at once: a server that hangs holds up no other."""
        with self._lock:
            if self._now.status is not Status.RUNNING:
                return
            self._cancelled.set()
            self._now = replace(self._now, status=Status.STOPPING)
        self._queue.leave(self._cancelled)

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
        ended = self._end(problem, stopped=cancelled.is_set())
        try:
            self._owner.keep(self, ended)
        finally:
            self._set(**vars(ended))
            self._owner.advance()

    def _end(self, problem: StyleTransferError | None, *, stopped: bool) -> Snapshot:
        """Returns the last snapshot of a run."""
        now = replace(self._now, seconds_left=None, waits_for=0)
        if now.complete:
            return replace(now, status=Status.DONE, problem=None, state=b"")
        self._make_room()
        if stopped:
            return replace(now, status=Status.STOPPED, problem=None)
        problem = problem or ServingFailed("The run ended before its last step.", "INTERNAL")
        return replace(now, status=Status.FAILED, problem=problem)

    def _make_room(self) -> None:
        """Releases the oldest states of runs that ended early, until there is room for this one's."""
        with _ended_early_lock:
            jobs = [job for ref in _ended_early if (job := ref()) and job is not self]
            while jobs and sum(len(job.snapshot().state) for job in (*jobs, self)) > KEPT_STATES_BYTES:
                jobs.pop(0)._release()
            _ended_early[:] = [weakref.ref(job) for job in (*jobs, self)]

    def _release(self) -> None:
        with self._lock:
            if not self._now.active:
                self._now = replace(self._now, state=b"")

    def _gives_way(self, cancelled: threading.Event) -> bool:
        """Waits for its turn and runs; returns whether it ended early to let a waiting run go first."""
        with self._queue.turn(cancelled, lambda waits_for: self._set(waits_for=waits_for)):
            before = self._now.seconds
            for progress in self._client.run(
                self.request, state=self._now.state, cancelled=cancelled,
                on_retry=lambda problem: self._set(problem=self._now.problem or problem),  # the first stands
            ):  # fmt: skip
                self._add(progress, before)
                if self._now.model is None:  # the chunk shows that the server answers; after a failure, ask again
                    with contextlib.suppress(StyleTransferError):
                        self._set(model=self._client.describe(self.request.settings))
                if self._now.painted_s >= MOST_S:
                    self.stop()
                elif not self._now.complete and self._owner.unattended() and self._queue.has_waiting:
                    return True
        return False

    def _set(self, **values: Any) -> None:
        with self._lock:
            self._now = replace(self._now, **values)

    def _add(self, progress: Progress, before: float) -> None:
        """Adds a chunk to the snapshot; `before` is how many seconds earlier turns took."""
        self.film.add(progress.preview)
        with self._lock:
            losses, seconds = np.concatenate([self._now.losses, progress.losses]), before + progress.seconds
            took_s = 0.0 if self._now.problem else seconds - self._now.seconds  # 0: it includes a wait for the server
            if self._now.step:  # a run's first chunk includes loading
                PACE.learn(self.request, self._now.step, progress.step, took_s)
            new = {"losses": losses, "seconds": seconds, "painted_s": self._now.painted_s + took_s, "problem": None}
            self._now = replace(self._now, **{**vars(progress), **new})


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
