"""Which versions of a model a server has ready, over TensorFlow Serving's own status calls. Imports no TensorFlow."""

from __future__ import annotations

import grpc
import requests

from serving.contract import GRPC_OPTIONS, MODEL_NAME
from serving.errors import InvalidAnswer, ServingUnavailable
from serving.protos import build_messages

_METHOD = "/tensorflow.serving.ModelService/GetModelStatus"
_AVAILABLE = 30  # ModelVersionStatus.State in tensorflow_serving/apis/get_model_status.proto
_MESSAGES = build_messages(
    "style_transfer.status",
    {
        "ModelSpec": {"name": (1, "STRING")},
        "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
        "ModelVersionStatus": {"version": (1, "INT64"), "state": (2, "INT32")},
        "GetModelStatusResponse": {"model_version_status": (1, "ModelVersionStatus[]")},
    },
)


def served_versions(server: str, model_name: str = MODEL_NAME, *, timeout_s: float = 10.0) -> list[int]:
    """Returns the versions that a server answers for, the newest first; it answers with that one unless told otherwise.

    Args:
      server: `grpc://HOST:PORT` or `http(s)://HOST:PORT`.
      model_name: the servable's name.
      timeout_s: longest time to wait.

    Raises:
      ServingUnavailable: it does not answer, or knows no such model.
      InvalidAnswer: it answers what is no status.
    """
    scheme, _, address = server.partition("://")
    states = _by_grpc(address, model_name, timeout_s) if scheme == "grpc" else _by_rest(server, model_name, timeout_s)
    return sorted((version for version, available in states if available), reverse=True)


def _by_grpc(address: str, model_name: str, timeout_s: float) -> list[tuple[int, bool]]:
    request = _MESSAGES["GetModelStatusRequest"](model_spec={"name": model_name})
    with grpc.insecure_channel(address, options=GRPC_OPTIONS) as channel:
        call = channel.unary_unary(
            _METHOD,
            request_serializer=type(request).SerializeToString,
            response_deserializer=_MESSAGES["GetModelStatusResponse"].FromString,
        )
        try:
            answer = call(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise ServingUnavailable(f"grpc://{address} gave no status of the model: {error.code().name}.") from error
    return [(status.version, status.state == _AVAILABLE) for status in answer.model_version_status]


def _by_rest(server: str, model_name: str, timeout_s: float) -> list[tuple[int, bool]]:
    try:
        answer = requests.get(f"{server.rstrip('/')}/v1/models/{model_name}", timeout=timeout_s)
    except requests.RequestException as error:
        raise ServingUnavailable(f"{server} gave no status of the model.") from error
    if not answer.ok:
        raise ServingUnavailable(f"{server} gave no status of the model: HTTP {answer.status_code}.")
    try:
        statuses = answer.json()["model_version_status"]
        return [(int(status["version"]), status["state"] == "AVAILABLE") for status in statuses]
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidAnswer(f"{server} answered what is no status of a model.") from error
