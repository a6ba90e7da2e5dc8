"""Ctrl-C asks politely once; the second time it ends the program."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from serving.signals import set_event

EXIT_STOPPED = 130  # the exit status of a program that was interrupted, as a shell gives it


@contextlib.contextmanager
def stopped_by_ctrl_c() -> Iterator[threading.Event]:
    """Gives an event that Ctrl-C sets; a second Ctrl-C raises KeyboardInterrupt."""
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
