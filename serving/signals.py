"""What a signal handler may do."""

from __future__ import annotations

import threading


def set_event(event: threading.Event) -> None:
    """Sets an event from a signal handler, which may have interrupted the very wait whose lock `Event.set` takes."""
    threading.Thread(target=event.set).start()
