"""REST, as tensorflow_model_server speaks it: a thin adapter from HTTP routes to the core.

    POST /v1/models/NAME[/versions/N|/labels/L]:predict, :classify, :regress
    GET  /v1/models/NAME[/versions/N|/labels/L]             status
    GET  /v1/models/NAME[/versions/N|/labels/L]/metadata

Anything else below /v1/ is a malformed request (400); anything outside is 404, but for the metrics where they are on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from model.versions import MAX_VERSION
from serving.errors import HTTP_STATUS, InvalidInput, StyleTransferError
from serving.server import examples, examples_json, http_body, json_tensor, messages
from serving.server.core import ServerCore
from serving.server.servable import Servable
from serving.server.signature_rules import DEFAULT_SIGNATURE
from serving.server.states import ModelRef

log = logging.getLogger(__name__)

_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_DOCUMENT = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?P<metadata>/metadata)?", re.IGNORECASE)

SPARE_THREADS = 8  # beyond those that wait for a run: they read requests, and refuse the ones too many
TOO_LONG = 413  # no gRPC code stands for this HTTP status

_CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    media_type: str | None = "application/json"


class RestApp:
    """The ASGI application."""

    def __init__(
        self,
        core: ServerCore,
        *,
        timeout_s: float | None,
        max_request_bytes: int,
        cors: bool = False,
        metrics_path: str | None = None,
    ) -> None:
        """Takes the core to serve.

        Args:
          core: what answers.
          timeout_s: how long a call may take once its body is here. None: for ever.
          max_request_bytes: how long a body may be, as it is sent.
          cors: whether pages of other origins may read the answers.
          metrics_path: where the metrics are. None: nowhere.
        """
        self._core = core
        self._timeout_s = timeout_s
        self._max_request_bytes = max_request_bytes
        self._headers = _CORS_HEADERS if cors else {}
        self._metrics_path = metrics_path
        # Calls wait here, and large bodies are parsed here, so that the event loop can always answer.
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
            answer = await self._answer(request, target)
        except ClientDisconnect:
            return
        level = logging.DEBUG if request.method == "GET" and answer.status == 200 else logging.INFO
        duration_ms = (time.monotonic() - started) * 1000
        log.log(level, "REST %s %.200s %d in %.0f ms", request.method, target, answer.status, duration_ms)
        response = Response(answer.body, answer.status, headers=self._headers, media_type=answer.media_type)
        await response(scope, receive, send)

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
        if method == "GET" and target == self._metrics_path:
            return Answer(200, self._core.metrics_page().encode(), "text/plain")
        if not target.lower().startswith("/v1/"):
            return Answer(404, b"<html><title>404 Not Found</title><h1>Not Found</h1></html>\n", "text/html")
        call = _CALL.fullmatch(target) if method == "POST" else None
        document = _DOCUMENT.fullmatch(target) if method == "GET" else None
        found = call or document
        if found and int(found["version"] or 0) > MAX_VERSION:
            return Answer(400, b"")  # tensorflow_model_server answers so too: no body
        started, code = time.monotonic(), "OK"
        try:
            if call:
                return Answer(200, self._call(call, body))
            if document:
                return Answer(200, self._document(document))
            raise InvalidInput(f"Malformed request: {method} {target}")
        except StyleTransferError as error:
            code = error.code
            return Answer(HTTP_STATUS[error.code], json_tensor.error_body(str(error)))
        except Exception as error:  # a fault of this program: the log gets the traceback, the client does not
            log.exception("REST %s %.200s failed", method, target)
            code = "INTERNAL"
            message = f"Internal error: {type(error).__name__}"
            return Answer(HTTP_STATUS[code], json_tensor.error_body(message))
        finally:
            if call:
                self._record(call, code, time.monotonic() - started)

    async def _answer(self, request: Request, target: str) -> Answer:
        if request.method == "OPTIONS":  # a browser asks whether it may call, before it does
            named = re.search("https?://", request.headers.get("origin", ""))
            return Answer(200 if named else 400, b"", None)
        if request.method != "POST":
            return self.answer(request.method, target, b"")
        try:
            body = await http_body.read(request, self._max_request_bytes)
        except http_body.BodyTooLong:
            message = f"The request must be at most {self._max_request_bytes} bytes long. Received: more."
            return Answer(TOO_LONG, json_tensor.error_body(message))
        zipped = "gzip" in request.headers.get("content-encoding", "")

        def work() -> Answer:
            return self.answer("POST", target, http_body.inflate(body) if zipped else body)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _call(self, route: re.Match[str], body: bytes) -> bytes:
        deadline = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        with self._core.admit(_ref(route)) as servable:
            request = json_tensor.parse_body(body)
            return self._methods[route["method"].lower()](self, servable, request, deadline)

    def _predict(self, servable: Servable, request: json_tensor.Body, deadline: float | None) -> bytes:
        inputs = json_tensor.tensors_of(request, _inputs_of(servable, request.signature_name))
        outputs = self._core.predict(servable, request.signature_name, inputs, deadline=deadline)
        return json_tensor.to_json(outputs, request.row_format)

    def _classify(self, servable: Servable, request: json_tensor.Body, deadline: float | None) -> bytes:
        task = examples.Task(examples.Method.Classify, request.signature_name)
        (result,) = self._core.infer(servable, [task], examples_json.serialized_examples(request), deadline=deadline)
        return examples_json.classes_to_json(result)

    def _regress(self, servable: Servable, request: json_tensor.Body, deadline: float | None) -> bytes:
        task = examples.Task(examples.Method.Regress, request.signature_name)
        (result,) = self._core.infer(servable, [task], examples_json.serialized_examples(request), deadline=deadline)
        return examples_json.values_to_json(result)

    _methods: dict[str, Callable[[RestApp, Servable, json_tensor.Body, float | None], bytes]] = {  # noqa: RUF012
        "predict": _predict,
        "classify": _classify,
        "regress": _regress,
    }

    def _document(self, route: re.Match[str]) -> bytes:
        if not route["name"]:
            raise InvalidInput("Missing model name in request.")
        ref = _ref(route)
        if route["metadata"]:
            with self._core.find(ref) as servable:
                document = messages.metadata_document(ref.name, servable)
        else:
            document = messages.status_document(self._core.status(ref))
        return json.dumps(document, indent=1).encode()

    def _record(self, route: re.Match[str], code: str, seconds: float) -> None:
        name = unquote(route["name"])
        if self._core.serves(name):
            self._core.metrics.record_request(name, route["method"].lower(), "REST", code, seconds)


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
