"""What must hold of an answer before anything relies on it, whatever server gave it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from model.contract import SIGNATURES, TensorInfo
from serving.errors import InvalidAnswer

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"

Answer = Mapping[str, npt.NDArray[Any]]


def check_answer(signature: str, answer: Answer, batch: int = 1) -> None:
    """Checks names, dtypes and shapes against the contract.

    Args:
      signature: its name.
      answer: what a transport returned.
      batch: pictures in the call.

    Raises:
      InvalidAnswer: an output is missing, or of another dtype or shape.
    """
    for tensor in SIGNATURES[signature].outputs:
        if tensor.name not in answer:
            raise _wrong(signature, f"{tensor.name} missing")
        _check_tensor(signature, answer[tensor.name], tensor, batch)


def _check_tensor(signature: str, value: npt.NDArray[Any], tensor: TensorInfo, batch: int) -> None:
    dtype = "object" if tensor.dtype == "string" else tensor.dtype
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        raise _wrong(signature, f"{tensor.name} must be {tensor.dtype}")
    if dtype == "object" and not all(isinstance(item, bytes) for item in value.flat):
        raise _wrong(signature, f"{tensor.name} must be strings")
    expected = (batch, *tensor.shape[1:])
    fits = value.ndim == len(expected) and all(
        want in (None, got) for want, got in zip(expected, value.shape, strict=True)
    )
    if not fits:
        raise _wrong(signature, f"{tensor.name} has the shape {list(value.shape)}")


def check_stretch(signature: str, answer: Answer, *, before: int | None, take: int) -> None:
    """Checks an answer of `advance` or its guided form for one picture: it must have gone as far as it was asked to.

    Further is right too: a size that ends early hands over to the next. And less, where it says why the run is over.

    Args:
      signature: its name.
      answer: what a transport returned.
      before: steps taken before the call; None: unknown, as for a state from elsewhere.
      take: steps that were asked for.

    Raises:
      InvalidAnswer: it stands elsewhere, or what it must hold there is missing.
    """
    check_answer(signature, answer)
    step, steps, share, stopped = (answer[name][0] for name in ("step", "steps", "progress", "stopped"))
    least = max(before or 0, 0 if stopped else min((before or 0) + take, steps))
    if (
        step < least
        or (step > steps and before not in (None, step))
        or (take == 0 and before not in (None, step))
        or steps < 1
    ):
        raise _wrong(signature, f"step {step} of {steps} after {take} more from {before}")
    if not 0 <= share <= 1:
        raise _wrong(signature, f"progress {share}")
    if not answer["state_bytes"][0]:
        raise _wrong(signature, "state_bytes is empty")
    if not answer["preview_bytes"][0].startswith(_JPEG):
        raise _wrong(signature, "preview_bytes is no JPEG")
    image = answer["image_bytes"][0]
    if image and not image.startswith(_PNG):
        raise _wrong(signature, "image_bytes is no PNG")
    if not image and (take == 0 or step >= steps or stopped):
        raise _wrong(signature, "image_bytes is empty at the end of the run")


def _wrong(signature: str, what: str) -> InvalidAnswer:
    return InvalidAnswer(f"The server's answer is none of `{signature}`: {what}.")
