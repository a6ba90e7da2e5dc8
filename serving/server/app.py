"""One server process: two ports, a thread that loads versions, and a clean stop."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import socket
import threading
from argparse import Namespace
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import uvicorn

from model.versions import VersionPath
from serving import contract
from serving.errors import ServingUnavailable, StyleTransferError
from serving.server.admission import MAX_MESSAGE_BYTES, Admission
from serving.server.connection import MAX_IDLE, STALL_S, Connection
from serving.server.manager import ModelManager
from serving.server.system import allow_open_files, hold_alone, trim_heap

if TYPE_CHECKING:
    from serving.server.servable import Servable

Result = TypeVar("Result")

log = logging.getLogger(__name__)

DRAIN_S = 60.0  # for the running call, which without a deadline could take hours
GRACE_S = 5  # for sending the last responses
END_OF_LOADING_S = 0.5  # for the loading thread, which ends at once unless it is loading a version

MAX_GRPC_CONNECTIONS = 2000  # gRPC refuses further ones; on each connection it takes 100 calls at once
MAX_OPEN_FILES = MAX_GRPC_CONNECTIONS + MAX_IDLE + 1000  # the last for requests, files of models and libraries

GRPC_OPTIONS = (
    # By default several processes may share a gRPC port, and each gets some of the calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", contract.UNLIMITED),
    ("grpc.max_allowed_incoming_connections", MAX_GRPC_CONNECTIONS),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.server_handshake_timeout_ms", int(1000 * STALL_S)),
    ("grpc.max_connection_idle_ms", 300_000),  # without a call; clients connect anew by themselves
)


class ServerApp:
    """One server. Use: create it, `start`, wait until `ended` is set, `stop`."""

    def __init__(self, options: Namespace, ended: threading.Event) -> None:
        """Finds the model's versions and opens the ports. This takes milliseconds: TensorFlow is not imported yet.

        The server sets `ended` if it cannot serve; others set it to ask for a stop.

        Raises StyleTransferError if there is no version to serve, or a port is taken.
        """
        self.ended = ended
        self.failure: StyleTransferError | None = None  # why no version could be loaded at the start
        self.admission = Admission(options.max_queued_runs)
        base_path, retries = Path(options.model_base_path), options.max_num_load_retries
        self.manager = ModelManager(options.model_name, base_path, self._load, retries)
        self._options = options
        self._loading = threading.Thread(target=self._serve_model, name="models", daemon=True)
        self._rest: uvicorn.Server | None = None
        self._rest_task: asyncio.Task[None] | None = None
        self._grpc: grpc.aio.Server | None = None
        self._socket = None
        self._loop = asyncio.new_event_loop()
        self._network = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._network.start()
        try:
            if options.port:
                self._grpc = self._in_loop(open_grpc_server(options.host, options.port))
            if options.rest_api_port:
                self._socket = open_socket(options.host, options.rest_api_port, "rest_api_port")
        except StyleTransferError:
            self._end_loop()
            raise

    def start(self) -> None:
        """Starts to answer on the ports, and to load the model."""
        allow_open_files(MAX_OPEN_FILES)
        self._in_loop(self._start())
        self._loading.start()

    def stop(self) -> bool:
        """Waits for the running call and closes the ports. Meanwhile new calls get UNAVAILABLE.

        Returns whether everything has ended. A load or a long run of TensorFlow cannot be interrupted.
        """
        if self._loop.is_closed():
            return True
        self.manager.stop()
        drained = self._in_loop(self._stop())
        self._loading.join(END_OF_LOADING_S)
        if not drained or self._loading.is_alive():
            return False
        self.manager.close()
        self._end_loop()
        return True

    def _in_loop(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._network.join()
        self._loop.close()

    async def _start(self) -> None:
        # Imported here: the protos import all of TensorFlow, which takes seconds.
        from serving.server.grpc_service import GrpcService
        from serving.server.rest import RestApp

        # What was imported stays: 360,000 objects, and each search of them for garbage would hold up the event loop for
        # 0.15 s (AMD EPYC, Zen 2).
        gc.collect()
        gc.freeze()
        options = self._options
        if self._grpc is not None:
            self._grpc.add_generic_rpc_handlers([GrpcService(self.manager, self.admission)])
            await self._grpc.start()
            log.info("gRPC on %s:%d", options.host, options.port)
        if self._socket is not None:
            local = ipaddress.ip_address(self._socket.getsockname()[0]).is_loopback
            config = uvicorn.Config(
                RestApp(self.manager, self.admission, options.rest_api_timeout_in_ms / 1000 or None, local),
                http=partial(Connection, idle={}),  # type: ignore[arg-type]  # uvicorn calls it, as it does the class
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
            self._rest = uvicorn.Server(config)
            self._rest_task = asyncio.create_task(self._rest.serve([self._socket]))
            log.info("REST on http://%s:%d/v1/models", options.host, options.rest_api_port)

    async def _stop(self) -> bool:
        """Returns whether the running call has ended."""
        drained = await self.admission.stop(DRAIN_S)
        ending: list[asyncio.Task[None]] = []
        if self._grpc is not None:
            ending.append(asyncio.create_task(self._grpc.stop(GRACE_S)))
        if self._rest is not None and self._rest_task is not None:
            self._rest.should_exit = True
            ending.append(self._rest_task)
        if ending:
            await asyncio.wait(ending, timeout=2 * GRACE_S)
        return drained

    def _serve_model(self) -> None:
        try:
            self.manager.run()
        except StyleTransferError as error:
            self.failure = error
            self.ended.set()

    def _load(self, version: VersionPath) -> Servable:
        from serving.server.messages import replay_warmup
        from serving.server.servable import Servable

        options = self._options
        threads = options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism
        servable = Servable(version, *threads)
        try:
            requests = replay_warmup(servable, version.path) if options.enable_model_warmup else 0
        except StyleTransferError:
            servable.close()
            raise
        trim_heap()
        log.info("Version %d: %d warm-up requests replayed.", version.number, requests)
        return servable


def open_socket(host: str, port: int, flag: str) -> socket.socket:
    """Returns a TCP socket bound to a port, or raises ServingUnavailable, which names the flag of the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # IPPROTO_TCP explicitly: without it asyncio does not turn off Nagle's algorithm, and each response takes 40 ms.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    hold_alone(opened)
    try:
        opened.bind((host, port))
        opened.listen(1)  # fails if another process listens; with SO_REUSEADDR `bind` alone may not
    except OSError as error:
        opened.close()
        raise ServingUnavailable(
            f"Port {port} on {host} cannot be opened ({error.strerror or error}). Stop the program that uses it, or "
            f"choose another port with --{flag}."
        ) from None
    return opened


async def open_grpc_server(host: str, port: int) -> grpc.aio.Server:
    """Returns a gRPC server bound to a port, not started yet; raises ServingUnavailable as `open_socket`."""
    # Try the port by a plain socket first: gRPC does not give the reason if it is taken.
    open_socket(host, port, "port").close()
    server = grpc.aio.server(options=GRPC_OPTIONS)
    server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return server
