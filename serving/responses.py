"""Checks of responses: no other code relies on an unchecked one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from model.contract import SIGNATURES
from model.settings import SETTINGS, StyleSettings
from serving.errors import InvalidResponse
from serving.wire import Arrays


@dataclass(frozen=True)
class WeightsInfo:
    """The weights of a model: their name, digest, source and credit; `notice` warns if the pictures will be poor."""

    name: str = ""
    digest: str = ""
    source: str = ""
    credit: str = ""
    notice: str = ""


@dataclass(frozen=True)
class Description:
    """What a model says about itself; empty where it says nothing.

    `limits` has the largest `size_px`, `steps`, `styles` and `input_px`, pixels of a picture that is sent. `settings`
    are those that it was asked about, as it reads them: its presets may differ from the client's.
    """

    digest: str = ""  # of weights and precision; models with the same one can resume each other's runs
    weights: WeightsInfo = WeightsInfo()
    layers: tuple[str, ...] = ()  # names of the network's
    precision: str = ""  # of the convolutions, such as `float32`
    device: str = ""  # `CPU` or `GPU`
    tensorflow: str = ""  # version that exported the model
    limits: Mapping[str, int] = field(default_factory=dict)
    settings: StyleSettings = field(default_factory=StyleSettings)


_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


def check_response(signature: str, response: Arrays) -> Arrays:
    """Returns a response for a batch of one if its names, dtypes and shapes agree with the contract.

    Raises InvalidResponse otherwise.
    """
    for tensor in SIGNATURES[signature].outputs:
        value = response.get(tensor.name)
        if value is None:
            raise _violation(signature, f"{tensor.name} missing")
        if not isinstance(value, np.ndarray) or value.dtype != ("object" if tensor.dtype == "string" else tensor.dtype):
            raise _violation(signature, f"{tensor.name} must be {tensor.dtype}")
        shape, found = (1, *tensor.shape[1:]), value.shape
        if len(shape) != len(found) or any(want not in (None, got) for want, got in zip(shape, found, strict=True)):
            raise _violation(signature, f"{tensor.name} has the shape {list(found)}")
    return response


def check_chunk(signature: str, response: Arrays, *, before: int | None, take: int) -> Arrays:
    """Returns a response of `advance` or `advance_guided` for a batch of one if it has taken the steps asked for.

    It may have taken more, if a size converged early, whose other steps count as taken. It may have taken fewer if
    `stopped` says why. `before` is the number of steps taken before the call, None if unknown.

    Raises InvalidResponse if its step is wrong, or an output is missing or wrong for that step.
    """
    check_response(signature, response)
    step, steps, done, stopped = (response[name][0] for name in ("step", "steps", "progress", "stopped"))
    state, preview, image = (response[name][0] for name in ("state_bytes", "preview_bytes", "image_bytes"))
    least = max(before or 0, 0 if stopped else min((before or 0) + take, steps))
    moved = before not in (None, step)
    violations = {
        f"step {step} of {steps} after {take} more from {before}": (
            step < least or steps < 1 or (moved and (step > steps or take == 0))
        ),
        f"progress {done}": not 0 <= done <= 1,
        "state_bytes is empty": not state,
        "preview_bytes is not a JPEG": not preview.startswith(_JPEG),
        "image_bytes is not a PNG": image and not image.startswith(_PNG),
        "image_bytes is empty at the end of the run": not image and (take == 0 or step >= steps or stopped),
    }
    for what, found in violations.items():
        if found:
            raise _violation(signature, what)
    return response


def read_description(response: Arrays, settings: StyleSettings) -> Description:
    """Returns the description in a response of `describe` for these settings, without what this version does not know.

    Raises InvalidResponse if it is not JSON, has no weights, or a value in it is wrong.
    """
    try:
        said = json.loads(check_response("describe", response)["description"][0])
        weights = {one.name: str(said["weights"].get(one.name) or "") for one in fields(WeightsInfo)}
        read = {name: value for name, value in said.get("settings", {}).items() if name in SETTINGS}
        return Description(
            weights=WeightsInfo(**weights),
            layers=tuple(map(str, said.get("layers", ()))),
            limits={str(name): int(most) for name, most in said.get("limits", {}).items()},
            settings=settings.replace(**read),
            **{name: str(said.get(name) or "") for name in ("digest", "precision", "device", "tensorflow")},
        )
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise _violation("describe", f"a description that cannot be read ({error!r:.200})") from error


def _violation(signature: str, what: str) -> InvalidResponse:
    return InvalidResponse(f"The response violates the model's contract for `{signature}`: {what}.")
