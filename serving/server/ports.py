"""Opens the two ports, and says clearly when one is taken."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import grpc

from serving import contract
from serving.errors import ServingUnavailable

GRPC_OPTIONS = (
    # By default several processes may share a gRPC port, and each would get some of the calls.
    ("grpc.so_reuseport", 0),
)


def open_socket(host: str, port: int, flag: str) -> socket.socket:
    """Returns a TCP socket bound to the port (0: any free one), not yet listening.

    Args:
      host: address or name to bind.
      port: the port.
      flag: the flag that sets the port, for the error's text.

    Raises:
      ServingUnavailable: the port or the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # TCP by name: otherwise asyncio does not see that it is TCP, leaves Nagle's delay on, and each answer takes 40 ms.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A restart need not wait until the connections of the last run have timed out.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen(1)  # two sockets may be bound to one port with SO_REUSEADDR; only one may listen
    except OSError as error:
        opened.close()
        raise _not_available(host, port, flag, error.strerror or str(error)) from None
    return opened


def open_grpc_server(host: str, port: int, flag: str, threads: int, max_request_bytes: int) -> tuple[grpc.Server, int]:
    """Returns a gRPC server that holds the port (0: any free one) but is not started, and the port's number.

    Args:
      host: address or name to bind.
      port: the port.
      flag: the flag that sets the port, for the error's text.
      threads: how many calls are answered at once.
      max_request_bytes: longer requests get RESOURCE_EXHAUSTED.

    Raises:
      ServingUnavailable: the port or the address cannot be had.
    """
    # gRPC reports a taken port by a long line of its own log and a text without the reason: try it plainly first.
    open_socket(host, port, flag).close()
    options = (
        *GRPC_OPTIONS,
        ("grpc.max_receive_message_length", max_request_bytes),
        ("grpc.max_send_message_length", contract.UNLIMITED),
    )
    server = grpc.server(ThreadPoolExecutor(threads, thread_name_prefix="grpc"), options=options)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise _not_available(host, port, flag, str(error)) from None
    return server, bound


def _not_available(host: str, port: int, flag: str, reason: str) -> ServingUnavailable:
    return ServingUnavailable(
        f"Port {port} on {host} cannot be opened ({reason}). Stop the program that holds it, or choose another port "
        f"with --{flag}."
    )
