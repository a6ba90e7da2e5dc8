"""An exported version, run as TensorFlow Serving runs it: a v1 session, by feed and fetch names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

Call = Callable[..., dict[str, Any]]


def session_of(version: Path) -> Call:
    """Returns a function of a signature's name and its inputs by name; its `signatures` are those of the version."""
    config = config_pb2.ConfigProto()
    # Rewritten once in place of twice, as in the embedded server: a first call is a fifth cheaper.
    config.graph_options.rewrite_options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        # TensorFlow calls its own v1 loader deprecated; TensorFlow Serving uses it.
        model = tf.compat.v1.saved_model.load(session, ["serve"], str(version))

    def run(name: str, /, **inputs: Any) -> dict[str, Any]:
        signature = model.signature_def[name]
        feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
        return session.run({key: tensor.name for key, tensor in signature.outputs.items()}, feeds)

    run.signatures = model.signature_def  # type: ignore[attr-defined]
    return run
