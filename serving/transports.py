"""Transports to a served model, each with one call, `predict`: gRPC, REST, or the SavedModel in this process.

Only the last needs TensorFlow, and imports it when it is created.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import grpc
import requests

from model.contract import SIGNATURES
from model.versions import VersionPath, find_versions
from serving import wire
from serving.contract import GRPC_OPTIONS, MODEL_NAME
from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    InvalidResponse,
    ServingFailed,
    ServingUnavailable,
    StyleTransferError,
    clean,
    from_code,
    from_http_status,
)

CONNECT_S = 10.0  # longest wait for a connection: an unreachable machine must not use up the call's whole timeout
CHANNEL_OPTIONS = (
    *GRPC_OPTIONS,
    ("grpc.min_reconnect_backoff_ms", int(1000 * CONNECT_S)),  # gRPC's name for the connect timeout
    # Short, because serving/endpoints.py waits between retries: a channel that is still waiting refuses the retry.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
_PIECE_BYTES = 1 << 20
# Status codes by which a gateway or load balancer reports a lost or slow server; their bodies are not JSON.
_GATEWAY_STATUS = {429, 502, 503, 504}
# gRPC's own texts for a message above the receiver's limit, or above 2 GiB.
_TOO_LONG = ("larger than max", "Exception serializing request")
# gRPC's own texts for a lost connection, by which to tell it from an INTERNAL or UNKNOWN of the server.
_CUT = ("RST_STREAM", "Stream removed", "Socket closed", "Connection reset", "GOAWAY", "recvmsg", "Broken pipe")


class Transport(Protocol):
    """A connection to a served model."""

    def predict(self, signature: str, inputs: Mapping[str, Any], *, timeout_s: float) -> wire.Arrays:
        """Runs a signature.

        Args:
          signature: its name.
          inputs: nested lists or arrays, by the names in model/contract.py.
          timeout_s: longest time to wait.

        Raises:
          StyleTransferError: see serving/errors.py.
        """

    def close(self) -> None:
        """Closes the connection, or frees the model."""


def connect(server: str, model_name: str = MODEL_NAME) -> Transport:
    """Returns the transport for `grpc://HOST:PORT`, `http(s)://HOST:PORT`, or the path of a SavedModel.

    Raises:
      InvalidInput: the address is none of these.
    """
    scheme, separator, address = server.partition("://")
    _, colon, port = server.rpartition(":")
    if not separator and not (colon and port.isdecimal()):  # an address without a scheme is no path
        return LocalTransport(Path(server))
    if scheme == "grpc" and address:
        return GrpcTransport(server, model_name)
    if scheme in ("http", "https") and address:
        return RestTransport(server, model_name)
    raise InvalidInput(
        f"`server` must be grpc://HOST:PORT, http://HOST:PORT or the path of a SavedModel. Received: {server}"
    )


class GrpcTransport:
    """TensorFlow Serving's PredictionService."""

    def __init__(self, server: str, model_name: str) -> None:
        self._server = server
        self._model_name = model_name
        self._channel = grpc.insecure_channel(server.removeprefix("grpc://"), options=CHANNEL_OPTIONS)
        self._predict = _method(self._channel, wire.PREDICT, wire.PredictRequest, wire.PredictResponse)

    def predict(self, signature: str, inputs: Mapping[str, Any], *, timeout_s: float) -> wire.Arrays:
        request = wire.PredictRequest(model_spec={"name": self._model_name, "signature_name": signature})
        arrays = wire.to_arrays(signature, inputs)
        for tensor in SIGNATURES[signature].inputs:
            wire.to_proto(arrays[tensor.name], tensor, request.inputs.add(key=tensor.name).value)
        try:
            response = self._predict(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise self._error(error.code(), error.details() or "", timeout_s) from error
        protos = {entry.key: entry.value for entry in response.outputs}
        try:
            return {t.name: wire.from_proto(protos[t.name], t) for t in SIGNATURES[signature].outputs}
        except (LookupError, TypeError, ValueError) as error:
            raise _invalid(self._server, signature) from error

    def _error(self, code: grpc.StatusCode, details: str, timeout_s: float) -> StyleTransferError:
        if code is grpc.StatusCode.UNAVAILABLE and "connect" in details.lower():
            return _unreachable(self._server)
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL):
            if any(words in details for words in _CUT):
                return _cut(self._server)
            if "deserializing response" in details:
                return InvalidResponse(f"{self._server} sent a response that is not a PredictResponse.")
        if any(words in details for words in _TOO_LONG):
            return _too_long(self._server)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return _late(self._server, timeout_s)
        return from_code(code.name, clean(details))

    def close(self) -> None:
        self._channel.close()


def _method(channel: grpc.Channel, path: str, request: Any, response: Any) -> Any:
    return channel.unary_unary(
        path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )


