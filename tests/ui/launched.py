"""Runs what `make run` starts, in its own process."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from serving.child_server import GRPC, REST
from tests.ports import free_port
from ui.launch import PAGE

ROOT = Path(__file__).parents[2]
START_S = 120.0


class Launched:
    """Serves a model's base path on free ports; stops at the end of a `with` block.

    Attributes:
      process: that of `ui.launch`, which starts the others.
      ports: by environment variable.
      log: the file with all that they print.
      page: the page's address.
    """

    def __init__(
        self, model: Path, log: Path, command: Sequence[str] = (sys.executable, "-m", "ui.launch"), cwd: Path = ROOT
    ) -> None:
        self.log = log
        self.ports = {port.variable: free_port() for port in (GRPC, REST, PAGE)}
        self.page = f"http://127.0.0.1:{self.ports[PAGE.variable]}"
        ports = {name: str(number) for name, number in self.ports.items()}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=cwd, env={**os.environ, **ports, "NST_MODEL_DIR": str(model)},
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()  # which also stops what it started
        self.process.wait(30)

    def wait_for(self, text: str) -> str:
        """Waits until a text is printed, and returns the whole log."""
        deadline = time.monotonic() + START_S
        while text not in self.log.read_text() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        return self.log.read_text()

    def child(self, words: str) -> int:
        """Returns the id of the child process whose command line has these words."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")  # of each of its threads
        children = [child for task in tasks for child in task.read_text().split()]
        return next(int(child) for child in children if words in Path(f"/proc/{child}/cmdline").read_text())

    def nobody_listens(self) -> bool:
        """Returns whether all its ports are free."""
        for number in self.ports.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", number)) == 0:
                    return False
        return True
