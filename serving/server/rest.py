"""REST, as in tensorflow_model_server.

    POST /v1/models/NAME[/versions/N]:predict
    GET  /v1/models/NAME[/versions/N]             status
    GET  /v1/models/NAME[/versions/N]/metadata

The event loop reads requests and writes responses; threads do the rest of a predict call.
"""

import asyncio
import ipaddress
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.errors import HTTP_STATUS, InvalidInput, ModelNotFound, ServingFailed, StyleTransferError
from serving.server import json_tensor, messages
from serving.server.admission import MAX_MESSAGE_BYTES, Admission
from serving.server.connection import SLOWEST_BYTES_S, STALL_S
from serving.server.manager import ModelManager, ModelRef
from serving.server.servable import DEFAULT_SIGNATURE, Array, Servable

log = logging.getLogger(__name__)

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]{1,19}))?"
_PREDICT = re.compile(rf"{_MODEL}:predict", re.IGNORECASE)
_DOCUMENT = re.compile(rf"{_MODEL}(?P<metadata>/metadata)?", re.IGNORECASE)
_LEFT_OUT = re.compile(r"(?!/v1/).*|/v1/models/[^/:]+(/labels/[^/:]+.*|[^:]*:(classify|regress))", re.IGNORECASE)


class BodyTooLong(StyleTransferError):
    """A body is longer than the server accepts: HTTP status 413, for which there is no gRPC code."""

    def __init__(self) -> None:
        super().__init__(f"The request must be at most {MAX_MESSAGE_BYTES} bytes long. Received: more.")


class RestApp:
    """The ASGI application."""

    def __init__(self, manager: ModelManager, admission: Admission, timeout_s: float | None, local: bool) -> None:
        """Takes the model's versions, and what calls may take of the server.

        A call may last `timeout_s` after its body was read; None: no limit. `local` tells that only this machine can
        reach the server, so that the server's name in a request must be a local one.
        """
        self._manager, self._admission, self._timeout_s, self._local = manager, admission, timeout_s, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; every failure becomes a response."""
        request = Request(scope, receive)
        # As in TensorFlow Serving, routes are matched with the query string.
        target = scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("latin-1")
        started, status = time.monotonic(), HTTP_STATUS["OK"]
        try:
            body = await self._answer(request, target)
        except ClientDisconnect:
            return
        except StyleTransferError as error:
            status = 413 if isinstance(error, BodyTooLong) else HTTP_STATUS[error.code]
            body = json_tensor.error_body(str(error))
        except Exception as error:  # a bug in the server: only the log gets the traceback
            log.exception("REST %s %.200s failed", request.method, target)
            status, body = HTTP_STATUS["INTERNAL"], json_tensor.error_body(f"Internal error: {type(error).__name__}")
        level = logging.DEBUG if request.method == "GET" and status == HTTP_STATUS["OK"] else logging.INFO
        duration_ms = (time.monotonic() - started) * 1000
        log.log(level, "REST %s %.200s %d in %.0f ms", request.method, target, status, duration_ms)
        await Response(body, status, media_type="application/json")(scope, receive, send)

    async def _answer(self, request: Request, target: str) -> bytes:
        if self._local and not _is_local(host := request.headers.get("host", "localhost")):
            # A web page whose own name leads to this machine: to the browser, this server is the page's.
            raise ServingFailed(
                f"The header `Host` must be localhost or a loopback address. Received: {host:.200}. To serve other "
                "names, start the server with --host.",
                "PERMISSION_DENIED",
            )
        if request.method == "POST" and (route := _PREDICT.fullmatch(target)):
            if request.headers.get("content-encoding", "identity") != "identity":
                raise ServingFailed(messages.left_out("A compressed body"), "UNIMPLEMENTED")
            # Browsers send it with every POST: otherwise any web page could start runs here. Content-Type says nothing:
            # curl sends JSON as a form, and TensorFlow Serving takes any.
            if "origin" in request.headers:
                raise ServingFailed("Requests from web pages are refused. Call from a program.", "PERMISSION_DENIED")
            with self._manager.lease(_ref(route)):  # refuse a call before reading its body
                self._admission.check()
            with self._admission.budget() as take:
                box = [await self._read(request, take)]
                return await _unless_disconnected(request, asyncio.create_task(self._predict(_ref(route), box, take)))
        if request.method == "GET" and (route := _DOCUMENT.fullmatch(target)):
            return json.dumps(self._document(_ref(route), metadata=bool(route["metadata"])), indent=1).encode()
        if _LEFT_OUT.fullmatch(target):
            raise ModelNotFound(messages.left_out(f"{request.method} {target:.200}"))
        raise InvalidInput(f"Malformed request: {request.method} {target}")

    async def _read(self, request: Request, take: Callable[[int], None]) -> bytearray:
        """Returns the body. If its header already declares it too long, nothing is read."""
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > MAX_MESSAGE_BYTES:
            raise BodyTooLong
        body = bytearray()
        started = time.monotonic()
        async with self._admission.arrival(STALL_S) as limit:
            async for chunk in request.stream():
                take(len(chunk))
                body += chunk
                if len(body) > MAX_MESSAGE_BYTES:
                    raise BodyTooLong
                limit.reschedule(min(time.monotonic(), started + len(body) / SLOWEST_BYTES_S) + STALL_S)
        return body

    async def _predict(self, ref: ModelRef, box: list[bytearray], take: Callable[[int], None]) -> bytes:
        """Returns the response to a body, which is in a box so that nothing holds it while it runs."""
        deadline = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        in_thread = self._admission.in_thread
        with self._manager.lease(ref) as servable:
            take(await in_thread(json_tensor.memory, box[0]))
            name, inputs, row_format = await in_thread(_parse, box, servable)
            async with self._admission.turn(deadline):
                outputs = await in_thread(servable.predict, name, inputs, (), deadline)
            del inputs
            return await in_thread(json_tensor.to_json, outputs, row_format)

    def _document(self, ref: ModelRef, metadata: bool) -> dict[str, object]:
        if not metadata:
            return messages.as_dict(messages.status_response(self._manager.status(ref)))
        with self._manager.lease(ref) as servable:
            # Without the Any of the gRPC response: TensorFlow Serving writes the map itself, without a type URL.
            return {
                "model_spec": {"name": ref.name, "signature_name": "", "version": str(servable.version)},
                "metadata": {messages.SIGNATURE_DEF: messages.as_dict(messages.signatures(servable))},
            }


def _ref(route: re.Match[str]) -> ModelRef:
    return ModelRef(unquote(route["name"]), int(route["version"]) if route["version"] else None)


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _parse(box: list[bytearray], servable: Servable) -> tuple[str, Mapping[str, Array], bool]:
    """Returns the signature's name, its inputs, and whether the body is in row format."""
    document = json_tensor.parse(box.pop())
    name = document.get("signature_name") or DEFAULT_SIGNATURE
    if name not in servable.signatures:  # TensorFlow Serving's REST has its own text and code
        raise InvalidInput(f'Serving signature name: "{name}" not found in signature def')
    return name, json_tensor.to_arrays(document, servable.signatures[name].inputs), "instances" in document


async def _unless_disconnected(request: Request, answer: asyncio.Task[bytes]) -> bytes:
    """Returns the answer; cancels it if the client goes away first."""
    watching = asyncio.ensure_future(request.receive())  # after the body, only the end of the connection is received
    watching.add_done_callback(lambda _: answer.cancel())
    try:
        return await answer
    except asyncio.CancelledError:
        raise ClientDisconnect from None
    finally:
        watching.cancel()
