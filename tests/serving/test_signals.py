"""A signal ends a wait, whenever it comes and whichever thread takes it; Ctrl-C stops politely once, at once twice."""

import signal
import threading
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


def test_a_signal_that_another_thread_takes_ends_a_wait(asked: threading.Event) -> None:
    too_late = threading.Timer(FOR_EVER_S, asked.set)
    too_late.start()
    # When the main thread sleeps.
    threading.Timer(0.1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)).start()
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
