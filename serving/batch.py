"""Many pictures over one or many servers: every content in every style, as many at once as there are clients.

A line of the manifest beside the results stands for a result together with what it was made from: settings, pictures,
model. So a batch that was stopped, or whose pictures have changed, is simply run again. A result that is under way is a
run file in `.partial`, and goes on from there.
"""

import contextlib
import logging
import os
import queue
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from PIL import Image

from serving.client import StyleTransferClient
from serving.errors import Cancelled, InvalidInput, ModelNotFound, Overloaded, ServingUnavailable, StyleTransferError
from serving.files import atomic_write, check_writable, read_file, sha256
from serving.pictures import BACKGROUND
from serving.request import Request
from serving.responses import Description
from serving.results import Origin, encode_result, full_text, origin_of
from serving.run_file import SavedRun, load_run, save_run

log = logging.getLogger(__name__)

MANIFEST = "manifest.sha256"
PARTIAL = ".partial"
MAX_NAME_BYTES = 230  # of a file's 255: suffixes, and the marks of a run and of a draft, come to it

_NO_SERVER = (ServingUnavailable, ModelNotFound, Overloaded)  # after all retries: none is left for the rest
_HEIF_SUFFIXES = {".heic", ".heif"}  # not read, but the error says why; skipping them would not


@dataclass(frozen=True)
class Task:
    """One result to make."""

    content: Path
    style: Path
    output: Path


class Ending(Enum):
    """How a task ended."""

    DONE = "done"
    SKIPPED = "skipped"  # done by an earlier batch
    FAILED = "failed"
    STOPPED = "stopped"  # not begun, or under way: the next batch goes on from there


@dataclass(frozen=True)
class Outcome:
    """How a task ended; why it failed, in one sentence."""

    task: Task
    ending: Ending
    problem: str = ""


def pictures_in(path: Path, argument: str, output: Path) -> list[Path]:
    """Returns the pictures in a directory, sorted by name; or the path itself, if it is a file.

    In the directory for the results, `output`, what names its origin is a result, and left out. Raises InvalidInput if
    there are none.
    """
    if path.is_file():
        return [path]
    kinds = Image.registered_extensions()  # some, as .pdf, are only written
    among_results = path.resolve() == output.resolve()
    try:
        found = sorted(
            entry
            for entry in path.iterdir()
            if kinds.get(suffix := entry.suffix.lower()) in Image.OPEN or suffix in _HEIF_SUFFIXES
            if not entry.name.startswith(".") and entry.is_file()
            if not (among_results and origin_of(entry.read_bytes()))
        )
    except OSError as error:
        raise InvalidInput(f"`{argument}` must be a readable directory. Received: {path} ({error.strerror})") from error
    if not found:
        raise InvalidInput(f"`{argument}` must be a directory with pictures. Received: {path}")
    return found


def plan(contents: Sequence[Path], styles: Sequence[Path], output: Path, suffix: str) -> list[Task]:
    """Returns a task for every content in every style; `photo.jpg` in `waves.png` gives `photo_waves` and the suffix.

    A name that is too long is cut, and gets a part of its digest. Raises InvalidInput if two results would have one
    name, or one that of a picture.
    """
    # Files that differ in their suffix alone keep it, so that their results differ in name, on macOS and Windows too.
    names = {path: path.stem for path in (*contents, *styles)}
    for group in (contents, styles):
        stems = Counter(path.stem.casefold() for path in group)
        names |= {path: path.name for path in group if stems[path.stem.casefold()] > 1}
    tasks = [
        Task(content, style, output / f"{_short(f'{names[content]}_{names[style]}')}{suffix}")
        for content in contents
        for style in styles
    ]
    places = [*(task.output.resolve() for task in tasks), *{path.resolve() for path in (*contents, *styles)}]
    if clashes := [place.name for place, count in Counter(places).items() if count > 1]:
        raise InvalidInput(f"results and pictures must differ in their names. Received: {clashes[0]} twice")
    return tasks


def _short(name: str) -> str:
    data = os.fsencode(name)
    if len(data) <= MAX_NAME_BYTES:
        return name
    short = f"{data[: MAX_NAME_BYTES - 9].decode(errors='ignore')}~{sha256(data)[:8]}"
    log.warning("%s is too long for a file's name: the result is called %s.", name, short)
    return short


