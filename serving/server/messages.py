"""Conversions from and to TensorFlow Serving's messages, and the replay of warm-up requests."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, prediction_log_pb2

from model.warmup import WARMUP_FILE
from serving.errors import InvalidInput, ServingFailed, StyleTransferError
from serving.server.manager import Version
from serving.server.servable import Array, Servable

SIGNATURE_DEF = "signature_def"  # TensorFlow Serving's only metadata field

# A TensorProto may declare more elements than it has (the last one is repeated): a few bytes could allocate all memory.
MAX_REPEATED_ELEMENTS = 1 << 22
MAX_WARMUP_RECORDS = 1000  # tensorflow_model_server refuses more


def to_arrays(protos: Mapping[str, Any]) -> dict[str, Array]:
    """Returns the arrays of TensorProtos, from typed fields or `tensor_content`, by alias.

    Raises InvalidInput, which has the alias, if one is inconsistent or NumPy cannot hold it.
    """
    arrays = {}
    for alias, proto in protos.items():
        dims = [dim.size for dim in proto.tensor_shape.dim]
        count = math.prod(dims)
        try:
            # Every element that is sent takes a byte or more.
            if min(dims, default=0) < 0 or (count > MAX_REPEATED_ELEMENTS and proto.ByteSize() < count):
                raise ValueError
            arrays[alias] = tf.make_ndarray(proto)
        except (ValueError, TypeError, KeyError, OverflowError, MemoryError):
            raise InvalidInput(f"tensor parsing error: {alias}") from None
    return arrays


def replay_warmup(servable: Servable, version_path: Path) -> int:
    """Runs a SavedModel's own warm-up requests, so the first caller does not wait; returns their number.

    Their file in the version's directory, a TFRecord of PredictionLog, may be missing.

    Raises:
      StyleTransferError: a record is damaged or its run failed. As in TensorFlow Serving, the version must not serve.
    """
    path = version_path / WARMUP_FILE
    if not path.is_file():
        return 0
    done = 0
    try:
        # Not tf.data: it would start the eager runtime, which takes GPU memory of its own.
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
    """Returns the response to GetModelStatus."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in versions:
        entry = response.model_version_status.add(version=version.number)
        entry.state = get_model_status_pb2.ModelVersionStatus.State.Value(version.state)
        entry.status.error_code = error_codes_pb2.Code.Value(version.error.code if version.error else "OK")
        entry.status.error_message = str(version.error or "")
    return response


def signatures(servable: Servable) -> get_model_metadata_pb2.SignatureDefMap:
    """Returns all signatures of a version."""
    return get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signatures)


def as_dict(message: Message) -> dict[str, Any]:
    """Returns a message in TensorFlow Serving's JSON form."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def left_out(what: str) -> str:
    """Returns the error for a feature of TensorFlow Serving that this server does not have."""
    return (
        f"{what} is not supported by this server, which has Predict, metadata and status of one model. "
        "Use tensorflow_model_server, which serves the same SavedModel."
    )
