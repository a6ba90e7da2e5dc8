"""Many pictures over one or many servers: every content in every style, as many at once as there are servers.

What is done is told by a manifest beside the results: the digests of the settings, the pictures and the model that a
result was made from, and its own. So a batch that was stopped, or whose pictures have changed, is simply run again. A
result that is under way is a run file in `.partial`, and goes on from there.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from PIL import Image

from model.settings import StyleSettings
from serving.client import StyleTransferClient
from serving.errors import (
    Cancelled,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServingFailed,
    ServingUnavailable,
    StyleTransferError,
)
from serving.files import atomic_write, read_file, sha256
from serving.pictures import BACKGROUND
from serving.request import Request
from serving.results import SUFFIXES, Origin, encode_result, full_text
from serving.run_file import SavedRun, load_run, save_run

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
PARTIAL = ".partial"

_NO_SERVER = (ServingUnavailable, ModelNotFound, Overloaded)
"""After all retries these say that there is nobody to do the rest either."""
_HEIF_SUFFIXES = {".heic", ".heif"}  # not read, but better explained than passed over


@dataclass(frozen=True)
class Task:
    """One result to make."""

    content: Path
    style: Path
    output: Path


class Ending(Enum):
    """How a task ended."""

    DONE = "done"
    SKIPPED = "skipped"  # the manifest says that it was done before
    FAILED = "failed"
    STOPPED = "stopped"  # not begun, or goes on from where it stands when the batch is run again


@dataclass(frozen=True)
class Outcome:
    """A task's end, and in one sentence why it is not done."""

    task: Task
    ending: Ending
    problem: str = ""


def pictures_in(path: Path, argument: str) -> list[Path]:
    """Returns the pictures in a directory, by name; or the path itself, if it is a file.

    Raises:
      InvalidInput: there are none.
    """
    if path.is_file():
        return [path]
    known = set(Image.registered_extensions()) | _HEIF_SUFFIXES
    try:
        found = sorted(
            entry
            for entry in path.iterdir()
            if entry.suffix.lower() in known and not entry.name.startswith(".") and entry.is_file()
        )
    except OSError as error:
        raise InvalidInput(f"`{argument}` must be a readable directory. Received: {path} ({error.strerror})") from error
    if not found:
        raise InvalidInput(f"`{argument}` must be a directory with pictures. Received: {path}")
    return found


def plan(contents: Sequence[Path], styles: Sequence[Path], output: Path, suffix: str) -> list[Task]:
    """Returns a task for every content in every style; `photo.jpg` in `waves.png` gives `photo_waves` and the suffix.

    Raises:
      InvalidInput: no result can have that suffix.
    """
    if suffix not in SUFFIXES:
        raise InvalidInput(f"`format` must be one of {', '.join(SUFFIXES)}. Received: {suffix}")
    # Files that differ in their suffix alone keep it, lest their results have one name.
    names = {path: path.stem for path in (*contents, *styles)}
    for group in (contents, styles):
        stems = Counter(path.stem for path in group)
        names |= {path: path.name for path in group if stems[path.stem] > 1}
    tasks = [
        Task(content, style, output / f"{names[content]}_{names[style]}{suffix}")
        for content in contents
        for style in styles
    ]
    clashes = [name for name, count in Counter(task.output.name for task in tasks).items() if count > 1]
    if clashes:
        raise InvalidInput(f"the pictures' names must give results of different names. Received: {clashes[0]} twice")
    return tasks


class Manifest:
    """What a directory's results were made from. All methods may be called from any thread."""

    def __init__(self, directory: Path) -> None:
        """Reads the directory's manifest, if there is one that can be read."""
        self._path = directory / MANIFEST
        self._lock = threading.Lock()
        self._results: dict[str, Any] = {}
        if self._path.exists():
            try:
                self._results = dict(json.loads(read_file(self._path, "`manifest`"))["results"])
            except (InvalidInput, ValueError, TypeError, LookupError, RecursionError):
                log.warning("%s cannot be read: all results are made anew.", self._path)

    def has(self, output: Path, made_from: Mapping[str, str]) -> bool:
        """Whether the result is there, as it was written, and made from just this."""
        with self._lock:
            entry = self._results.get(output.name)
        if not isinstance(entry, dict) or entry.get("made_from") != made_from or not output.is_file():
            return False
        return entry.get("sha256") == sha256(read_file(output, "`output`"))

    def add(self, output: Path, data: bytes, made_from: Mapping[str, str]) -> None:
        """Notes a result that has been written."""
        with self._lock:
            self._results[output.name] = {"made_from": dict(made_from), "sha256": sha256(data)}
            document = {"version": 1, "results": dict(sorted(self._results.items()))}
            atomic_write(self._path, (json.dumps(document, indent=1) + "\n").encode())


