"""The whole process: exit codes, sentences, signals. Few, since TensorFlow takes seconds to start."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import requests

from serving.errors import ServingUnavailable
from serving.server import app
from serving.server.__main__ import main
from tests import processes
from tests.ports import free_port
from tests.serving.server.conftest import wait_until

ROOT = Path(__file__).parents[3]
START_S = 60  # TensorFlow's import on a busy machine


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "serving.server", *flags]


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*flags), cwd=ROOT, capture_output=True, text=True, timeout=START_S, check=False)


def test_missing_directory_is_one_sentence(tmp_path: Path) -> None:
    ended = run(f"--model_base_path={tmp_path / 'missing'}")
    assert ended.returncode == 1
    assert ended.stderr == (
        "serving.server: error: `--model_base_path` must be a directory. "
        f"Received: {tmp_path / 'missing'}, which is none.\n"
    )


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_taken_port_is_named_with_its_flag(model_dir: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        other = "rest_api_port" if flag == "port" else "port"
        ended = run(f"--model_base_path={model_dir / 'zoo'}", f"--{flag}={number}", f"--{other}={free_port()}")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"serving.server: error: Port {number} on 127.0.0.1 cannot be opened")
    assert ended.stderr.endswith(f"choose another port with --{flag}.\n")
    assert ended.stderr.count("\n") == 1


def test_port_is_held_alone_from_the_moment_it_is_opened() -> None:
    with app.open_socket("127.0.0.1", 0, "rest_api_port") as opened:
        number = opened.getsockname()[1]
        with pytest.raises(ServingUnavailable, match=f"Port {number} .* --rest_api_port"):
            app.open_socket("127.0.0.1", number, "rest_api_port")
    server, number = app.open_grpc_server("127.0.0.1", 0, 1)
    server.start()
    with pytest.raises(ServingUnavailable, match=f"Port {number} on 127.0.0.1 cannot be opened"):
        app.open_grpc_server("127.0.0.1", number, 1)
    sharing = grpc.server(ThreadPoolExecutor(1))  # gRPC's default: share the port if the other one agrees
    with pytest.raises(RuntimeError):
        sharing.add_insecure_port(f"127.0.0.1:{number}")
    server.stop(0).wait()


def test_broken_model_ends_the_process_after_its_last_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1").mkdir()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main([f"--model_base_path={tmp_path}", f"--port={free_port()}", "--max_num_load_retries=0"]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith(f"serving.server: error: Could not load the SavedModel in {tmp_path / '1'}")


def test_ctrl_c_between_attempts_ends_cleanly(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    flags = f"--model_base_path={tmp_path}", f"--port={free_port()}"
    with subprocess.Popen(command(*flags), cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            line = next(line for line in server.stderr if "could not be loaded" in line)
            assert "(tried again in 60 s): Could not load the SavedModel in" in line
            os.kill(server.pid, signal.SIGINT)
            assert server.wait(START_S) == 0
            assert "Traceback" not in server.stderr.read()
        finally:
            server.kill()


def test_sigterm_in_mid_run_ends_cleanly(model_dir: Path) -> None:
    grpc_port, rest_port = free_port(), free_port()
    url = f"http://127.0.0.1:{rest_port}/v1/models/zoo"
    flags = f"--model_base_path={model_dir / 'zoo'}", "--model_name=zoo"
    flags += f"--port={grpc_port}", f"--rest_api_port={rest_port}"

    def available() -> bool:
        with contextlib.suppress(requests.RequestException):  # loading TensorFlow may hold the process for seconds
            return "AVAILABLE" in requests.get(url, timeout=5).text
        return server.poll() is not None

    def predict(signature: str, seconds: float) -> tuple[int, object]:
        response = requests.post(f"{url}:predict", json={"signature_name": signature, "inputs": seconds}, timeout=30)
        return response.status_code, response.json()

    with (
        subprocess.Popen(command(*flags), cwd=ROOT, stderr=subprocess.PIPE, text=True) as server,
        ThreadPoolExecutor() as pool,
    ):
        try:
            wait_until(available, START_S)
            running = pool.submit(predict, "slow", 1.5)
            time.sleep(0.7)  # until the run has surely begun
            os.kill(server.pid, signal.SIGTERM)
            time.sleep(0.2)
            assert predict("scalar", 1) == (503, {"error": "The server is stopping."})
            assert running.result(30) == (200, {"outputs": True})
            assert server.wait(20) == 0
            assert server.stderr is not None
            log = server.stderr.read()
            assert "Traceback" not in log
            assert "REST POST /v1/models/zoo:predict 200" in log
        finally:
            server.kill()


def test_answers_do_not_wait_for_an_acknowledgement() -> None:
    with app.open_socket("127.0.0.1", 0, "rest_api_port") as opened:
        assert opened.proto == socket.IPPROTO_TCP  # asyncio's condition for TCP_NODELAY


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_freed_memory_goes_back_to_the_system() -> None:
    libc, chunk, count = ctypes.CDLL(None), 64 << 10, 1600  # too small to be mapped each on its own, 100 MB together
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    places = [libc.malloc(chunk) for _ in range(count)]
    for place in places:
        ctypes.memset(place, 1, chunk)
    *freed, kept = places  # what is kept lies behind the rest, so that freeing alone gives nothing back
    for place in freed:
        libc.free(place)
    before = processes.memory_mb(os.getpid())
    app.trim_heap()
    assert before - processes.memory_mb(os.getpid()) > chunk * count / 2e6
    libc.free(kept)


def test_other_systems_trim_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)  # which raises there for the program itself
    app.trim_heap()
