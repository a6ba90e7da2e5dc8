"""Connections that break: a proxy in front of a real server that fails in a chosen way after some bytes of answers."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

FAULTS = ("cut", "hang", "garble")


class FaultyProxy:
    """Passes bytes on both ways until a number of answer bytes has gone through, then fails in one way for ever.

    `cut` ends the connection in the middle of an answer and refuses all later ones, `hang` says nothing more but takes
    what comes, `garble` sends noise in place of the answers. It looks at bytes alone, so it serves REST and gRPC alike.

    Attributes:
      address: where it listens, with the scheme of the server behind it.
      failed: set once it has failed.
    """

    def __init__(self, server: str, fault: str, after_bytes: int) -> None:
        parts = urlsplit(server)
        self._target = (parts.hostname, parts.port)
        self._fault, self._left = fault, after_bytes
        self._noise = random.Random(1)  # noqa: S311 - no secret
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.address = f"{parts.scheme}://127.0.0.1:{self._sockets[0].getsockname()[1]}"
        self.failed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._sockets[0].accept()
                self._sockets.append(client)
                if self.failed.is_set() and self._fault == "cut":
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self._sockets.append(server)
                threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if answers:
                    self._left -= len(data)
                if self._left < 0:
                    self.failed.set()
                if not (answers and self.failed.is_set()):
                    sink.sendall(data)
                elif self._fault == "cut":
                    sink.sendall(data[: len(data) // 2])
                    break
                elif self._fault == "garble":
                    sink.sendall(self._noise.randbytes(len(data)))
        if self._fault != "hang" or not self.failed.is_set():
            _shut(source, sink)

    def close(self) -> None:
        _shut(*self._sockets)
        for each in self._sockets:
            each.close()


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def faulty(server: str, fault: str, after_bytes: int) -> Iterator[FaultyProxy]:
    with contextlib.closing(FaultyProxy(server, fault, after_bytes)) as proxy:
        yield proxy
