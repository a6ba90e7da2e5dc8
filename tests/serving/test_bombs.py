"""Pictures that are small to send and huge to open: refused from the header, while memory stays where it is."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable
from functools import cache

import pytest
from PIL import PngImagePlugin

from serving.errors import InvalidInput
from serving.transports import connect
from tests import processes
from tests.conftest import encode, smooth_picture
from tests.served import Served
from tests.serving.fakes import png_of

SIDE_PX = 30_000  # 2.7 GB as RGB
ALLOWED_MB = 150.0  # what a call with a small picture may need
TOO_LARGE = "`{}` must be a picture of 1 to"
SMALL = encode(smooth_picture(32, 32))


@cache
def png_bomb() -> bytes:
    """A whole, valid PNG of zeros, one bit each: 112 MB of rows in 110 kB."""
    return png_of(SIDE_PX, SIDE_PX, 1, 0, bytes(SIDE_PX // 8))


def polyglot_bomb() -> bytes:
    """A PNG that is small to who reads its size where it ought to be, and huge to who reads its chunks."""
    output = io.BytesIO()
    PngImagePlugin.putchunk(output, b"tEXt", struct.pack(">II", 32, 32))
    return png_bomb()[:8] + output.getvalue() + png_bomb()[8:]


def jpeg_bomb() -> bytes:
    """A small JPEG whose frame header declares a huge one."""
    data = bytearray(encode(smooth_picture(16, 16), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", SIDE_PX, SIDE_PX)
    return bytes(data)


def advance(server: str, content: bytes, style: bytes) -> None:
    inputs = {"content_bytes": [content], "style_bytes": [[style]], "settings": ["size=32"], "state_bytes": [b""]}
    with contextlib.closing(connect(server)) as way:
        way.predict("advance", {**inputs, "take_steps": [1]}, timeout_s=120)


@pytest.mark.parametrize("way", ["grpc", "http"])
@pytest.mark.parametrize(
    ("bomb", "sentence"),
    [
        (png_bomb, "`{}` must be a picture of 1 to"),
        (jpeg_bomb, "`{}` must be a picture of 1 to"),
        (polyglot_bomb, "PNG"),
    ],
)
def test_a_bomb_moves_no_memory(served: Served, bomb: Callable[[], bytes], sentence: str, way: str) -> None:
    data, server = bomb(), served.address(way)
    advance(server, SMALL, SMALL)
    processes.forget_peak(served.pid)
    before = processes.memory_mb(served.pid)
    for argument, pictures in (("content_bytes", (data, SMALL)), ("style_bytes", (SMALL, data))):
        with pytest.raises(InvalidInput) as failure:
            advance(server, *pictures)
        assert sentence.format(argument) in str(failure.value)
    assert processes.memory_mb(served.pid, peak=True) < before + ALLOWED_MB
