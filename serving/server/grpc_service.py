"""gRPC, as in tensorflow_model_server: Predict, GetModelMetadata, GetModelStatus, and Check of grpc.health.v1."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import grpc
import tensorflow as tf
from google.protobuf.message import EncodeError, Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving import wire
from serving.errors import InvalidInput, ModelNotFound, ServingFailed, StyleTransferError
from serving.server import messages
from serving.server.admission import MAX_MESSAGE_BYTES, Admission
from serving.server.manager import ModelManager, ModelRef
from serving.server.servable import DEFAULT_SIGNATURE

log = logging.getLogger(__name__)

MAX_TEXT = 1024  # characters of an error's text; tensorflow_model_server cuts there too
LONGEST_S = 30 * 24 * 3600  # gRPC's "no deadline" may be centuries away, too long for a wait of threads

# grpc/grpc, doc/health-checking.md. The names are those that tensorflow_model_server knows; "": the whole server.
HEALTH_MESSAGES = wire.build_messages({"Request": {"service": (1, "STRING")}, "Response": {"status": (1, "INT32")}})
HEALTH_NAMES = ("", "ModelService", "PredictionService")
SERVING, NOT_SERVING = 1, 2

Box: TypeAlias = list[Any]
"""A list that holds the request. gRPC keeps a reference to the list until the call ends, but not to the pictures once
the method has taken the request out."""


class GrpcService:
    """The methods of all services. Each takes the request in a box and the call's context, and returns the response."""

    def __init__(self, manager: ModelManager, admission: Admission) -> None:
        """Takes the model's versions and the queue of calls."""
        self._manager, self._admission = manager, admission

    def register(self, server: grpc.Server) -> None:
        """Adds the services to a server; call it before the server starts."""
        # Not by the generated code, with which gRPC holds the requests until the calls end.
        for service, methods in {
            "tensorflow.serving.PredictionService": {
                "Predict": (self.predict, predict_pb2.PredictRequest),
                "GetModelMetadata": (self.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": (self.status, get_model_status_pb2.GetModelStatusRequest)
            },
            "grpc.health.v1.Health": {"Check": (self.check_health, HEALTH_MESSAGES["Request"])},
        }.items():
            handlers = {name: _handler(name, *method) for name, method in methods.items()}
            server.add_registered_method_handlers(service, handlers)
        server.add_generic_rpc_handlers([LeftOut()])

    def predict(self, box: Box, context: grpc.ServicerContext) -> Message:
        """Runs a signature."""
        remaining_s = context.time_remaining()
        deadline = None if remaining_s is None else time.monotonic() + min(remaining_s, LONGEST_S)
        request = box.pop()
        with self._manager.lease(_ref(request)) as servable:
            self._admission.check()
            response = predict_pb2.PredictResponse(model_spec=request.model_spec)
            response.model_spec.version.value = servable.version
            response.model_spec.signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            output_filter = list(request.output_filter)
            inputs = messages.to_arrays(request.inputs)
            del request  # frees as much memory as the arrays take
            # A call whose caller has gone leaves the queue. A running one continues, as in tensorflow_model_server.
            with self._admission.turn(deadline, context.add_callback):
                outputs = servable.predict(response.model_spec.signature_name, inputs, output_filter, deadline)
        del inputs
        for alias in list(outputs):
            response.outputs[alias].CopyFrom(tf.make_tensor_proto(outputs.pop(alias)))
        return response

    def metadata(self, box: Box, context: grpc.ServicerContext) -> Message:
        """Returns the signatures of a version."""
        (request,) = box
        ref = _ref(request)
        if not request.metadata_field:
            raise InvalidInput("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != messages.SIGNATURE_DEF:
                raise InvalidInput(f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._manager.lease(ref) as servable:
            response.model_spec.name = ref.name
            response.model_spec.version.value = servable.version
            response.metadata[messages.SIGNATURE_DEF].Pack(messages.signatures(servable))
        return response

    def status(self, box: Box, context: grpc.ServicerContext) -> Message:
        """Returns the state of the model's versions."""
        return messages.status_response(self._manager.status(_ref(box[0])))

    def check_health(self, box: Box, context: grpc.ServicerContext) -> Message:
        """Returns whether a version is available."""
        if box[0].service not in HEALTH_NAMES:
            raise ModelNotFound("service name unknown")
        return HEALTH_MESSAGES["Response"](status=SERVING if self._manager.ready else NOT_SERVING)


class LeftOut(grpc.GenericRpcHandler):
    """Answers the methods that are not registered."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Returns a handler that refers the caller to tensorflow_model_server."""
        text = messages.left_out(f"{details.method.removeprefix('/'):.200}")
        return grpc.unary_unary_rpc_method_handler(
            lambda _, context: context.abort(grpc.StatusCode.UNIMPLEMENTED, text)
        )


def _handler(
    name: str, method: Callable[[Box, grpc.ServicerContext], Message], request_type: type[Message]
) -> grpc.RpcMethodHandler:
    def answer(box: Box, context: grpc.ServicerContext) -> bytes:
        started = time.monotonic()
        code, text = "OK", ""
        try:
            data: bytes = method(box, context).SerializeToString()
            if len(data) > MAX_MESSAGE_BYTES:
                raise EncodeError
            return data
        except EncodeError:
            code, text = "RESOURCE_EXHAUSTED", "The response is larger than gRPC's limit of 2 GiB."
        except StyleTransferError as error:
            code, text = error.code, str(error)
        except Exception as error:  # a bug in the server: only the log gets the traceback
            log.exception("gRPC %s failed", name)
            code, text = "INTERNAL", f"Internal error: {type(error).__name__}"
        finally:
            level = logging.INFO if name == "Predict" or code != "OK" else logging.DEBUG
            log.log(level, "gRPC %s %s in %.0f ms", name, code, (time.monotonic() - started) * 1000)
        if len(text) > MAX_TEXT:
            text = text[:MAX_TEXT] + "...TRUNCATED"
        return context.abort(grpc.StatusCode[code], text)

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=lambda data: [request_type.FromString(data)]
    )


def _ref(request: Any) -> ModelRef:
    """Returns the model and version of a request's model_spec.

    Raises:
      InvalidInput: there is no model_spec.
      ServingFailed: UNIMPLEMENTED, the version is given by a label.
    """
    if not request.HasField("model_spec"):
        raise InvalidInput("Missing ModelSpec")
    spec = request.model_spec
    if spec.WhichOneof("version_choice") == "version_label":
        raise ServingFailed(messages.left_out("A version label"), "UNIMPLEMENTED")
    return ModelRef(spec.name, spec.version.value if spec.HasField("version") else None)
