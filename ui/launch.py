"""Starts everything on one machine, for `make run`: exports the model if there is none, then runs server and page.

Waits until both answer, prints the page's address, restarts the server if it dies, and stops both on Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import requests

from model.versions import find_versions
from serving.contract import GRPC_PORT, MODEL_NAME, REST_PORT, SERVER_VARIABLE
from serving.errors import ServingUnavailable
from serving.network import Remote
from serving.signals import set_event
from serving.transports import served_versions

HOST = "127.0.0.1"
UI_PORT = 8080  # Streamlit's own default, 8501, is TensorFlow Serving's REST port
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0
REST_TIMEOUT_MS = 600_000  # TensorFlow Serving's default of 30 s would cut a large picture short


class LaunchError(Exception):
    """The page cannot be started; the text says why in one sentence."""


@dataclass(frozen=True)
class Port:
    """A port to listen on and the environment variable that chooses it."""

    variable: str
    default: int
    what: str

    def number(self) -> int:
        """Returns the port, after checking that it is free.

        Raises:
          LaunchError: the variable holds no port, or the port is taken.
        """
        text = os.environ.get(self.variable, str(self.default))
        if not text.isdigit() or not 0 < int(text) < 65536:
            raise LaunchError(f"{self.variable} must be a port from 1 to 65535. Received: {text}")
        with socket.socket() as probe:
            # As servers do, count a port that lingers after its server has stopped as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
PAGE = Port("NST_UI_PORT", UI_PORT, "the page")


def main() -> int:
    """Runs until Ctrl-C, SIGTERM, or until its terminal closes; returns the exit status."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, lambda _number, _frame: set_event(stop))
    try:
        run(Path(os.environ.get("NST_MODEL_DIR", f"models/{MODEL_NAME}")), stop)
    except LaunchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(model_dir: Path, stop: threading.Event) -> None:
    """Exports the model if there is none, and runs server and page until `stop`; a server that dies is restarted."""
    grpc, rest, page = GRPC.number(), REST.number(), PAGE.number()
    if not find_versions(model_dir):
        _export(model_dir, stop)
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        children["server"] = _serve(model_dir, grpc, rest)
        children["page"] = _start(
            "streamlit",
            "run",
            str(Path(__file__).with_name("app.py")),
            f"--server.port={page}",
            f"--server.address={HOST}",
            **{SERVER_VARIABLE: f"grpc://{HOST}:{grpc}"},
        )
        _wait_until_both_answer(children, rest, page, stop)
        if not stop.is_set():
            print(f"\n  The page is at http://localhost:{page}  (Ctrl-C stops it)\n", flush=True)
        while not stop.wait(0.5):
            status = children["server"].poll()
            if status is not None:
                print(f"The server ended with exit status {status}: starting it again.", file=sys.stderr, flush=True)
                children["server"] = _serve(model_dir, grpc, rest)
                _wait_until_both_answer(children, rest, page, stop)
            _check_alive(children)
    finally:
        _stop(children.values())


def _export(model_dir: Path, stop: threading.Event) -> None:
    print("There is no model yet: exporting one. Later starts reuse it.", flush=True)
    child = _start("model.export", "--weights=imagenet", f"--output={model_dir}")
    while child.poll() is None:
        if stop.wait(0.1):
            _stop([child])
            raise LaunchError("Stopped before the model was exported.")
    if child.returncode != 0:
        raise LaunchError("The model could not be exported; the reason is above.")


def _serve(model_dir: Path, grpc: int, rest: int) -> subprocess.Popen[bytes]:
    return _start(
        "serving.server",
        f"--model_base_path={model_dir.absolute()}",
        f"--model_name={MODEL_NAME}",
        f"--port={grpc}",
        f"--rest_api_port={rest}",
        f"--rest_api_timeout_in_ms={REST_TIMEOUT_MS}",
        "--max_num_load_retries=0",  # somebody is waiting: a model that cannot be loaded must fail at once
    )


def _start(module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    # In a session of its own, so that Ctrl-C reaches this process alone, which then stops the others in order.
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        start_new_session=True,
    )


def _wait_until_both_answer(
    children: dict[str, subprocess.Popen[bytes]], rest: int, page: int, stop: threading.Event
) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not stop.wait(0.2):
        _check_alive(children)
        with contextlib.suppress(ServingUnavailable, requests.RequestException):
            with Remote(f"http://{HOST}:{page}").session() as session:
                page_answers = session.get(f"http://{HOST}:{page}/_stcore/health", timeout=5).ok
            if page_answers and served_versions(f"http://{HOST}:{rest}", timeout_s=5, ca="", token="", headers={}):
                return
        if time.monotonic() > deadline:
            raise LaunchError(f"Server and page did not answer within {START_TIMEOUT_S:.0f} s.")


def _check_alive(children: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, child in children.items():
        if child.poll() is not None:
            raise LaunchError(f"The {name} ended with exit status {child.returncode}; its last lines are above.")


def _stop(children: Iterable[subprocess.Popen[bytes]]) -> None:
    children = [child for child in children if child.poll() is None]
    for child in children:
        child.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


if __name__ == "__main__":
    sys.exit(main())
