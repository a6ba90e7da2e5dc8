"""SavedModels that the tests serve: the classics of TensorFlow Serving's own tests, and one of many signatures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from model.warmup import WARMUP_FILE

IDENTITY_DTYPES = (
    *(tf.float32, tf.float64, tf.float16, tf.bfloat16, tf.complex64, tf.bool, tf.string),
    *(tf.int8, tf.uint8, tf.int16, tf.int32, tf.uint32, tf.int64, tf.uint64),
)


def half_plus_two(base: Path, version: str = "123") -> Path:
    """y = x / 2 + 2 on x of shape [-1, 1], made as TF1 makes it: variables, a Saver, no objects."""
    return _tf1_model(base, version, 2.0)


def half_plus_three(base: Path, version: str = "1") -> Path:
    """y = x / 2 + 3, for telling two models apart."""
    return _tf1_model(base, version, 3.0)


def zoo(base: Path, version: str = "1") -> Path:
    """One TF2-style model with a signature for each thing to test.

    identity_DTYPE: x [...] -> y, for every dtype; identity_bytes: string -> y_bytes.
    two: a float [B], b string [B] -> c = 2 a, d_bytes = b. ragged: x [B] -> y [B], z [1]. scalar: x [] -> y [].
    default: x float [B], n int32 [] = 3 -> y = x + n. slow: seconds float [] -> y, a loop that watches the clock.
    careful: x [B] -> y, an assertion that x is below 5. measure: x string [] -> length [] of x.
    """
    module = tf.Module()
    signatures = {}

    def add(name: str, function, *specs: tf.TensorSpec) -> None:
        signatures[name] = tf.function(function, input_signature=list(specs))

    for dtype in IDENTITY_DTYPES:
        add(f"identity_{dtype.name}", lambda x: {"y": tf.identity(x)}, tf.TensorSpec(None, dtype, "x"))
    add("identity_bytes", lambda x: {"y_bytes": tf.identity(x)}, tf.TensorSpec(None, tf.string, "x"))
    add(
        "two",
        lambda a, b: {"c": 2 * a, "d_bytes": tf.identity(b)},
        tf.TensorSpec([None], tf.float32, "a"),
        tf.TensorSpec([None], tf.string, "b"),
    )
    add("ragged", lambda x: {"y": tf.identity(x), "z": x[:1]}, tf.TensorSpec([None], tf.float32, "x"))
    add("scalar", lambda x: {"y": x + 1}, tf.TensorSpec([], tf.float32, "x"))
    add("slow", _watch_the_clock, tf.TensorSpec([], tf.float32, "seconds"))
    add("careful", _be_careful, tf.TensorSpec([None], tf.float32, "x"))
    add("measure", lambda x: {"length": tf.strings.length(x)}, tf.TensorSpec([], tf.string, "x"))

    three = tf.constant(3)  # a tensor: a plain 3 would not be exported as the signature's default

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x"), tf.TensorSpec([], tf.int32, "n")])
    def with_default(x: tf.Tensor, n: tf.Tensor = three) -> dict[str, tf.Tensor]:
        return {"y": x + tf.cast(n, tf.float32)}

    signatures["default"] = with_default
    module.functions = list(signatures.values())
    path = base / version
    tf.saved_model.save(module, str(path), signatures=signatures)
    return base


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
    (count,) = tf.while_loop(
        lambda count: tf.timestamp() - start < tf.cast(seconds, tf.float64),
        lambda count: (count + 1,),
        (tf.constant(0, tf.int64),),
        parallel_iterations=1,
    )
    return {"y": count > 0}


def _be_careful(x: tf.Tensor) -> dict[str, tf.Tensor]:
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x < 5), ["`x` must be below 5. Received: ", x])]):
        return {"y": tf.identity(x)}


def _tf1_model(base: Path, version: str, offset: float) -> Path:
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
    return base
