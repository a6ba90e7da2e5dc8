"""Ways to a served model: gRPC, REST, or the SavedModel in this very process. One call each: `predict`.

Only the last imports TensorFlow, and only when it is asked for.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
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

CONNECT_S = 10.0  # longest wait for a connection, so that a machine that is gone does not use up a call's whole time
CHANNEL_OPTIONS = (
    *GRPC_OPTIONS,
    ("grpc.min_reconnect_backoff_ms", int(1000 * CONNECT_S)),  # gRPC's name for the time that connecting may take
    # Who calls again decides when (serving/endpoints.py): a channel that waits by itself would refuse in between.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
_PIECE_BYTES = 1 << 20
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
    ) -> wire.Arrays:
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
    ) -> wire.Arrays:
        request = wire.PredictRequest(output_filter=outputs)
        request.model_spec.name, request.model_spec.signature_name = self._model_name, signature
        for tensor in SIGNATURES[signature].inputs:
            wire.to_proto(wire.to_array(inputs[tensor.name], tensor), tensor, request.inputs[tensor.name])
        try:
            response = self._predict(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise self._error(error.code(), error.details() or "", timeout_s) from error
        try:
            return {
                tensor.name: wire.from_proto(response.outputs[tensor.name], tensor)
                for tensor in SIGNATURES[signature].outputs
                if tensor.name in response.outputs
            }
        except (TypeError, ValueError) as error:
            raise _invalid(f"grpc://{self._address}", signature) from error

    def _error(self, code: grpc.StatusCode, details: str, timeout_s: float) -> StyleTransferError:
        server = f"grpc://{self._address}"
        if code is grpc.StatusCode.UNAVAILABLE and "connect" in details.lower():
            return ServingUnavailable(f"No server answers at {server}.")
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL):
            if any(words in details for words in _CUT):
                return ServingUnavailable(f"The connection to {server} was cut before the answer was complete.")
            if "deserializing response" in details:
                return InvalidResponse(f"{server} sent bytes that are not a message of a model server.")
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
    ) -> wire.Arrays:
        tensors = SIGNATURES[signature].inputs
        request = {
            "signature_name": signature,
            "inputs": {t.name: wire.to_json(wire.to_array(inputs[t.name], t).tolist()) for t in tensors},
        }
        status, body = self._post(json.dumps(request).encode(), timeout_s)
        if status == requests.codes.request_entity_too_large:
            raise _too_long(self._server)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
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
            return {t.name: wire.to_array(wire.from_json(values[t.name]), t) for t in expected}
        except (TypeError, LookupError, ValueError, OverflowError, RecursionError) as error:
            raise _invalid(self._server, signature) from error

    def _post(self, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Returns the HTTP status and the body of the response."""
        deadline = time.monotonic() + timeout_s
        late = f"No answer from {self._server} within {timeout_s:g} s."
        connected = False
        try:
            timeouts = (min(CONNECT_S, timeout_s), timeout_s)
            with self._session.post(self._url, data=body, timeout=timeouts, stream=True) as response:
                connected = True
                pieces = []
                # requests knows no time for a whole response, only for the wait between two pieces of it.
                for piece in response.iter_content(_PIECE_BYTES):
                    pieces.append(piece)
                    if time.monotonic() > deadline:
                        raise DeadlineExceeded(late)
                return response.status_code, b"".join(pieces)
        except requests.ConnectTimeout as error:
            raise ServingUnavailable(f"No server answers at {self._server}.") from error
        except requests.Timeout as error:
            raise DeadlineExceeded(late) from error
        except requests.exceptions.ContentDecodingError as error:
            raise InvalidResponse(f"{self._server} answered in an encoding that cannot be read.") from error
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
    """The SavedModel in this process, run as a server would run it; the one way that needs TensorFlow."""

    def __init__(self, path: Path) -> None:
        """Loads a SavedModel.

        Args:
          path: a version's directory, or the base path above it, of which the latest version is taken.

        Raises:
          InvalidInput: there is no SavedModel, or no TensorFlow to run it with.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        try:
            from serving.server.servable import Servable
        except ImportError as error:
            raise InvalidInput(
                f"`local` needs TensorFlow to run the model in this process; without it, `server` names a model "
                f"server. Received: {path}"
            ) from error

        versions = find_versions(path)
        version = VersionPath(0, path) if (path / "saved_model.pb").exists() or not versions else versions[-1]
        try:
            self._servable = Servable(version)
        except ServingFailed as error:
            raise InvalidInput(f"`local` must be the path of a SavedModel. Received: {path}") from error
        self._path = path

    def predict(
        self, signature: str, inputs: Mapping[str, Any], *, outputs: Sequence[str] = (), timeout_s: float
    ) -> wire.Arrays:
        if signature not in self._servable.signatures:
            text = f"`local` must be a model of this project. Received: {self._path}, without `{signature}`"
            raise InvalidInput(text)
        arrays = {t.name: wire.to_array(inputs[t.name], t) for t in SIGNATURES[signature].inputs}
        try:
            return self._servable.predict(signature, arrays, outputs)
        except StyleTransferError as error:
            raise from_code(error.code, clean(str(error))) from error

    def close(self) -> None:
        self._servable.close()


def served_versions(server: str, model_name: str = MODEL_NAME, *, timeout_s: float = 10.0) -> list[int]:
    """Returns the versions that a server has ready, the newest first; it answers with that one unless told otherwise.

    A server tells this without waiting for its turn, however much it has to do.

    Args:
      server: `grpc://HOST:PORT` or `http(s)://HOST:PORT`.
      model_name: the servable's name.
      timeout_s: longest time to wait.

    Raises:
      ServingUnavailable: it does not answer, or knows no such model.
    """
    scheme, _, address = server.partition("://")
    try:
        if scheme == "grpc":
            with grpc.insecure_channel(address, options=GRPC_OPTIONS) as channel:
                call = channel.unary_unary(
                    wire.MODEL_STATUS,
                    request_serializer=wire.StatusRequest.SerializeToString,
                    response_deserializer=wire.StatusResponse.FromString,
                )
                status = call(wire.StatusRequest(model_spec={"name": model_name}), timeout=timeout_s)
            ready = [one.version for one in status.model_version_status if one.state == wire.AVAILABLE]
        else:
            response = requests.get(f"{server.rstrip('/')}/v1/models/{model_name}", timeout=timeout_s)
            response.raise_for_status()
            statuses = response.json()["model_version_status"]
            ready = [int(one["version"]) for one in statuses if one["state"] == "AVAILABLE"]
    except (grpc.RpcError, requests.RequestException, ValueError, LookupError, TypeError) as error:
        raise ServingUnavailable(f"{server} gave no status of the model.") from error
    return sorted(ready, reverse=True)


def _invalid(server: str, signature: str) -> InvalidResponse:
    return InvalidResponse(f"{server}: the response violates the model's contract for `{signature}`.")


def _too_long(server: str) -> ServingFailed:
    text = f"The pictures and the state of this run are more than {server} takes in one call. A smaller `size` is less."
    return ServingFailed(text, "RESOURCE_EXHAUSTED")  # not Overloaded: it would be too long at the next attempt, too
