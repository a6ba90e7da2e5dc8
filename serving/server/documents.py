"""Status and metadata: built once as the official protos, sent as they are or as JSON; and what is left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.server.manager import VersionStatus
from serving.server.servable import Servable

SIGNATURE_DEF = "signature_def"  # the one metadata field that TensorFlow Serving knows


def left_out(what: str) -> str:
    """Returns the sentence for a request of what TensorFlow Serving has and this server has not."""
    return (
        f"{what} is not part of this server, which has Predict, metadata and status of one model. "
        "tensorflow_model_server, which serves the same SavedModel, has the rest of TensorFlow Serving."
    )


def status_response(versions: Iterable[VersionStatus]) -> get_model_status_pb2.GetModelStatusResponse:
    """Returns the answer to GetModelStatus."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in versions:
        entry = response.model_version_status.add(version=version.version)
        entry.state = get_model_status_pb2.ModelVersionStatus.State.Value(version.state)
        entry.status.error_code = error_codes_pb2.Code.Value(version.code)
        entry.status.error_message = version.message
    return response


def metadata_response(name: str, servable: Servable) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Returns the answer to GetModelMetadata: every signature of the version."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = servable.version
    response.metadata[SIGNATURE_DEF].Pack(_signatures(servable))
    return response


def status_document(versions: Iterable[VersionStatus]) -> dict[str, Any]:
    """Returns the JSON of GET /v1/models/NAME."""
    return _as_dict(status_response(versions))


def metadata_document(name: str, servable: Servable) -> dict[str, Any]:
    """Returns the JSON of GET /v1/models/NAME/metadata."""
    # Not the Any of the gRPC answer: TensorFlow Serving prints the map itself, without a type URL.
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(servable.version)},
        "metadata": {SIGNATURE_DEF: _as_dict(_signatures(servable))},
    }


def _signatures(servable: Servable) -> Message:
    return get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signatures)


def _as_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
