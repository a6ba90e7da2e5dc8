"""A real server over the small network."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from serving.contract import MODEL_NAME
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
START_S = 90.0


@dataclass(frozen=True)
class Served:
    """Addresses of a running server and the base path of its model."""

    grpc: str
    http: str
    path: str


@contextlib.contextmanager
def serving(model: Path | str, grpc: int, rest: int) -> Iterator[subprocess.Popen[bytes]]:
    """The embedded server in a process of its own, from the moment it is available until it is stopped."""
    process = start(model, grpc, rest)
    try:
        wait_until_available(process, rest)
        yield process
    finally:
        stop(process)


def start(model: Path | str, grpc: int, rest: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "serving.server", f"--model_base_path={model}", f"--model_name={MODEL_NAME}",
            f"--port={grpc}", f"--rest_api_port={rest}", "--rest_api_timeout_in_ms=120000",
        ],
        cwd=ROOT,
    )  # fmt: skip


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def served(small_model: Path) -> Iterator[Served]:
    """A server with the small network."""
    grpc, rest = free_port(), free_port()
    with serving(small_model, grpc, rest):
        yield Served(f"grpc://127.0.0.1:{grpc}", f"http://127.0.0.1:{rest}", str(small_model))


def wait_until_available(process: subprocess.Popen[bytes], rest: int) -> None:
    url = f"http://127.0.0.1:{rest}/v1/models/{MODEL_NAME}"
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=5).json()["model_version_status"][0]["state"] == "AVAILABLE":
                return
        except requests.RequestException:  # loading TensorFlow may hold the process for seconds
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the server at {url} did not become available")
