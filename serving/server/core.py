"""The server without any transport: status, find, predict, classify, regress, reload."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from model.versions import VersionPath
from serving.errors import ModelNotFound, ServingUnavailable
from serving.server import examples, memory, warmup
from serving.server.config_files import ModelConfig
from serving.server.manager import ModelManager, Retries
from serving.server.metrics import Metrics
from serving.server.run_queue import RunQueue
from serving.server.servable import Servable, SessionOptions
from serving.server.states import ModelRef, VersionStatus
from serving.server.tensor_proto import Array

log = logging.getLogger(__name__)

T = TypeVar("T")


class ServerCore:
    """The models, and the queue that their runs go through. All methods may be called from any thread.

    Attributes:
      queue: admits the runs.
      metrics: counts them.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        queue: RunQueue,
        *,
        warm_up: bool = True,
        warm_up_iterations: int = 1,
        session: SessionOptions | None = None,
        retries: Retries | None = None,
        labels_for_unavailable: bool = False,
    ) -> None:
        """Prepares to serve; `load` and `watch` do the work.

        Args:
          configs: the models to serve.
          queue: admits the runs.
          warm_up: whether to replay a version's warm-up requests before it serves.
          warm_up_iterations: how often each of them is replayed.
          session: how TensorFlow sessions are made.
          retries: how a load that failed is tried again.
          labels_for_unavailable: whether a new label may name a version that is not available.

        Raises:
          ServingFailed: a label names a version that is not available yet, and that is not allowed.
        """
        self.queue = queue
        self.metrics = Metrics()
        self._loaded = self._stopping = False
        self._listeners: list[Callable[[], object]] = []
        self._warm_up = warm_up_iterations if warm_up else 0
        self._session = session or SessionOptions()
        self._manager = ModelManager(
            self._load, retries, labels_for_unavailable=labels_for_unavailable, changed=self._changed
        )
        self._manager.configure(configs)
        self._names = [config.name for config in configs]

    @property
    def ready(self) -> bool:
        """Whether what was configured at the start has been loaded, something is served, and it is not stopping."""
        return self._loaded and not self._stopping and self._manager.serving

    def listen(self, listener: Callable[[], object]) -> None:
        """Has a function called, for as long as there is this server, whenever `ready` may have changed."""
        self._listeners.append(listener)

    def load(self, poll_s: float = 0.0) -> None:
        """Loads what is configured, and what fails again and again, as often as is set; returns then, or at `stop`.

        Args:
          poll_s: how often to look for other versions meanwhile, in seconds; 0: never.

        Raises:
          StyleTransferError: a model cannot serve; its status says so from then on.
        """
        self._manager.step(scan=False)
        self._manager.watch(poll_s, until=lambda: not any(map(self._manager.loading, self._names)))
        if self._stopping:
            return
        for name in self._names:
            failure = self._manager.failure(name)
            if failure is not None:
                raise failure
        self._loaded = True
        self._changed()

    def watch(self, poll_s: float) -> None:
        """Loads new versions and unloads old ones until `stop`: runs in a thread of its own."""
        self._manager.watch(poll_s)

    def reload(self, configs: Sequence[ModelConfig]) -> None:
        """Serves these models from now on; returns when those that are new are available.

        Raises:
          ServingFailed: a label names a version that is not available; or a new model could not be loaded.
        """
        self._manager.reload(configs)

    def status(self, ref: ModelRef) -> list[VersionStatus]:
        """Returns where the model's versions stand. Answers at once, whatever runs. A label is ignored.

        Raises:
          ModelNotFound: no such model or version.
        """
        return self._manager.status(ref)

    def serves(self, name: str) -> bool:
        """Whether a model of that name is or was served."""
        return name in self._manager.names

    @contextmanager
    def find(self, ref: ModelRef) -> Iterator[Servable]:
        """Holds the version that a request asks for, if it is available. Answers at once, whatever runs.

        Raises:
          InvalidInput: the request names no model, or an unknown label.
          ModelNotFound: no such model or version, or it is not available.
          ServingUnavailable: the server is still loading what it was started with.
        """
        with ExitStack() as stack:
            try:
                servable = stack.enter_context(self._manager.lease(ref))
            except ModelNotFound:
                if self._loaded or ref.name not in self._names:
                    raise
                # tensorflow_model_server opens its ports only when it has loaded: a caller finds nobody there.
                raise ServingUnavailable(f"Model {ref.name} is being loaded; its status says how that goes.") from None
            yield servable

    @contextmanager
    def admit(self, ref: ModelRef) -> Iterator[Servable]:
        """Holds what `find` holds, if a run could be taken on now. Call it before decoding a large request.

        Raises:
          InvalidInput, ModelNotFound, ServingUnavailable: as `find`.
          ServingUnavailable, Overloaded: as `RunQueue.run`.
        """
        with self.find(ref) as servable:
            self.queue.check()
            yield servable

    def predict(
        self,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, Array],
        output_filter: Sequence[str] = (),
        *,
        deadline: float | None = None,
        on_admitted: Callable[[Callable[[], Any]], Any] | None = None,
    ) -> dict[str, Array]:
        """Runs a signature when its turn comes; arguments and result as in `Servable.predict` and `RunQueue.run`.

        Raises:
          StyleTransferError: not admitted, too late, or failed.
        """
        return self._run(
            "Predict",
            servable,
            lambda: servable.predict(signature_name, inputs, output_filter, deadline),
            deadline,
            on_admitted,
        )

    def infer(
        self,
        servable: Servable,
        tasks: Sequence[examples.Task],
        serialized: Sequence[bytes],
        *,
        deadline: float | None = None,
        on_admitted: Callable[[Callable[[], Any]], Any] | None = None,
    ) -> list[examples.Result]:
        """Classifies or regresses tf.Examples in one run, when its turn comes.

        Args:
          servable: the version to run.
          tasks: what to compute; one result for each.
          serialized: tf.Examples, one or more.
          deadline: when it must have ended, on the clock of `time.monotonic`. None: never.
          on_admitted: as in `RunQueue.run`.

        Raises:
          StyleTransferError: not admitted, too late, or failed.
        """
        plan = examples.plan(servable.signatures, tasks, check_method_names=servable.check_method_names)
        feeds = {plan.feed: examples.as_array(serialized)}
        api = "MultiInference" if len(tasks) > 1 else tasks[0].method.name
        outputs = self._run(api, servable, lambda: servable.run(feeds, plan.fetches, deadline), deadline, on_admitted)
        return plan.results(dict(zip(plan.fetches, outputs, strict=True)), len(serialized))

    def stop(self) -> None:
        """Lets what runs end, refuses the rest. Status and metadata go on answering. May be called twice."""
        self._stopping = True
        self._changed()
        self._manager.stop()
        self.queue.stop()

    def close(self) -> None:
        """Frees the models. Call it after `stop`, when no transport answers any more."""
        self._manager.close()

    def metrics_page(self) -> str:
        """Returns the metrics in Prometheus' text format."""
        running, waiting = self.queue.counts
        return self.metrics.page({"runs_running": running, "runs_waiting": waiting})

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def _run(
        self,
        api: str,
        servable: Servable,
        work: Callable[[], T],
        deadline: float | None,
        on_admitted: Callable[[Callable[[], Any]], Any] | None,
    ) -> T:
        def timed() -> T:
            started = time.monotonic()
            result = work()
            self.metrics.record_run(servable.name, api, time.monotonic() - started)
            return result

        return self.queue.run(timed, deadline, on_admitted)

    def _load(self, name: str, version: VersionPath) -> Servable:
        servable = Servable.load(name, version, self._session)
        try:
            requests = warmup.replay(servable, version.path, self._warm_up) if self._warm_up else 0
        except Exception:
            servable.close()
            raise
        memory.give_back()
        log.info("Model %s version %d: %d warm-up requests replayed.", name, version.number, requests)
        return servable
