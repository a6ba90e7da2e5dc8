"""The served model's signatures: the one table that the graph, the clients and the tests read.

Every input and output is batch-major: B content pictures in a call (mostly 1), S style pictures for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

PREVIEW_SIZE_PX = 512  # long side, at most, of `preview_bytes`


@dataclass(frozen=True)
class TensorInfo:
    """One input or output: its name, shape (None: any) and dtype (TensorFlow's name for it)."""

    name: str
    meaning: str
    shape: tuple[int | None, ...] = (None,)
    dtype: str = "string"


class Signature(NamedTuple):
    """What a signature of the SavedModel takes and returns."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


CONTENT = TensorInfo("content_bytes", "an encoded picture: JPEG (turned upright by its Exif data) or PNG")
STYLE = TensorInfo("style_bytes", "S encoded pictures whose style is taken", (None, None))
CONTENT_MASK = TensorInfo(
    "content_mask_bytes",
    "for each style a picture that is white where that style paints, black or transparent where not; empty: what the "
    "others leave, or everywhere",
    (None, None),
)
STYLE_MASK = TensorInfo(
    "style_mask_bytes",
    "for each style a picture that is white where it counts, black or transparent where not; empty: all of it",
    (None, None),
)
INITIAL = TensorInfo("initial_bytes", "an encoded picture to start from; empty: as `start` says")
SETTINGS_TEXT = TensorInfo("settings", "name=value pairs, comma separated; empty: the default preset")
STATE_BYTES = TensorInfo("state_bytes", "where the run stands; empty: at its start")
TAKE_STEPS = TensorInfo("take_steps", "steps to take in this call; 0 only renders `image_bytes`", dtype="int32")

IMAGE = TensorInfo("image_bytes", "the result as PNG")
IMAGE_IF_ASKED = TensorInfo("image_bytes", "the picture as PNG: when the run is over or `take_steps` is 0, else empty")
PREVIEW = TensorInfo("preview_bytes", f"the picture as JPEG, at most {PREVIEW_SIZE_PX} pixels long")
LOSSES = TensorInfo(
    "losses", "per step: total, content, style, total_variation; NaN: no step", (None, None, 4), "float32"
)
STEP = TensorInfo("step", "steps taken since the start of the run", dtype="int32")
STEPS = TensorInfo("steps", "steps of the whole run", dtype="int32")
PROGRESS = TensorInfo("progress", "share of the whole run's work that is done, 0 to 1", dtype="float32")
CONVERGED, NOT_FINITE = "converged", "not_finite"
STOPPED = TensorInfo(
    "stopped",
    f"why the run is over before its last step: {CONVERGED} (L-BFGS finds no lower loss), or {NOT_FINITE} (a loss was "
    "not; the last finite picture is kept, smaller than `size` if the run had not come to its last size); else empty",
)
DESCRIPTION = TensorInfo("description", "what the model is and the settings in full, as JSON")

_RECIPE = (CONTENT, STYLE, SETTINGS_TEXT)
_GUIDED = (CONTENT, STYLE, CONTENT_MASK, STYLE_MASK, INITIAL, SETTINGS_TEXT)
_RESUMED = (STATE_BYTES, TAKE_STEPS)
_RESULT = (IMAGE, LOSSES, STOPPED)
_CHUNK = (STATE_BYTES, PREVIEW, IMAGE_IF_ASKED, LOSSES, STEP, STEPS, PROGRESS, STOPPED)

SIGNATURES: Mapping[str, Signature] = {
    "serving_default": Signature((CONTENT, STYLE), (IMAGE,)),
    "stylize": Signature(_RECIPE, _RESULT),
    "stylize_guided": Signature(_GUIDED, _RESULT),
    "advance": Signature((*_RECIPE, *_RESUMED), _CHUNK),
    "advance_guided": Signature((*_GUIDED, *_RESUMED), _CHUNK),
    "describe": Signature((SETTINGS_TEXT,), (DESCRIPTION,)),
}
