"""gRPC, as tensorflow_model_server speaks it: thin servicers from the official protos to the core."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Generic, NoReturn, TypeVar

import grpc
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.errors import InvalidInput, ServingFailed, StyleTransferError
from serving.server import config_files, examples, messages, tensor_proto
from serving.server.core import ServerCore
from serving.server.flags import MAX_MESSAGE_BYTES
from serving.server.servable import Servable
from serving.server.signature_rules import DEFAULT_SIGNATURE
from serving.server.states import ModelRef

log = logging.getLogger(__name__)

MAX_MESSAGE_LENGTH = 1024  # characters of an error's text; tensorflow_model_server cuts there too
TRUNCATED = "...TRUNCATED"

LONGEST_DEADLINE_S = 30 * 24 * 3600  # gRPC says "no deadline" by a time centuries away, which threads cannot wait for

_THIS_MACHINE = ("ipv4:127.", "ipv6:%5B::1%5D:", "ipv6:%5B::ffff:127.")  # as gRPC writes the addresses of callers

# The generated code registers methods too, but has gRPC hold the messages for longer than they are needed.
_ASKED: dict[str, dict[str, type[Message]]] = {
    "PredictionService": {
        "Predict": predict_pb2.PredictRequest,
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
        "MultiInference": inference_pb2.MultiInferenceRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    },
    "ModelService": {
        "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
        "HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
    },
}

Request = TypeVar("Request", bound=Message)


class Incoming(Generic[Request]):
    """A request for one reader to take: what gRPC hands over it holds until it has answered, so that is no picture."""

    def __init__(self, request: Request) -> None:
        """Holds the request until it is taken."""
        self.request = request

    def take(self) -> Request:
        """Returns the request and lets go of it."""
        request = self.request
        del self.request
        return request


def add_services(server: grpc.Server, core: ServerCore, as_tensor_content: bool = False) -> None:
    """Registers both services; call it before the server starts.

    Args:
      server: the server to ask.
      core: what answers.
      as_tensor_content: whether numbers are sent as raw bytes in place of typed fields.
    """
    for name, servicer in (
        ("PredictionService", PredictionService(core, as_tensor_content)),
        ("ModelService", ModelService(core)),
    ):
        methods = {method: _handler(getattr(servicer, method), asked) for method, asked in _ASKED[name].items()}
        server.add_registered_method_handlers(f"tensorflow.serving.{name}", methods)


def _handler(behave: Callable[..., bytes], asked: type[Message]) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        behave, request_deserializer=lambda data: Incoming(asked.FromString(data))
    )


class PredictionService:
    """tensorflow.serving.PredictionService."""

    def __init__(self, core: ServerCore, as_tensor_content: bool) -> None:
        """Takes the core that answers."""
        self._core = core
        self._as_tensor_content = as_tensor_content

    def Predict(  # noqa: N802  # the proto's name
        self, incoming: Incoming[predict_pb2.PredictRequest], context: grpc.ServicerContext
    ) -> bytes:
        """Runs a signature."""
        name = incoming.request.model_spec.name
        return self._run("Predict", name, context, lambda: self._predict(incoming, context))

    def GetModelMetadata(  # noqa: N802
        self, incoming: Incoming[get_model_metadata_pb2.GetModelMetadataRequest], context: grpc.ServicerContext
    ) -> bytes:
        """Returns the signatures of a version."""
        return _answer("GetModelMetadata", context, lambda: self._metadata(incoming.take()))

    def Classify(  # noqa: N802
        self, incoming: Incoming[classification_pb2.ClassificationRequest], context: grpc.ServicerContext
    ) -> bytes:
        """Classifies tf.Examples."""
        request = incoming.take()
        return self._run("Classify", request.model_spec.name, context, lambda: self._classify(request, context))

    def Regress(  # noqa: N802
        self, incoming: Incoming[regression_pb2.RegressionRequest], context: grpc.ServicerContext
    ) -> bytes:
        """Regresses tf.Examples."""
        request = incoming.take()
        return self._run("Regress", request.model_spec.name, context, lambda: self._regress(request, context))

    def MultiInference(  # noqa: N802
        self, incoming: Incoming[inference_pb2.MultiInferenceRequest], context: grpc.ServicerContext
    ) -> bytes:
        """Classifies and regresses the same tf.Examples in one run."""
        request = incoming.take()
        name = request.tasks[0].model_spec.name if request.tasks else ""
        return self._run("MultiInference", name, context, lambda: self._multi_inference(request, context))

    def _run(self, api: str, name: str, context: grpc.ServicerContext, work: Callable[[], Message]) -> bytes:
        def record(code: str, seconds: float) -> None:
            if self._core.serves(name):
                self._core.metrics.record_request(name, api, "GRPC", code, seconds)

        return _answer(api, context, work, record, logging.INFO)

    def _predict(
        self, incoming: Incoming[predict_pb2.PredictRequest], context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        deadline = _deadline(context)
        request = incoming.take()
        asked, wanted = model_pb2.ModelSpec(), list(request.output_filter)
        with self._core.admit(_ref(request)) as servable:
            asked.CopyFrom(request.model_spec)
            inputs = {alias: tensor_proto.decode(proto, alias) for alias, proto in request.inputs.items()}
            del request  # as large as the arrays that are made of it
            outputs = self._core.predict(
                servable,
                asked.signature_name,
                inputs,
                wanted,
                deadline=deadline,
                # A caller who is gone frees a place in the queue. What runs goes on, as in tensorflow_model_server.
                on_admitted=context.add_callback,
            )
            del inputs
        _check_length(sum(map(tensor_proto.length, outputs.values())))
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, asked, servable)
        for alias in list(outputs):
            tensor_proto.encode(outputs.pop(alias), response.outputs[alias], self._as_tensor_content)
        return response

    def _classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        response = classification_pb2.ClassificationResponse()
        result = self._infer_one(examples.Method.Classify, request, response, context)
        messages.fill_classes(response.result, result)
        return response

    def _regress(
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        response = regression_pb2.RegressionResponse()
        result = self._infer_one(examples.Method.Regress, request, response, context)
        messages.fill_values(response.result, result)
        return response

    def _infer_one(
        self, method: examples.Method, request: Any, response: Any, context: grpc.ServicerContext
    ) -> examples.Result:
        deadline = _deadline(context)
        with self._core.admit(_ref(request)) as servable:
            (result,) = self._core.infer(
                servable,
                [examples.Task(method, request.model_spec.signature_name)],
                examples.serialize(request.input),
                deadline=deadline,
                on_admitted=context.add_callback,
            )
        _fill_spec(response.model_spec, request.model_spec, servable)
        return result

    def _multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        deadline = _deadline(context)
        ref = _ref(request.tasks[0]) if request.tasks else ModelRef("")
        with self._core.admit(ref) as servable:
            results = self._core.infer(
                servable,
                examples.tasks_of(request),
                examples.serialize(request.input),
                deadline=deadline,
                on_admitted=context.add_callback,
            )
        response = inference_pb2.MultiInferenceResponse()
        for task, result in zip(request.tasks, results, strict=True):
            entry = response.results.add()
            _fill_spec(entry.model_spec, task.model_spec, servable)
            if task.method_name == examples.Method.Classify.value:
                messages.fill_classes(entry.classification_result, result)
            else:
                messages.fill_values(entry.regression_result, result)
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
        with self._core.find(ref) as servable:
            return messages.metadata_response(ref.name, servable)


class ModelService:
    """tensorflow.serving.ModelService."""

    def __init__(self, core: ServerCore) -> None:
        """Takes the core that answers."""
        self._core = core

    def GetModelStatus(  # noqa: N802
        self, incoming: Incoming[get_model_status_pb2.GetModelStatusRequest], context: grpc.ServicerContext
    ) -> bytes:
        """Returns where the versions of a model stand."""
        return _answer(
            "GetModelStatus", context, lambda: messages.status_response(self._core.status(_ref(incoming.take())))
        )

    def HandleReloadConfigRequest(  # noqa: N802
        self, incoming: Incoming[model_management_pb2.ReloadConfigRequest], context: grpc.ServicerContext
    ) -> bytes:
        """Serves the models of a configuration from now on."""
        return _answer(
            "HandleReloadConfigRequest",
            context,
            lambda: self._reload(incoming.take(), context.peer()),
            level=logging.INFO,
        )

    def _reload(
        self, request: model_management_pb2.ReloadConfigRequest, peer: str
    ) -> model_management_pb2.ReloadConfigResponse:
        if not peer.startswith(_THIS_MACHINE):  # the one call that names paths, and a SavedModel is a program
            raise ServingFailed(
                f"Only callers on the server's own machine may change what it serves. Received: a call from {peer}.",
                "PERMISSION_DENIED",
            )
        if request.config.WhichOneof("config") != "model_config_list":
            raise InvalidInput(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        self._core.reload(config_files.decode_models(request.config.SerializeToString()))
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()  # OK
        return response


def _answer(
    method: str,
    context: grpc.ServicerContext,
    work: Callable[[], Message],
    record: Callable[[str, float], None] | None = None,
    level: int = logging.DEBUG,
) -> bytes:
    """Returns the message that `work` returns, or ends the call with the code and text of its error."""
    started = time.monotonic()
    code, message = "OK", ""
    try:
        answer = work().SerializeToString()
        _check_length(len(answer))
        return answer
    except StyleTransferError as error:
        code, message = error.code, str(error)
    except Exception as error:  # a fault of this program: the log gets the traceback, the client does not
        log.exception("gRPC %s failed", method)
        code, message = "INTERNAL", f"Internal error: {type(error).__name__}"
    finally:
        seconds = time.monotonic() - started
        log.log(level if code == "OK" else logging.INFO, "gRPC %s %s in %.0f ms", method, code, seconds * 1000)
        if record is not None:
            record(code, seconds)
    _abort(context, code, message)


def _fill_spec(spec: model_pb2.ModelSpec, asked: model_pb2.ModelSpec, servable: Servable) -> None:
    """Says what answered: the model, its version and the signature."""
    spec.name = asked.name
    spec.version.value = servable.version
    spec.signature_name = asked.signature_name or DEFAULT_SIGNATURE


def _check_length(length: int) -> None:
    if length > MAX_MESSAGE_BYTES:
        raise ServingFailed(
            f"The answer must be at most {MAX_MESSAGE_BYTES} bytes long, which is what gRPC can carry. "
            f"Received: {length}. An output_filter chooses among the outputs.",
            "RESOURCE_EXHAUSTED",
        )


def _abort(context: grpc.ServicerContext, code: str, message: str) -> NoReturn:
    if len(message) > MAX_MESSAGE_LENGTH:
        message = message[:MAX_MESSAGE_LENGTH] + TRUNCATED
    context.abort(grpc.StatusCode[code], message)
    raise AssertionError("`abort` does not return")


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
