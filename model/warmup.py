"""Warm-up requests: a server runs them before it serves a version, so the first caller does not wait.

When TensorFlow Serving loads a version, it replays VERSION/assets.extra/tf_serving_warmup_requests, a TFRecord of
PredictionLog. If one of the requests fails, it refuses the version.
"""

from pathlib import Path

import tensorflow as tf

from model import settings
from model.contract import SIGNATURES

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"

WARMED = ("describe", "advance")
"""The signatures that the page, the command line and the client call. Each other signature would add 7 s of CPU time to
a server's start; `serving_default`, which takes no settings, even a whole run."""

SIZE = settings.SETTINGS["size"].default
RECIPE = f"size={SIZE},smallest_size={SIZE},steps=2"
"""One of its steps is taken: memory and kernels for a 4:3 picture of the default size are ready from then on."""


def write(version: Path) -> None:
    """Writes a request for each signature in WARMED into a version's directory.

    They are encoded by hand, with the field numbers of tensorflow_serving/apis/{model,predict,prediction_log}.proto.
    The package with the messages, `tensorflow-serving-api`, would add TensorFlow's GPU kernels to the export image.
    """
    values = {
        "content_bytes": _picture(),
        "style_bytes": _picture(),
        "settings": RECIPE.encode(),
        "state_bytes": b"",
        "take_steps": 1,
    }
    path = version / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name in WARMED:
            request = _field(1, _field(3, name.encode()))  # model_spec { signature_name }
            for tensor in SIGNATURES[name].inputs:
                proto = tf.make_tensor_proto(values[tensor.name], tensor.dtype, [1] * len(tensor.shape))
                request += _field(2, _field(1, tensor.name.encode()) + _field(2, proto.SerializeToString()))  # inputs
            writer.write(_field(6, _field(1, request)))  # predict_log { request }


def _field(number: int, content: bytes) -> bytes:
    """Returns a protobuf field with text, bytes or a message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Returns a protobuf varint: seven bits a byte, the lowest first; the eighth bit marks that more bytes follow."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + _varint(number >> 7)


def _picture() -> bytes:
    """Returns a PNG of two crossed ramps, 64x48 pixels."""
    ramps = [tf.cast(tf.linspace(0.0, 255.0, length), tf.uint8) for length in (48, 64)]
    rows, columns = tf.meshgrid(*ramps, indexing="ij")
    return bytes(tf.io.encode_png(tf.stack([rows, columns, 255 - rows], -1)).numpy())
