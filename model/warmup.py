"""Warm-up requests: what a server runs before it serves a version, so that the first caller does not wait for it.

TensorFlow Serving replays VERSION/assets.extra/tf_serving_warmup_requests, a TFRecord of PredictionLog, when it loads a
version, and refuses the version if one of them fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from model import settings
from model.contract import SETTINGS_TEXT, SIGNATURES, Signature, TensorInfo
from model.protos import DATA_TYPES, PredictionLog

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"

WARMED = ("describe", "advance")
"""What the page, the command line and the client call. TensorFlow builds each signature's graph apart, at 6 to 7.5 s of
a core for those that paint: a start takes 11 s of a core with these two, and would take 32 s with the other three that
take settings. `serving_default` takes none, and would paint a whole picture of the default recipe, 27 s more."""

SIZE = settings.SETTINGS["size"].default
RECIPE = f"size={SIZE},smallest_size={SIZE},steps=2"
"""A step at the default size, in the shape of a camera's picture: memory and kernels for it are there from then on.
Where a tiny picture's step was all that came before, the first call at that size took 1.16 to 1.23 of the second's
time, now 1.08 to 1.11; a start takes half a second more on two cores."""

PICTURE_PX = (48, 64)  # height, width; the recipe enlarges it
PICTURE_SUFFIXES = ("content_bytes", "style_bytes")


def write(version: Path) -> None:
    """Writes the requests of `requests` into a version's directory."""
    path = version / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests():
            writer.write(request.SerializeToString(deterministic=True))


def requests() -> list[Any]:
    """Returns a PredictionLog for each signature in WARMED."""
    return [request_of(SIGNATURES[name]) for name in WARMED]


def request_of(signature: Signature) -> Any:
    """Returns a PredictionLog that runs a signature at the cost of one step at most."""
    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature.name
    for tensor in signature.inputs:
        _fill(request.inputs[tensor.name], tensor)
    return log


def _fill(proto: Any, tensor: TensorInfo) -> None:
    """Writes one element: a picture, the recipe, nothing, or the number 1."""
    proto.dtype = DATA_TYPES[tensor.dtype]
    for _ in tensor.shape:
        proto.tensor_shape.dim.add(size=1)
    if tensor.dtype != "string":
        {"int32": proto.int_val, "float32": proto.float_val}[tensor.dtype].append(1)
    elif tensor.name.endswith(PICTURE_SUFFIXES):
        proto.string_val.append(_picture())
    else:
        proto.string_val.append(RECIPE.encode() if tensor == SETTINGS_TEXT else b"")


def _picture() -> bytes:
    """Returns a PNG of two crossed ramps."""
    ramps = [tf.cast(tf.linspace(0.0, 255.0, length), tf.uint8) for length in PICTURE_PX]
    rows, columns = tf.meshgrid(*ramps, indexing="ij")
    return bytes(tf.io.encode_png(tf.stack([rows, columns, 255 - rows], -1)).numpy())
