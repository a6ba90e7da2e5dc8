"""Signals: what a handler may do, how to wait for one, and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

EXIT_STOPPED = 130  # the exit status that shells give an interrupted program


def set_event(event: threading.Event) -> None:
    """Sets an event from a signal handler, which may have interrupted the very wait whose lock `Event.set` takes."""
    threading.Thread(target=event.set).start()


def wait_for(event: threading.Event) -> None:
    """Returns when the event is set, by a signal handler too; call it from the main thread.

    A handler runs when the main thread next runs Python. A signal that comes just before that thread falls asleep, or
    that another thread takes, would wake nobody up.
    """
    while not event.wait(0.5):  # seconds
        pass


@contextlib.contextmanager
def stopped_by_ctrl_c() -> Iterator[threading.Event]:
    """Yields an event that Ctrl-C sets; a second Ctrl-C raises KeyboardInterrupt."""
    cancelled = threading.Event()

    def stop(*_: object) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt
        set_event(cancelled)

    earlier = signal.signal(signal.SIGINT, stop)
    try:
        yield cancelled
    finally:
        signal.signal(signal.SIGINT, earlier)
