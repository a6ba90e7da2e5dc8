"""Admission: one run at a time, a bounded queue behind it, and a refusal beyond that."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from serving.errors import Cancelled, DeadlineExceeded, Overloaded, ServingUnavailable

TIMED_OUT = "Timed out waiting for notification"  # TensorFlow's own words for a run past its deadline
STOPPING = "The server is stopping."
GONE = "The caller went away before the run."
MAX_MESSAGE_BYTES = 2**31 - 1  # what gRPC can carry; tensorflow_model_server sets no smaller limit
SPARE_THREADS = 8  # beyond those that wait for a run: they answer status calls, and refuse the runs too many


class Admission:
    """Decides which call runs: one at a time, since a second run would slow both and might exhaust the memory.

    A call waits in its own thread, in the order of arrival.
    """

    def __init__(self, max_waiting: int = 16) -> None:
        """Takes how many calls may wait for the one that runs."""
        self.capacity = max_waiting + 1
        self.threads = self.capacity + SPARE_THREADS  # what each protocol needs
        self._queue: deque[object] = deque()  # a ticket for each call: first the one that runs, then those that wait
        self._changed = threading.Condition()  # guards the queue
        self._stopping = False

    @property
    def admitted(self) -> int:
        """How many calls there are, running and waiting together."""
        return len(self._queue)

    def check(self) -> None:
        """Raises what `turn` would raise now, so that a request need not be read only to be refused.

        Raises:
          ServingUnavailable: the server is stopping.
          Overloaded: the queue is full.
        """
        if self._stopping:
            raise ServingUnavailable(STOPPING)
        if len(self._queue) >= self.capacity:
            raise Overloaded(
                f"The server runs 1 call and holds {self.capacity - 1} more in its queue, which is full. "
                "Try again later."
            )

    @contextmanager
    def turn(
        self, deadline: float | None = None, on_end_of_call: Callable[[Callable[[], None]], bool] = lambda _: True
    ) -> Iterator[None]:
        """Waits for the caller's turn, which lasts as long as the `with` block.

        Args:
          deadline: when to give up waiting, on the clock of `time.monotonic`. None: never.
          on_end_of_call: registers a function that is called when the caller goes away; returns False if it is gone.

        Raises:
          ServingUnavailable, Overloaded: as `check`, or the server stopped while the call waited.
          DeadlineExceeded: the turn did not come in time.
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
        """Refuses new calls, drops those that wait, and waits for the one that runs.

        Returns:
          Whether it ended in time.
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
