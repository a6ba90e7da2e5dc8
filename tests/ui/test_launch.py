"""`make run`: its ports, its signals, and its end if there is nothing to serve; test_browser.py tests the rest."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

import ui.launch
from serving.child_server import GRPC, REST, LaunchError
from serving.contract import SERVER_VARIABLE
from serving.errors import ServingUnavailable
from tests.ports import free_port
from tests.ui.launched import START_S, Launched
from ui import server
from ui.launch import PAGE


def test_a_taken_port_is_named_with_the_variable_that_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        monkeypatch.setenv(PAGE.variable, str(number))
        with pytest.raises(LaunchError, match=rf"^Port {number} for the page is taken. Set NST_UI_PORT to another one"):
            PAGE.number()


@pytest.mark.parametrize("text", ["", "http", "0", "70000", "-1"])
def test_an_invalid_port_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(PAGE.variable, text)
    with pytest.raises(LaunchError, match=rf"^NST_UI_PORT must be a port from 1 to 65535. Received: {text}$"):
        PAGE.number()


def test_a_host_may_set_the_port_of_the_page_and_whoever_starts_it_another(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_port(), free_port()
    monkeypatch.setenv("PORT", str(first))
    assert PAGE.number() == first
    monkeypatch.setenv(PAGE.variable, str(second))
    assert PAGE.number() == second
    monkeypatch.delenv(PAGE.variable)
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(LaunchError, match=r"^NST_UI_PORT must be a port from 1 to 65535. Received: http$"):
        PAGE.number()


@pytest.mark.parametrize(
    ("number", "before"),
    [(signal.SIGTERM, signal.SIG_DFL), (signal.SIGHUP, signal.SIG_DFL), (signal.SIGHUP, signal.SIG_IGN)],
    ids=["terminated", "its terminal is closed", "its terminal is closed under nohup"],
)
def test_a_signal_stops_it_unless_it_was_ignored_before(monkeypatch, number, before) -> None:
    stopped: list[bool] = []
    monkeypatch.setattr(ui.launch, "run", lambda stop: (os.kill(os.getpid(), number), stopped.append(stop.wait(1))))
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(number, before)
        assert ui.launch.main() == 0
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    assert stopped == [before is signal.SIG_DFL]


def test_it_runs_where_there_is_no_hangup_as_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP")
    monkeypatch.setattr(ui.launch, "run", lambda stop: None)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert ui.launch.main() == 0
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


def test_a_model_that_cannot_be_served_ends_both(tmp_path: Path) -> None:
    (tmp_path / "models" / "1").mkdir(parents=True)
    with Launched(tmp_path / "models", tmp_path / "log") as launched:
        assert launched.process.wait(START_S) == 1
        assert "error: The server ended with exit status" in launched.log.read_text()
        assert "Traceback" not in launched.log.read_text()
        assert launched.nobody_listens()


def test_a_page_without_a_server_starts_one_although_it_has_the_port_of_rest_itself(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = socket.create_server(("127.0.0.1", 0))
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    monkeypatch.setenv("NST_MODEL_DIR", str(small_model))
    monkeypatch.setenv(REST.variable, str(page.getsockname()[1]))
    monkeypatch.setenv(GRPC.variable, str(free_port()))
    server.own_server.cache_clear()
    try:
        until = time.monotonic() + START_S
        while (answer := server.ask()).problem and time.monotonic() < until:
            assert answer.problem == server.explain(ServingUnavailable(""))  # it may still be starting
            time.sleep(0.2)
        assert answer.facts["Weights"].startswith("small")
    finally:
        server.own_server().stop()
        server.own_server.cache_clear()
        page.close()
