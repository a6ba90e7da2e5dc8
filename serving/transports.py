"""Ways to a served model: gRPC, REST, or the SavedModel in this very process. One call each: `predict`.

Only the last imports TensorFlow, and only when it is asked for.
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc
import numpy as np
import numpy.typing as npt
import requests

from model.contract import SIGNATURES, TensorInfo
from serving import wire
from serving.contract import GRPC_OPTIONS, MODEL_NAME
from serving.errors import (
    DeadlineExceeded,
    InvalidAnswer,
    InvalidInput,
    ServingFailed,
    ServingUnavailable,
    StyleTransferError,
    clean,
    from_code,
    from_http_status,
)

Arrays = dict[str, npt.NDArray[Any]]
"""Tensors by name; strings are arrays of `bytes` objects."""

CONNECT_S = 10.0  # longest wait for a connection, so that a machine that is gone does not use up a call's whole time
CHANNEL_OPTIONS = (
    *GRPC_OPTIONS,
    ("grpc.min_reconnect_backoff_ms", int(1000 * CONNECT_S)),  # gRPC's name for the time that connecting may take
    # Who calls again decides when (serving/endpoints.py): a channel that waits by itself would refuse in between.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
MAX_VALUES = 10_000_000  # numbers in one tensor of an answer; the losses of the longest call are 40,000
_CHUNK_BYTES = 1 << 20
# What a gateway or load balancer answers for a server that is gone or slow, in words of its own instead of JSON.
_GATEWAY_STATUS = {429, 502, 503, 504}
# gRPC's own words: for a message that an end does not take, or beyond the 2 GiB that any may have;
_TOO_LONG = ("larger than max", "Exception serializing request")
# and for a connection that is lost under way; a server's INTERNAL or UNKNOWN says something else.
_CUT = ("RST_STREAM", "Stream removed", "Socket closed", "Connection reset", "GOAWAY", "recvmsg", "Broken pipe")


class Transport(Protocol):
    """A way to a served model."""

    def predict(
        self, signature: str, inputs: Mapping[str, Any], *, outputs: Sequence[str] = (), timeout_s: float
    ) -> Arrays:
        """Runs a signature.

        Args:
          signature: its name.
          inputs: nested lists or arrays by name, as in model/contract.py.
          outputs: names that are wanted; none means all. REST returns all in any case.
          timeout_s: longest time to wait.

        Raises:
          StyleTransferError: see serving/errors.py.
        """

    def close(self) -> None:
        """Gives back what the transport holds."""


def connect(server: str, model_name: str = MODEL_NAME) -> Transport:
    """Returns the transport for `grpc://HOST:PORT`, `http(s)://HOST:PORT`, or the path of a SavedModel.

    Raises:
      InvalidInput: it is none of these.
    """
    scheme, _, address = server.partition("://")
    if scheme == "grpc" and address:
        return GrpcTransport(address, model_name)
    if scheme in ("http", "https") and address:
        return RestTransport(server, model_name)
    if "://" not in server:
        return LocalTransport(Path(server))
    raise InvalidInput(
        f"`server` must be grpc://HOST:PORT, http://HOST:PORT or the path of a SavedModel. Received: {server}"
    )


class GrpcTransport:
    """TensorFlow Serving's PredictionService."""

    def __init__(self, address: str, model_name: str) -> None:
        self._address = address
        self._model_name = model_name
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._predict = self._channel.unary_unary(
            wire.PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )

    def predict(
        self, signature: str, inputs: Mapping[str, Any], *, outputs: Sequence[str] = (), timeout_s: float
    ) -> Arrays:
        request = wire.PredictRequest(output_filter=outputs)
        request.model_spec.name, request.model_spec.signature_name = self._model_name, signature
        for tensor in SIGNATURES[signature].inputs:
            _to_proto(_to_array(inputs[tensor.name], tensor), tensor, request.inputs[tensor.name])
        try:
            response = self._predict(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise self._error(error.code(), error.details() or "", timeout_s) from error
        try:
            return {
                tensor.name: _from_proto(response.outputs[tensor.name], tensor)
                for tensor in SIGNATURES[signature].outputs
                if tensor.name in response.outputs
            }
        except (TypeError, ValueError) as error:
            raise _no_answer(f"grpc://{self._address}", signature) from error

    def _error(self, code: grpc.StatusCode, details: str, timeout_s: float) -> StyleTransferError:
        server = f"grpc://{self._address}"
        if code is grpc.StatusCode.UNAVAILABLE and "connect" in details.lower():
            return ServingUnavailable(f"No server answers at {server}.")
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL):
            if any(words in details for words in _CUT):
                return ServingUnavailable(f"The connection to {server} was cut before the answer was complete.")
            if "deserializing response" in details:
                return InvalidAnswer(f"{server} answered what is no message of a model server.")
        if any(words in details for words in _TOO_LONG):
            return _too_long(server)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(f"No answer from {server} within {timeout_s:g} s.")
        return from_code(code.name, clean(details))

    def close(self) -> None:
        self._channel.close()


