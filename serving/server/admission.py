"""Admission: one run at a time, a bounded queue behind it, and a refusal beyond that."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

from serving.errors import Cancelled, DeadlineExceeded, Overloaded, ServingUnavailable

TIMED_OUT = "Timed out waiting for notification"  # TensorFlow's own words for a run past its deadline
STOPPING = "The server is stopping."
MAX_MESSAGE_BYTES = 2**31 - 1  # what gRPC can carry; tensorflow_model_server sets no smaller limit


class Admission:
    """Who may run. One optimisation fills the machine: a second beside it would slow both and may exhaust the memory.

    A call waits in its own thread, in the order of arrival.
    """

    def __init__(self, max_waiting: int = 16) -> None:
        """Takes how many calls may wait for the one that runs."""
        self.capacity = max_waiting + 1
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._tickets: deque[Future[None]] = deque()  # of the call that runs, then of those that wait
        self._stopping = False

    @property
    def admitted(self) -> int:
        """How many calls there are, running and waiting together."""
        return len(self._tickets)

    def check(self) -> None:
        """Raises what `turn` would raise now, so that a request need not be read only to be refused.

        Raises:
          ServingUnavailable: the server is stopping.
          Overloaded: the queue is full.
        """
        if self._stopping:
            raise ServingUnavailable(STOPPING)
        if len(self._tickets) >= self.capacity:
            raise Overloaded(
                f"The server runs 1 call and holds {self.capacity - 1} more in its queue, which is full. "
                "Try again later."
            )

    @contextmanager
    def turn(
        self, deadline: float | None = None, on_end_of_call: Callable[[Callable[[], Any]], bool] = lambda _: True
    ) -> Iterator[None]:
        """Waits for the caller's turn, which lasts as long as the `with` block.

        Args:
          deadline: when to give up waiting, on the clock of `time.monotonic`. None: never.
          on_end_of_call: registers what to do when the caller goes away; False: it has gone already.

        Raises:
          ServingUnavailable, Overloaded: as `check`, or the server stopped while the call waited.
          DeadlineExceeded: the turn did not come in time.
          Cancelled: the caller went away.
        """
        ticket: Future[None] = Future()
        with self._lock:
            self.check()
            self._tickets.append(ticket)
            self._call_next()
        try:
            if not on_end_of_call(ticket.cancel):
                raise Cancelled("The caller went away before the run.")
            self._wait(ticket, deadline)
            yield
        finally:
            with self._lock:
                self._tickets.remove(ticket)
                self._call_next()
                self._left.notify_all()

    def stop(self) -> None:
        """Refuses new calls, drops those that wait, and returns when the one that runs has ended."""
        with self._lock:
            self._stopping = True
            for ticket in self._tickets:
                ticket.cancel()  # has no effect on the one that runs
            self._left.wait_for(lambda: not self._tickets)

    def _wait(self, ticket: Future[None], deadline: float | None) -> None:
        try:
            ticket.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise DeadlineExceeded(TIMED_OUT) from None
        except CancelledError:
            if self._stopping:
                raise ServingUnavailable(STOPPING) from None
            raise Cancelled("The caller went away before the run.") from None

    def _call_next(self) -> None:
        """Gives the turn to the first call; one that was cancelled is about to leave, and calls the next itself."""
        if self._tickets and not self._tickets[0].done() and self._tickets[0].set_running_or_notify_cancel():
            self._tickets[0].set_result(None)
