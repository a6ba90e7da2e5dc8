"""A signal ends a wait, whenever it comes and whichever thread takes it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from serving.signals import set_event, wait_for

FOR_EVER_S = 10.0


@pytest.fixture
def asked() -> Iterator[threading.Event]:
    event = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: set_event(event))
    yield event
    signal.signal(signal.SIGUSR1, before)


def test_signal_that_another_thread_takes_ends_the_wait(asked: threading.Event) -> None:
    too_late = threading.Timer(FOR_EVER_S, asked.set)

    def take() -> None:
        time.sleep(0.1)  # until the main thread sleeps
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    too_late.start()
    threading.Thread(target=take).start()
    wait_for(asked)
    assert too_late.is_alive()
    too_late.cancel()
    too_late.join()


def test_signal_in_the_middle_of_the_wait_ends_it(asked: threading.Event) -> None:
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGUSR1)).start()
    wait_for(asked)
