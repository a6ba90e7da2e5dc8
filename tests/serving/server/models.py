"""SavedModels that the tests serve: a classic of TensorFlow Serving's own tests, and one of many signatures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from model.warmup import WARMUP_FILE


def half_plus_two(base: Path, version: str = "123", offset: float = 2.0) -> None:
    """y = x / 2 + offset on x of shape [-1, 1], made as TF1 makes it: variables, a Saver, no objects."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 1], "x")
        slope = v1.get_variable("slope", initializer=0.5, use_resource=False)
        y = tf.identity(x * slope + offset, "y")
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(base / version))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()


def zoo(base: Path, version: str = "1") -> None:
    """One TF2-style model with a signature for each thing to test.

    identity_DTYPE: x [...] -> y; identity_bytes: string -> y_bytes. two: a float [B], b string [B] -> c = 2 a,
    d_bytes = b. ragged: x [B] -> y [B], z [1]. scalar: x [] -> y [] = x + 1. slow: seconds float [] -> y, a loop that
    watches the clock. careful: x string [B] -> y, an assertion that x is short. measure: x string [] -> length [] of x.
    """
    signatures = {}

    def add(name: str, function, **inputs: tuple[list[int | None] | None, tf.DType]) -> None:
        specs = [tf.TensorSpec(shape, dtype, alias) for alias, (shape, dtype) in inputs.items()]
        signatures[name] = tf.function(function, input_signature=specs)

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
    tf.saved_model.save(module, str(base / version), signatures=signatures)


def request(model: str, signature: str, outputs: tuple[str, ...] = (), **inputs: Any) -> predict_pb2.PredictRequest:
    return predict_pb2.PredictRequest(
        model_spec={"name": model, "signature_name": signature},
        inputs={name: tf.make_tensor_proto(value) for name, value in inputs.items()},
        output_filter=outputs,
    )


def write_warmup(version_path: Path, requests: Sequence[predict_pb2.PredictRequest]) -> None:
    """Adds warm-up requests to a version directory."""
    path = version_path / WARMUP_FILE
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def _watch_the_clock(seconds: tf.Tensor) -> dict[str, tf.Tensor]:
    start = tf.timestamp()
    end = start + tf.cast(seconds, tf.float64)
    (now,) = tf.while_loop(lambda now: now < end, lambda now: (tf.timestamp(),), (start,))
    return {"y": now >= end}


def _be_careful(x: tf.Tensor) -> dict[str, tf.Tensor]:
    short = tf.reduce_all(tf.strings.length(x) < 5)
    with tf.control_dependencies([tf.debugging.Assert(short, ["`x` must be short. Received: ", x])]):
        return {"y": tf.identity(x)}
