"""The SavedModel that the tests serve, and requests to it."""

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2


def zoo(path: Path) -> None:
    """A model with a signature for each thing to test.

    serving_default: x [B, 1] -> y = x / 2 + 2. identity_DTYPE: x [...] -> y; identity_bytes: string -> y_bytes.
    two: a float [B], b string [B] -> c = 2 a, d_bytes = b. ragged: x [B] -> y [B], z [1]. scalar: x [] -> y [] = x + 1.
    slow: seconds float [] -> y, a loop that watches the clock. careful: x string [B] -> y, an assertion that x is
    short. measure: x string [] -> length [] of x.
    """
    signatures = {}

    def add(name: str, function, **inputs: tuple[list[int | None] | None, tf.DType]) -> None:
        specs = [tf.TensorSpec(shape, dtype, alias) for alias, (shape, dtype) in inputs.items()]
        signatures[name] = tf.function(function, input_signature=specs)

    add("serving_default", lambda x: {"y": x / 2 + 2}, x=([None, 1], tf.float32))
    for dtype in (tf.float32, tf.float16, tf.int32, tf.string):
        add(f"identity_{dtype.name}", lambda x: {"y": tf.identity(x)}, x=(None, dtype))
    add("identity_bytes", lambda x: {"y_bytes": tf.identity(x)}, x=(None, tf.string))
    add("two", lambda a, b: {"c": 2 * a, "d_bytes": tf.identity(b)}, a=([None], tf.float32), b=([None], tf.string))
    add("ragged", lambda x: {"y": tf.identity(x), "z": x[:1]}, x=([None], tf.float32))
    add("scalar", lambda x: {"y": x + 1}, x=([], tf.float32))
    add("slow", _watch_the_clock, seconds=([], tf.float32))
    add("careful", _be_careful, x=([None], tf.string))
    add("measure", lambda x: {"length": tf.strings.length(x)}, x=([], tf.string))
    module = tf.Module()
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(path), signatures=signatures)


def request(signature: str = "", outputs: tuple[str, ...] = (), **inputs: Any) -> predict_pb2.PredictRequest:
    return predict_pb2.PredictRequest(
        model_spec={"name": "zoo", "signature_name": signature},
        inputs={name: tf.make_tensor_proto(value) for name, value in inputs.items()},
        output_filter=outputs,
    )


def _watch_the_clock(seconds: tf.Tensor) -> dict[str, tf.Tensor]:
    start = tf.timestamp()
    end = start + tf.cast(seconds, tf.float64)
    (now,) = tf.while_loop(lambda now: now < end, lambda now: (tf.timestamp(),), (start,))
    return {"y": now >= end}


def _be_careful(x: tf.Tensor) -> dict[str, tf.Tensor]:
    short = tf.reduce_all(tf.strings.length(x) < 5)
    with tf.control_dependencies([tf.debugging.Assert(short, ["`x` must be short. Received: ", x])]):
        return {"y": tf.identity(x)}
