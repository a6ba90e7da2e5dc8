"""What runs in one server process: two ports, a loader thread, and a clean stop."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from model.errors import ServingFailed, StyleTransferError
from model.versions import VersionPath
from serving.server import ports
from serving.server.flags import ServerOptions
from serving.server.run_queue import RunQueue
from serving.server.versions import find_latest

if TYPE_CHECKING:
    import grpc

    from serving.server.core import ServerCore
    from serving.server.rest import RestApp

log = logging.getLogger(__name__)

SPARE_GRPC_THREADS = 8  # beyond those that wait for a run: they answer status calls, and refuse the runs too many
GRACE_S = 5  # for answers on their way out, once no run is left


class ServerApp:
    """One server. Use: make it, `start`, wait until `ended` is set, `stop`.

    Attributes:
      ended: set when the server cannot serve: see `failure`. Others may set it to ask for a stop.
      queue: what admits the runs.
      failure: why the model could not be loaded, or None.
      grpc_port: the port in use, 0 if there is none.
      rest_port: the port in use, 0 if there is none.
    """

    def __init__(self, options: ServerOptions, *, any_free_port: bool = False) -> None:
        """Finds the version and opens the ports. That takes milliseconds: TensorFlow is not loaded yet.

        Args:
          options: what to serve and where.
          any_free_port: for tests: whatever `options` says, take any two free ports.

        Raises:
          StyleTransferError: there is nothing to serve, or a port is taken.
        """
        self.ended = threading.Event()
        self.failure: StyleTransferError | None = None
        self._options = options
        self.queue = RunQueue(options.max_concurrent_runs, options.max_queued_runs)
        self._version: VersionPath = find_latest(options.model_base_path)
        self._core: ServerCore | None = None
        self._grpc: grpc.Server | None = None
        self._socket: socket.socket | None = None
        self._rest_app: RestApp | None = None
        self._rest: uvicorn.Server | None = None
        self._threads: dict[str, threading.Thread] = {}
        self.grpc_port = self.rest_port = 0
        host = options.host
        if options.rest_api_port or any_free_port:
            port = 0 if any_free_port else options.rest_api_port
            self._socket = ports.open_socket(host, port, "rest_api_port")
            self.rest_port = int(self._socket.getsockname()[1])
        if options.port or any_free_port:
            port = 0 if any_free_port else options.port
            threads = self.queue.capacity + SPARE_GRPC_THREADS
            self._grpc, self.grpc_port = ports.open_grpc_server(host, port, "port", threads)

    @property
    def loading(self) -> bool:
        """Whether the loader thread is still at work."""
        return "load" in self._threads and self._threads["load"].is_alive()

    def start(self) -> None:
        """Answers on both ports from now on, and loads the model behind them."""
        # Here and not above: the protos bring all of TensorFlow with them, which takes seconds.
        from serving.server import core, grpc_service, rest

        options = self._options
        self._core = core.ServerCore(options.model_name, self._version, self.queue, warm_up=options.enable_model_warmup)
        if self._grpc is not None:
            grpc_service.add_services(self._grpc, self._core)
            self._grpc.start()
            log.info("gRPC on %s:%d", options.host, self.grpc_port)
        if self._socket is not None:
            timeout_s = options.rest_api_timeout_in_ms / 1000 or None
            self._rest_app = rest.RestApp(self._core, timeout_s)
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
            log.info("REST on http://%s:%d/v1/models/%s", options.host, self.rest_port, options.model_name)
        self._run("load", partial(self._load, self._core))

    def stop(self) -> None:
        """Lets running calls end and closes the ports. Until that is done, new calls get UNAVAILABLE."""
        if self._core is not None:
            self._core.stop()
        if self._grpc is not None:
            self._grpc.stop(GRACE_S).wait()
        if self._rest is not None:
            self._rest.should_exit = True
            self._threads["rest"].join(2 * GRACE_S)
            if self._rest_app is not None:
                self._rest_app.close()
        elif self._socket is not None:
            self._socket.close()
        if self._core is not None and not self.loading:
            self._core.close()

    def _load(self, core: ServerCore) -> None:
        try:
            core.load()
        except StyleTransferError as error:
            self.failure = error
            self.ended.set()
        except Exception as error:
            log.exception("Loading failed")
            self.failure = ServingFailed(f"Internal error while loading: {type(error).__name__}: {error}")
            self.ended.set()

    def _run(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads[name] = thread
        thread.start()
