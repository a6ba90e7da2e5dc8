"""Admission: one run at a time, and a bounded queue; further calls are refused."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from serving.errors import Cancelled, DeadlineExceeded, Overloaded, ServingUnavailable

TIMED_OUT = "Timed out waiting for notification"  # TensorFlow's own text for a run past its deadline
STOPPING = "The server is stopping."
GONE = "The caller went away before the run."
MAX_MESSAGE_BYTES = 2**31 - 1  # gRPC's largest message; tensorflow_model_server sets no smaller limit
SPARE_THREADS = 8  # beside the threads of admitted calls: they answer status calls and refuse further runs


class Admission:
    """Lets one call run at a time: a second one would slow both and might exhaust the memory.

    Calls wait in their own threads, in order of arrival.
    """

    def __init__(self, max_waiting: int = 16) -> None:
        """Takes the number of calls that may wait while one runs."""
        self.capacity = max_waiting + 1
        self.threads = self.capacity + SPARE_THREADS  # for each protocol
        self._queue: deque[object] = deque()  # a ticket for each call: the running one, then the waiting ones
        self._changed = threading.Condition()  # guards the queue
        self._stopping = False

    @property
    def admitted(self) -> int:
        """The number of running and waiting calls."""
        return len(self._queue)

    def check(self) -> None:
        """Raises what `turn` would raise now: a call that would be refused need not be read.

        Raises:
          ServingUnavailable: the server is stopping.
          Overloaded: the queue is full.
        """
        if self._stopping:
            raise ServingUnavailable(STOPPING)
        if len(self._queue) >= self.capacity:
            raise Overloaded(
                f"The server is running 1 call and its queue of {self.capacity - 1} is full. Try again later."
            )

    @contextmanager
    def turn(
        self, deadline: float | None = None, on_end_of_call: Callable[[Callable[[], None]], bool] = lambda _: True
    ) -> Iterator[None]:
        """Waits until the call may run; its turn lasts as long as the `with` block.

        Args:
          deadline: when to stop waiting, on the clock of `time.monotonic`. None: never.
          on_end_of_call: registers a function to call when the caller goes away; returns False if it already has.

        Raises:
          ServingUnavailable, Overloaded: as `check`, or the server stopped while the call waited.
          DeadlineExceeded: the deadline passed before the turn came.
          Cancelled: the caller went away.
        """
        ticket = object()
        with self._changed:
            self.check()
            self._queue.append(ticket)
        try:
            if not on_end_of_call(partial(self._leave, ticket, only_if_waiting=True)):
                raise Cancelled(GONE)
            with self._changed:
                timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not self._changed.wait_for(lambda: ticket not in self._queue or self._queue[0] is ticket, timeout):
                    raise DeadlineExceeded(TIMED_OUT)
                if ticket not in self._queue:
                    raise ServingUnavailable(STOPPING) if self._stopping else Cancelled(GONE)
            yield
        finally:
            self._leave(ticket)

    def stop(self, timeout_s: float) -> bool:
        """Refuses new and waiting calls, and waits for the running one.

        Returns:
          Whether the running call ended in time.
        """
        with self._changed:
            self._stopping = True
            while len(self._queue) > 1:
                self._queue.pop()
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._queue, timeout_s)

    def _leave(self, ticket: object, only_if_waiting: bool = False) -> None:
        with self._changed:
            if ticket in self._queue and not (only_if_waiting and self._queue[0] is ticket):
                self._queue.remove(ticket)
                self._changed.notify_all()
