"""The embedded server as a child process, for `make run` and for a page that is started without a server."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.versions import find_versions
from serving.contract import GRPC_PORT, MODEL_NAME, REST_PORT
from serving.errors import StyleTransferError
from serving.server.system import hold_alone
from serving.transports import served_versions

HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0
REST_TIMEOUT_MS = 600_000  # TensorFlow Serving's default of 30 s would cut a large picture short


class LaunchError(Exception):
    """The page or its server cannot be started; the text says why in one sentence."""


@dataclass(frozen=True)
class Port:
    """A port to listen on and the environment variable that chooses it."""

    variable: str
    default: int
    what: str
    of_host: str = ""  # a variable that some hosts set, in place of the default

    def number(self) -> int:
        """Returns the port, after checking that it is free.

        Raises:
          LaunchError: the variable holds no port, or the port is taken.
        """
        text = os.environ.get(self.variable, os.environ.get(self.of_host) or str(self.default))
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise LaunchError(f"{self.variable} must be a port from 1 to 65535. Received: {text}")
        with socket.socket() as probe:
            hold_alone(probe)
            try:
                probe.bind((HOST, int(text)))
            except OSError as error:
                raise LaunchError(
                    f"Port {text} for {self.what} is taken. Set {self.variable} to another one, "
                    f"for example: make run {self.variable}={int(text) + 1000 if int(text) < 64000 else 10000}"
                ) from error
        return int(text)


GRPC = Port("NST_GRPC_PORT", GRPC_PORT, "the model server's gRPC")
REST = Port("NST_REST_PORT", REST_PORT, "the model server's REST")


class ModelServer:
    """Exports the model if there is none, serves it, and starts the server again if it dies.

    Attributes:
      address: of gRPC.
      answers: set once the model is available.
      failure: why there is no server, once that is certain.
    """

    def __init__(self, *, rest: bool = True) -> None:
        """Takes folder and ports from the environment, that of REST only if it is wanted; `start` starts it.

        Raises:
          LaunchError: a port is taken or no port.
        """
        self._folder = Path(os.environ.get("NST_MODEL_DIR", f"models/{MODEL_NAME}"))
        self._grpc, self._rest = GRPC.number(), REST.number() if rest else 0
        self.address = f"grpc://{HOST}:{self._grpc}"
        self.answers = threading.Event()
        self.failure: LaunchError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="model server", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops it and waits until it has ended."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            if not find_versions(self._folder):
                self._export()
            while not self._stop.is_set():
                self._serve()
        except LaunchError as error:
            self.failure = error

    def _export(self) -> None:
        print("There is no model yet: exporting one. Later starts reuse it.", flush=True)
        with child("model.export", "--weights=imagenet", f"--output={self._folder}") as export:
            while export.poll() is None and not self._stop.wait(0.1):
                pass
            if export.returncode:
                raise LaunchError("The model could not be exported; the reason is above.")

    def _serve(self) -> None:
        """Runs one server until it dies, or until `stop`."""
        with child(
            "serving.server",
            f"--model_base_path={self._folder.absolute()}",
            f"--model_name={MODEL_NAME}",
            f"--port={self._grpc}",
            f"--rest_api_port={self._rest}",
            f"--rest_api_timeout_in_ms={REST_TIMEOUT_MS}",
            "--max_num_load_retries=0",  # somebody is waiting: a model that cannot be loaded must fail at once
        ) as server:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not self._is_available():
                if self._stop.wait(0.2):
                    return
                if server.poll() is not None:
                    raise LaunchError(f"The server {ended(server)}")
                if time.monotonic() > deadline:
                    raise LaunchError(f"The server did not answer within {START_TIMEOUT_S:.0f} s.")
            self.answers.set()
            while server.poll() is None:
                if self._stop.wait(0.5):
                    return
            status = server.returncode
            print(f"The server ended with exit status {status}: starting it again.", file=sys.stderr, flush=True)

    def _is_available(self) -> bool:
        with contextlib.suppress(StyleTransferError):
            return bool(served_versions(self.address, timeout_s=5, ca="", token="", headers={}))
        return False


@contextlib.contextmanager
def child(module: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `python -m module` until the end of the block."""
    # In a session of its own, so that Ctrl-C reaches this process alone, which then stops the others in order.
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ended(process: subprocess.Popen[bytes]) -> str:
    """Says how a child has ended."""
    return f"ended with exit status {process.returncode}; its last lines are above."
