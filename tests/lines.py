"""Lines to a server: encrypted, slow, through an HTTP proxy, or breaking in the middle of an answer."""

import asyncio
import contextlib
import random
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import trustme

PIECE_BYTES = 1 << 14
FAULTS = ("cut", "hang", "garble")


@dataclass
class Line:
    """Passes bytes on both ways to a server on this machine.

    After some bytes of answers it may fail in one way for ever. `cut` ends the connection in the middle of an answer
    and refuses all later ones, `hang` says nothing more but takes what comes, `garble` sends noise in place of answers.

    Attributes:
      server: its address.
      certificate: ends TLS on the line.
      bytes_per_s, delay_s: of each direction.
      proxied: takes connections as an HTTP proxy does, to whatever host, and all of them lead to the server.
      fault, after_bytes: how it fails, and when.
      port: where the line begins, on 127.0.0.1.
      wanted: hosts and ports for which the proxy was asked.
      failed: set once it has failed.
    """

    server: str
    certificate: trustme.LeafCert | None = None
    bytes_per_s: float = float("inf")
    delay_s: float = 0.0
    proxied: bool = False
    fault: str = ""
    after_bytes: float = float("inf")
    port: int = 0
    wanted: list[str] = field(default_factory=list)
    failed: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        scheme = urlsplit(self.server).scheme
        return f"{scheme}s://127.0.0.1:{self.port}" if self.certificate else f"{scheme}://127.0.0.1:{self.port}"

    async def serve(self, opened: threading.Event) -> None:
        """Passes bytes on until `end`."""
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        tls = None
        if self.certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.set_alpn_protocols(["h2", "http/1.1"] if self.server.startswith("grpc") else ["http/1.1"])
            self.certificate.configure_cert(tls)
        line = await asyncio.start_server(self._connect, "127.0.0.1", limit=PIECE_BYTES, ssl=tls)
        self.port = line.sockets[0].getsockname()[1]
        opened.set()
        await self._ended.wait()
        line.close()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(self.server)
        writers = [writer]
        # A cancelled task of a connection would be told as an error.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                if self.failed.is_set() and self.fault == "cut":
                    return
                answers, sink = await asyncio.open_connection(target.hostname, target.port, limit=PIECE_BYTES)
                writers.append(sink)
                if self.proxied:
                    await self._read_head(reader, writer, sink)
                await asyncio.gather(self._pass_on(reader, sink), self._pass_on(answers, writer, self.fault))
                await asyncio.sleep(self.delay_s + 0.1)  # until all has arrived
            finally:
                for end in writers:
                    end.transport.abort()

    async def _read_head(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sink: asyncio.StreamWriter
    ) -> None:
        """Reads `CONNECT HOST:PORT`, or the head of the connection's only request, whose target names the host."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, version = head.partition(b"\r\n")[0].decode().split()
        if method == "CONNECT":
            self.wanted.append(target)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            host = urlsplit(target).netloc
            self.wanted.append(host)
            first = f"{method} {urlsplit(target).path} {version}\r\n"
            rest = head.partition(b"\r\n")[2].replace(b"keep-alive", b"close")
            sink.write(first.encode() + rest.replace(host.encode(), b"localhost"))  # the server's own name

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: str = "") -> None:
        later = asyncio.get_running_loop().call_later
        try:
            while data := await reader.read(PIECE_BYTES):
                if fault:
                    data = self._damaged(data)
                await asyncio.sleep(len(data) / self.bytes_per_s)
                later(self.delay_s, writer.write, data)
                if fault == "cut" and self.failed.is_set():
                    break
        finally:
            later(self.delay_s, writer.close)

    def _damaged(self, data: bytes) -> bytes:
        self.after_bytes -= len(data)
        if self.after_bytes >= 0:
            return data
        self.failed.set()
        damaged = {"cut": data[: len(data) // 2], "hang": b"", "garble": random.randbytes(len(data))}  # noqa: S311
        return damaged[self.fault]


@contextlib.contextmanager
def line(server: str, **options: object) -> Iterator[Line]:
    """A line from the moment it is open until it is closed; options as in `Line`."""
    line, opened = Line(server, **options), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(line.serve(opened),), daemon=True)
    thread.start()
    assert opened.wait(30)
    try:
        yield line
    finally:
        line.end()
        thread.join(30)
