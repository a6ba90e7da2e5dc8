"""The server without any transport: load, status, find, predict."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.errors import InvalidInput, ModelNotFound
from model.versions import VersionPath
from serving.server import warmup
from serving.server.run_queue import RunQueue
from serving.server.servable import Servable
from serving.server.tensor_proto import Array

log = logging.getLogger(__name__)

# TensorFlow Serving's states of a version, in the order in which it goes through them.
START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"


@dataclass(frozen=True)
class ModelRef:
    """What a request asks for: a model, and either its newest version, one by number, or one by label."""

    name: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        return f"Latest({self.name})" if self.version is None else f"Specific({self.name}, {self.version})"


@dataclass(frozen=True)
class VersionStatus:
    """Where a version stands; `code` is the name of a gRPC status code."""

    version: int
    state: str
    code: str = "OK"
    message: str = ""


class ServerCore:
    """One model, one version, and the queue that its runs go through. All methods may be called from any thread."""

    def __init__(self, name: str, version: VersionPath, queue: RunQueue, *, warm_up: bool = True) -> None:
        """Prepares to serve; `load` does the work.

        Args:
          name: the model's name.
          version: the version directory to serve.
          queue: admits the runs.
          warm_up: whether to replay the version's warm-up requests before it serves.
        """
        self.name = name
        self.queue = queue
        self._version = version
        self._warm_up = warm_up
        self._lock = threading.Lock()
        self._status = VersionStatus(version.number, START)
        self._servable: Servable | None = None

    def load(self) -> None:
        """Loads the version and makes it available; blocks for as long as that takes.

        Raises:
          StyleTransferError: the version cannot serve; its status says so from then on.
        """
        started = time.monotonic()
        self._set(LOADING)
        servable = None
        try:
            servable = Servable.load(self._version)
            warmed = warmup.replay(servable, self._version.path) if self._warm_up else 0
        except Exception as error:
            self._set(END, getattr(error, "code", "INTERNAL"), str(error))
            if servable is not None:
                servable.close()
            raise
        with self._lock:
            self._servable = servable
            self._status = VersionStatus(servable.version, AVAILABLE)
        log.info(
            "Model %s version %d is available after %.1f s (%d warm-up requests).",
            self.name,
            servable.version,
            time.monotonic() - started,
            warmed,
        )

    def status(self, ref: ModelRef) -> list[VersionStatus]:
        """Returns where the model's versions stand. Answers at once, whatever runs. A label is ignored.

        Raises:
          ModelNotFound: no such model or version.
        """
        with self._lock:
            status = self._status
        if ref.name != self.name:
            raise ModelNotFound(f"Could not find any versions of model {ref.name}")
        if ref.version not in (None, status.version):
            raise ModelNotFound(f"Could not find version {ref.version} of model {ref.name}")
        return [status]

    def find(self, ref: ModelRef) -> Servable:
        """Returns the version that a request asks for, if it is available. Answers at once, whatever runs.

        Raises:
          InvalidInput: the request names no model, or a label (there are none without a model config file).
          ModelNotFound: no such model or version, or it is still loading.
        """
        if not ref.name:
            raise InvalidInput("ModelSpec has no name specified.")
        if ref.label is not None:
            raise InvalidInput(f"Unrecognized servable version label: {ref.label}")
        with self._lock:
            servable = self._servable
        if servable is None or ref.name != self.name or ref.version not in (None, servable.version):
            raise ModelNotFound(f"Servable not found for request: {ref}")
        return servable

    def admit(self, ref: ModelRef) -> Servable:
        """Returns what `find` returns, if a run could be taken on now. Call it before decoding a large request.

        Raises:
          InvalidInput, ModelNotFound: as `find`.
          ServingUnavailable, Overloaded: as `RunQueue.run`.
        """
        servable = self.find(ref)
        self.queue.check()
        return servable

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
        return self.queue.run(
            lambda: servable.predict(signature_name, inputs, output_filter, deadline), deadline, on_admitted
        )

    def stop(self) -> None:
        """Lets what runs end, refuses the rest. Status and metadata go on answering. May be called twice."""
        self.queue.stop()
        with self._lock:
            if self._status.state == AVAILABLE:
                self._status = VersionStatus(self._status.version, UNLOADING)

    def close(self) -> None:
        """Frees the model. Call it after `stop`, when no transport answers any more."""
        with self._lock:
            servable, self._servable = self._servable, None
            self._status = VersionStatus(self._status.version, END)
        if servable is not None:
            servable.close()

    def _set(self, state: str, code: str = "OK", message: str = "") -> None:
        with self._lock:
            self._status = VersionStatus(self._version.number, state, code, message)
