"""The versions of one model: found on disk, loaded, served, drained and unloaded, without a failed request.

This is what TensorFlow Serving's AspiredVersionsManager does by its default policies. The newest version is the aspired
one. The previous version stays in service until the new one is available, and is unloaded when its last call has ended.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model.versions import VersionPath, find_versions
from serving.errors import InvalidInput, ModelNotFound, ServingFailed, ServingUnavailable, StyleTransferError

if TYPE_CHECKING:
    from serving.server.servable import Servable

log = logging.getLogger(__name__)

POLL_S = 1.0  # between two searches for new versions; tensorflow_model_server's default
RETRY_INTERVAL_S = 60.0  # between a failed load and the next attempt; tensorflow_model_server's default

# TensorFlow Serving's states of a version, in their order.
START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"


@dataclass(frozen=True)
class ModelRef:
    """A reference to a model: to its newest version, or to one by number."""

    name: str
    version: int | None = None

    def __str__(self) -> str:
        return f"Latest({self.name})" if self.version is None else f"Specific({self.name}, {self.version})"


@dataclass
class Version:
    """One version. Only the thread of `ModelManager.run` changes it, except for `users`."""

    number: int
    path: Path
    state: str = START
    error: StyleTransferError | None = None  # of the last attempt to load it
    servable: Servable | None = None
    users: int = 0  # calls that hold it
    attempts: int = 0  # loads that failed
    due: float = 0.0  # when to try next, on the clock of `time.monotonic`


class ModelManager:
    """All versions of a model. Only the thread of `run` loads; all other methods return at once."""

    def __init__(self, name: str, base_path: Path, load: Callable[[VersionPath], Servable], retries: int) -> None:
        """Finds the versions, of which none is loaded before `run`; raises ModelNotFound if there is none.

        Args:
          name: the model's name in calls.
          base_path: holds one integer-named directory per version.
          load: loads and warms up a version.
          retries: how often a failed load is retried.
        """
        self.name = name
        self._base_path, self._load_version, self._retries = base_path, load, retries
        self._lock = threading.Lock()  # never held for long
        self._wake = threading.Event()
        self._stopping = False
        self._versions: dict[int, Version] = {}
        self._aspired: Version | None = None  # the version to serve
        self._started = False  # whether any version has been loaded
        self._unreadable = False  # whether the last scan could not read the base path
        self._scan()
        if self._aspired is None:
            raise ModelNotFound(
                f"`--model_base_path` must hold a version directory named by an integer, such as {base_path / '1'}. "
                f"Received: {base_path}"
            )

    @property
    def ready(self) -> bool:
        """Whether a version is available and the server is not stopping."""
        with self._lock:
            return not self._stopping and any(version.state == AVAILABLE for version in self._versions.values())

    def status(self, ref: ModelRef) -> list[Version]:
        """Returns copies of the model's versions, the newest first, or raises ModelNotFound."""
        if ref.name != self.name:
            raise ModelNotFound(f"Could not find any versions of model {ref.name}")
        with self._lock:
            found = [replace(v) for v in self._newest_first() if ref.version in (None, v.number)]
        if ref.version is not None and not found:
            raise ModelNotFound(f"Could not find version {ref.version} of model {ref.name}")
        return found

    @contextmanager
    def lease(self, ref: ModelRef) -> Iterator[Servable]:
        """Yields the version that a request asks for; it is not unloaded before the `with` block ends.

        Raises InvalidInput if the request names no model, ModelNotFound if the model or version is not available, and
        ServingUnavailable while the server loads its first version.
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

    def run(self) -> None:
        """Loads the newest version, and until `stop` every newer one. Runs in a thread of its own.

        Raises StyleTransferError if the first version could not be loaded; its status gives the reason.
        """
        while not self._stopping:
            try:
                self._step()
            except Exception:  # without the next search the server would silently stay at an old version
                log.exception("Searching for versions failed")
            self._check_start()
            self._wake.wait(POLL_S)
            self._wake.clear()

    def stop(self) -> None:
        """Ends `run` after the load in progress, if any."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:
        """Frees all versions. Call it after `run` and all calls have ended."""
        self._aspired = None
        self._unload_others()

    def _newest_first(self) -> list[Version]:
        return sorted(self._versions.values(), key=lambda version: -version.number)

    def _find(self, ref: ModelRef) -> tuple[Version, Servable]:
        if ref.name == self.name:
            for version in self._newest_first():
                if version.state == AVAILABLE and version.servable and ref.version in (None, version.number):
                    return version, version.servable
            if not self._started:
                # tensorflow_model_server opens its ports only after loading; its callers get UNAVAILABLE, too.
                raise ServingUnavailable(f"Model {ref.name} is being loaded. Its status shows the progress.")
        raise ModelNotFound(f"Servable not found for request: {ref}")

    def _check_start(self) -> None:
        if self._started:
            return
        if self._aspired is None:
            raise ModelNotFound(f"{self._base_path} no longer holds a version.")
        self._started = self._aspired.state == AVAILABLE
        if self._aspired.state == END and self._aspired.error:
            raise self._aspired.error

    def _step(self) -> None:
        """Searches for the newest version, loads it, and unloads the previous one."""
        self._scan()
        aspired = self._aspired
        if aspired is not None and aspired.state in (START, LOADING) and aspired.due <= time.monotonic():
            self._load(aspired)
        self._unload_others()

    def _scan(self) -> None:
        """Aspires to the newest version on disk. An unreadable base path changes nothing: it may be back later."""
        try:
            if not self._base_path.is_dir():
                raise NotADirectoryError("it is not a directory")
            found = find_versions(self._base_path)
        except OSError as error:
            if not self._unreadable:
                log.warning("The base path %s cannot be read: %s.", self._base_path, error)
            self._unreadable = True
            return
        self._unreadable = False
        before, newest = self._aspired, found[-1] if found else None
        if before is not None and newest is not None and before.number == newest.number:
            return
        version = self._versions.get(newest.number) if newest else None
        if version is not None and version.state == UNLOADING:
            return  # a later step loads it again
        with self._lock:
            if before is not None and before.state in (START, LOADING):
                before.state = END
            if newest is not None and (version is None or version.state == END):
                version = self._versions[newest.number] = Version(newest.number, newest.path)
            self._aspired = version

    def _load(self, version: Version) -> None:
        started = time.monotonic()
        version.state = LOADING
        try:
            servable = self._load_version(VersionPath(version.number, version.path))
        except StyleTransferError as error:
            self._failed(version, error)
        except Exception as error:  # a bug in the server must not end the loading thread
            log.exception("Loading version %d failed", version.number)
            self._failed(version, ServingFailed(f"Internal error while loading: {type(error).__name__}: {error}"))
        else:
            with self._lock:
                version.servable, version.state, version.error = servable, AVAILABLE, None
            seconds = time.monotonic() - started
            log.info("Model %s version %d is available after %.1f s.", self.name, version.number, seconds)

    def _failed(self, version: Version, error: StyleTransferError) -> None:
        with self._lock:
            version.attempts += 1
            version.due = time.monotonic() + RETRY_INTERVAL_S
            last = version.attempts > self._retries
            # As in TensorFlow Serving, LOADING until the last attempt has failed; the status has the reason at once.
            version.state, version.error = END if last else LOADING, error
        what = "no more retries" if last else f"retry in {RETRY_INTERVAL_S:g} s"
        log.error("Version %d could not be loaded (%s): %s", version.number, what, error)

    def _unload_others(self) -> None:
        """Takes other versions out of service if the aspired one is available; unloads those that no call holds."""
        with self._lock:
            can_go = self._aspired is None or self._aspired.state == AVAILABLE
            for version in self._versions.values():
                if can_go and version.state == AVAILABLE and version is not self._aspired:
                    version.state = UNLOADING
                    log.info("Model %s version %d is being unloaded.", self.name, version.number)
            idle = [v for v in self._versions.values() if v.state == UNLOADING and v.users == 0]
        for version in idle:
            if version.servable is not None:
                version.servable.close()
            with self._lock:
                version.servable, version.state = None, END
        if idle:
            gc.collect()  # a graph has reference cycles: free its memory now
