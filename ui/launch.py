"""Starts everything on one machine, for `make run`: exports the model if there is none, then runs server and page.

Waits until both answer, prints the page's address, restarts the server if it dies, and stops both on Ctrl-C.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import requests

from serving.child_server import HOST, LaunchError, ModelServer, Port, child, ended
from serving.contract import SERVER_VARIABLE
from serving.network import Remote
from serving.signals import set_event

PAGE = Port("NST_UI_PORT", 8080, "the page", of_host="PORT")  # Streamlit's own, 8501, is TensorFlow Serving's for REST


def main() -> int:
    """Runs until Ctrl-C, SIGTERM, or until its terminal closes; returns the exit status."""
    stop = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    # Windows has no hangup; nohup ignores it.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, lambda _number, _frame: set_event(stop))
    try:
        run(stop)
    except LaunchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(stop: threading.Event) -> None:
    """Runs server and page until `stop`."""
    port, server = PAGE.number(), ModelServer()
    os.environ.setdefault("STREAMLIT_SERVER_ADDRESS", HOST)  # a container sets 0.0.0.0
    server.start()
    script = str(Path(__file__).with_name("app.py"))
    try:
        with child("streamlit", "run", script, f"--server.port={port}", **{SERVER_VARIABLE: server.address}) as page:
            while not (server.answers.is_set() and _answers(port)):
                _check(server, page)
                if stop.wait(0.2):
                    return
            print(f"\n  The page is at http://localhost:{port}  (Ctrl-C stops it)\n", flush=True)
            while not stop.wait(0.5):
                _check(server, page)
    finally:
        server.stop()


def _answers(port: int) -> bool:
    url = f"http://{HOST}:{port}/_stcore/health"
    with contextlib.suppress(requests.RequestException), Remote(url).session() as session:  # past any proxy
        return bool(session.get(url, timeout=5).ok)
    return False


def _check(server: ModelServer, page: subprocess.Popen[bytes]) -> None:
    """Raises a LaunchError if one of them has failed."""
    if server.failure is not None:
        raise server.failure
    if page.poll() is not None:
        raise LaunchError(f"The page {ended(page)}")


if __name__ == "__main__":
    sys.exit(main())
