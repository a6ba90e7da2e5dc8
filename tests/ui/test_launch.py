"""`make run`: both processes up, both down, and what is said when a port is taken."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

import ui.launch
from tests.ports import free_port
from ui.launch import GRPC, PAGE, REST, LaunchError, Port

ROOT = Path(__file__).parents[2]
START_S = 120.0


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


def launch(model_dir: Path, log: Path) -> tuple[subprocess.Popen[bytes], dict[str, int]]:
    ports = {port.variable: free_port() for port in (GRPC, REST, PAGE)}
    environment = {
        **os.environ,
        **{name: str(number) for name, number in ports.items()},
        "NST_MODEL_DIR": str(model_dir),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ui.launch"], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    return process, ports


def wait_for(text: str, log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_S
    while text not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    return log.read_text()


def nobody_listens(number: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) != 0


def test_server_and_page_answer_and_ctrl_c_stops_both(small_model: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process, ports = launch(small_model, log)
    try:
        text = wait_for("The page is at", log, process)
        assert re.search(rf"The page is at http://localhost:{ports['NST_UI_PORT']}\b", text), text
        assert requests.get(f"http://127.0.0.1:{ports['NST_UI_PORT']}/_stcore/health", timeout=10).text == "ok"
        status = requests.get(f"http://127.0.0.1:{ports['NST_REST_PORT']}/v1/models/style_transfer", timeout=10).json()
        assert status["model_version_status"][0]["state"] == "AVAILABLE"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert all(nobody_listens(number) for number in ports.values())
        assert "Traceback" not in log.read_text()
    finally:
        process.terminate()  # which also stops what it started
        process.wait(30)


def test_a_model_that_cannot_be_served_ends_both(tmp_path: Path) -> None:
    log, base = tmp_path / "log", tmp_path / "models"
    (base / "1").mkdir(parents=True)
    process, ports = launch(base, log)
    try:
        assert process.wait(START_S) == 1
        assert "error: The server ended with exit status" in log.read_text()
        assert "Traceback" not in log.read_text()
        assert all(nobody_listens(number) for number in ports.values())
    finally:
        process.terminate()
        process.wait(30)
