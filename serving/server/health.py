"""gRPC's health protocol, grpc.health.v1: what load balancers and Kubernetes ask.

`Watch` is left out: clients take UNIMPLEMENTED for healthy, as the protocol wants it, and it would hold a thread each.
Source: grpc/grpc, doc/health-checking.md.
"""

from __future__ import annotations

from typing import Any

import grpc

from model import protos
from serving.server.core import ServerCore

SERVICES = ("", "ModelService", "PredictionService")  # those that tensorflow_model_server knows; "": the whole server
SERVING, NOT_SERVING = 1, 2

_MESSAGES = protos.build_messages(
    "style_transfer.health",
    {"Request": {"service": (1, "STRING")}, "Response": {"status": (1, "INT32")}},
)
CHECK = "/grpc.health.v1.Health/Check"
Request, Response = _MESSAGES["Request"], _MESSAGES["Response"]


def add_service(server: grpc.Server, core: ServerCore) -> None:
    """Registers the service; call it before the server starts.

    Args:
      server: the server to ask.
      core: is serving once its models have been loaded, and until it stops.
    """

    def check(request: Any, context: grpc.ServicerContext) -> Any:
        if request.service not in SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return Response(status=SERVING if core.ready else NOT_SERVING)

    _, service, method = CHECK.split("/")
    handler = grpc.unary_unary_rpc_method_handler(
        check, request_deserializer=Request.FromString, response_serializer=Response.SerializeToString
    )
    server.add_registered_method_handlers(service, {method: handler})
