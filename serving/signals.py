"""Signals: setting an event from a handler, waiting for that event, and Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Iterator

EXIT_STOPPED = 130  # the exit status that shells give an interrupted program


def set_event(event: threading.Event) -> None:
    """Sets an event from a signal handler, in a thread: the handler may have interrupted a wait that holds its lock."""
    threading.Thread(target=event.set).start()


def wait_for(event: threading.Event) -> None:
    """Waits for an event that a signal handler may set; call it from the main thread.

    A handler runs only when the main thread next runs Python code. A signal that arrives just before that thread
    sleeps, or at another thread, would not wake it: so it wakes regularly.
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
