"""What must hold of a response before anything relies on it, whatever server sent it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from model.contract import SIGNATURES, TensorInfo
from serving.errors import InvalidResponse
from serving.wire import Arrays

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


def check_response(signature: str, response: Arrays) -> None:
    """Checks names, dtypes and shapes against the contract, for a call with one picture.

    Args:
      signature: its name.
      response: what a transport returned.

    Raises:
      InvalidResponse: an output is missing, or of another dtype or shape.
    """
    for tensor in SIGNATURES[signature].outputs:
        if tensor.name not in response:
            raise _violation(signature, f"{tensor.name} missing")
        _check_tensor(signature, response[tensor.name], tensor)


def _check_tensor(signature: str, value: npt.NDArray[Any], tensor: TensorInfo) -> None:
    dtype = "object" if tensor.dtype == "string" else tensor.dtype
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        raise _violation(signature, f"{tensor.name} must be {tensor.dtype}")
    if dtype == "object" and not all(isinstance(item, bytes) for item in value.flat):
        raise _violation(signature, f"{tensor.name} must be strings")
    expected = (1, *tensor.shape[1:])
    fits = value.ndim == len(expected) and all(
        want in (None, got) for want, got in zip(expected, value.shape, strict=True)
    )
    if not fits:
        raise _violation(signature, f"{tensor.name} has the shape {list(value.shape)}")


def check_chunk(signature: str, response: Arrays, *, before: int | None, take: int) -> None:
    """Checks a response of `advance` or its guided form for one picture: it must have gone as far as it was asked to.

    Further is right too: a size that ends early hands over to the next. And less, where it says why the run is over.

    Args:
      signature: its name.
      response: what a transport returned.
      before: steps taken before the call; None: unknown, as for a state from elsewhere.
      take: steps that were asked for.

    Raises:
      InvalidResponse: it stands elsewhere, or what it must hold there is missing.
    """
    check_response(signature, response)
    step, steps, done, stopped = (response[name][0] for name in ("step", "steps", "progress", "stopped"))
    least = max(before or 0, 0 if stopped else min((before or 0) + take, steps))
    if (
        step < least
        or (step > steps and before not in (None, step))
        or (take == 0 and before not in (None, step))
        or steps < 1
    ):
        raise _violation(signature, f"step {step} of {steps} after {take} more from {before}")
    if not 0 <= done <= 1:
        raise _violation(signature, f"progress {done}")
    if not response["state_bytes"][0]:
        raise _violation(signature, "state_bytes is empty")
    if not response["preview_bytes"][0].startswith(_JPEG):
        raise _violation(signature, "preview_bytes is no JPEG")
    image = response["image_bytes"][0]
    if image and not image.startswith(_PNG):
        raise _violation(signature, "image_bytes is no PNG")
    if not image and (take == 0 or step >= steps or stopped):
        raise _violation(signature, "image_bytes is empty at the end of the run")


def read_description(response: Arrays) -> dict[str, Any]:
    """Checks a response of `describe`, and returns what the model says of itself.

    Raises:
      InvalidResponse: it is no description.
    """
    check_response("describe", response)
    try:
        description = json.loads(response["description"][0])
    except (ValueError, RecursionError) as error:
        raise _violation("describe", "a description that is not JSON") from error
    if not (isinstance(description, dict) and isinstance(description.get("weights"), dict)):
        raise _violation("describe", "a description without weights")
    return description


def _violation(signature: str, what: str) -> InvalidResponse:
    return InvalidResponse(f"The response violates the model's contract for `{signature}`: {what}.")
