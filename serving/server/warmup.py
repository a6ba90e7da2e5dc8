"""Replays the requests that a SavedModel brings along, so that the first caller does not pay for the first run."""

from __future__ import annotations

import logging
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from model.warmup import WARMUP_FILE
from serving.errors import InvalidInput, ServingFailed, StyleTransferError
from serving.server import tensor_proto
from serving.server.servable import Servable

MAX_RECORDS = 1000  # tensorflow_model_server refuses more

log = logging.getLogger(__name__)


def replay(servable: Servable, version_path: Path, iterations: int = 1) -> int:
    """Runs each recorded request and returns how many there were; no file is no failure.

    Args:
      servable: the version that is about to serve.
      version_path: its directory; the file is a TFRecord of PredictionLog.
      iterations: how often each request is run.

    Raises:
      StyleTransferError: a record is damaged or its run failed. As in TensorFlow Serving, the version must not serve.
    """
    path = version_path / WARMUP_FILE
    if not path.is_file():
        return 0
    done = 0
    try:
        # Not tf.data: that would start the eager runtime, and take a second share of the GPU's memory.
        for record in tf.compat.v1.io.tf_record_iterator(str(path)):
            if done == MAX_RECORDS:
                raise InvalidInput(f"it holds more than {MAX_RECORDS} records")
            for _ in range(iterations):
                _replay_record(servable, record)
            done += 1
    except (StyleTransferError, tf.errors.OpError, DecodeError) as error:
        reason = " ".join(str(error).split())
        raise ServingFailed(f"Warm-up request {done} of {path} failed: {reason}") from error
    return done


def _replay_record(servable: Servable, record: bytes) -> None:
    entry = prediction_log_pb2.PredictionLog.FromString(record)
    kind = entry.WhichOneof("log_type")
    if kind != "predict_log":
        log.warning("Warm-up record of type %s left out: only predict_log is replayed.", kind)
        return
    request = entry.predict_log.request
    inputs = {alias: tensor_proto.decode(proto, alias) for alias, proto in request.inputs.items()}
    servable.predict(request.model_spec.signature_name, inputs, request.output_filter)
