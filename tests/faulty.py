"""Connections that break: a proxy in front of a real server that fails in a chosen way after some bytes of answers."""

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

FAULTS = ("cut", "hang", "garble")


class FaultyProxy(ThreadingTCPServer):
    """Passes bytes on both ways until a number of answer bytes has gone through, then fails in one way for ever.

    `cut` ends the connection in the middle of an answer and refuses all later ones, `hang` says nothing more but takes
    what comes, `garble` sends noise in place of the answers. It looks at bytes alone, so it serves REST and gRPC alike.

    Attributes:
      address: where it listens, with the scheme of the server behind it.
      failed: set once it has failed.
    """

    daemon_threads, block_on_close = True, False

    def __init__(self, server: str, fault: str, after_bytes: int) -> None:
        super().__init__(("127.0.0.1", 0), BaseRequestHandler)
        parts = urlsplit(server)
        self._target = (parts.hostname, parts.port)
        self._fault, self._left = fault, after_bytes
        self._noise = random.Random(1)  # noqa: S311 - no secret
        self.address = f"{parts.scheme}://127.0.0.1:{self.server_address[1]}"
        self.failed = threading.Event()

    def finish_request(self, client: socket.socket, *_: object) -> None:
        if self.failed.is_set() and self._fault == "cut":
            return
        with socket.create_connection(self._target) as server:
            asking = threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True)
            asking.start()
            self._pass_on(server, client, True)
            asking.join()

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
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def faulty(server: str, fault: str, after_bytes: int) -> Iterator[FaultyProxy]:
    with FaultyProxy(server, fault, after_bytes) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
