"""The versions of one model: found on disk, loaded, served, drained and unloaded, without a failed request.

What TensorFlow Serving's AspiredVersionsManager does by its default policies: the newest version is aspired to; the one
before it goes only when the new one is available, and ends only when the last call on it has ended.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model.versions import VersionPath, find_versions
from serving.errors import InvalidInput, ModelNotFound, ServingFailed, ServingUnavailable, StyleTransferError, from_code

if TYPE_CHECKING:
    from serving.server.servable import Servable

log = logging.getLogger(__name__)

# TensorFlow Serving's states of a version, in the order in which it goes through them.
START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"


@dataclass(frozen=True)
class ModelRef:
    """What a request asks for: a model, and either its newest version or one by number."""

    name: str
    version: int | None = None

    def __str__(self) -> str:
        return f"Latest({self.name})" if self.version is None else f"Specific({self.name}, {self.version})"


@dataclass(frozen=True)
class VersionStatus:
    """Where a version stands; `code` is the name of a gRPC status code."""

    version: int
    state: str
    code: str = "OK"
    message: str = ""


class Version:
    """One version. The manager's lock guards it.

    Attributes:
      source: its directory.
      status: what a status call answers.
      servable: what runs, while it is loaded.
      users: calls that hold it.
      attempts: loads that failed.
      due: when the next attempt to load it is, on the clock of `time.monotonic`.
    """

    def __init__(self, source: VersionPath) -> None:
        self.source = source
        self.status = VersionStatus(source.number, START)
        self.servable: Servable | None = None
        self.users = 0
        self.attempts = 0
        self.due = 0.0

    def set(self, state: str, code: str = "OK", message: str = "") -> None:
        """Changes its status."""
        self.status = VersionStatus(self.source.number, state, code, message)

    @property
    def state(self) -> str:
        return self.status.state


class ModelManager:
    """All versions of a model. Questions are answered at once, whatever loads; one thread alone loads: `run`."""

    def __init__(
        self,
        name: str,
        base_path: Path,
        load: Callable[[VersionPath], Servable],
        *,
        retries: int = 5,
        retry_interval_s: float = 60.0,
    ) -> None:
        """Looks for versions. None is loaded before `run` or `step`.

        Args:
          name: what clients call the model by.
          base_path: holds one integer-named directory per version.
          load: loads and warms a version, or raises.
          retries: how often a load that failed is tried again.
          retry_interval_s: how long to wait before each of these.

        Raises:
          ModelNotFound: there is no such directory, or no version in it.
        """
        self.name = name
        self._base_path = base_path
        self._load_version = load
        self._retries, self._retry_interval_s = retries, retry_interval_s
        self._lock = threading.Lock()  # held for moments
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._versions: dict[int, Version] = {}
        self._aspired: Version | None = None  # the one that is to be served
        self._started = False  # whether the version that was found first, or one in its place, has been loaded
        self._unreadable = False  # whether the base path could not be read at the last look
        if not base_path.is_dir():
            raise ModelNotFound(f"`--model_base_path` must be a directory. Received: {base_path}, which is none.")
        self._scan()
        if self._aspired is None:
            raise ModelNotFound(
                f"`--model_base_path` must hold a version directory named by an integer, such as {base_path / '1'}. "
                f"Received: {base_path}, a directory without one."
            )

    @property
    def ready(self) -> bool:
        """Whether a version is available and the server is not stopping."""
        with self._lock:
            available = any(version.state == AVAILABLE for version in self._versions.values())
        return available and not self._stopping.is_set()

    def status(self, ref: ModelRef) -> list[VersionStatus]:
        """Returns where the model's versions stand, the newest first.

        Raises:
          ModelNotFound: no such model or version.
        """
        with self._lock:
            found = {version: self._versions[version].status for version in sorted(self._versions, reverse=True)}
        if ref.name != self.name:
            raise ModelNotFound(f"Could not find any versions of model {ref.name}")
        if ref.version is None:
            return list(found.values())
        if ref.version not in found:
            raise ModelNotFound(f"Could not find version {ref.version} of model {ref.name}")
        return [found[ref.version]]

    @contextmanager
    def lease(self, ref: ModelRef) -> Iterator[Servable]:
        """Holds the version that a request asks for: it is not unloaded before the `with` block ends.

        Raises:
          InvalidInput: the request names no model.
          ModelNotFound: no such model or version, or it is not available.
          ServingUnavailable: the server is still loading what it was started with.
        """
        if not ref.name:
            raise InvalidInput("ModelSpec has no name specified.")
        with self._lock:
            version, servable = self._find(ref)
            version.users += 1
        try:
            yield servable
        finally:
            with self._lock:
                version.users -= 1
                if version.users == 0 and version.state == UNLOADING:
                    self._wake.set()

    def run(self, poll_s: float) -> None:
        """Loads the newest version and, until `stop`, each newer one: runs in a thread of its own.

        Args:
          poll_s: how long from one look at the directories to the next, in seconds.

        Raises:
          StyleTransferError: nothing could be loaded to begin with; the status says so from then on.
        """
        while not self._stopping.is_set():
            try:
                self.step()
            except Exception:  # the next look may go better, and a server that stops looking would be silently stale
                log.exception("Looking for versions failed")
            if not self._started:
                self._check_start()
            self._wake.wait(poll_s)
            self._wake.clear()

    def step(self) -> None:
        """Looks for the newest version, loads it, and lets go of the one before it."""
        self._scan()
        aspired = self._aspired
        if aspired is not None and aspired.state in (START, LOADING) and aspired.due <= time.monotonic():
            self._load(aspired)
        self._retire()
        self._free()

    def stop(self) -> None:
        """Ends `run`, once what it loads just now is loaded."""
        self._stopping.set()
        self._wake.set()

    def close(self) -> None:
        """Frees all versions. Call it when `run` has ended and no call is left."""
        with self._lock:
            self._aspired = None
        self._retire()
        self._free()

    def _find(self, ref: ModelRef) -> tuple[Version, Servable]:
        if ref.name == self.name:
            for number in sorted(self._versions, reverse=True):
                version = self._versions[number]
                if version.state == AVAILABLE and version.servable and ref.version in (None, number):
                    return version, version.servable
            if not self._started:
                # tensorflow_model_server opens its ports only when it has loaded: a caller finds nobody there.
                raise ServingUnavailable(f"Model {ref.name} is being loaded; its status says how that goes.")
        raise ModelNotFound(f"Servable not found for request: {ref}")

    def _check_start(self) -> None:
        with self._lock:
            aspired = self._aspired
            if aspired is None:
                raise ModelNotFound(f"{self._base_path} holds no version to serve any more.")
            self._started = aspired.state == AVAILABLE
            if aspired.state == END:
                raise from_code(aspired.status.code, aspired.status.message)

    def _scan(self) -> None:
        """Aspires to the newest version on disk. A base path that cannot be read changes nothing: it may come back."""
        try:
            if not self._base_path.is_dir():
                raise NotADirectoryError("it is no directory")
            found = find_versions(self._base_path)
        except OSError as error:
            if not self._unreadable:
                log.warning("The base path %s cannot be read: %s.", self._base_path, error)
            self._unreadable = True
            return
        self._unreadable = False
        newest = found[-1] if found else None
        with self._lock:
            before = self._aspired
            if before is not None and newest is not None and before.source.number == newest.number:
                return
            known = self._versions.get(newest.number) if newest else None
            if known is not None and known.state == UNLOADING:
                return  # it is loaded anew when that is over
            if before is not None and before.state in (START, LOADING):
                before.set(END)
            self._aspired = known
            if newest is not None and (known is None or known.state == END):
                self._aspired = self._versions[newest.number] = Version(newest)

    def _load(self, version: Version) -> None:
        started = time.monotonic()
        with self._lock:
            version.set(LOADING)
        try:
            servable = self._load_version(version.source)
        except StyleTransferError as error:
            self._failed(version, error)
        except Exception as error:  # a fault of this program must not end the thread that loads
            log.exception("Loading version %d failed", version.source.number)
            self._failed(version, ServingFailed(f"Internal error while loading: {type(error).__name__}: {error}"))
        else:
            with self._lock:
                version.servable = servable
                version.set(AVAILABLE)
            seconds = time.monotonic() - started
            log.info("Model %s version %d is available after %.1f s.", self.name, version.source.number, seconds)

    def _failed(self, version: Version, error: StyleTransferError) -> None:
        with self._lock:
            version.attempts += 1
            last = version.attempts > self._retries
            # As in TensorFlow Serving it is LOADING until the last attempt has failed; the reason shows at once.
            version.set(END if last else LOADING, error.code, str(error))
            version.due = time.monotonic() + self._retry_interval_s
        what = "given up" if last else f"tried again in {self._retry_interval_s:g} s"
        log.error("Version %d could not be loaded (%s): %s", version.source.number, what, error)

    def _retire(self) -> None:
        """Takes the other versions out of service, if the aspired one is available or there is none."""
        with self._lock:
            if self._aspired is not None and self._aspired.state != AVAILABLE:
                return
            for version in self._versions.values():
                if version.state == AVAILABLE and version is not self._aspired:
                    version.set(UNLOADING)
                    log.info("Model %s version %d is being unloaded.", self.name, version.source.number)

    def _free(self) -> None:
        """Unloads what is out of service and held by no call any more."""
        with self._lock:
            idle = [v for v in self._versions.values() if v.state == UNLOADING and v.users == 0]
        for version in idle:
            if version.servable is not None:
                version.servable.close()
            version.servable = None
            with self._lock:
                version.set(END)
        if idle:
            gc.collect()  # a graph is a web of cycles; its memory should not wait for chance
