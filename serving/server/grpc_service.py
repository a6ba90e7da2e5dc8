"""gRPC, as tensorflow_model_server speaks it: thin servicers from the official protos to the core."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from model.errors import InvalidInput, StyleTransferError
from serving.server import messages, tensor_proto
from serving.server.core import ModelRef, ServerCore
from serving.server.signature_rules import DEFAULT_SIGNATURE

log = logging.getLogger(__name__)

MAX_MESSAGE_LENGTH = 1024  # characters of an error's text; tensorflow_model_server cuts there too
TRUNCATED = "...TRUNCATED"

LONGEST_DEADLINE_S = 30 * 24 * 3600  # gRPC says "no deadline" by a time centuries away, which threads cannot wait for

Response = TypeVar("Response")


def add_services(server: grpc.Server, core: ServerCore) -> None:
    """Registers both services; call it before the server starts."""
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(core), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core), server)


class PredictionService:
    """tensorflow.serving.PredictionService."""

    def __init__(self, core: ServerCore) -> None:
        """Takes the core that answers."""
        self._core = core

    def Predict(  # noqa: N802  # the proto's name
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs a signature."""
        return _answer("Predict", context, lambda: self._predict(request, context), level=logging.INFO)

    def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the signatures of a version."""
        return _answer("GetModelMetadata", context, lambda: self._metadata(request))

    def Classify(self, request: Any, context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        """Not served."""
        _unimplemented("Classify", context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        """Not served."""
        _unimplemented("Regress", context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        """Not served."""
        _unimplemented("MultiInference", context)

    def _predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        deadline = _deadline(context)
        servable = self._core.admit(_ref(request))
        signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        inputs = {alias: tensor_proto.decode(proto, alias) for alias, proto in request.inputs.items()}
        outputs = self._core.predict(
            servable,
            signature_name,
            inputs,
            request.output_filter,
            deadline=deadline,
            # A caller who is gone frees a place in the queue. What runs goes on, as in tensorflow_model_server.
            on_admitted=context.add_callback,
        )
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = servable.version
        response.model_spec.signature_name = signature_name
        for alias, array in outputs.items():
            response.outputs[alias].CopyFrom(tensor_proto.encode(array))
        return response

    def _metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        ref = _ref(request)
        if not request.metadata_field:
            raise InvalidInput("GetModelMetadataRequest must specify at least one metadata_field")
        for wanted in request.metadata_field:
            if wanted != messages.SIGNATURE_DEF:
                raise InvalidInput(f"Metadata field {wanted} is not supported")
        return messages.metadata_response(ref.name, self._core.find(ref))


class ModelService:
    """tensorflow.serving.ModelService."""

    def __init__(self, core: ServerCore) -> None:
        """Takes the core that answers."""
        self._core = core

    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns where the versions of a model stand."""
        return _answer("GetModelStatus", context, lambda: messages.status_response(self._core.status(_ref(request))))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        """Not served."""
        _unimplemented("HandleReloadConfigRequest", context)


def _answer(
    method: str, context: grpc.ServicerContext, work: Callable[[], Response], level: int = logging.DEBUG
) -> Response:
    """Returns what `work` returns, or ends the call with the code and text of its error."""
    started = time.monotonic()
    code, message = "OK", ""
    try:
        return work()
    except StyleTransferError as error:
        code, message = error.code, str(error)
    except Exception as error:  # a fault of this program: the log gets the traceback, the client does not
        log.exception("gRPC %s failed", method)
        code, message = "INTERNAL", f"Internal error: {type(error).__name__}"
    finally:
        duration_ms = (time.monotonic() - started) * 1000
        log.log(level if code == "OK" else logging.INFO, "gRPC %s %s in %.0f ms", method, code, duration_ms)
    _abort(context, code, message)


def _abort(context: grpc.ServicerContext, code: str, message: str) -> NoReturn:
    if len(message) > MAX_MESSAGE_LENGTH:
        message = message[:MAX_MESSAGE_LENGTH] + TRUNCATED
    context.abort(grpc.StatusCode[code], message)
    raise AssertionError("`abort` does not return")


def _unimplemented(method: str, context: grpc.ServicerContext) -> NoReturn:
    _abort(context, "UNIMPLEMENTED", f"{method} is not served here; use Predict.")


def _deadline(context: grpc.ServicerContext) -> float | None:
    remaining_s = context.time_remaining()
    if remaining_s is None or remaining_s > LONGEST_DEADLINE_S:
        return None
    return time.monotonic() + float(remaining_s)


def _ref(request: Any) -> ModelRef:
    """Returns what a request's model_spec asks for.

    Raises:
      InvalidInput: there is no model_spec.
    """
    if not request.HasField("model_spec"):
        raise InvalidInput("Missing ModelSpec")
    spec: model_pb2.ModelSpec = request.model_spec
    choice = spec.WhichOneof("version_choice")
    return ModelRef(
        name=spec.name,
        version=spec.version.value if choice == "version" else None,
        label=spec.version_label if choice == "version_label" else None,
    )
