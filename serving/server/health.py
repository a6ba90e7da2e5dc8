"""gRPC's health protocol, grpc.health.v1: what load balancers and Kubernetes ask.

Source: grpc/grpc, doc/health-checking.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from serving import protos
from serving.server.core import ServerCore

SERVICES = ("", "ModelService", "PredictionService")  # those that tensorflow_model_server knows; "": the whole server
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3

_MESSAGES = protos.build_messages(
    "style_transfer.health",
    {
        "Request": {"service": (1, "STRING")},
        "Response": {"status": (1, "INT32")},
        "ListRequest": {},
        "ListResponse": {"statuses": (1, "Response{}")},
    },
)
Request, Response = _MESSAGES["Request"], _MESSAGES["Response"]
ListRequest, ListResponse = _MESSAGES["ListRequest"], _MESSAGES["ListResponse"]

SERVICE = "grpc.health.v1.Health"
CHECK, LIST, WATCH = (f"/{SERVICE}/{method}" for method in ("Check", "List", "Watch"))

Send = Callable[[Any], None]
"""Sends a message; None ends the call."""


class HealthService:
    """grpc.health.v1.Health. All its services fare as the server does."""

    def __init__(self, core: ServerCore) -> None:
        """Takes whom to ask: `core` is serving once its models have been loaded, until it stops."""
        self._core = core
        self._watchers: dict[Send, tuple[str, int]] = {}  # what each watches and was told; used by one thread alone
        # What is told waits until a watcher takes it, which is nothing for the thread that loads or stops to wait for.
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="health")
        core.listen(lambda: self._later(self._tell_all))

    def check(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Returns how a service fares."""
        if request.service not in SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return Response(status=self._status(request.service))

    def list(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Returns how all services fare."""
        return ListResponse(statuses={service: Response(status=self._status(service)) for service in SERVICES})

    def watch(self, request: Any, context: grpc.ServicerContext, send_response_callback: Send) -> None:
        """Sends how a service fares, now and whenever that changes, until the server or the caller ends it."""

        def leave() -> None:
            self._later(self._watchers.pop, send_response_callback, None)

        self._later(self._tell, send_response_callback, request.service, 0)
        if not context.add_callback(leave):
            leave()  # the caller is gone already

    # gRPC then calls it with a third argument and keeps no thread for it, as in grpcio-health-checking.
    watch.experimental_non_blocking = True  # type: ignore[attr-defined]

    def close(self) -> None:
        """Ends all watching; call it after the core has stopped."""
        self._later(self._end_all)
        self._telling.shutdown(wait=False)

    def _later(self, work: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # it has been closed: there is nobody left to tell
            self._telling.submit(work, *arguments)

    def _status(self, service: str) -> int:
        if service not in SERVICES:
            return SERVICE_UNKNOWN
        return SERVING if self._core.ready else NOT_SERVING

    def _tell(self, send: Send, service: str, told: int) -> None:
        status = self._status(service)
        if status != told:
            send(Response(status=status))
        self._watchers[send] = service, status

    def _tell_all(self) -> None:
        for send, (service, told) in list(self._watchers.items()):
            self._tell(send, service, told)

    def _end_all(self) -> None:
        for send in self._watchers:
            send(None)


def add_service(server: grpc.Server, core: ServerCore) -> HealthService:
    """Registers the service; call it before the server starts, and `close` before it stops."""
    service = HealthService(core)
    handlers = {
        "Check": (grpc.unary_unary_rpc_method_handler, service.check, Request, Response),
        "List": (grpc.unary_unary_rpc_method_handler, service.list, ListRequest, ListResponse),
        "Watch": (grpc.unary_stream_rpc_method_handler, service.watch, Request, Response),
    }
    server.add_registered_method_handlers(
        SERVICE,
        {
            name: kind(behave, request_deserializer=asked.FromString, response_serializer=answered.SerializeToString)
            for name, (kind, behave, asked, answered) in handlers.items()
        },
    )
    return service
