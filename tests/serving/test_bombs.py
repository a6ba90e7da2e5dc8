"""Pictures that are small to send and huge to open: refused from the header, while memory stays where it is."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from functools import cache

import pytest
import requests

from serving.contract import MODEL_NAME
from serving.errors import InvalidInput
from serving.transports import connect
from tests import processes
from tests.conftest import encode, smooth_picture
from tests.served import Served

PNG = b"\x89PNG\r\n\x1a\n"  # how each begins
SIDE_PX = 30_000  # 2.7 GB as RGB
ALLOWED_MB = 150.0  # what a call with a small picture may need
SMALL = encode(smooth_picture(32, 32))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@cache
def png_bomb() -> bytes:
    """A whole, valid PNG of zeros, one bit each: 112 MB of rows in 110 kB."""
    rows = zlib.compress((b"\0" * (1 + SIDE_PX // 8)) * SIDE_PX, 9)
    header = struct.pack(">IIBBBBB", SIDE_PX, SIDE_PX, 1, 0, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def polyglot_bomb() -> bytes:
    """A PNG that is small to who reads its size where it ought to be, and huge to who reads its chunks."""
    return PNG + chunk(b"tEXt", struct.pack(">II", 32, 32)) + png_bomb().removeprefix(PNG)


def gif_bomb() -> bytes:
    """A GIF of a thousand frames, each of which declares a huge one."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, SIDE_PX, SIDE_PX, 0) + b"\2\2\x4c\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", SIDE_PX, SIDE_PX, 0x80, 0, 0) + bytes(6) + frame * 1000 + b";"


def jpeg_bomb() -> bytes:
    """A small JPEG whose frame header declares a huge one."""
    data = bytearray(encode(smooth_picture(16, 16), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", SIDE_PX, SIDE_PX)
    return bytes(data)


def bmp_bomb() -> bytes:
    """A BMP whose header declares a huge one."""
    data = bytearray(encode(smooth_picture(16, 16), "BMP"))
    data[18:26] = struct.pack("<ii", SIDE_PX, SIDE_PX)
    return bytes(data)


TOO_LARGE, OF_NO_KIND = "`{}` must be a picture of 1 to", "`{}` must be a JPEG or PNG picture"
BOMBS: dict[Callable[[], bytes], str] = {
    png_bomb: TOO_LARGE,
    jpeg_bomb: TOO_LARGE,
    bmp_bomb: OF_NO_KIND,
    gif_bomb: OF_NO_KIND,
    polyglot_bomb: "PNG",
}


def call(served: Served, content: bytes, style: bytes) -> None:
    """Asks for one small step, for which the pictures are opened."""
    inputs = {"content_bytes": [content], "style_bytes": [[style]], "settings": ["size=32"], "state_bytes": [b""]}
    way = connect(served.grpc)
    way.predict("advance", {**inputs, "take_steps": [1]}, timeout_s=120)
    way.close()


@pytest.fixture
def calm(served: Served) -> Served:
    """The server after it has opened a small picture, its peak of memory forgotten."""
    call(served, SMALL, SMALL)
    processes.forget_peak(served.pid)
    return served


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("argument", ["content_bytes", "style_bytes"])
def test_bomb_over_grpc_moves_no_memory(bomb: Callable[[], bytes], argument: str, calm: Served) -> None:
    data, before = bomb(), processes.memory_mb(calm.pid)
    with pytest.raises(InvalidInput) as caught:
        call(calm, *((data, SMALL) if argument == "content_bytes" else (SMALL, data)))
    assert BOMBS[bomb].format(argument) in str(caught.value)
    assert processes.memory_mb(calm.pid, peak=True) < before + ALLOWED_MB


@pytest.mark.parametrize("bomb", BOMBS)
def test_bomb_over_rest_moves_no_memory(bomb: Callable[[], bytes], calm: Served) -> None:
    before, picture = processes.memory_mb(calm.pid), {"b64": base64.b64encode(bomb()).decode()}
    inputs = {"content_bytes": [picture], "style_bytes": [[picture]], "settings": ["size=32"], "state_bytes": [""]}
    # `advance` is warmed up: the first run of another signature would take memory.
    body = {"signature_name": "advance", "inputs": {**inputs, "take_steps": [1]}}
    response = requests.post(f"{calm.http}/v1/models/{MODEL_NAME}:predict", json=body, timeout=120)
    assert response.status_code == 400
    sentences = [BOMBS[bomb].format(argument) for argument in ("content_bytes", "style_bytes")]
    assert any(sentence in response.json()["error"] for sentence in sentences)
    assert processes.memory_mb(calm.pid, peak=True) < before + ALLOWED_MB


@pytest.mark.parametrize("data", [b"", b"text", PNG, SMALL[:-200], encode(smooth_picture(32, 32), "GIF")])
def test_what_is_no_picture_is_refused(data: bytes, calm: Served) -> None:
    with pytest.raises(InvalidInput, match=r"content_bytes|PNG"):
        call(calm, data, SMALL)
