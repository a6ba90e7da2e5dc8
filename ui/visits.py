"""Visits: one visitor's pictures and results, kept apart from everyone else's and forgotten after the visitor leaves.

A visit outlives its page's connection, so that reloading the tab loses nothing: the tab keeps the visit's key and sends
it when it loads again. Nobody can guess the key, and it is in no address and no cookie.
"""

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, count
from typing import Self

import streamlit as st

from serving.errors import StyleTransferError
from serving.pictures import with_transparency_of
from serving.request import Request
from serving.results import Origin
from serving.run_file import SavedRun
from ui import components, knobs, server, uploads, wording
from ui.jobs import Job, RunQueue, Snapshot, Status
from ui.samples import CONTENTS, STYLES, Sample
from ui.uploads import Picture
from ui.variations import Variations

GRACE_S = 300.0  # how long a visit without a page is kept: a lost connection may take minutes
RELOAD_S = 15.0  # how long a page may be away before the visit's run lets waiting runs go first
HERE_S = 60.0  # how often an idle page reports that it is open
RESULTS_BYTES = 100_000_000  # of a visit; then the oldest are dropped, but never the latest
MOST_LINED_UP = 20  # runs of a visit that wait for its own

KEY, OFFERED, TAB = "visit", "visit_offered", "visit_tab"  # of session_state; the last is the tab's element


@dataclass(frozen=True)
class Style:
    """A chosen painting."""

    plain_name: str  # that visitors read
    picture: Picture
    number: int = field(default_factory=partial(next, count(1)))  # unique in this process

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """Returns the style of a sample."""
        return cls(sample.label, uploads.sample(sample))

    @property
    def name(self) -> str:
        """The name, escaped for Markdown."""
        return wording.plain(self.plain_name)


@dataclass(frozen=True)
class Result:
    """A result of a visit."""

    number: int  # of the job that made it
    request: Request
    png: bytes
    thumbnail: bytes  # see `uploads.thumbnail`
    origin: Origin
    film: tuple[bytes, ...] = ()  # see `Film.frames`


Work = Job | Variations


@dataclass(frozen=True)
class Stage:
    """What a page shows of a visit's work; the page has to be drawn anew when it changes."""

    work: Work | None
    active: bool
    running: bool
    starting: bool
    lined_up: tuple[Work, ...]
    results: tuple[Result, ...]


@dataclass(eq=False)
class Visit:
    """One visitor's pictures, work and results."""

    key: str  # identifies it among the current visits
    content: Picture = field(default_factory=partial(uploads.sample, CONTENTS[0]))  # the photograph
    styles: tuple[Style, ...] = field(default_factory=lambda: (Style.of(STYLES[0]),))  # at least one
    blend: tuple[float, ...] = ()  # the weight of each painting; empty if all are equal
    masks: dict[str, bytes] = field(default_factory=dict)  # encoded pictures by `ui.masks.Target.key`
    names: dict[str, str] = field(default_factory=dict)  # of pictures that have been used, by the digest of the file
    work: Work | None = None  # the latest run or variations, running or ended
    lined_up: tuple[Work, ...] = ()  # start when the current work ends, in order
    failed: Job | None = None  # the latest run that failed and was followed by one that had been lined up
    results: tuple[Result, ...] = ()  # the latest first
    pages: int = 0  # that show it
    left: float | None = None  # when its last page closed, by `time.monotonic`; None while a page is open
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def unattended(self) -> bool:
        """Tells whether its page has been away for longer than a reload takes."""
        left = self.left
        return left is not None and time.monotonic() - left > RELOAD_S

    @property
    def active(self) -> bool:
        """Whether a new run has to wait for another one of this visit. Work that has been stopped holds up none."""
        return bool(self.lined_up) or (self.work is not None and self.work.running)

    @property
    def stage(self) -> Stage:
        with self._lock:
            work = self.work
            active, running = (work.active, work.running) if work is not None else (False, False)
            starting = isinstance(work, Job) and work.snapshot().starting
            return Stage(work, active or bool(self.lined_up), running, starting, self.lined_up, self.results)

    @property
    def problem(self) -> StyleTransferError | None:
        """Why the work waits or has failed."""
        return self.work.problem if self.work is not None else None

    def line_up(self, *works: Work) -> None:
        """Starts work as soon as all that came before has ended."""
        with self._lock:
            self.lined_up += works
            self.failed = None
            self.advance()

    def remove(self, *works: Work) -> None:
        """Takes work that has not started out of the line."""
        with self._lock:
            self.lined_up = tuple(one for one in self.lined_up if one not in works)

    def advance(self) -> None:
        """Starts the next work in line, unless some is running."""
        with self._lock:
            if not self.lined_up or (self.work is not None and self.work.running):
                return
            if isinstance(self.work, Job) and self.work.snapshot().status is Status.FAILED:
                self.failed = self.work
            self.work, *rest = self.lined_up
            self.lined_up = tuple(rest)
            self.work.start()

    def stop(self) -> None:
        """Stops the current work; the next in line starts."""
        if self.work is not None:
            self.work.stop()
        self.advance()

    def keep(self, job: Job, ended: Snapshot) -> None:
        """Adds the picture of an ended job to the results, and drops the oldest that are too many."""
        if not (ended.step and ended.picture):
            return
        origin = ended.origin(job.request)
        png = with_transparency_of(job.request.content, uploads.to_png(ended.picture))
        new = Result(job.number, job.request, png, uploads.thumbnail(png), origin, job.film.frames)
        with self._lock:
            # A continued job replaces its own earlier picture.
            kept = (new, *(one for one in self.results if one.number != job.number))
            while len(kept) > 1 and _size(kept) > RESULTS_BYTES:
                kept = kept[:-1]
            self.results = kept

    def result_of(self, job: Job) -> Result | None:
        """Returns the picture of an ended job, unless there is none or it was deleted."""
        return next((one for one in self.results if one.number == job.number), None)

    def delete_result(self, number: int) -> None:
        with self._lock:
            self.results = tuple(one for one in self.results if one.number != number)


