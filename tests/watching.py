"""Witnesses: what tells whether a file was opened or a port called, by whatever process."""

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

_OPENED = 0x20  # IN_OPEN of Linux' inotify


@contextlib.contextmanager
def witness(file: Path) -> Iterator[SimpleNamespace]:
    """Watches a file, alone in its directory, and a port of its own; sees to it that both would be noticed.

    Yields:
      `url`, an address of the port, and `saw`, which returns what happened since it was last asked: `file`, `port`.
    """
    libc = ctypes.CDLL(None)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    with os.fdopen(watch), socket.create_server(("127.0.0.1", 0)) as port:

        def saw() -> set[str]:
            seen = set()
            for name, take in (("file", lambda: os.read(watch, 65536)), ("port", lambda: port.accept()[0].close())):
                with contextlib.suppress(BlockingIOError):
                    take()
                    seen.add(name)
            return seen

        for path in (file.parent, file):
            assert libc.inotify_add_watch(watch, os.fsencode(path), _OPENED) >= 0
        port.setblocking(False)
        file.read_bytes()
        socket.create_connection(port.getsockname()).close()
        assert saw() == {"file", "port"}
        yield SimpleNamespace(url=f"http://127.0.0.1:{port.getsockname()[1]}/{file.name}", saw=saw)
