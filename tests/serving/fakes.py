"""Two pictures, right responses of `advance`, a transport that gives them, and PNGs that Pillow does not write."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import PngImagePlugin

from tests.conftest import encode, smooth_picture

CONTENT, STYLE = (encode(smooth_picture(*shape), compress_level=1) for shape in ((40, 56, 1), (50, 40, 2)))  # as sent
IMAGE = encode(smooth_picture(4, 4))
PREVIEW = encode(smooth_picture(4, 4), "JPEG")


def png_of(width: int, height: int, bits: int, colours: int, row: bytes) -> bytes:
    """Returns a PNG whose rows are all alike, whatever its header says of them; 2: RGB, 0: grey."""
    output = io.BytesIO()
    output.write(b"\x89PNG\r\n\x1a\n")
    PngImagePlugin.putchunk(output, b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    PngImagePlugin.putchunk(output, b"IDAT", zlib.compress((b"\0" + row) * height, 9))
    PngImagePlugin.putchunk(output, b"IEND", b"")
    return output.getvalue()


def strings(*values: bytes) -> Any:
    return np.array(values, object)


def chunk(state: bytes, step: int, steps: int, image: bytes = b"", *, rows: int = 0) -> dict[str, Any]:
    """Returns what a right response of `advance` for one picture holds."""
    return {
        "state_bytes": strings(state),
        "preview_bytes": strings(PREVIEW),
        "image_bytes": strings(image),
        "losses": np.zeros([1, rows, 4], np.float32),
        "step": np.int32([step]),
        "steps": np.int32([steps]),
        "progress": np.float32([min(1, step / steps)]),
        "stopped": strings(b""),
    }


class FakeModel:
    """A transport to a run of some steps, whose state is the number of steps taken.

    Attributes:
      seconds_a_step, seconds_a_call: by the clock `now`.
      before: is called with the number of each call, and may raise.
      sent: signature and inputs of each call.
    """

    def __init__(self, steps: int = 8, before: Callable[[int], object] = lambda call: None) -> None:
        self.steps, self.before = steps, before
        self.now, self.seconds_a_step, self.seconds_a_call = 0.0, 0.1, 0.0
        self.sent: list[tuple[str, Mapping[str, Any]]] = []

    def predict(
        self, signature: str, inputs: Mapping[str, Any], *, timeout_s: float, pin: object = None
    ) -> dict[str, Any]:
        if signature == "describe":
            return {"description": strings(b'{"digest": "abc", "weights": {"name": "fake"}}')}
        self.sent.append((signature, inputs))
        self.before(len(self.sent))
        step, take = int(inputs["state_bytes"][0] or b"0"), inputs["take_steps"][0]
        end = min(step + take, self.steps)
        self.now += (end - step) * self.seconds_a_step + self.seconds_a_call
        image = IMAGE if end == self.steps or take == 0 else b""
        return chunk(str(end).encode(), end, self.steps, image, rows=end - step)

    def close(self) -> None:
        pass

    @property
    def takes(self) -> list[int]:
        return [inputs["take_steps"][0] for _, inputs in self.sent]
