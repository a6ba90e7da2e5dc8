"""The line of runs: so many at work at once, the others wait in the order in which they came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.errors import Cancelled

LOOK_S = 0.2  # how often who waits looks whether it has been told to stop


class Line:
    """All methods may be called from any thread."""

    def __init__(self, places: int) -> None:
        """Takes how many may be at work at once."""
        self._places = places
        self._tickets: list[object] = []  # those at work first
        self._moved = threading.Condition()

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for a place."""
        return len(self._tickets) > self._places

    @contextmanager
    def place(self, cancelled: threading.Event, tell: Callable[[int], None]) -> Iterator[None]:
        """Holds a place at work, once it is free.

        Args:
          cancelled: once set, it is waited for no longer.
          tell: is told how many must leave before; in the end 0.

        Raises:
          Cancelled: `cancelled` was set while it waited.
        """
        ticket = object()
        try:
            with self._moved:
                self._tickets.append(ticket)
                while (before := self._tickets.index(ticket) + 1 - self._places) > 0:
                    if cancelled.is_set():
                        raise Cancelled("Stopped while it waited for its turn.")
                    tell(before)
                    self._moved.wait(LOOK_S)
            tell(0)
            yield
        finally:
            with self._moved:
                self._tickets.remove(ticket)
                self._moved.notify_all()
