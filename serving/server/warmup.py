"""Replays the requests that a SavedModel brings along, so that the first caller does not pay for the first run."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from model.warmup import WARMUP_FILE
from serving.errors import InvalidInput, ServingFailed, StyleTransferError
from serving.server import tensors
from serving.server.servable import Servable

MAX_RECORDS = 1000  # tensorflow_model_server refuses more


def replay(servable: Servable, version_path: Path) -> int:
    """Runs each recorded Predict request and returns how many there were; no file is no failure.

    Args:
      servable: the version that is about to serve.
      version_path: its directory; the file is a TFRecord of PredictionLog.

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
                raise InvalidInput(f"the file holds more than {MAX_RECORDS} records")
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            inputs = {alias: tensors.to_array(proto, alias) for alias, proto in request.inputs.items()}
            servable.predict(request.model_spec.signature_name, inputs, request.output_filter)
            done += 1
    except (StyleTransferError, tf.errors.OpError, DecodeError) as error:
        reason = " ".join(str(error).split())
        raise ServingFailed(f"Warm-up request {done} of {path} failed: {reason}") from error
    return done