class Batch:
    """Tasks at work, in a thread for each client.

    ```
    batch = Batch(tasks, clients, settings, model)
    batch.start()
    for outcome in batch.outcomes():
        print(outcome.task.output, outcome.ending.value)
    ```
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        clients: Sequence[StyleTransferClient],
        settings: StyleSettings,
        model: Mapping[str, Any],
        *,
        background: str = BACKGROUND,
        metadata: bool = True,
        cancelled: threading.Event | None = None,
    ) -> None:
        """Takes the tasks and one client for each that is to be at work at once; all results go to one directory.

        Args:
          tasks: what to make.
          clients: of servers that serve the same model.
          settings: for all.
          model: its description.
          background: as in `Request`.
          metadata: whether the results say what made them.
          cancelled: once set, tasks end after the chunk under way, and no more are begun.
        """
        self._tasks, self._clients = list(tasks), list(clients)
        self._settings, self._model = settings, model
        self._background, self._metadata = background, metadata
        self._stop = cancelled or threading.Event()
        self._no_server: StyleTransferError | None = None
        self._todo: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._fractions: dict[Task, float] = {}
        self._directory = self._tasks[0].output.parent
        self._manifest = Manifest(self._directory)

    def start(self) -> None:
        """Begins; does not wait.

        Raises:
          InvalidInput: the directory of the results cannot be made.
        """
        try:
            (self._directory / PARTIAL).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(
                f"`output` must be a directory that can be written. Received: {self._directory} ({error.strerror})"
            ) from error
        for task in self._tasks:
            self._todo.put(task)
        for client in self._clients:
            # A daemon: a call that hangs must not keep the process from ending.
            threading.Thread(target=self._work, args=(client,), name="batch", daemon=True).start()

    def outcomes(self, every_s: float | None = None) -> Iterator[Outcome | None]:
        """Yields every task's outcome as it comes; and None when nothing came for some seconds, if they are given."""
        left = len(self._tasks)
        while left:
            try:
                outcome = self._done.get(timeout=every_s)
            except queue.Empty:
                yield None
                continue
            left -= 1
            yield outcome
        partial = self._directory / PARTIAL
        if not any(partial.iterdir()):
            partial.rmdir()

    def under_way(self) -> dict[Task, float]:
        """Returns the fraction that is done of each task that is at work, 0 to 1."""
        return dict(self._fractions)

    def _work(self, client: StyleTransferClient) -> None:
        while True:
            try:
                task = self._todo.get_nowait()
            except queue.Empty:
                return
            self._done.put(self._outcome(client, task))
            self._fractions.pop(task, None)

    def _outcome(self, client: StyleTransferClient, task: Task) -> Outcome:
        if self._no_server or self._stop.is_set():
            return Outcome(task, Ending.STOPPED)
        try:
            return Outcome(task, self._make(client, task))
        except Cancelled:
            return Outcome(task, Ending.STOPPED)
        except StyleTransferError as error:
            if isinstance(error, _NO_SERVER):
                self._no_server = error
            return Outcome(task, Ending.FAILED, str(error))
        except Exception as error:  # the boundary of the thread: nothing above it could tell a person
            log.exception("%s failed in an unforeseen way.", task.output)
            return Outcome(task, Ending.FAILED, str(ServingFailed(f"{type(error).__name__}: {error}")))

    def _make(self, client: StyleTransferClient, task: Task) -> Ending:
        content, style = read_file(task.content, "`content`"), read_file(task.style, "`style`")
        digest = str(self._model["digest"])
        made_from = {
            "settings": full_text(self._settings),
            "content_sha256": sha256(content),
            "style_sha256": sha256(style),
            "background": self._background,
            "metadata": str(self._metadata),
            "model": digest,
        }
        if self._manifest.has(task.output, made_from):
            return Ending.SKIPPED
        self._fractions[task] = 0.0
        request = Request(content, [style], self._settings, background=self._background)
        partial = self._directory / PARTIAL / f"{task.output.name}.run"
        run = _load_checkpoint(SavedRun(request.prepared(), digest), partial)
        last = None
        for last in client.run(run.request, state=run.state, cancelled=self._stop):
            save_run(partial, run.at(last))
            self._fractions[task] = last.fraction_done
        if last is None or not last.complete:
            return Ending.STOPPED
        origin = Origin.of(run.request, self._model, step=last.step, steps=last.steps) if self._metadata else None
        data = encode_result(last.image, task.output.suffix, origin)
        atomic_write(task.output, data)
        self._manifest.add(task.output, data, made_from)
        partial.unlink(missing_ok=True)
        return Ending.DONE


def _load_checkpoint(run: SavedRun, partial: Path) -> SavedRun:
    """Returns what an earlier batch left of the same run, else the run as it is."""
    if partial.exists():
        try:
            saved = load_run(partial)
        except InvalidInput:
            return run
        if saved.same_run(run):
            return saved
    return run
