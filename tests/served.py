"""A real server over the small network: the embedded one, or any other that NST_TEST_SERVER names.

NST_TEST_SERVER is grpc://HOST:PORT, http://HOST:PORT, or both with a comma between them; see `make test-serving`.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving.contract import MODEL_NAME
from serving.endpoints import split_servers
from serving.errors import StyleTransferError
from serving.transports import served_versions
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
START_S = 240.0  # a busy machine is slow to replay the warm-up
VARIABLE = "NST_TEST_SERVER"


class Server:
    """The embedded server in a process of its own, which a test may kill, and start again at the same ports.

    Attributes:
      grpc, http: its addresses.
      ports: of gRPC and of REST.
      process: the present one.
    """

    def __init__(self, model: Path | str, *flags: str) -> None:
        """Starts it; `wait` returns once the model, which is at this base path, is available."""
        self._model, self._flags = model, flags
        self.ports = free_port(), free_port()
        self.grpc, self.http = f"grpc://127.0.0.1:{self.ports[0]}", f"http://127.0.0.1:{self.ports[1]}"
        self.start()

    def start(self) -> None:
        grpc, rest = self.ports
        flags = f"--port={grpc}", f"--rest_api_port={rest}", f"--model_name={MODEL_NAME}", *self._flags
        command = [sys.executable, "-m", "serving.server", f"--model_base_path={self._model}", *flags]
        self.process = subprocess.Popen([*command, "--rest_api_timeout_in_ms=120000"], cwd=ROOT)

    def wait(self) -> None:
        deadline = time.monotonic() + START_S
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(StyleTransferError):  # loading TensorFlow may hold the process for seconds
                if served_versions(self.http, timeout_s=5):
                    return
            time.sleep(0.2)
        raise RuntimeError(f"the server at {self.http} did not become available")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


@contextlib.contextmanager
def serving(model: Path | str, *flags: str) -> Iterator[Server]:
    """The embedded server from the moment it is available until it is stopped."""
    server = Server(model, *flags)
    try:
        server.wait()
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


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


@pytest.fixture(scope="session")
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server with the small network, or whatever is served elsewhere: what that lacks is replaced by what it has."""
    if named := os.environ.get(VARIABLE):
        elsewhere = {address.partition("://")[0]: address for address in split_servers(named)}
        either = next(iter(elsewhere.values()))
        yield Served(elsewhere.get("grpc", either), elsewhere.get("http", either), "", 0)
        return
    small_model = request.getfixturevalue("small_model")
    with serving(small_model) as server:
        yield Served(server.grpc, server.http, str(small_model), server.process.pid)
