"""Connections of REST: uvicorn's, with limits of time and number, which uvicorn leaves to a proxy."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

STALL_S = 30.0  # without enough bytes, after which a request or a response has failed
SLOWEST_BYTES_S = 10_000  # a poor mobile connection is ten times as fast
MAX_IDLE = 1000  # connections on which no request is being received or answered


class Connection(H11Protocol):
    """Closes an idle connection, and one whose header does not end or whose client does not take the response.

    The time in which a body must arrive is limited in rest.py, which can say so to the client.
    """

    def __init__(self, *arguments: Any, idle: "dict[Connection, None]", **options: Any) -> None:
        """Takes uvicorn's arguments, and the server's idle connections, the oldest first."""
        super().__init__(*arguments, **options)
        self._idle = idle
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._now_idle()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._moved_bytes += len(data)
        self._idle_no_longer()

    def on_response_complete(self) -> None:
        self._now_idle()
        super().on_response_complete()  # which begins the next request if it has been sent already
        self._idle_no_longer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _now_idle(self) -> None:
        self._forget()
        if len(self._idle) >= MAX_IDLE:
            oldest = next(iter(self._idle))
            oldest._forget()
            oldest.transport.abort()
        self._idle[self] = None
        self._watch()

    def _idle_no_longer(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()

    def _forget(self) -> None:
        self._idle.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self) -> None:
        self._moved_bytes = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(STALL_S, self._check)

    def _check(self) -> None:
        # Of the response to the client, or of a request that is refused, whose rest the client still sends.
        moved = self._moved_bytes - self.transport.get_write_buffer_size()
        if moved >= STALL_S * SLOWEST_BYTES_S:
            self._watch()
        else:
            self.transport.abort()
