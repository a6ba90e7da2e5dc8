"""The served model's signatures: the one table that the graph, the clients and the tests read.

Every input and output is batch-major: B content pictures per call (usually 1), each with S style pictures.
"""

from collections.abc import Mapping
from typing import NamedTuple

PREVIEW_SIZE_PX = 512  # largest long side of `preview_bytes`


class TensorInfo(NamedTuple):
    """One input or output: its name, shape (None: any) and dtype (TensorFlow's name for it)."""

    name: str
    meaning: str
    shape: tuple[int | None, ...] = (None,)
    dtype: str = "string"


class Signature(NamedTuple):
    """The inputs and outputs of one signature of the SavedModel."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


CONTENT = TensorInfo("content_bytes", "an encoded picture: JPEG (turned upright by its Exif data) or PNG")
STYLE = TensorInfo("style_bytes", "S encoded style pictures", (None, None))
CONTENT_MASK = TensorInfo(
    "content_mask_bytes",
    "one mask per style, over the content: white where that style paints, black or transparent elsewhere; empty: all "
    "that the other masks leave",
    (None, None),
)
STYLE_MASK = TensorInfo(
    "style_mask_bytes",
    "one mask per style, over the style picture: white where it counts, black or transparent elsewhere; empty: all of "
    "it",
    (None, None),
)
INITIAL = TensorInfo("initial_bytes", "an encoded picture to start from; empty: start as the setting `start` says")
SETTINGS_TEXT = TensorInfo("settings", "name=value pairs, comma separated; empty: the default preset")
STATE_BYTES = TensorInfo("state_bytes", "the state of the run; as an input, empty: start a new run")
TAKE_STEPS = TensorInfo("take_steps", "steps to take in this call; 0 only renders `image_bytes`", dtype="int32")

IMAGE = TensorInfo("image_bytes", "the result as PNG")
IMAGE_IF_ASKED = TensorInfo("image_bytes", "the picture as PNG if the run is over or `take_steps` is 0, else empty")
PREVIEW = TensorInfo("preview_bytes", f"the picture as JPEG, at most {PREVIEW_SIZE_PX} pixels long")
LOSSES = TensorInfo(
    "losses", "a row per step: total, content, style, total_variation; NaN: no step", (None, None, 4), "float32"
)
STEP = TensorInfo("step", "steps taken since the start of the run", dtype="int32")
STEPS = TensorInfo("steps", "steps of the whole run", dtype="int32")
PROGRESS = TensorInfo("progress", "fraction of the run's work that is done, 0 to 1", dtype="float32")
CONVERGED, NOT_FINITE = "converged", "not_finite"
STOPPED = TensorInfo(
    "stopped",
    f"why the run ended before its last step: {CONVERGED} (L-BFGS finds no lower loss) or {NOT_FINITE} (a loss was not "
    "finite; the result is the picture before that step, at the size the run had reached); else empty",
)
DESCRIPTION = TensorInfo("description", "the model and the settings in full, as JSON")

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
