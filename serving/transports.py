"""Transports to a served model, each with one call, `predict`: gRPC, REST, or the SavedModel in this process.

Only the last needs TensorFlow, and imports it when it is created.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Unpack
from urllib.parse import urljoin, urlsplit

import grpc
import requests
from urllib3 import Timeout

from model.contract import SIGNATURES, TensorInfo
from model.versions import VersionPath, find_versions
from serving import wire
from serving.contract import CA_VARIABLE, MODEL_NAME, TOKEN_VARIABLE
from serving.errors import (
    AccessDenied,
    Cancelled,
    ConnectionLost,
    DeadlineExceeded,
    InvalidInput,
    InvalidResponse,
    Overloaded,
    ServingFailed,
    ServingUnavailable,
    StyleTransferError,
    TooLarge,
    clean,
    from_code,
    from_http_status,
)
from serving.network import Access, Remote
from serving.wire import Arrays

# The reason for which requests or gRPC does not trust a certificate, in the texts of its errors.
_UNVERIFIED = re.compile(r"(?i)(?:certificate.verify.failed|custom verification check failed.*): ([\w ,'-]+)")
_PIECE_BYTES = 1 << 16
# Status codes by which a gateway or load balancer reports a lost or busy server; their bodies are not JSON.
_GATEWAY_STATUS = {429, 502, 503}
_REDIRECTS = {301, 302, 303, 307, 308}
STATUS_S = 10.0  # longest wait for the model's status, which a busy server tells at once, too
# gRPC's own texts for a message above the receiver's limit, or above 2 GiB.
_TOO_LONG = ("larger than max", "Exception serializing request")
# Texts of gRPC, and last of Envoy, for a lost connection, by which to tell it from an error of the server.
_CUT = re.compile("RST_STREAM|Stream removed|Socket closed|Connection reset|GOAWAY|recvmsg|Broken pipe|termination")


@dataclass
class Pin:
    """The version of the model that all calls of a run ask for, so that a new version does not end the run."""

    version: int | None = None  # None before the run's first call, 0 if the server does not tell


class Transport(Protocol):
    """A connection to a served model."""

    def predict(self, signature: str, inputs: Mapping[str, Any], *, timeout_s: float, pin: Pin | None = None) -> Arrays:
        """Runs a signature.

        Args:
          signature: its name.
          inputs: nested lists or arrays, by the names in model/contract.py.
          timeout_s: longest time to wait.
          pin: the version to call. If it holds none, the newest, which is then written there.

        Raises:
          StyleTransferError: see serving/errors.py.
        """

    def versions(self, *, timeout_s: float = STATUS_S) -> list[int]:
        """Returns the versions that are available, the newest first, or raises a StyleTransferError."""

    def close(self) -> None:
        """Closes the connection, or frees the model."""


def connect(server: str, model_name: str = MODEL_NAME, **access: Unpack[Access]) -> Transport:
    """Returns the transport for `grpc(s)://HOST:PORT`, `http(s)://HOST:PORT`, or the path of a SavedModel.

    Raises InvalidInput if the address is none of these, and as `Remote.of`.
    """
    if "://" not in server and not re.search(r":\d+$", server):  # an address without a scheme is no path
        return LocalTransport(Path(server))
    remote = Remote.of(server, **access)
    return (GrpcTransport if remote.scheme in ("grpc", "grpcs") else RestTransport)(remote, model_name)


class GrpcTransport:
    """TensorFlow Serving's PredictionService."""

    def __init__(self, server: Remote, model_name: str) -> None:
        self._server = server
        self._model_name = model_name
        self._channel = server.channel()

    def predict(self, signature: str, inputs: Mapping[str, Any], *, timeout_s: float, pin: Pin | None = None) -> Arrays:
        request = wire.PredictRequest(model_spec={"name": self._model_name, "signature_name": signature})
        if pin and pin.version:
            request.model_spec.version.value = pin.version
        arrays = wire.to_arrays(signature, inputs)
        for tensor in SIGNATURES[signature].inputs:
            wire.to_proto(arrays[tensor.name], tensor, request.inputs.add(key=tensor.name).value)
        response = self._call(wire.PREDICT, request, wire.PredictResponse, timeout_s)
        if pin:
            pin.version = response.model_spec.version.value
        protos = {entry.key: entry.value for entry in response.outputs}
        return _outputs(self._server, signature, protos, wire.from_proto)

    def versions(self, *, timeout_s: float = STATUS_S) -> list[int]:
        request = wire.StatusRequest(model_spec={"name": self._model_name})
        response = self._call(wire.MODEL_STATUS, request, wire.StatusResponse, timeout_s)
        available = [one.version for one in response.model_version_status if one.state == wire.AVAILABLE]
        return sorted(available, reverse=True)

    def _call(self, path: str, request: Any, response_type: Any, timeout_s: float) -> Any:
        call = self._channel.unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=response_type.FromString
        )
        try:
            return call(request, timeout=timeout_s, metadata=tuple(self._server.headers.items()))
        except grpc.RpcError as error:
            raise self._error(error.code(), error.details() or "", timeout_s) from error
        except ValueError as error:
            raise Cancelled("The client was closed.") from error

    def _error(self, code: grpc.StatusCode, details: str, timeout_s: float) -> StyleTransferError:
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            return _denied(self._server, code.name)
        if code is grpc.StatusCode.UNAVAILABLE and (reason := _UNVERIFIED.search(details)):
            return _unverified(self._server, reason)
        if code is grpc.StatusCode.UNAVAILABLE and "to connect" in details:
            return _unreachable(self._server)
        if code.name in ("UNAVAILABLE", "UNKNOWN", "INTERNAL", "CANCELLED"):
            if _CUT.search(details):
                return _cut(self._server)
            if "deserializing response" in details:
                return InvalidResponse(f"{self._server} sent a response of another type than was asked for.")
        if any(words in details for words in _TOO_LONG):
            return _too_long(self._server)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return _late(self._server, timeout_s)
        return from_code(code.name, self._server.without_secrets(clean(details)))

    def close(self) -> None:
        self._channel.close()


