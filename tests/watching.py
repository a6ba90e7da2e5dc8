"""Witnesses: what tells whether a file was opened or a port called, by whatever process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_OPENED = 0x20  # IN_OPEN of Linux' inotify


class Witness:
    """A file that nobody may open, and a port that nobody may call.

    Attributes:
      file: the file; nothing else may be in its directory.
      url: an address of the port.
    """

    def __init__(self, file: Path, watch: int, port: socket.socket) -> None:
        self.file, self._watch, self._port = file, watch, port
        self.url = f"http://127.0.0.1:{port.getsockname()[1]}/{file.name}"

    def saw(self) -> set[str]:
        """Returns what happened since it was last asked: `file`, `port`."""
        seen = set()
        with contextlib.suppress(BlockingIOError):
            os.read(self._watch, 65536)
            seen.add("file")
        with contextlib.suppress(BlockingIOError):
            self._port.accept()[0].close()
            seen.add("port")
        return seen


@contextlib.contextmanager
def witness(file: Path) -> Iterator[Witness]:
    """Watches a file, and a port of its own; sees to it that both would be noticed."""
    watch = ctypes.CDLL(None).inotify_init1(os.O_NONBLOCK)
    with os.fdopen(watch), socket.create_server(("127.0.0.1", 0)) as port:
        for path in (file.parent, file):
            assert ctypes.CDLL(None).inotify_add_watch(watch, os.fsencode(path), _OPENED) >= 0
        port.setblocking(False)
        watching = Witness(file, watch, port)
        file.read_bytes()
        socket.create_connection(port.getsockname()).close()
        assert watching.saw() == {"file", "port"}
        yield watching
