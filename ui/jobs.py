"""One stylisation that runs in the background while the page is free to redraw.

A worker thread consumes `StyleTransferClient.run`; the page reads `Job.snapshot()`. The thread calls nothing of
Streamlit, and the page shares nothing with it but the job.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from model.limits import MAX_SIZE_PX
from model.settings import LOSS_TERMS
from serving.client import Progress, StyleTransferClient
from serving.errors import Cancelled, ServingFailed, StyleTransferError
from serving.files import sha256
from serving.request import Request
from serving.results import Origin
from ui.line import Line

log = logging.getLogger(__name__)

REFINE_STEPS = 40  # that follow on a result
LARGER_STEPS = 32  # over two sizes
GROWTH = 2  # of the long side


class Status(Enum):
    """Where a job stands. It may go on from `STOPPED` and `FAILED` where it left off."""

    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"  # the chunk under way is still awaited
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"


def _no_losses() -> npt.NDArray[np.float32]:
    return np.empty((0, len(LOSS_TERMS)), np.float32)


_AS_IN_PROGRESS = ("step", "steps", "fraction_done", "image", "steps_per_s", "seconds_left", "stopped", "complete")


@dataclass(frozen=True)
class Snapshot:
    """What is known of a job at one moment.

    Attributes:
      status: where it stands.
      step, steps, fraction_done, seconds, steps_per_s, seconds_left: as in `serving.client.Progress`.
      losses: float32 [step, 4], all rows so far.
      preview: the picture as it stands, JPEG, at most 512 pixels long; empty before the first chunk.
      image: the result as PNG; empty until the server has sent it.
      stopped: why a job that is done ended before its last step: `converged`, `not_finite`, or "".
      complete: the run has come to its end.
      model: the model's description, with the settings as it reads them; empty until the server has told.
      waits_for: how many other runs must end before this one has its turn.
      problem: why the job failed; as long as it is active, why the server does not answer just now.
    """

    status: Status = Status.NEW
    step: int = 0
    steps: int = 0
    fraction_done: float = 0.0
    losses: npt.NDArray[np.float32] = field(default_factory=_no_losses)
    preview: bytes = b""
    image: bytes = b""
    seconds: float = 0.0
    steps_per_s: float = 0.0
    seconds_left: float | None = None
    stopped: str = ""
    complete: bool = False
    model: Mapping[str, Any] = field(default_factory=dict)
    waits_for: int = 0
    problem: StyleTransferError | None = None

    def origin(self, request: Request) -> Origin:
        """Returns what the picture says of how it was made: the settings are those that the model reads."""
        return Origin.of(request, self.model, step=self.step, steps=self.steps)

    @property
    def active(self) -> bool:
        return self.status in (Status.RUNNING, Status.STOPPING)

    @property
    def picture(self) -> bytes:
        """The best picture there is: the result, else the preview, else nothing."""
        return self.image or self.preview


class Job:
    """One run of the served model, in a thread of its own. All methods may be called from any thread.

    Attributes:
      request: what is asked for.
      number: its own in this process.
    """

    _numbers = itertools.count(1)

    def __init__(
        self,
        client: StyleTransferClient,
        request: Request,
        line: Line | None = None,
        unattended: Callable[[], bool] | None = None,
    ) -> None:
        """Takes what is asked for and of whom.

        Args:
          client: of the server.
          request: what is asked for.
          line: the line to wait in. None: it does not wait.
          unattended: whether nobody looks on any more: then it gives way to others who wait. None: it never does.
        """
        self.number = next(self._numbers)
        self.request = request
        self._client = client
        self._line = line or Line(1)
        self._unattended = unattended or (lambda: False)
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._worker: threading.Thread | None = None
        self._state = b""
        self._now = Snapshot(steps=request.settings.steps)

    def snapshot(self) -> Snapshot:
        with self._lock:
            return self._now

    def start(self) -> None:
        """Starts the run, or lets it go on from where it stands; does nothing while it runs or once it is done."""
        with self._lock:
            if self._now.active or self._now.status is Status.DONE:
                return
            self._cancelled = threading.Event()
            self._now = replace(self._now, status=Status.RUNNING, problem=None, seconds_left=None)
            # A daemon: a call that hangs must not keep the process from ending.
            self._worker = threading.Thread(target=self._work, args=(self._cancelled,), name="stylisation", daemon=True)
            self._worker.start()

    def stop(self) -> None:
        """Asks the run to end after the chunk under way; the picture stays."""
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
                pass  # to the end of the line, and on from there
        except Cancelled:
            cancelled.set()
        except StyleTransferError as error:
            problem = error
        except Exception as error:  # the boundary of the thread: nothing above it could tell a person
            log.exception("The stylisation failed in an unforeseen way.")
            problem = ServingFailed(f"{type(error).__name__}: {error}", "INTERNAL")
        with self._lock:
            if self._now.complete:
                status, problem = Status.DONE, None
            elif problem is not None and not cancelled.is_set():
                status = Status.FAILED
            elif cancelled.is_set():
                status, problem = Status.STOPPED, None
            else:
                status, problem = Status.FAILED, ServingFailed("The run ended before its last step.", "INTERNAL")
            self._now = replace(self._now, status=status, problem=problem, seconds_left=None, waits_for=0)

    def _gives_way(self, cancelled: threading.Event) -> bool:
        """Runs when its turn comes; tells whether it left its place before its end, to somebody who waits for it."""
        with self._line.place(cancelled, self._wait_for):
            before = self._now.seconds
            run = self._client.run(self.request, state=self._state, cancelled=cancelled, on_retry=self._note)
            for progress in run:
                self._take(progress, before)
                self._ask_for_the_model()
                if not self._now.complete and self._unattended() and self._line.is_waited_for:
                    return True
        return False

    def _note(self, problem: StyleTransferError) -> None:
        """Notes why the server does not answer: the first reason, until it does."""
        with self._lock:
            self._now = replace(self._now, problem=self._now.problem or problem)

    def _wait_for(self, waits_for: int) -> None:
        with self._lock:
            self._now = replace(self._now, waits_for=waits_for)

    def _take(self, progress: Progress, before: float) -> None:
        with self._lock:
            self._state = progress.state or self._state
            self._now = replace(
                self._now,
                **{name: getattr(progress, name) for name in _AS_IN_PROGRESS},
                losses=np.concatenate([self._now.losses, progress.losses]),
                preview=progress.preview or self._now.preview,
                seconds=before + progress.seconds,
                problem=None,
            )

    def _ask_for_the_model(self) -> None:
        """Asks once for what makes the picture, when the server is known to answer; after a failure, once more."""
        if not self._now.model:
            with contextlib.suppress(StyleTransferError):
                model = self._client.describe(self.request.settings)
                with self._lock:
                    self._now = replace(self._now, model=model)


def refined(request: Request, result: bytes) -> Request:
    """Returns a request for more steps from a result, at its size alone."""
    return _onward(request, result, size=request.settings.size, steps=REFINE_STEPS)


def enlarged(request: Request, result: bytes) -> Request | None:
    """Returns a request that goes on from a result at a higher resolution, or None where it is as large as can be."""
    size = min(GROWTH * request.settings.size, MAX_SIZE_PX)
    return _onward(request, result, size=size, steps=LARGER_STEPS) if size > request.settings.size else None


def _onward(request: Request, result: bytes, *, size: int, steps: int) -> Request:
    # A result holds all that was found up to its own size: the sizes that are left are those above it.
    smallest = min(request.settings.size + 1, size)
    return replace(
        request,
        settings=request.settings.replace(size=size, steps=steps, smallest_size=smallest),
        initial=result,
        sha256={**request.sha256, "initial": (sha256(result),)},
    )
