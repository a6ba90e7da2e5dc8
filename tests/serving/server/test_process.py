"""The command line and the process: wrong flags, exit codes, signals, ports, memory."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import requests

from serving.contract import MODEL_NAME
from serving.errors import ServingUnavailable
from serving.server import app, flags
from serving.server.__main__ import main
from tests import processes
from tests.ports import free_port
from tests.served import start, wait_until_available
from tests.serving.server.conftest import wait_until


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_values_are_taken_in_each_form() -> None:
    options = flags.parse(["--model_base_path", "/m", "--rest_api_port=8501", "--enable_model_warmup=false"])
    assert (options.rest_api_port, options.enable_model_warmup) == (8501, False)
    assert flags.parse(["--model_base_path=/m", "--enable_model_warmup"]).enable_model_warmup


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], "--model_base_path"),
        (["--model_config_file=/m"], "--model_config_file"),
        (["--model_nam=x"], "--model_nam"),
        (["--port=x"], "--port: expected a number from 0 to 65535, received 'x'"),
        (["--port=70000"], "received '70000'"),
        (["--max_num_load_retries=-1"], "--max_num_load_retries"),
        (["--port=1", "--rest_api_port=1"], "they must differ. Received: 1 for both."),
        (["--port=0"], "at least one port must be open"),
        (["--model_name="], "`--model_name` must not be empty."),
        (["--enable_model_warmup=perhaps"], "--enable_model_warmup: expected true or false, received 'perhaps'"),
    ],
)
def test_wrong_flag_is_named(argv: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        flags.parse(["--model_base_path=/m", *argv] if argv else [])
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


def test_missing_directory_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--model_base_path={tmp_path / 'missing'}"]) == 1
    assert capsys.readouterr().err == (
        "serving.server: error: `--model_base_path` must hold a version directory named by an integer, such as "
        f"{tmp_path / 'missing' / '1'}. Received: {tmp_path / 'missing'}\n"
    )


def test_port_is_held_alone_from_the_moment_it_is_opened() -> None:
    number = free_port()
    with app.open_socket("127.0.0.1", number, "rest_api_port") as opened:
        assert opened.proto == socket.IPPROTO_TCP  # asyncio's condition for TCP_NODELAY
        with pytest.raises(ServingUnavailable, match=f"Port {number} .* --rest_api_port"):
            app.open_socket("127.0.0.1", number, "rest_api_port")
    server = app.open_grpc_server("127.0.0.1", number, 1)
    server.start()
    with pytest.raises(
        ServingUnavailable, match=f"Port {number} on 127.0.0.1 cannot be opened .*another port with --port"
    ):
        app.open_grpc_server("127.0.0.1", number, 1)
    sharing = grpc.server(ThreadPoolExecutor(1))  # gRPC's default: share the port if the other one agrees
    with pytest.raises(RuntimeError):
        sharing.add_insecure_port(f"127.0.0.1:{number}")
    server.stop(0).wait()


@pytest.mark.parametrize("retries", [0, 1])
def test_broken_model_is_given_up_after_its_last_attempt_or_by_ctrl_c(
    retries: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1").mkdir()

    def press_ctrl_c() -> None:
        wait_until(lambda: "Version 1 could not be loaded (tried again in 60 s)" in caplog.text)
        os.kill(os.getpid(), signal.SIGINT)

    if retries:
        threading.Thread(target=press_ctrl_c).start()
    code = main([f"--model_base_path={tmp_path}", f"--port={free_port()}", f"--max_num_load_retries={retries}"])
    failed = f"serving.server: error: Could not load the SavedModel in {tmp_path / '1'}" in capsys.readouterr().err
    assert (code, failed) == ((0, False) if retries else (1, True))


def test_sigterm_in_mid_run_ends_cleanly(model_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rest_port = free_port()
    url = f"http://127.0.0.1:{rest_port}/v1/models/{MODEL_NAME}:predict"

    def predict(**body: object) -> tuple[int, object]:
        response = requests.post(url, json=body, timeout=30)
        return response.status_code, response.json()

    process = start(model_dir / "zoo", free_port(), rest_port, "--max_queued_runs=0")
    with process, ThreadPoolExecutor() as pool:
        try:
            wait_until_available(process, rest_port)
            running = pool.submit(predict, signature_name="slow", inputs=1.5)
            wait_until(lambda: predict()[0] == 429)  # the run has begun, and none may wait
            process.terminate()
            wait_until(lambda: predict() == (503, {"error": "The server is stopping."}))
            assert running.result(30) == (200, {"outputs": True})
            assert process.wait(20) == 0
        finally:
            process.kill()
    log = capfd.readouterr().err
    assert "Traceback" not in log
    assert "REST POST /v1/models/style_transfer:predict 200" in log


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_freed_memory_goes_back_to_the_system() -> None:
    # Too small to be mapped each on its own, 100 MB together; the last one keeps the others' place from the system.
    chunks = [b"x" * (64 << 10) for _ in range(1600)]
    del chunks[:-1]
    before = processes.memory_mb(os.getpid())
    app.trim_heap()
    assert before - processes.memory_mb(os.getpid()) > 50


def test_other_systems_trim_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)  # which raises there for the program itself
    app.trim_heap()
