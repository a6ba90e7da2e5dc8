"""What can follow on a result: more steps at its size, or a larger picture that is made from it."""

from __future__ import annotations

import dataclasses

from model.limits import MAX_SIZE_PX
from serving.files import sha256
from serving.request import Request

REFINE_STEPS = 40
LARGER_STEPS = 32  # over two sizes
GROWTH = 2  # of the long side


def refined(request: Request, result: bytes) -> Request:
    """Returns a request for more steps from a result, at its size alone."""
    return _from(request, result, size=request.settings.size, steps=REFINE_STEPS)


def enlarged(request: Request, result: bytes) -> Request | None:
    """Returns a request that goes on from a result at a higher resolution, or None where it is as large as can be."""
    size = min(GROWTH * request.settings.size, MAX_SIZE_PX)
    return _from(request, result, size=size, steps=LARGER_STEPS) if size > request.settings.size else None


def _from(request: Request, result: bytes, *, size: int, steps: int) -> Request:
    # A result holds all that was found up to its own size: the sizes that are left are those above it.
    smallest = min(request.settings.size + 1, size)
    return dataclasses.replace(
        request,
        settings=request.settings.replace(size=size, steps=steps, smallest_size=smallest),
        initial=result,
        sha256={**request.sha256, "initial": (sha256(result),)},
    )