class RestTransport:
    """TensorFlow Serving's REST API, with columnar inputs and outputs."""

    def __init__(self, server: Remote, model_name: str) -> None:
        self._server = server
        self._url = f"{server}/v1/models/{model_name}"
        self._session = server.session()

    def predict(self, signature: str, inputs: Mapping[str, Any], *, timeout_s: float, pin: Pin | None = None) -> Arrays:
        if pin and pin.version is None:  # a response does not tell its version
            pin.version = self._newest(min(timeout_s, STATUS_S))
        version = f"/versions/{pin.version}" if pin and pin.version else ""
        columns = {name: array.tolist() for name, array in wire.to_arrays(signature, inputs).items()}
        request = wire.to_json({"signature_name": signature, "inputs": columns})
        document = self._call("POST", f"{version}:predict", request, timeout_s)
        values = document.get("outputs") if isinstance(document, dict) else None
        if len(expected := SIGNATURES[signature].outputs) == 1:
            values = {expected[0].name: values}
        return _outputs(self._server, signature, values, wire.to_array)

    def versions(self, *, timeout_s: float = STATUS_S) -> list[int]:
        document = self._call("GET", "", None, timeout_s)
        try:
            statuses = document["model_version_status"]
            return sorted((int(one["version"]) for one in statuses if one["state"] == "AVAILABLE"), reverse=True)
        except (TypeError, LookupError, ValueError) as error:
            raise InvalidResponse(f"{self._server} sent a response that is not the model's status.") from error

    def _newest(self, timeout_s: float) -> int:
        try:
            return next(iter(self.versions(timeout_s=timeout_s)), 0)
        except (ServingUnavailable, Overloaded, DeadlineExceeded):
            raise
        except StyleTransferError:  # a gateway may let nothing but `predict` through
            return 0

    def _call(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Any:
        status, content, location = self._exchange(method, self._url + path, body, timeout_s)
        if status == requests.codes.request_entity_too_large:
            raise _too_long(self._server)
        if status == requests.codes.gateway_timeout:  # the text of TensorFlow Serving does not say whose time is up
            raise DeadlineExceeded(
                f"{self._server} did not finish the call in the time that it allows (HTTP 504). Start it with a larger "
                "--rest_api_timeout_in_ms, or call it by gRPC."
            )
        if status in (requests.codes.unauthorized, requests.codes.forbidden):
            raise _denied(self._server, f"HTTP {status}")
        if status in _REDIRECTS:
            where = urlsplit(urljoin(self._url, location))
            raise AccessDenied(
                f"{self._server} redirects to {where.scheme}://{where.netloc.rpartition('@')[2]}{where.path}, and the "
                "client follows no redirects: give the model server's own address."
            )
        try:
            document = json.loads(content, object_hook=wire.from_json)
        except (TypeError, ValueError, RecursionError) as error:
            if status in _GATEWAY_STATUS:
                raise from_http_status(status, f"{self._server} answered HTTP {status}.") from error
            raise InvalidResponse(f"{self._server} answered HTTP {status} with a body that is not JSON.") from error
        if status != requests.codes.ok:
            text = document.get("error", "") if isinstance(document, dict) else ""
            raise from_http_status(status, self._server.without_secrets(clean(str(text))))
        return document

    def _exchange(self, method: str, url: str, body: bytes | None, timeout_s: float) -> tuple[int, bytes, str]:
        """Returns the HTTP status, the body and the header Location of the response."""
        deadline = time.monotonic() + timeout_s
        connected = False
        try:
            # To send and to read together; serving/network.py limits how long connecting may take.
            options: Any = {"timeout": Timeout(total=timeout_s), "stream": True, "allow_redirects": False}
            with self._session.request(method, url, data=body, **options) as response:
                connected = True
                pieces = []
                # The read timeout of requests limits the wait for one piece, not for the whole response.
                for piece in response.iter_content(_PIECE_BYTES):
                    pieces.append(piece)
                    if time.monotonic() > deadline:
                        raise _late(self._server, timeout_s)
                return response.status_code, b"".join(pieces), response.headers.get("Location", "")
        except requests.exceptions.ContentDecodingError as error:
            raise InvalidResponse(f"{self._server} sent a response that cannot be decompressed.") from error
        except requests.RequestException as error:
            if reason := _UNVERIFIED.search(str(error)):
                raise _unverified(self._server, reason) from error
            if "timed out" in str(error) and not isinstance(error, requests.ConnectTimeout):
                raise _late(self._server, timeout_s) from error
            if connected or "aborted" in str(error):
                raise _cut(self._server) from error
            raise _unreachable(self._server) from error

    def close(self) -> None:
        self._session.close()


class LocalTransport:
    """The SavedModel in this process, run as the embedded server runs it."""

    def __init__(self, path: Path) -> None:
        """Loads the SavedModel in a version's directory, or the newest version of a base path.

        Raises InvalidInput if there is no SavedModel, or TensorFlow cannot be imported.
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
        self._path, self._version = path, version.number

    def predict(self, signature: str, inputs: Mapping[str, Any], *, timeout_s: float, pin: Pin | None = None) -> Arrays:
        if signature not in self._servable.signatures:
            raise InvalidInput(f"`local` must be a model of this project. Received: {self._path} without `{signature}`")
        try:
            return self._servable.predict(signature, wire.to_arrays(signature, inputs))
        except StyleTransferError as error:
            raise from_code(error.code, clean(str(error))) from error

    def versions(self, *, timeout_s: float = STATUS_S) -> list[int]:
        return [self._version]

    def close(self) -> None:
        self._servable.close()


def served_versions(
    server: str, model_name: str = MODEL_NAME, *, timeout_s: float = STATUS_S, **access: Unpack[Access]
) -> list[int]:
    """Returns the versions that a server has available, the newest first, or raises a StyleTransferError.

    By default calls use the newest. A busy server answers at once, too.
    """
    with contextlib.closing(connect(server, model_name, **access)) as transport:
        return transport.versions(timeout_s=timeout_s)


def _unreachable(server: Remote) -> ServingUnavailable:
    return ServingUnavailable(f"No server answers at {server}.")


def _cut(server: Remote) -> ConnectionLost:
    return ConnectionLost(f"The connection to {server} was lost before the response was complete.")


def _late(server: Remote, timeout_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"{server} did not answer within {timeout_s:g} s.")


def _denied(server: Remote, status: str) -> AccessDenied:
    # Without the server's own text, which may repeat the token.
    if "authorization" in server.headers:
        return AccessDenied(f"{server} refused the token ({status}).")
    return AccessDenied(f"{server} wants a token ({status}): set `token`, or {TOKEN_VARIABLE} in the environment.")


def _unverified(server: Remote, reason: re.Match[str]) -> AccessDenied:
    return AccessDenied(
        f"The certificate of {server} does not verify ({reason[1].strip(' .')}): set `ca`, or the environment variable "
        f"{CA_VARIABLE}, to a PEM file of the authority that issued it."
    )


def _too_long(server: Remote) -> TooLarge:
    return TooLarge(f"Pictures and state of this run are too large for one call of {server}. Choose a smaller `size`.")


def _outputs(server: Remote, signature: str, values: Any, convert: Callable[[Any, TensorInfo], Any]) -> Arrays:
    """Returns a signature's outputs, by name, from a response's values, of which each is converted."""
    try:
        return {tensor.name: convert(values[tensor.name], tensor) for tensor in SIGNATURES[signature].outputs}
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidResponse(f"{server}: the response violates the model's contract for `{signature}`.") from error
