"""A real server over the small network: the embedded one, or any other that NST_TEST_SERVER names.

NST_TEST_SERVER is grpc://HOST:PORT, http://HOST:PORT, or both with a comma between them; see `make test-serving`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from serving.contract import MODEL_NAME
from serving.endpoints import split_servers
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
START_S = 240.0  # a busy machine is slow to replay the warm-up
VARIABLE = "NST_TEST_SERVER"


@dataclass(frozen=True)
class Served:
    """A running server: its addresses, its model's base path and its process; "" and 0 for one from elsewhere."""

    grpc: str
    http: str
    path: str
    pid: int

    def address(self, way: str) -> str:
        """Returns the address by its name; skips the test where a server from elsewhere has none."""
        return str(getattr(self, way)) or pytest.skip(f"{VARIABLE} names a server from elsewhere")


def from_elsewhere() -> Served | None:
    """Returns the server that is named by the environment; what it does not offer is replaced by what it does."""
    addresses = {address.partition("://")[0]: address for address in split_servers(os.environ.get(VARIABLE, ""))}
    grpc, http = addresses.get("grpc", ""), addresses.get("http", "")
    return Served(grpc or http, http or grpc, "", 0) if grpc or http else None


@contextlib.contextmanager
def serving(model: Path | str, grpc: int, rest: int) -> Iterator[subprocess.Popen[bytes]]:
    """The embedded server in a process of its own, from the moment it is available until it is stopped."""
    process = start(model, grpc, rest)
    try:
        wait_until_available(process, rest)
        yield process
    finally:
        stop(process)


def start(model: Path | str, grpc: int, rest: int, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "serving.server", f"--model_base_path={model}", f"--model_name={MODEL_NAME}",
            f"--port={grpc}", f"--rest_api_port={rest}", "--rest_api_timeout_in_ms=120000", *more,
        ],
        cwd=ROOT,
    )  # fmt: skip


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait(30)


@dataclass
class Replica:
    """A server that a test may kill, and start again at the same ports.

    Attributes:
      model: its model's base path.
      flags: further flags of the server.
    """

    model: Path | str
    flags: tuple[str, ...] = ()
    grpc_port: int = field(default_factory=free_port)
    rest_port: int = field(default_factory=free_port)

    def start(self) -> None:
        self.process = start(self.model, self.grpc_port, self.rest_port, *self.flags)

    def wait(self) -> None:
        wait_until_available(self.process, self.rest_port)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


@pytest.fixture(scope="session")
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server with the small network, or whatever is served elsewhere."""
    if elsewhere := from_elsewhere():
        yield elsewhere
        return
    small_model = request.getfixturevalue("small_model")
    grpc, rest = free_port(), free_port()
    with serving(small_model, grpc, rest) as process:
        yield Served(f"grpc://127.0.0.1:{grpc}", f"http://127.0.0.1:{rest}", str(small_model), process.pid)


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
