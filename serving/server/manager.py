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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model.versions import VersionPath, find_versions
from serving.errors import InvalidInput, ModelNotFound, ServingFailed, ServingUnavailable, StyleTransferError

if TYPE_CHECKING:
    from serving.server.servable import Servable

log = logging.getLogger(__name__)

POLL_S = 1.0  # from one look for new versions to the next; tensorflow_model_server's default
RETRY_INTERVAL_S = 60.0  # from a load that failed to the next attempt; tensorflow_model_server's default

# TensorFlow Serving's states of a version, in the order in which it goes through them.
START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"


@dataclass(frozen=True)
class ModelRef:
    """What a request asks for: a model, and either its newest version or one by number."""

    name: str
    version: int | None = None

    def __str__(self) -> str:
        return f"Latest({self.name})" if self.version is None else f"Specific({self.name}, {self.version})"


@dataclass
class Version:
    """One version. `ModelManager.run` alone changes it, except for `users`.

    Attributes:
      number: its number.
      path: its directory.
      state: where it stands.
      error: why it could not be loaded.
      servable: what runs, while it is loaded.
      users: calls that hold it.
      attempts: loads that failed.
      due: when the next attempt to load it is, on the clock of `time.monotonic`.
    """

    number: int
    path: Path
    state: str = START
    error: StyleTransferError | None = None
    servable: Servable | None = None
    users: int = 0
    attempts: int = 0
    due: float = 0.0


class ModelManager:
    """All versions of a model. Questions are answered at once, whatever loads; one thread alone loads: `run`."""

    def __init__(self, name: str, base_path: Path, load: Callable[[VersionPath], Servable], retries: int) -> None:
        """Looks for versions. None is loaded before `run`.

        Args:
          name: what clients call the model by.
          base_path: holds one integer-named directory per version.
          load: loads and warms a version, or raises.
          retries: how often a load that failed is tried again.

        Raises:
          ModelNotFound: there is no version.
        """
        self.name = name
        self._base_path, self._load_version, self._retries = base_path, load, retries
        self._lock = threading.Lock()  # held for moments
        self._wake = threading.Event()
        self._stopping = False
        self._versions: dict[int, Version] = {}
        self._aspired: Version | None = None  # the one that is to be served
        self._started = False  # whether the version that was found first, or one in its place, has been loaded
        self._unreadable = False  # whether the base path could not be read at the last look
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
        """Returns where the model's versions stand at this moment, the newest first.

        Raises:
          ModelNotFound: no such model or version.
        """
        if ref.name != self.name:
            raise ModelNotFound(f"Could not find any versions of model {ref.name}")
        with self._lock:
            found = [replace(v) for v in self._newest_first() if ref.version in (None, v.number)]
        if ref.version is not None and not found:
            raise ModelNotFound(f"Could not find version {ref.version} of model {ref.name}")
        return found

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

    def run(self) -> None:
        """Loads the newest version and, until `stop`, each newer one: runs in a thread of its own.

        Raises:
          StyleTransferError: nothing could be loaded to begin with; the status says so from then on.
        """
        while not self._stopping:
            try:
                self._step()
            except Exception:  # the next look may go better, and a server that stops looking would be silently stale
                log.exception("Looking for versions failed")
            self._check_start()
            self._wake.wait(POLL_S)
            self._wake.clear()

    def stop(self) -> None:
        """Ends `run`, once what it loads just now is loaded."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:
        """Frees all versions. Call it when `run` has ended and no call is left."""
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
                # tensorflow_model_server opens its ports only when it has loaded: a caller finds nobody there.
                raise ServingUnavailable(f"Model {ref.name} is being loaded; its status says how that goes.")
        raise ModelNotFound(f"Servable not found for request: {ref}")

    def _check_start(self) -> None:
        if self._started:
            return
        if self._aspired is None:
            raise ModelNotFound(f"{self._base_path} holds no version to serve any more.")
        self._started = self._aspired.state == AVAILABLE
        if self._aspired.state == END and self._aspired.error:
            raise self._aspired.error

    def _step(self) -> None:
        """Looks for the newest version, loads it, and lets go of the one before it."""
        self._scan()
        aspired = self._aspired
        if aspired is not None and aspired.state in (START, LOADING) and aspired.due <= time.monotonic():
            self._load(aspired)
        self._unload_others()

    def _scan(self) -> None:
        """Aspires to the newest version on disk. A base path that cannot be read changes nothing: it may come back."""
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
            return  # it is loaded anew when that is over
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
        except Exception as error:  # a fault of this program must not end the thread that loads
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
            # As in TensorFlow Serving it is LOADING until the last attempt has failed; the reason shows at once.
            version.state, version.error = END if last else LOADING, error
        what = "given up" if last else f"tried again in {RETRY_INTERVAL_S:g} s"
        log.error("Version %d could not be loaded (%s): %s", version.number, what, error)

    def _unload_others(self) -> None:
        """Takes the others out of service once the aspired version can serve; unloads those that no call holds."""
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
            gc.collect()  # a graph is a web of cycles; its memory should not wait for chance
