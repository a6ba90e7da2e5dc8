"""`make run`: its ports, its signals, and its end where there is nothing to serve; see test_browser.py for the rest."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

import ui.launch
from tests.ui.launched import START_S, Launched
from ui.launch import GRPC, PAGE, REST, LaunchError, Port


@pytest.mark.parametrize("port", [GRPC, REST, PAGE])
def test_a_taken_port_is_named_with_the_variable_that_changes_it(monkeypatch: pytest.MonkeyPatch, port: Port) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        monkeypatch.setenv(port.variable, str(number))
        with pytest.raises(LaunchError, match=rf"^Port {number} for .* is taken. Set {port.variable} to another one"):
            port.number()


@pytest.mark.parametrize("text", ["", "http", "0", "70000", "-1"])
def test_what_is_no_port_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(PAGE.variable, text)
    with pytest.raises(LaunchError, match=rf"^NST_UI_PORT must be a port from 1 to 65535. Received: {text}$"):
        PAGE.number()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_end_of_its_terminal_stops_it_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def run(_: Path, stop: threading.Event) -> None:
        os.kill(os.getpid(), number)
        stopped.append(stop.wait(10))

    stopped: list[bool] = []
    monkeypatch.setattr(ui.launch, "run", run)
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(number, signal.SIG_DFL)  # whatever the tests themselves were started with
        assert ui.launch.main() == 0
        assert stopped == [True]
        if number is signal.SIGHUP:  # but not where nohup wants it to live on
            signal.signal(number, signal.SIG_IGN)
            monkeypatch.setattr(ui.launch, "run", lambda _, stop: stopped.append(stop.wait(0.2)))
            assert ui.launch.main() == 0
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_model_that_cannot_be_served_ends_both(tmp_path: Path) -> None:
    (tmp_path / "models" / "1").mkdir(parents=True)
    with Launched(tmp_path / "models", tmp_path / "log") as launched:
        assert launched.process.wait(START_S) == 1
        assert "error: The server ended with exit status" in launched.log.read_text()
        assert "Traceback" not in launched.log.read_text()
        assert launched.nobody_listens()
