"""Ports for servers that tests start."""

import contextlib
import secrets
import socket

_given: set[int] = set()


def free_port() -> int:
    """Returns a port on 127.0.0.1 that nobody listens on right now, another one each time.

    It is below those that systems give to whoever asks for any, who could otherwise get it before the server does.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