@dataclass
class Batch:
    """Runs tasks, in one thread for each client; once `cancelled` is set, they end after the chunk under way."""

    tasks: Sequence[Task]  # all in one directory
    clients: Sequence[StyleTransferClient]  # of servers that serve the same model; each has one task at a time
    model: Description  # with the settings for all tasks
    background: str = BACKGROUND  # as in `Request`
    metadata: bool = True  # whether the results hold their origin
    cancelled: threading.Event = field(default_factory=threading.Event)
    fractions: dict[Task, float] = field(default_factory=dict, init=False)  # done of each task under way, 0 to 1

    def __post_init__(self) -> None:
        self._no_server = False
        self._done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        directory = self.tasks[0].output.parent
        self._partial, self._manifest = directory / PARTIAL, directory / MANIFEST
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            expected = "a directory that can be written"
            raise InvalidInput(f"`output` must be {expected}. Received: {directory} ({error.strerror})") from error
        self._made = set(read_file(self._manifest, "the manifest").split(b"\n") if self._manifest.exists() else ())

    def outcomes(self, every_s: float | None = None) -> Iterator[Outcome | None]:
        """Does the tasks; yields the outcome of each as it comes, and None after `every_s` seconds without one."""
        todo = iter(self.tasks)  # shared: each thread takes the next
        for client in self.clients:
            # A daemon: a call that hangs must not keep the process from ending.
            threading.Thread(target=self._work, args=(client, todo), name="batch", daemon=True).start()
        left = len(self.tasks)
        while left:
            outcome = None
            with contextlib.suppress(queue.Empty):
                outcome = self._done.get(timeout=every_s)
                left -= 1
            yield outcome
        with contextlib.suppress(OSError):  # it holds runs, or another batch of this directory has removed it
            self._partial.rmdir()

    def _work(self, client: StyleTransferClient, todo: Iterator[Task]) -> None:
        for task in todo:
            self._done.put(self._outcome(client, task))
            self.fractions.pop(task, None)

    def _outcome(self, client: StyleTransferClient, task: Task) -> Outcome:
        if self._no_server or self.cancelled.is_set():
            return Outcome(task, Ending.STOPPED)
        try:
            return Outcome(task, self._make(client, task))
        except Cancelled:
            return Outcome(task, Ending.STOPPED)
        except (StyleTransferError, OSError) as error:
            self._no_server = self._no_server or isinstance(error, _NO_SERVER)
            return Outcome(task, Ending.FAILED, str(error))
        except Exception as error:  # the thread ends here: nothing above could report it
            log.exception("%s failed in an unforeseen way.", task.output)
            return Outcome(task, Ending.FAILED, f"{type(error).__name__}: {error}")

    def _make(self, client: StyleTransferClient, task: Task) -> Ending:
        content, style = read_file(task.content, "`content`"), read_file(task.style, "`style`")
        settings, digest = self.model.settings, self.model.digest
        about = (full_text(settings), sha256(content), sha256(style), self.background, str(self.metadata), digest)
        made_from = "\n".join(about)
        if task.output.is_file() and _entry(task, read_file(task.output, "`output`"), made_from) in self._made:
            return Ending.SKIPPED
        check_writable(task.output)
        self.fractions[task] = 0.0
        request = Request(content, [style], settings, background=self.background).prepared()
        checkpoint = self._partial / f"{task.output.name}.run"
        run = SavedRun(request, digest)
        with contextlib.suppress(InvalidInput):  # without one that can be read the run begins anew
            saved = load_run(checkpoint)
            if (saved.request, saved.model_digest) == (request, digest):
                run = saved
        last = None
        for last in client.run(request, state=run.state, cancelled=self.cancelled):
            self._partial.mkdir(exist_ok=True)
            save_run(checkpoint, run.at(last))
            self.fractions[task] = last.fraction_done
        if last is None or not last.complete:
            return Ending.STOPPED
        origin = Origin.of(request, self.model, step=last.step, steps=last.steps) if self.metadata else None
        data = encode_result(last.image, task.output.suffix, origin)
        atomic_write(task.output, data)
        with self._manifest.open("ab") as manifest:  # a single write, so that several threads or batches may share it
            manifest.write(b"\n" + _entry(task, data, made_from))  # behind whatever a crash left of another
        checkpoint.unlink(missing_ok=True)
        return Ending.DONE


def _entry(task: Task, result: bytes, made_from: str) -> bytes:
    return sha256(made_from.encode() + result).encode() + b"  " + os.fsencode(task.output.name)
