"""A real server over the small network."""

from __future__ import annotations

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
    """Addresses of a running server, the base path of its model, and its process."""

    grpc: str
    http: str
    path: str
    pid: int


@pytest.fixture(scope="session")
def served(small_model: Path) -> Iterator[Served]:
    """The embedded server in a process of its own, with the small network."""
    grpc, rest = free_port(), free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "serving.server", f"--model_base_path={small_model}", f"--model_name={MODEL_NAME}",
            f"--port={grpc}", f"--rest_api_port={rest}", "--rest_api_timeout_in_ms=120000",
        ],
        cwd=ROOT,
    )  # fmt: skip
    try:
        _wait_until_available(process, f"http://127.0.0.1:{rest}/v1/models/{MODEL_NAME}")
        yield Served(f"grpc://127.0.0.1:{grpc}", f"http://127.0.0.1:{rest}", str(small_model), process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_available(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=5).json()["model_version_status"][0]["state"] == "AVAILABLE":
                return
        except requests.RequestException:  # loading TensorFlow may hold the process for seconds
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the server at {url} did not become available")
