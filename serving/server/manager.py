"""Models and their versions: found on disk, loaded, served, drained and unloaded, without a failed request.

What TensorFlow Serving's AspiredVersionsManager does under its AvailabilityPreservingPolicy: a version that is no
longer wanted goes only when a wanted one is available in its place, and ends only when the last call on it has.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from model.versions import VersionPath, find_versions
from serving.errors import InvalidInput, ModelNotFound, ServingFailed, StyleTransferError, from_code
from serving.server.config_files import ModelConfig
from serving.server.servable import Servable
from serving.server.states import AVAILABLE, END, LOADING, START, UNLOADING, ModelRef, Version, VersionStatus

log = logging.getLogger(__name__)


FAULT_PAUSE_S = 1.0  # after a look that failed
END_OF_LOAD_S = 0.5  # how long `close` waits for a load: no longer, since it may take minutes


@dataclass(frozen=True)
class Retries:
    """How a load that failed is tried again: so many times more, at this interval."""

    count: int = 5
    interval_s: float = 60.0


class ModelManager:
    """All models and versions. Questions are answered at once, whatever loads; only one thread at a time loads."""

    def __init__(
        self,
        load: Callable[[str, VersionPath], Servable],
        retries: Retries | None = None,
        *,
        labels_for_unavailable: bool = False,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        """Serves nothing until `configure` and `step`.

        Args:
          load: loads and warms a version of the model of that name, or raises.
          retries: how often and when to try again what could not be loaded.
          labels_for_unavailable: whether a new label may name a version that is not available.
          changed: is called whenever versions may have come or gone.
        """
        self._load_version = load
        self._changed = changed
        self._retries = retries or Retries()
        self._labels_for_unavailable = labels_for_unavailable
        self._lock = threading.Lock()  # held for moments
        self._working = threading.RLock()  # held while versions are loaded and unloaded
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._configs: dict[str, ModelConfig] = {}
        self._versions: dict[str, dict[int, Version]] = {}
        self._away: set[str] = set()  # models whose base path could not be read at the last look

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all models that are or were served."""
        with self._lock:
            return tuple(self._versions)

    @property
    def serving(self) -> bool:
        """Whether any version is available."""
        with self._lock:
            return any(
                version.state == AVAILABLE for versions in self._versions.values() for version in versions.values()
            )

    def configure(self, configs: Sequence[ModelConfig]) -> None:
        """Takes on what is to be served from now on, and looks for its versions; `step` then loads them.

        Raises:
          ServingFailed: FAILED_PRECONDITION, a label names a version that is not available. Nothing has changed.
        """
        with self._working:
            with self._lock:
                self._check_labels(configs)
                self._configs = {config.name: config for config in configs}
            self._scan()

    def reload(self, configs: Sequence[ModelConfig]) -> None:
        """Does what `configure` and `step` do, and makes sure that every model that is new has become available.

        Raises:
          ServingFailed: as `configure`; or UNKNOWN, a new model could not be loaded.
        """
        with self._working:
            new = {config.name for config in configs} - set(self._configs)
            self.configure(configs)
            self.step(scan=False)
            failed = {name: self.failure(name) for name in sorted(new)}
        reasons = "".join(f"{{{{name: {name}}} due to error: {e.code}: {e}}}, " for name, e in failed.items() if e)
        if reasons:
            count = sum(error is not None for error in failed.values())
            raise ServingFailed(f"{count} model(s) did not become available: {{{reasons}}}", "UNKNOWN")

    def step(self, *, scan: bool = True) -> None:
        """Looks for versions, loads those that are wanted, and lets go of those that are not any more.

        Args:
          scan: whether to look at the directories.
        """
        with self._working:
            if scan:
                self._scan()
            for name, version in self._to_load():
                if self._stopping.is_set():
                    return
                self._load(name, version)
                self._retire()
            self._retire()
            if self._free():
                gc.collect()  # a graph is a web of cycles; its memory should not wait for chance

    def watch(self, poll_s: float, until: Callable[[], bool] = lambda: False) -> None:
        """Steps whenever there is something to do: runs in a thread of its own.

        Args:
          poll_s: how long from one look at the directories to the next, in seconds; 0: no more looks.
          until: ends it, as `stop` does; is asked after each step.
        """
        polled = time.monotonic()
        while not (self._stopping.is_set() or until()):
            times = [due for due in (self._next_attempt(), polled + poll_s if poll_s else None) if due is not None]
            self._wake.wait(max(0.0, min(times) - time.monotonic()) if times else None)
            self._wake.clear()
            if self._stopping.is_set():
                return
            scan = bool(poll_s) and time.monotonic() >= polled + poll_s
            try:
                self.step(scan=scan)
            except Exception:  # the next look may go better, and a server that stops looking would be silently stale
                log.exception("Looking for versions failed")
                self._stopping.wait(FAULT_PAUSE_S)
            polled = time.monotonic() if scan else polled

    def stop(self) -> None:
        """Ends `watch`, once what it loads just now is loaded."""
        self._stopping.set()
        self._wake.set()

    def close(self) -> None:
        """Frees all versions, unless one is being loaded: then the process is about to end. No call may be left."""
        if not self._working.acquire(timeout=END_OF_LOAD_S):
            return
        try:
            with self._lock:
                for versions in self._versions.values():
                    for version in versions.values():
                        version.wanted = False
            self._retire()
            self._free()
        finally:
            self._working.release()

    def status(self, ref: ModelRef) -> list[VersionStatus]:
        """Returns where the model's versions stand, the newest first. A label is ignored.

        Raises:
          ModelNotFound: no such model or version.
        """
        with self._lock:
            versions = dict(self._versions.get(ref.name, {}))
            if not versions:
                raise ModelNotFound(f"Could not find any versions of model {ref.name}")
            if ref.version is None:
                return [versions[number].status for number in sorted(versions, reverse=True)]
            if ref.version not in versions:
                raise ModelNotFound(f"Could not find version {ref.version} of model {ref.name}")
            return [versions[ref.version].status]

    @contextmanager
    def lease(self, ref: ModelRef) -> Iterator[Servable]:
        """Holds the version that a request asks for: it is not unloaded before the `with` block ends.

        Raises:
          InvalidInput: the request names no model, or a label that is none of the model's.
          ModelNotFound: no such model or version, or it is not available.
        """
        if not ref.name:
            raise InvalidInput("ModelSpec has no name specified.")
        with self._lock:
            version = self._find(ref)
            version.users += 1
            servable = version.servable
        try:
            yield servable  # type: ignore[misc]  # what is AVAILABLE has one
        finally:
            with self._lock:
                version.users -= 1
                if version.users == 0 and version.state == UNLOADING:
                    self._wake.set()

    def loading(self, name: str) -> bool:
        """Whether the newest of a model's wanted versions is yet to be loaded, or to be tried again."""
        with self._lock:
            version = self._newest(name)
            return version is not None and version.to_load

    def failure(self, name: str) -> StyleTransferError | None:
        """Returns why the newest of a model's wanted versions is not available; None: it is."""
        with self._lock:
            version = self._newest(name)
            if version is None:
                return ModelNotFound(f"{self._configs[name].base_path} holds no version to serve.")
            status = version.status
        return None if status.state == AVAILABLE else from_code(status.code, status.message)

    def _newest(self, name: str) -> Version | None:
        wanted = [version for version in self._versions[name].values() if version.wanted]
        return max(wanted, key=lambda version: version.source.number, default=None)

    def _find(self, ref: ModelRef) -> Version:
        if ref.label is not None:
            config = self._configs.get(ref.name)
            if config is None or ref.label not in config.labels:
                raise InvalidInput(f"Unrecognized servable version label: {ref.label}")
            ref = ModelRef(ref.name, config.labels[ref.label])
        available = {n: v for n, v in self._versions.get(ref.name, {}).items() if v.state == AVAILABLE}
        number = max(available, default=None) if ref.version is None else ref.version
        if number is None or number not in available:
            raise ModelNotFound(f"Servable not found for request: {ref}")
        return available[number]

    def _check_labels(self, configs: Sequence[ModelConfig]) -> None:
        """A label that is in use never moves to what is not available: server_core.cc, UpdateModelVersionLabelMap."""
        for config in configs:
            before = self._configs[config.name].labels if config.name in self._configs else {}
            for label, number in config.labels.items():
                if self._labels_for_unavailable and before.get(label, number) == number:
                    continue
                version = self._versions.get(config.name, {}).get(number)
                if version is None or version.state != AVAILABLE:
                    raise ServingFailed(
                        f"Request to assign label to version {number} of model {config.name}, which is not currently "
                        "available for inference",
                        "FAILED_PRECONDITION",
                    )

    def _scan(self) -> None:
        for name in {*self._configs, *self._versions}:
            chosen = self._chosen(name)
            with self._lock:
                versions = self._versions.setdefault(name, {})
                if chosen is None:
                    continue
                wanted = {version.number: version for version in chosen}
                for number, version in versions.items():
                    if number not in wanted:
                        version.wanted = False
                        if version.state in (START, LOADING):
                            version.set(END)
                for number, source in wanted.items():
                    known = versions.get(number)
                    if known is None or (known.state == END and not known.wanted):
                        versions[number] = Version(source)
                    elif known.state == AVAILABLE:
                        known.wanted = True

    def _chosen(self, name: str) -> list[VersionPath] | None:
        """Returns the versions of a model that are to be served; None: its base path cannot be read.

        It may only be away for a moment, so what is served then stays.
        """
        config = self._configs.get(name)
        if config is None:
            return []
        try:
            if not config.base_path.is_dir():
                raise NotADirectoryError("it is no directory")
            chosen = config.policy.choose(find_versions(config.base_path))
        except OSError as error:
            if name not in self._away:
                log.warning("The base path %s of model %s cannot be read: %s.", config.base_path, name, error)
            self._away.add(name)
            return None
        self._away.discard(name)
        return chosen

    def _to_load(self) -> list[tuple[str, Version]]:
        """Returns what is to be loaded now, the newest version of each model first."""
        now = time.monotonic()
        with self._lock:
            return [
                (name, versions[number])
                for name, versions in self._versions.items()
                for number in sorted(versions, reverse=True)
                if versions[number].to_load and versions[number].due <= now
            ]

    def _next_attempt(self) -> float | None:
        with self._lock:
            dues = [v.due for versions in self._versions.values() for v in versions.values() if v.to_load]
        return min(dues, default=None)

    def _load(self, name: str, version: Version) -> None:
        started = time.monotonic()
        with self._lock:
            version.set(LOADING)
        try:
            servable = self._load_version(name, version.source)
        except StyleTransferError as error:
            self._failed(name, version, error)
        except Exception as error:  # a fault of this program must not end the thread that loads
            log.exception("Loading version %d of model %s failed", version.source.number, name)
            self._failed(name, version, ServingFailed(f"Internal error while loading: {type(error).__name__}: {error}"))
        else:
            with self._lock:
                version.servable = servable
                version.set(AVAILABLE)
            self._changed()
            seconds = time.monotonic() - started
            log.info("Model %s version %d is available after %.1f s.", name, version.source.number, seconds)

    def _failed(self, name: str, version: Version, error: StyleTransferError) -> None:
        with self._lock:
            version.attempts += 1
            last = version.attempts > self._retries.count
            # As in TensorFlow Serving it is LOADING until the last attempt has failed; the reason shows at once.
            version.set(END if last else LOADING, error.code, str(error))
            version.due = time.monotonic() + self._retries.interval_s
        what = "given up" if last else f"tried again in {self._retries.interval_s:g} s"
        log.error("Version %d of model %s could not be loaded (%s): %s", version.source.number, name, what, error)

    def _retire(self) -> None:
        """Takes versions that are not wanted out of service, if that leaves the model served."""
        with self._lock:
            for name, versions in self._versions.items():
                wanted = [version for version in versions.values() if version.wanted]
                if wanted and not any(version.state == AVAILABLE for version in wanted):
                    continue
                for version in versions.values():
                    if version.state == AVAILABLE and not version.wanted:
                        version.set(UNLOADING)
                        log.info("Model %s version %d is being unloaded.", name, version.source.number)
        self._changed()

    def _free(self) -> bool:
        """Unloads what is out of service and held by no call any more; returns whether there was any."""
        with self._lock:
            idle = [v for vs in self._versions.values() for v in vs.values() if v.state == UNLOADING and v.users == 0]
        for version in idle:
            if version.servable is not None:
                version.servable.close()
            version.servable = None
            with self._lock:
                version.set(END)
        return bool(idle)
