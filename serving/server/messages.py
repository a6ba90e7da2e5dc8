"""The status and metadata documents: built once as the official protos, sent as they are or as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    regression_pb2,
)

from serving.server.servable import Servable
from serving.server.states import VersionStatus

SIGNATURE_DEF = "signature_def"  # the one metadata field that TensorFlow Serving knows


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
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signatures)
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def fill_classes(result: classification_pb2.ClassificationResult, classes: Any) -> None:
    """Writes the classes of each example."""
    for pairs in classes:
        entry = result.classifications.add()
        for label, score in pairs:
            entry.classes.add(label=label, score=score)


def fill_values(result: regression_pb2.RegressionResult, values: Any) -> None:
    """Writes the value of each example."""
    for value in values:
        result.regressions.add(value=value)


def status_document(versions: Iterable[VersionStatus]) -> dict[str, Any]:
    """Returns the JSON of GET /v1/models/NAME."""
    return _as_dict(status_response(versions))


def metadata_document(name: str, servable: Servable) -> dict[str, Any]:
    """Returns the JSON of GET /v1/models/NAME/metadata."""
    # Not the Any of the gRPC answer: TensorFlow Serving prints the map itself, without a type URL.
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signatures)
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(servable.version)},
        "metadata": {SIGNATURE_DEF: _as_dict(signatures)},
    }


def _as_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
