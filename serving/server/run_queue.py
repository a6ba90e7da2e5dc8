"""Admission: a few runs at once, a bounded queue behind them, and a refusal beyond it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from serving.errors import Cancelled, DeadlineExceeded, Overloaded, ServingUnavailable

T = TypeVar("T")

TIMED_OUT = "Timed out waiting for notification"  # TensorFlow's own words for a run past its deadline
STOPPING = "The server is stopping."


class RunQueue:
    """A pool of worker threads that refuses work it could only let pile up.

    One optimisation fills the machine: a second one beside it makes both slow and may exhaust the GPU's memory, which
    is why runs queue here instead of sharing the device.
    """

    def __init__(self, concurrent: int = 1, waiting: int = 16) -> None:
        """Starts no thread until there is work.

        Args:
          concurrent: runs at once, 1 or more.
          waiting: runs that may wait behind them, 0 or more.
        """
        self._concurrent = concurrent
        self._capacity = concurrent + waiting
        self._pool = ThreadPoolExecutor(concurrent, thread_name_prefix="run")
        self._lock = threading.Lock()
        self._admitted = 0
        self._running = 0
        self._stopping = False

    @property
    def capacity(self) -> int:
        """How many runs there can be, running and waiting together."""
        return self._capacity

    @property
    def admitted(self) -> int:
        """How many runs there are now, running and waiting together."""
        with self._lock:
            return self._admitted

    @property
    def counts(self) -> tuple[int, int]:
        """How many runs are going on and how many wait."""
        with self._lock:
            return self._running, self._admitted - self._running

    def check(self) -> None:
        """Raises what `run` would raise now, so that a request need not be decoded only to be refused.

        Raises:
          ServingUnavailable: the queue is stopping.
          Overloaded: the queue is full.
        """
        with self._lock:
            self._check_locked()

    def run(
        self,
        work: Callable[[], T],
        deadline: float | None = None,
        on_admitted: Callable[[Callable[[], Any]], Any] | None = None,
    ) -> T:
        """Runs `work` on a worker thread, in the order of arrival, and returns what it returns.

        The deadline covers the waiting only: `work` must keep to it by itself once it runs.

        Args:
          work: the run.
          deadline: when to give up waiting, on the clock of `time.monotonic`. None: never.
          on_admitted: receives a function that takes the run out of the queue again, if it has not begun.

        Raises:
          ServingUnavailable, Overloaded: not admitted, or taken out of the queue by `stop`.
          DeadlineExceeded: the run did not begin in time.
          Cancelled: the run was taken out of the queue.
        """
        with self._lock:
            self._check_locked()
            self._admitted += 1
            future = self._pool.submit(self._counted, work)
        future.add_done_callback(self._leave)
        if on_admitted is not None:
            on_admitted(future.cancel)
        try:
            try:
                return future.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                if future.cancel():
                    raise DeadlineExceeded(TIMED_OUT) from None
                return future.result()  # it has begun: its own deadline ends it
        except CancelledError:
            if self._stopping:
                raise ServingUnavailable(STOPPING) from None
            raise Cancelled("The call was cancelled before it ran.") from None

    def stop(self) -> None:
        """Refuses new work, drops what waits, and returns when what runs has ended."""
        with self._lock:
            self._stopping = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _counted(self, work: Callable[[], T]) -> T:
        with self._lock:
            self._running += 1
        try:
            return work()
        finally:
            with self._lock:
                self._running -= 1

    def _check_locked(self) -> None:
        if self._stopping:
            raise ServingUnavailable(STOPPING)
        if self._admitted >= self._capacity:
            raise Overloaded(
                f"The server runs {self._concurrent} and holds {self._capacity - self._concurrent} more in its queue, "
                "which is full. Try again later."
            )

    def _leave(self, _: Future[Any]) -> None:
        with self._lock:
            self._admitted -= 1
