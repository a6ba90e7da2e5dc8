"""gRPC, as in tensorflow_model_server: Predict, GetModelMetadata, GetModelStatus, and Check of grpc.health.v1."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError, EncodeError, Message
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, GetModelMetadataResponse
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest

from serving import wire
from serving.errors import InvalidInput, ModelNotFound, ServingFailed, StyleTransferError
from serving.server import messages
from serving.server.admission import MAX_MESSAGE_BYTES, Admission
from serving.server.manager import ModelManager, ModelRef
from serving.server.servable import DEFAULT_SIGNATURE, Array

log = logging.getLogger(__name__)

MAX_TEXT_BYTES = 1024  # of an error's text; tensorflow_model_server cuts there too, and gRPC refuses 8 KiB
LONGEST_S = 30 * 24 * 3600  # gRPC's "no deadline" may be centuries away, too long for a timer
MESSAGE_S = 300.0  # to receive a request: as long as our client waits for the whole call
SHORT_BYTES = 1 << 16  # of a request that is answered by the event loop itself, which nothing may hold up

# grpc/grpc, doc/health-checking.md. The names are those that tensorflow_model_server knows; "": the whole server.
HEALTH_MESSAGES = wire.build_messages({"Request": {"service": (1, "STRING")}, "Response": {"status": (1, "INT32")}})
HEALTH_NAMES = ("", "ModelService", "PredictionService")
SERVING, NOT_SERVING = 1, 2

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Method: TypeAlias = Callable[[Context], Awaitable[bytes]]
"""Receives the request from the call's context, and returns the serialised response."""
Box: TypeAlias = list[Any]
"""A list that holds the request, so that no caller's variable does after a function has taken it out."""


class GrpcService(grpc.GenericRpcHandler):
    """Answers all calls of a server."""

    def __init__(self, manager: ModelManager, admission: Admission) -> None:
        self._manager, self._admission = manager, admission
        self._methods: dict[str, Method] = {
            wire.PREDICT: self.predict,
            wire.MODEL_STATUS: self._short(self.status, GetModelStatusRequest),
            "/tensorflow.serving.PredictionService/GetModelMetadata": self._short(
                self.metadata, GetModelMetadataRequest
            ),
            "/grpc.health.v1.Health/Check": self._short(self.check_health, HEALTH_MESSAGES["Request"]),
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def refuse(_: Context) -> bytes:
            raise ServingFailed(messages.left_out(f"{details.method.removeprefix('/'):.200}"), "UNIMPLEMENTED")

        return _handler(details.method.rpartition("/")[2], self._methods.get(details.method, refuse))

    async def predict(self, context: Context) -> bytes:
        remaining_s = context.time_remaining()
        deadline = None if remaining_s is None else time.monotonic() + min(remaining_s, LONGEST_S)
        in_thread = self._admission.in_thread
        self._admission.check()
        with self._admission.budget() as take:
            box = [await self._receive(context)]
            take(len(box[0]))
            box = [await in_thread(_parse, predict_pb2.PredictRequest, box)]
            with self._manager.lease(_ref(box[0])) as servable:
                response, output_filter, inputs = await in_thread(_unpack, box, servable.version)
                # A call whose caller has gone leaves the queue. A running one continues, as in tensorflow_model_server.
                async with self._admission.turn(deadline):
                    signature = response.model_spec.signature_name
                    outputs = await in_thread(servable.predict, signature, inputs, output_filter, deadline)
            del inputs
            return await in_thread(_pack, response, outputs)

    def metadata(self, request: Any) -> Message:
        ref = _ref(request)
        if not request.metadata_field:
            raise InvalidInput("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != messages.SIGNATURE_DEF:
                raise InvalidInput(f"Metadata field {field} is not supported")
        response = GetModelMetadataResponse()
        with self._manager.lease(ref) as servable:
            response.model_spec.name = ref.name
            response.model_spec.version.value = servable.version
            response.metadata[messages.SIGNATURE_DEF].Pack(messages.signatures(servable))
        return response

    def status(self, request: Any) -> Message:
        return messages.status_response(self._manager.status(_ref(request)))

    def check_health(self, request: Any) -> Message:
        if request.service not in HEALTH_NAMES:
            raise ModelNotFound("service name unknown")
        return HEALTH_MESSAGES["Response"](status=SERVING if self._manager.ready else NOT_SERVING)

    def _short(self, method: Callable[[Any], Message], request_type: type[Message]) -> Method:
        async def answer(context: Context) -> bytes:
            box = [await self._receive(context)]
            if len(box[0]) > SHORT_BYTES:
                raise InvalidInput(f"The request must be at most {SHORT_BYTES} bytes long. Received: {len(box[0])}.")
            return method(_parse(request_type, box)).SerializeToString()

        return answer

    async def _receive(self, context: Context) -> bytes:
        async with self._admission.arrival(MESSAGE_S):
            message = await context.read()
        if message is grpc.aio.EOF:
            raise InvalidInput("The call must hold a message. Received: none.")
        return message


def _handler(name: str, method: Method) -> grpc.RpcMethodHandler:
    async def answer(_: object, context: Context) -> bytes:
        started = time.monotonic()
        code, text = "OK", ""
        try:
            return await method(context)
        except EncodeError:
            code, text = "RESOURCE_EXHAUSTED", "The response is larger than gRPC's limit of 2 GiB."
        except StyleTransferError as error:
            code, text = error.code, str(error)
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception as error:  # a bug in the server: only the log gets the traceback
            log.exception("gRPC %s failed", name)
            code, text = "INTERNAL", f"Internal error: {type(error).__name__}"
        finally:
            level = logging.INFO if name == "Predict" or code != "OK" else logging.DEBUG
            log.log(level, "gRPC %s %s in %.0f ms", name, code, (time.monotonic() - started) * 1000)
        if len(data := text.encode(errors="replace")) > MAX_TEXT_BYTES:
            text = data[:MAX_TEXT_BYTES].decode(errors="ignore") + "...TRUNCATED"
        return await context.abort(grpc.StatusCode[code], text)

    # On the wire a single message and a stream of one are the same. For a handler of single messages gRPC would receive
    # them itself, however long that takes, before `answer` could refuse the call.
    return grpc.stream_unary_rpc_method_handler(answer)


def _parse(request_type: type[Message], box: Box) -> Any:
    try:
        return request_type.FromString(box.pop())
    except DecodeError:
        raise InvalidInput(f"The message must be a {request_type.DESCRIPTOR.name}.") from None


def _unpack(box: Box, version: int) -> tuple[Any, list[str], dict[str, Array]]:
    """Returns the response without its outputs, the names of these, and the inputs."""
    request = box.pop()
    response = predict_pb2.PredictResponse(model_spec=request.model_spec)
    response.model_spec.version.value = version
    response.model_spec.signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    return response, list(request.output_filter), messages.to_arrays(request.inputs)


def _pack(response: Any, outputs: dict[str, Array]) -> bytes:
    for alias in list(outputs):
        response.outputs[alias].CopyFrom(tf.make_tensor_proto(outputs.pop(alias)))
    data: bytes = response.SerializeToString()
    if len(data) > MAX_MESSAGE_BYTES:
        raise EncodeError
    return data


def _ref(request: Any) -> ModelRef:
    if not request.HasField("model_spec"):
        raise InvalidInput("Missing ModelSpec")
    spec = request.model_spec
    if spec.WhichOneof("version_choice") == "version_label":
        raise ServingFailed(messages.left_out("A version label"), "UNIMPLEMENTED")
    return ModelRef(spec.name, spec.version.value if spec.HasField("version") else None)