class RestTransport:
    """TensorFlow Serving's REST API, with columnar inputs and outputs."""

    def __init__(self, server: str, model_name: str) -> None:
        self._server = server.rstrip("/")
        self._url = f"{self._server}/v1/models/{model_name}:predict"
        self._session = requests.Session()

    def predict(self, signature: str, inputs: Mapping[str, Any], *, timeout_s: float) -> wire.Arrays:
        columns = {name: array.tolist() for name, array in wire.to_arrays(signature, inputs).items()}
        request = json.dumps({"signature_name": signature, "inputs": columns}, default=wire.to_json)
        status, body = self._post(request.encode(), timeout_s)
        if status == requests.codes.request_entity_too_large:
            raise _too_long(self._server)
        try:
            document = json.loads(body, object_hook=wire.from_json)
        except (TypeError, ValueError, RecursionError) as error:
            if status in _GATEWAY_STATUS:
                raise from_http_status(status, f"{self._server} answered HTTP {status}.") from error
            raise InvalidResponse(f"{self._server} answered HTTP {status} with a body that is not JSON.") from error
        if status != requests.codes.ok:
            text = document.get("error", "") if isinstance(document, dict) else ""
            raise from_http_status(status, clean(str(text)))
        expected = SIGNATURES[signature].outputs
        try:
            values = document["outputs"]
            if len(expected) == 1:
                values = {expected[0].name: values}
            return {tensor.name: wire.to_array(values[tensor.name], tensor) for tensor in expected}
        except (TypeError, LookupError, ValueError, OverflowError, RecursionError) as error:
            raise _invalid(self._server, signature) from error

    def _post(self, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Returns the HTTP status and the body of the response."""
        deadline = time.monotonic() + timeout_s
        connected = False
        try:
            timeouts = (min(CONNECT_S, timeout_s), timeout_s)
            with self._session.post(self._url, data=body, timeout=timeouts, stream=True) as response:
                connected = True
                pieces = []
                # The read timeout of requests limits the wait for one piece, not for the whole response.
                for piece in response.iter_content(_PIECE_BYTES):
                    pieces.append(piece)
                    if time.monotonic() > deadline:
                        raise _late(self._server, timeout_s)
                return response.status_code, b"".join(pieces)
        except requests.exceptions.ContentDecodingError as error:
            raise InvalidResponse(f"{self._server} sent a response that cannot be decompressed.") from error
        except requests.RequestException as error:
            if isinstance(error, requests.ReadTimeout) or "Read timed out" in str(error):
                raise _late(self._server, timeout_s) from error
            if connected or "aborted" in str(error):
                raise _cut(self._server) from error
            raise _unreachable(self._server) from error

    def close(self) -> None:
        self._session.close()


class LocalTransport:
    """The SavedModel in this process, run as the embedded server runs it."""

    def __init__(self, path: Path) -> None:
        """Loads a SavedModel.

        Args:
          path: a version's directory, or a base path, of which the newest version is loaded.

        Raises:
          InvalidInput: there is no SavedModel, or TensorFlow cannot be imported.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        try:
            from serving.server.servable import Servable
        except ImportError as error:
            raise InvalidInput(
                "`local` needs TensorFlow to run the model in this process. Install it, or name a model server by "
                f"`server`. Received: {path}"
            ) from error

        versions = find_versions(path)
        version = VersionPath(0, path) if (path / "saved_model.pb").exists() or not versions else versions[-1]
        try:
            self._servable = Servable(version)
        except ServingFailed as error:
            raise InvalidInput(f"`local` must be the path of a SavedModel. Received: {path}") from error
        self._path = path

    def predict(self, signature: str, inputs: Mapping[str, Any], *, timeout_s: float) -> wire.Arrays:
        if signature not in self._servable.signatures:
            raise InvalidInput(f"`local` must be a model of this project. Received: {self._path} without `{signature}`")
        try:
            return self._servable.predict(signature, wire.to_arrays(signature, inputs))
        except StyleTransferError as error:
            raise from_code(error.code, clean(str(error))) from error

    def close(self) -> None:
        self._servable.close()


def served_versions(server: str, model_name: str = MODEL_NAME, *, timeout_s: float = 10.0) -> list[int]:
    """Returns the versions that a server has available, the newest first. By default calls use the newest.

    A busy server answers at once, too.

    Args:
      server: `grpc://HOST:PORT` or `http(s)://HOST:PORT`.
      model_name: the servable's name.
      timeout_s: longest time to wait.

    Raises:
      ServingUnavailable: the server does not answer, or has no such model.
    """
    try:
        if server.startswith("grpc://"):
            with grpc.insecure_channel(server.removeprefix("grpc://")) as channel:
                get_status = _method(channel, wire.MODEL_STATUS, wire.StatusRequest, wire.StatusResponse)
                status = get_status(wire.StatusRequest(model_spec={"name": model_name}), timeout=timeout_s)
            ready = [one.version for one in status.model_version_status if one.state == wire.AVAILABLE]
        else:
            response = requests.get(f"{server.rstrip('/')}/v1/models/{model_name}", timeout=timeout_s)
            response.raise_for_status()
            statuses = response.json()["model_version_status"]
            ready = [int(one["version"]) for one in statuses if one["state"] == "AVAILABLE"]
    except (grpc.RpcError, requests.RequestException, ValueError, LookupError, TypeError) as error:
        raise ServingUnavailable(f"{server} did not return the model's status.") from error
    return sorted(ready, reverse=True)


def _unreachable(server: str) -> ServingUnavailable:
    return ServingUnavailable(f"No server answers at {server}.")


def _cut(server: str) -> ServingUnavailable:
    return ServingUnavailable(f"The connection to {server} was lost before the response was complete.")


def _late(server: str, timeout_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"{server} did not answer within {timeout_s:g} s.")


def _too_long(server: str) -> ServingFailed:
    text = f"The pictures and the state of this run are too large for one call of {server}. Choose a smaller `size`."
    return ServingFailed(text, "RESOURCE_EXHAUSTED")  # not Overloaded: a retry would fail, too


def _invalid(server: str, signature: str) -> InvalidResponse:
    return InvalidResponse(f"{server}: the response violates the model's contract for `{signature}`.")
