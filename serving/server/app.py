"""What runs in one server process: two ports, a thread that loads versions, and a clean stop."""

from __future__ import annotations

import ctypes
import logging
import socket
import sys
import threading
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import uvicorn

from model.versions import VersionPath
from serving import contract
from serving.errors import ServingUnavailable, StyleTransferError
from serving.server.admission import MAX_MESSAGE_BYTES, Admission
from serving.server.manager import ModelManager

if TYPE_CHECKING:
    from serving.server.rest import RestApp
    from serving.server.servable import Servable

log = logging.getLogger(__name__)

POLL_S = 1.0  # from one look for new versions to the next; tensorflow_model_server's default
SPARE_GRPC_THREADS = 8  # beyond those that wait for a run: they answer status calls, and refuse the runs too many
GRACE_S = 5  # for answers on their way out, once no run is left
END_OF_LOADING_S = 0.5  # for the thread that loads: it ends at once, unless it is in the middle of a load

GRPC_OPTIONS = (
    # By default several processes may share a gRPC port, and each would get some of the calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", contract.UNLIMITED),
)


class ServerApp:
    """One server. Use: make it, `start`, wait until `ended` is set, `stop`.

    Attributes:
      ended: set when the server cannot serve: see `failure`. Others may set it to ask for a stop.
      failure: why the model could not be loaded at the start, or None.
      manager: the model's versions.
      admission: who may run.
      grpc_port: the port in use, 0 if there is none.
      rest_port: the port in use, 0 if there is none.
    """

    def __init__(self, options: Namespace, *, any_free_port: bool = False, poll_s: float = POLL_S) -> None:
        """Finds the model's versions and opens the ports. That takes milliseconds: TensorFlow is not loaded yet.

        Args:
          options: the command line, parsed.
          any_free_port: for tests: whatever `options` says, take any two free ports.
          poll_s: how long from one look for new versions to the next.

        Raises:
          StyleTransferError: there is nothing to serve, or a port is taken.
        """
        self.ended = threading.Event()
        self.failure: StyleTransferError | None = None
        self._options = options
        self._poll_s = poll_s
        self.admission = Admission(options.max_queued_runs)
        base_path = Path(options.model_base_path)
        self.manager = ModelManager(options.model_name, base_path, self._load, retries=options.max_num_load_retries)
        self._grpc: grpc.Server | None = None
        self._socket: socket.socket | None = None
        self._rest_app: RestApp | None = None
        self._rest: uvicorn.Server | None = None
        self._threads: dict[str, threading.Thread] = {}
        self.grpc_port = self.rest_port = 0
        if options.rest_api_port or any_free_port:
            self._socket = open_socket(options.host, 0 if any_free_port else options.rest_api_port, "rest_api_port")
            self.rest_port = int(self._socket.getsockname()[1])
        if options.port or any_free_port:
            threads = self.admission.capacity + SPARE_GRPC_THREADS
            self._grpc, self.grpc_port = open_grpc_server(options.host, 0 if any_free_port else options.port, threads)

    @property
    def loading(self) -> bool:
        """Whether the thread that loads is still at work."""
        return "models" in self._threads and self._threads["models"].is_alive()

    def start(self) -> None:
        """Answers on both ports from now on, and loads the model behind them."""
        # Here and not above: the protos bring all of TensorFlow with them, which takes seconds.
        from serving.server.grpc_service import GrpcService
        from serving.server.rest import RestApp

        if self._grpc is not None:
            GrpcService(self.manager, self.admission).register(self._grpc)
            self._grpc.start()
            log.info("gRPC on %s:%d", self._options.host, self.grpc_port)
        if self._socket is not None:
            self._rest_app = RestApp(self.manager, self.admission, self._options.rest_api_timeout_in_ms / 1000 or None)
            config = uvicorn.Config(
                self._rest_app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
            self._rest = uvicorn.Server(config)
            self._run("rest", partial(self._rest.run, sockets=[self._socket]))
            log.info("REST on http://%s:%d/v1/models", self._options.host, self.rest_port)
        self._run("models", self._serve_model)

    def stop(self) -> None:
        """Lets the running call end and closes the ports. Until that is done, new calls get UNAVAILABLE."""
        self.manager.stop()
        self.admission.stop()
        if self._grpc is not None:
            self._grpc.stop(GRACE_S).wait()
        if self._rest is not None:
            self._rest.should_exit = True
            self._threads["rest"].join(2 * GRACE_S)
            if self._rest_app is not None:
                self._rest_app.close()
        elif self._socket is not None:
            self._socket.close()
        if self.loading:
            self._threads["models"].join(END_OF_LOADING_S)
        if not self.loading:
            self.manager.close()

    def _serve_model(self) -> None:
        try:
            self.manager.run(self._poll_s)
        except StyleTransferError as error:
            self.failure = error
            self.ended.set()

    def _load(self, version: VersionPath) -> Servable:
        from serving.server import warmup
        from serving.server.servable import Servable

        options = self._options
        threads = options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism
        servable = Servable.load(version, *threads)
        try:
            requests = warmup.replay(servable, version.path) if options.enable_model_warmup else 0
        except StyleTransferError:
            servable.close()
            raise
        trim_heap()
        log.info("Version %d: %d warm-up requests replayed.", version.number, requests)
        return servable

    def _run(self, name: str, target: Callable[[], object]) -> None:
        self._threads[name] = threading.Thread(target=target, name=name, daemon=True)
        self._threads[name].start()


def open_socket(host: str, port: int, flag: str) -> socket.socket:
    """Returns a TCP socket that holds a port (0: any free one).

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
        raise ServingUnavailable(
            f"Port {port} on {host} cannot be opened ({error.strerror or error}). Stop the program that holds it, or "
            f"choose another port with --{flag}."
        ) from None
    return opened


def open_grpc_server(host: str, port: int, threads: int) -> tuple[grpc.Server, int]:
    """Returns a gRPC server that holds a port (0: any free one) but is not started, and the port's number.

    Args:
      host: address or name to bind.
      port: the port.
      threads: how many calls are answered at once.

    Raises:
      ServingUnavailable: the port or the address cannot be had.
    """
    # gRPC reports a taken port by a long line of its own log and a text without the reason: try it plainly first.
    open_socket(host, port, "port").close()
    server = grpc.server(ThreadPoolExecutor(threads, thread_name_prefix="grpc"), options=GRPC_OPTIONS)
    return server, server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def trim_heap() -> None:
    """Returns freed memory to the system where the C library can: loading a model leaves 0.1 GB of it behind."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None  # glibc's own
    if trim is not None:
        trim(0)
