"""TensorFlow Serving's messages: tensors and warm-up requests in, status and signatures out, and what is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, prediction_log_pb2

from model.warmup import WARMUP_FILE
from serving.errors import InvalidInput, ServingFailed, StyleTransferError
from serving.server.manager import Version
from serving.server.servable import Array, Servable

SIGNATURE_DEF = "signature_def"  # the one metadata field that TensorFlow Serving knows

# A proto may declare more elements than it carries (the last one is repeated). A few bytes could so claim all memory.
MAX_REPEATED_ELEMENTS = 1 << 22
MAX_WARMUP_RECORDS = 1000  # tensorflow_model_server refuses more


def to_arrays(protos: Mapping[str, Any]) -> dict[str, Array]:
    """Returns the arrays that TensorProtos hold, in typed fields or in `tensor_content`, by the same aliases.

    Raises:
      InvalidInput: a proto contradicts itself, or holds what NumPy cannot; the text has its alias.
    """
    arrays = {}
    for alias, proto in protos.items():
        dims = [dim.size for dim in proto.tensor_shape.dim]
        count = math.prod(dims)
        try:
            # An element takes a byte or more.
            if min(dims, default=0) < 0 or (count > MAX_REPEATED_ELEMENTS and proto.ByteSize() < count):
                raise ValueError
            arrays[alias] = tf.make_ndarray(proto)
        except (ValueError, TypeError, KeyError, OverflowError, MemoryError):
            raise InvalidInput(f"tensor parsing error: {alias}") from None
    return arrays


def replay_warmup(servable: Servable, version_path: Path) -> int:
    """Runs the Predict requests that a SavedModel brings along, so that the first caller does not wait.

    Args:
      servable: the version that is about to serve.
      version_path: its directory; the file is a TFRecord of PredictionLog.

    Returns:
      How many there were; no file is no failure.

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
            if done == MAX_WARMUP_RECORDS:
                raise InvalidInput(f"the file holds more than {MAX_WARMUP_RECORDS} records")
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            servable.predict(request.model_spec.signature_name, to_arrays(request.inputs), request.output_filter)
            done += 1
    except (StyleTransferError, tf.errors.OpError, DecodeError) as error:
        reason = " ".join(str(error).split())
        raise ServingFailed(f"Warm-up request {done} of {path} failed: {reason}") from error
    return done


def status_response(versions: Iterable[Version]) -> get_model_status_pb2.GetModelStatusResponse:
    """Returns the answer to GetModelStatus."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in versions:
        entry = response.model_version_status.add(version=version.number)
        entry.state = get_model_status_pb2.ModelVersionStatus.State.Value(version.state)
        entry.status.error_code = error_codes_pb2.Code.Value(version.error.code if version.error else "OK")
        entry.status.error_message = str(version.error or "")
    return response


def signatures(servable: Servable) -> get_model_metadata_pb2.SignatureDefMap:
    """Returns every signature of a version."""
    return get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signatures)


def as_dict(message: Message) -> dict[str, Any]:
    """Returns a message as TensorFlow Serving writes it in JSON."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def left_out(what: str) -> str:
    """Returns the error's text for what TensorFlow Serving can do and this server cannot."""
    return (
        f"{what} is not part of this server, which has Predict, metadata and status of one model. "
        "tensorflow_model_server, which serves the same SavedModel, has the rest of TensorFlow Serving."
    )
