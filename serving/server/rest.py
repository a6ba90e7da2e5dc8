"""REST, as tensorflow_model_server speaks it: a thin adapter from HTTP routes to the core.

    POST /v1/models/NAME[/versions/N|/labels/L]:predict
    GET  /v1/models/NAME[/versions/N|/labels/L]             status
    GET  /v1/models/NAME[/versions/N|/labels/L]/metadata

Anything else below /v1/ is a malformed request (400); anything outside is 404.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from model.errors import HTTP_STATUS, InvalidInput, ServingFailed, StyleTransferError
from model.versions import MAX_VERSION
from serving.server import json_tensor, messages
from serving.server.core import ModelRef, ServerCore
from serving.server.servable import Servable
from serving.server.signature_rules import DEFAULT_SIGNATURE

log = logging.getLogger(__name__)

_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_DOCUMENT = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?P<metadata>/metadata)?", re.IGNORECASE)

SPARE_THREADS = 8  # beyond those that wait for a run: they read requests, and refuse the ones too many


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    media_type: str = "application/json"


class RestApp:
    """The ASGI application."""

    def __init__(self, core: ServerCore, timeout_s: float | None) -> None:
        """Takes the core to serve.

        Args:
          core: what answers.
          timeout_s: how long a predict call may take once its body is here. None: for ever.
        """
        self._core = core
        self._timeout_s = timeout_s
        # Predict calls wait here, and large bodies are parsed here, so that the event loop can always answer.
        self._threads = ThreadPoolExecutor(core.queue.capacity + SPARE_THREADS, thread_name_prefix="rest")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        # As in TensorFlow Serving the query string is part of what the routes are matched against.
        target = scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("latin-1")
        started = time.monotonic()
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        if request.method == "POST":
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._threads, self.answer, request.method, target, body)
        else:
            answer = self.answer(request.method, target, b"")
        level = logging.DEBUG if request.method == "GET" and answer.status == 200 else logging.INFO
        log.log(
            level,
            "REST %s %.200s %d in %.0f ms",
            request.method,
            target,
            answer.status,
            (time.monotonic() - started) * 1000,
        )
        await Response(answer.body, answer.status, media_type=answer.media_type)(scope, receive, send)

    def close(self) -> None:
        """Ends the threads; call it when no request is left."""
        self._threads.shutdown(wait=False)

    def answer(self, method: str, target: str, body: bytes) -> Answer:
        """Answers a request; every failure becomes an answer.

        Args:
          method: GET, POST, ...
          target: path and query, still percent-encoded.
          body: the request's body.
        """
        if not target.lower().startswith("/v1/"):
            return Answer(404, b"<html><title>404 Not Found</title><h1>Not Found</h1></html>\n", "text/html")
        call = _CALL.fullmatch(target) if method == "POST" else None
        document = _DOCUMENT.fullmatch(target) if method == "GET" else None
        found = call or document
        if found and int(found["version"] or 0) > MAX_VERSION:
            return Answer(400, b"")  # tensorflow_model_server answers so too: no body
        try:
            if call:
                return Answer(200, self._call(call, body))
            if document:
                return Answer(200, self._document(document))
            raise InvalidInput(f"Malformed request: {method} {target}")
        except StyleTransferError as error:
            return Answer(error.http_status, json_tensor.error_body(str(error)))
        except Exception as error:  # a fault of this program: the log gets the traceback, the client does not
            log.exception("REST %s %.200s failed", method, target)
            message = f"Internal error: {type(error).__name__}"
            return Answer(HTTP_STATUS["INTERNAL"], json_tensor.error_body(message))

    def _call(self, route: re.Match[str], body: bytes) -> bytes:
        if route["method"].lower() != "predict":
            raise ServingFailed(f"{route['method']} is not served here; use predict.", "UNIMPLEMENTED")
        started = time.monotonic()
        servable = self._core.admit(_ref(route))
        request = json_tensor.parse_body(body)
        inputs = json_tensor.tensors_of(request, _inputs_of(servable, request.signature_name))
        outputs = self._core.predict(
            servable,
            request.signature_name,
            inputs,
            deadline=None if self._timeout_s is None else started + self._timeout_s,
        )
        return json_tensor.to_json(outputs, request.row_format)

    def _document(self, route: re.Match[str]) -> bytes:
        if not route["name"]:
            raise InvalidInput("Missing model name in request.")
        ref = _ref(route)
        if route["metadata"]:
            document = messages.metadata_document(ref.name, self._core.find(ref))
        else:
            document = messages.status_document(self._core.status(ref))
        return json.dumps(document, indent=1).encode()


def _ref(route: re.Match[str]) -> ModelRef:
    return ModelRef(
        name=unquote(route["name"]),
        version=int(route["version"]) if route["version"] else None,
        label=unquote(route["label"]) if route["label"] else None,
    )


def _inputs_of(servable: Servable, name: str) -> json_tensor.TensorInfos:
    """Returns the inputs of a signature. Over REST TensorFlow Serving has its own text and code for a wrong name."""
    name = name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise InvalidInput(f'Serving signature name: "{name}" not found in signature def')
    infos: json_tensor.TensorInfos = servable.signatures[name].inputs
    return infos
