"""A signal ends a wait, whenever it comes and whichever thread takes it; Ctrl-C stops politely once, at once twice."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from serving.signals import set_event, stopped_by_ctrl_c, wait_for

FOR_EVER_S = 10.0


@pytest.fixture
def asked() -> Iterator[threading.Event]:
    event = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: set_event(event))
    yield event
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("thread", ["main", "another"])
def test_a_signal_in_the_middle_of_a_wait_ends_it(asked: threading.Event, thread: str) -> None:
    taker = threading.main_thread().ident if thread == "main" else None
    too_late = threading.Timer(FOR_EVER_S, asked.set)

    def take() -> None:
        time.sleep(0.1)  # until the main thread sleeps
        signal.pthread_kill(taker or threading.get_ident(), signal.SIGUSR1)

    too_late.start()
    threading.Thread(target=take).start()
    wait_for(asked)
    assert too_late.is_alive()
    too_late.cancel()
    too_late.join()


def test_a_signal_may_come_while_the_wait_holds_the_events_lock(asked: threading.Event) -> None:
    with asked._cond:  # type: ignore[attr-defined]
        signal.raise_signal(signal.SIGUSR1)
    assert asked.wait(FOR_EVER_S)


def test_ctrl_c_sets_an_event_and_interrupts_when_it_is_pressed_again() -> None:
    with stopped_by_ctrl_c() as cancelled:
        signal.raise_signal(signal.SIGINT)
        assert cancelled.wait(FOR_EVER_S)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
