"""What a signal handler may do, and how to wait for it."""

from __future__ import annotations

import threading

_LOOK_S = 0.5


def set_event(event: threading.Event) -> None:
    """Sets an event from a signal handler, which may have interrupted the very wait whose lock `Event.set` takes."""
    threading.Thread(target=event.set).start()


def wait_for(event: threading.Event) -> None:
    """Returns when the event is set, by a signal handler too; call it from the main thread.

    A handler runs when the main thread next runs Python. A signal that comes just before that thread falls asleep, or
    that another thread takes, would wake nobody up.
    """
    while not event.wait(_LOOK_S):
        pass
