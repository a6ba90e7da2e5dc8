"""What runs in one server process: two ports, a thread that loads models, and a clean stop."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from serving.errors import ServingFailed, StyleTransferError
from serving.server import config_files, ports
from serving.server.config_files import ModelConfig
from serving.server.flags import ServerOptions
from serving.server.run_queue import RunQueue
from serving.server.versions import find_wanted

if TYPE_CHECKING:
    import grpc

    from serving.server.core import ServerCore
    from serving.server.health import HealthService
    from serving.server.rest import RestApp

log = logging.getLogger(__name__)

SPARE_GRPC_THREADS = 8  # beyond those that wait for a run: they answer status calls, and refuse the runs too many
GRACE_S = 5  # for answers on their way out, once no run is left
END_OF_WATCH_S = 0.5  # for the thread that loads: it ends at once, unless it is in the middle of a load


class ServerApp:
    """One server. Use: make it, `start`, wait until `ended` is set, `stop`.

    Attributes:
      ended: set when the server cannot serve: see `failure`. Others may set it to ask for a stop.
      queue: what admits the runs.
      failure: why a model could not be loaded at the start, or None.
      grpc_port: the port in use, 0 if there is none.
      rest_port: the port in use, 0 if there is none.
    """

    def __init__(self, options: ServerOptions, *, any_free_port: bool = False) -> None:
        """Reads the configuration and opens the ports. That takes milliseconds: TensorFlow is not loaded yet.

        Args:
          options: what to serve and where.
          any_free_port: for tests: whatever `options` says, take any two free ports.

        Raises:
          StyleTransferError: a file is wrong, there is nothing to serve, or a port is taken.
        """
        self.ended = threading.Event()
        self.failure: StyleTransferError | None = None
        self._options = options
        self.queue = RunQueue(options.max_concurrent_runs, options.max_queued_runs)
        self._configs = _configs(options)
        self._metrics_path = (
            config_files.read_metrics_path(Path(options.monitoring_config_file))
            if options.monitoring_config_file
            else None
        )
        self._core: ServerCore | None = None
        self._grpc: grpc.Server | None = None
        self._socket: socket.socket | None = None
        self._health: HealthService | None = None
        self._rest_app: RestApp | None = None
        self._rest: uvicorn.Server | None = None
        self._threads: dict[str, threading.Thread] = {}
        self._stopping = threading.Event()
        self.grpc_port = self.rest_port = 0
        host = options.host
        if options.rest_api_port or any_free_port:
            port = 0 if any_free_port else options.rest_api_port
            self._socket = ports.open_socket(host, port, "rest_api_port")
            self.rest_port = int(self._socket.getsockname()[1])
        if options.port or any_free_port:
            port = 0 if any_free_port else options.port
            threads = self.queue.capacity + SPARE_GRPC_THREADS
            self._grpc, self.grpc_port = ports.open_grpc_server(host, port, "port", threads, options.max_request_bytes)

    @property
    def ready(self) -> bool:
        """Whether all that is configured has been loaded, and the server is not stopping."""
        return self._core is not None and self._core.ready

    @property
    def loading(self) -> bool:
        """Whether the thread that loads is still at work."""
        return "models" in self._threads and self._threads["models"].is_alive()

    def start(self) -> None:
        """Answers on both ports from now on, and loads the models behind them.

        Raises:
          StyleTransferError: the configuration contradicts itself.
        """
        # Here and not above: the protos bring all of TensorFlow with them, which takes seconds.
        from serving.server import core, grpc_service, health, manager, rest, servable

        options = self._options
        self._core = core.ServerCore(
            self._configs,
            self.queue,
            warm_up=options.enable_model_warmup,
            warm_up_iterations=options.num_request_iterations_for_warmup,
            session=servable.SessionOptions(
                options.saved_model_tags,
                options.tensorflow_intra_op_parallelism,
                options.tensorflow_inter_op_parallelism,
                options.enable_signature_method_name_check,
            ),
            retries=manager.Retries(options.max_num_load_retries, options.load_retry_interval_micros / 1e6),
            labels_for_unavailable=options.allow_version_labels_for_unavailable_models,
        )
        if self._grpc is not None:
            grpc_service.add_services(self._grpc, self._core, options.enable_serialization_as_tensor_content)
            if options.enable_grpc_healthcheck_service:
                self._health = health.add_service(self._grpc, self._core)
            self._grpc.start()
            log.info("gRPC on %s:%d", options.host, self.grpc_port)
        if self._socket is not None:
            self._rest_app = rest.RestApp(
                self._core,
                timeout_s=options.rest_api_timeout_in_ms / 1000 or None,
                max_request_bytes=options.max_request_bytes,
                cors=options.rest_api_enable_cors_support,
                metrics_path=self._metrics_path,
            )
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
            log.info("REST on http://%s:%d/v1/models", options.host, self.rest_port)
        self._run("models", partial(self._serve_models, self._core))
        if options.model_config_file and options.model_config_file_poll_wait_seconds:
            self._run("config", partial(self._reread, self._core))

    def stop(self) -> None:
        """Lets running calls end and closes the ports. Until that is done, new calls get UNAVAILABLE."""
        self._stopping.set()
        if self._core is not None:
            self._core.stop()
        if self._health is not None:
            self._health.close()
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
            self._threads["models"].join(END_OF_WATCH_S)
        if self._core is not None:
            self._core.close()

    def _serve_models(self, core: ServerCore) -> None:
        poll_s = self._options.file_system_poll_wait_seconds
        try:
            core.load(poll_s)
        except StyleTransferError as error:
            self.failure = error
            self.ended.set()
        except Exception as error:
            log.exception("Loading failed")
            self.failure = ServingFailed(f"Internal error while loading: {type(error).__name__}: {error}")
            self.ended.set()
        else:
            core.watch(poll_s)

    def _reread(self, core: ServerCore) -> None:
        """Takes on what has changed in the model config file; a file that is wrong changes nothing."""
        configs, failed = self._configs, ""
        while not self._stopping.wait(self._options.model_config_file_poll_wait_seconds):
            try:
                read = config_files.read_models(Path(self._options.model_config_file))
                if read != configs or failed:
                    core.reload(read)
                configs, failed = read, ""
            except StyleTransferError as error:
                if str(error) != failed:
                    log.error("The model config file was not taken on: %s", error)
                failed = str(error)

    def _run(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads[name] = thread
        thread.start()


def _configs(options: ServerOptions) -> tuple[ModelConfig, ...]:
    """Returns the models to serve, each of which has a version.

    Raises:
      StyleTransferError: the file is wrong, or a base path holds nothing to serve.
    """
    if not options.model_config_file:
        config = ModelConfig(options.model_name, Path(options.model_base_path))
        find_wanted(config.base_path, config.policy, "`--model_base_path`")
        return (config,)
    configs = config_files.read_models(Path(options.model_config_file))
    for config in configs:
        find_wanted(config.base_path, config.policy, f"`base_path` of model {config.name}")
    return configs