class RestTransport:
    """TensorFlow Serving's REST API, in its columnar form."""

    def __init__(self, server: str, model_name: str) -> None:
        self._server = server.rstrip("/")
        self._url = f"{self._server}/v1/models/{model_name}:predict"
        self._session = requests.Session()

    def predict(
        self, signature: str, inputs: Mapping[str, Any], *, outputs: Sequence[str] = (), timeout_s: float
    ) -> Arrays:
        tensors = SIGNATURES[signature].inputs
        body = {
            "signature_name": signature,
            "inputs": {tensor.name: _to_json(_to_array(inputs[tensor.name], tensor).tolist()) for tensor in tensors},
        }
        status, answer = self._post(json.dumps(body).encode(), timeout_s)
        if status == requests.codes.request_entity_too_large:
            raise _too_long(self._server)
        try:
            document = json.loads(answer)
        except (ValueError, RecursionError) as error:
            if status in _GATEWAY_STATUS:
                raise from_http_status(status, f"{self._server} answered HTTP {status}.") from error
            raise InvalidAnswer(f"{self._server} answered HTTP {status} with what is no JSON.") from error
        if status != requests.codes.ok:
            text = document.get("error", "") if isinstance(document, dict) else ""
            raise from_http_status(status, clean(str(text)))
        expected = SIGNATURES[signature].outputs
        try:
            values = document["outputs"]
            if len(expected) == 1:
                values = {expected[0].name: values}
            return {t.name: _to_array(_from_json(values[t.name]), t) for t in expected}
        except (TypeError, LookupError, ValueError, OverflowError, RecursionError) as error:
            raise _no_answer(self._server, signature) from error

    def _post(self, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Returns the HTTP status and the body of the answer."""
        deadline = time.monotonic() + timeout_s
        late = f"No answer from {self._server} within {timeout_s:g} s."
        connected = False
        try:
            timeouts = (min(CONNECT_S, timeout_s), timeout_s)
            with self._session.post(self._url, data=body, timeout=timeouts, stream=True) as answer:
                connected = True
                chunks = []
                # requests knows no time for a whole answer, only for the wait between two pieces of it.
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    chunks.append(chunk)
                    if time.monotonic() > deadline:
                        raise DeadlineExceeded(late)
                return answer.status_code, b"".join(chunks)
        except requests.ConnectTimeout as error:
            raise ServingUnavailable(f"No server answers at {self._server}.") from error
        except requests.Timeout as error:
            raise DeadlineExceeded(late) from error
        except requests.exceptions.ContentDecodingError as error:
            raise InvalidAnswer(f"{self._server} answered in an encoding that cannot be read.") from error
        except requests.RequestException as error:
            if "Read timed out" in str(error):
                raise DeadlineExceeded(late) from error
            if connected or "aborted" in str(error):
                text = f"The connection to {self._server} was cut before the answer was complete."
                raise ServingUnavailable(text) from error
            raise ServingUnavailable(f"No server answers at {self._server}.") from error

    def close(self) -> None:
        self._session.close()


class LocalTransport:
    """The SavedModel in this process, for one person on one machine without a server."""

    def __init__(self, path: Path) -> None:
        """Takes a version's directory, or a base path, of which it takes the latest version."""
        from serving.local import LocalModel

        self._model = LocalModel(path)

    def predict(
        self, signature: str, inputs: Mapping[str, Any], *, outputs: Sequence[str] = (), timeout_s: float
    ) -> Arrays:
        tensors = SIGNATURES[signature].inputs
        return self._model.predict(signature, {t.name: _to_array(inputs[t.name], t) for t in tensors}, outputs)

    def close(self) -> None:
        self._model.close()


def _too_long(server: str) -> ServingFailed:
    text = f"The pictures and the state of this run are more than {server} takes in one call. A smaller `size` is less."
    return ServingFailed(text, "RESOURCE_EXHAUSTED")  # not Overloaded: it would be too long at the next attempt, too


def _to_array(value: Any, tensor: TensorInfo) -> npt.NDArray[Any]:
    if tensor.dtype != "string":
        return np.asarray(value, tensor.dtype)
    array = np.empty(_shape(value), object)
    array.reshape(-1)[:] = _flat(value)
    return array


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, (bytes, str)):
        return ()
    return (len(value), *(_shape(value[0]) if len(value) else ()))


def _flat(value: Any) -> list[bytes]:
    if isinstance(value, str):
        return [value.encode()]
    return [value] if isinstance(value, bytes) else [leaf for item in value for leaf in _flat(item)]


def _to_proto(array: npt.NDArray[Any], tensor: TensorInfo, proto: Any) -> None:
    proto.dtype = wire.DATA_TYPES[tensor.dtype]
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if tensor.dtype == "string":
        proto.string_val.extend(array.reshape(-1).tolist())
    else:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()


def _from_proto(proto: Any, tensor: TensorInfo) -> npt.NDArray[Any]:
    """Reads a tensor message; raises ValueError where it is none of the expected type."""
    shape = [dim.size for dim in proto.tensor_shape.dim]
    count = math.prod(shape)
    if proto.dtype != wire.DATA_TYPES[tensor.dtype] or min(shape, default=0) < 0 or count > MAX_VALUES:
        raise ValueError(f"dtype {proto.dtype}, shape {shape}")
    if tensor.dtype == "string":
        array = np.empty(len(proto.string_val), object)
        array[:] = list(proto.string_val)
        return array.reshape(shape)
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, tensor.dtype).reshape(shape)
    values = np.asarray(proto.float_val or proto.int_val, tensor.dtype)
    # A tensor proto may leave out a run of equal values at its end.
    return np.concatenate([values, np.repeat(values[-1:], max(0, count - values.size))]).reshape(shape)


def _no_answer(server: str, signature: str) -> InvalidAnswer:
    return InvalidAnswer(f"{server} answered what is no answer of `{signature}`.")


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode("ascii")}
    return [_to_json(item) for item in value] if isinstance(value, list) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return [_from_json(item) for item in value] if isinstance(value, list) else value
