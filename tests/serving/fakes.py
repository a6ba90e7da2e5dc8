"""Responses of `advance` without a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.conftest import encode, smooth_picture

IMAGE = encode(smooth_picture(4, 4))
PREVIEW = encode(smooth_picture(4, 4), "JPEG")


def strings(*values: bytes) -> Any:
    array = np.empty(len(values), object)
    array[:] = values
    return array


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
