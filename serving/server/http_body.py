"""Bodies of HTTP requests: how long one may be, and gzip."""

from __future__ import annotations

import zlib

from starlette.requests import Request

MAX_INFLATED_BYTES = 100_000_000  # as tensorflow_model_server: net_http/compression/gzip_zlib.h
_GZIP = 16 + zlib.MAX_WBITS  # zlib's code for "a gzip header is expected"


class BodyTooLong(Exception):
    """A request is longer than the limit."""


async def read(request: Request, max_bytes: int) -> bytes:
    """Returns the body of a request.

    Args:
      request: the request.
      max_bytes: how long it may be. What its header admits to be longer is not read at all.

    Raises:
      BodyTooLong: it is longer.
      ClientDisconnect: the caller is gone.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise BodyTooLong
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > max_bytes:
            raise BodyTooLong
        body += chunk
    return bytes(body)


def inflate(body: bytes) -> bytes:
    """Returns what a gzip body holds.

    One that is damaged, cut or too long counts as empty, as it does in tensorflow_model_server: the caller then learns
    that there is no JSON in it.
    """
    inflater = zlib.decompressobj(_GZIP)
    try:
        inflated = inflater.decompress(body, MAX_INFLATED_BYTES)
    except zlib.error:
        return b""
    return inflated if inflater.eof else b""