def _size(results: Sequence[Result]) -> int:
    """Returns the bytes that results take; pictures that several of them share count once."""
    sizes: dict[int, int] = {}
    for one in results:
        parts = (one.png, one.thumbnail, *one.film, *chain.from_iterable(one.request.pictures.values()))
        sizes |= {id(part): len(part) for part in parts}
    return sum(sizes.values())


class Visits:
    """All visits, by key. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._visits: dict[str, Visit] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._visits

    def enter(self, key: str) -> Visit:
        """Adds a page to a visit and returns the visit, a new one if the key is unknown."""
        with self._lock:
            visit = self._visits.setdefault(key, Visit(key))
            visit.pages += 1
            visit.left = None
            return visit

    def leave(self, visit: Visit) -> None:
        """Removes a page from a visit; if none comes back in time, the visit ends and is forgotten."""
        with self._lock:
            visit.pages -= 1
            if visit.pages == 0:
                visit.left = time.monotonic()
                timer = threading.Timer(GRACE_S, self._forget, [visit, visit.left])
                timer.daemon = True
                timer.start()

    def _forget(self, visit: Visit, left: float) -> None:
        with self._lock:
            if visit.left != left:
                return  # a page has come back since
            self._visits.pop(visit.key, None)
        visit.remove(*visit.lined_up)
        visit.stop()


VISITS = Visits()
QUEUE = RunQueue(int(knobs.limit("NST_RUNS_AT_ONCE", 2)))  # for the runs of all visits


# The visit is entered once for each connection of a page, and left when that connection ends.
@st.cache_resource(scope="session", on_release=lambda visit: VISITS.leave(visit), show_spinner=False)
def _enter(key: str) -> Visit:
    return VISITS.enter(key)


def current() -> Visit:
    """Returns the visit of this page."""
    return _enter(st.session_state.setdefault(KEY, secrets.token_urlsafe()))


def start(request: Request, kind: type[Job] | type[Variations] = Job) -> None:
    """Starts a run or variations once the work before has ended; a button's callback."""
    visit = current()
    for picture in (visit.content, *(style.picture for style in visit.styles)):
        visit.names[picture.digest] = picture.name
    _line_up(kind(server.client(), request, QUEUE, visit))


def start_each(request: Request, photographs: Sequence[Picture]) -> None:
    """Starts a run for each photograph, with paintings and settings of a request but no masks on the content."""
    visit = current()
    sha256 = {name: digests for name, digests in request.sha256.items() if name != "content_masks"}
    jobs = []
    for one in photographs:
        visit.names[one.digest] = one.name
        alike = replace(request, content=one.data, content_masks=(), sha256={**sha256, "content": (one.digest,)})
        jobs.append(Job(server.client(), alike, QUEUE, visit))
    _line_up(*jobs)


def resume(run: SavedRun) -> bool:
    """Continues a saved run, and returns True, if the model that is served is that of the run.

    Raises:
      StyleTransferError: the server does not answer.
    """
    if server.client().describe(run.request.settings).digest != run.model_digest:
        return False
    _line_up(Job(server.client(), run.request, QUEUE, current(), run))
    return True


def _line_up(*works: Work) -> None:
    visit = current()
    room = MOST_LINED_UP - len(visit.lined_up)
    if len(works) > room:
        st.toast(f"At most {MOST_LINED_UP} runs can wait. Left out: {len(works) - room}.", icon=":material/inbox:")
    visit.line_up(*works[:room])


def stay_with_tab() -> None:
    """Stores the visit's key in the tab, or returns to the visit that the tab had before."""
    # Without a timer, an idle page would stay silent when its connection comes back.
    st.fragment(current, run_every=HERE_S)()
    data = {"key": current().key, "offered": st.session_state.get(OFFERED, "")}
    components.element("visit")(key=TAB, data=data, height=1, on_kept_change=_come_back)


def _come_back() -> None:
    """Returns to the visit that the tab had, unless it has been forgotten meanwhile."""
    offered = str(st.session_state[TAB].get("kept") or "")
    st.session_state[OFFERED] = offered
    if offered in VISITS:
        st.session_state[KEY] = offered
