"""Visits: what one person has brought and made, kept apart from everyone else's and forgotten after they have left.

A visit outlives the connection of its page, so that reloading the tab loses nothing: the tab keeps the visit's key and
hands it in when it is loaded again. Nobody can guess the key, and it stands in no address and in no cookie.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from dataclasses import dataclass, field

import streamlit as st

from serving.errors import StyleTransferError
from serving.request import Request
from serving.results import Origin
from ui import components, server, uploads
from ui.jobs import Job, RunQueue
from ui.uploads import Picture
from ui.variations import Variations

GRACE_S = 300.0  # how long a visit without a page is kept; a reload takes a second, a tunnel minutes
RELOAD_S = 15.0  # how long a page may be away before the visit's run gives way to others that wait
HERE_S = 60.0  # how often an idle page says that it is there
MOST_RESULTS = 12  # of a visit; the oldest goes
RUNS_VARIABLE, RUNS_AT_ONCE = "NST_RUNS_AT_ONCE", 2

KEY, OFFERED, TAB = "visit", "visit_offered", "visit_tab"  # of session_state; the last is the tab's element


@dataclass(frozen=True)
class Style:
    """One painting that was chosen.

    Attributes:
      number: unique in this process.
      plain_name: what a person reads.
      picture: the painting.
    """

    number: int
    plain_name: str
    picture: Picture

    @property
    def name(self) -> str:
        """The name as Markdown: a file may be called anything."""
        return "".join(f"\\{c}" if c in "\\`*_[]$:#<>~" else c for c in self.plain_name)


@dataclass(frozen=True)
class Result:
    """A result of a visit.

    Attributes:
      number: of the job that made it.
      png: the picture.
      thumbnail: see `uploads.thumbnail`.
      content: the photograph that it was made from, encoded.
      origin: what made it.
    """

    number: int
    png: bytes
    thumbnail: bytes
    content: bytes
    origin: Origin


@dataclass
class Visit:
    """What one person has at hand.

    Attributes:
      key: identifies it among the visits at the moment.
      content: the photograph; None: the file that was brought cannot be used.
      styles: the paintings.
      blend: how much each of them counts; empty: all alike.
      masks: encoded pictures by `ui.masks.Target.key`.
      work: what is running, or has ended last.
      results: the latest first.
      kept: number and step of the job's picture that was added to the results last.
      pages: how many pages show it.
      left: when its last page went, on the clock of `time.monotonic`; None: there is one.
    """

    key: str
    content: Picture | None = None
    styles: tuple[Style, ...] = ()
    blend: tuple[float, ...] = ()
    masks: dict[str, bytes] = field(default_factory=dict)
    work: Job | Variations | None = None
    results: tuple[Result, ...] = ()
    kept: tuple[int, int] | None = None
    pages: int = 0
    left: float | None = None

    def unattended(self) -> bool:
        """Tells whether its page has been away for longer than a reload takes."""
        left = self.left
        return left is not None and time.monotonic() - left > RELOAD_S

    @property
    def active(self) -> bool:
        """Whether anything is running."""
        return self.work is not None and self.work.active

    @property
    def problem(self) -> StyleTransferError | None:
        """Why the work is held up, or has failed."""
        return self.work.problem if self.work is not None else None

    def take(self, work: Job | Variations) -> None:
        """Starts work in place of what was running before, which is stopped."""
        self.close()
        self.work = work
        work.start()

    def keep_result(self) -> None:
        """Adds a job's picture to the results once it has ended; one that was deleted does not come back."""
        if not isinstance(self.work, Job):
            return
        job, now = self.work, self.work.snapshot()
        if not now.active and now.step and now.picture and self.kept != (job.number, now.step):
            self.kept = (job.number, now.step)
            png, origin = uploads.to_png(now.picture), now.origin(job.request)
            new = Result(job.number, png, uploads.thumbnail(png), job.request.content, origin)
            # A job that went on replaces its own earlier picture.
            self.results = (new, *(one for one in self.results if one.number != job.number))[:MOST_RESULTS]

    def delete_result(self, number: int) -> None:
        self.results = tuple(one for one in self.results if one.number != number)

    def close(self) -> None:
        """Stops what is running."""
        if self.work is not None:
            self.work.stop()


class Visits:
    """All visits, by key. All methods may be called from any thread."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._visits: dict[str, Visit] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._visits

    def enter(self, key: str) -> Visit:
        """Counts a page in and returns its visit: a new one if the key is not known."""
        with self._lock:
            visit = self._visits.setdefault(key, Visit(key))
            visit.pages += 1
            visit.left = None
            return visit

    def leave(self, visit: Visit) -> None:
        """Counts a page out; if none comes back in time, the visit ends and nothing of it is kept."""
        with self._lock:
            visit.pages -= 1
            if visit.pages == 0:
                visit.left = time.monotonic()
                timer = threading.Timer(self._grace_s, self._forget, [visit, visit.left])
                timer.daemon = True
                timer.start()

    def _forget(self, visit: Visit, left: float) -> None:
        with self._lock:
            if visit.left != left:
                return  # a page has come since
            self._visits.pop(visit.key, None)
        visit.close()


def runs_at_once() -> int:
    """Returns how many runs of this page's visitors may work at once, from the environment."""
    text = os.environ.get(RUNS_VARIABLE, "").strip()
    return max(1, int(text)) if text.isdigit() else RUNS_AT_ONCE


VISITS = Visits()
QUEUE = RunQueue(runs_at_once())  # for the runs of all visits


# The visit is entered once for each connection of a page, and left when that connection ends.
@st.cache_resource(scope="session", on_release=lambda visit: VISITS.leave(visit), show_spinner=False)
def _enter(key: str) -> Visit:
    return VISITS.enter(key)


def current() -> Visit:
    """Returns the visit that this page belongs to."""
    return _enter(st.session_state.setdefault(KEY, secrets.token_urlsafe()))


def start(request: Request, kind: type[Job] | type[Variations] = Job) -> None:
    """Starts a run or variations; a callback, so that the page is drawn with it under way."""
    visit = current()
    visit.take(kind(server.client(), request, QUEUE, visit.unattended))


def stay_with_tab() -> None:
    """Lets the tab keep the visit's key, and takes up the visit that it had before."""
    # When its connection is back, an idle page asks for nothing unless something on it runs by the clock.
    st.fragment(current, run_every=HERE_S)()
    components.element("visit")(
        key=TAB,
        data={"key": current().key, "offered": st.session_state.get(OFFERED, "")},
        height=1,
        on_kept_change=_come_back,
    )


def _come_back() -> None:
    """Takes up the visit that the tab had, unless it has been forgotten meanwhile."""
    offered = str(st.session_state[TAB].get("kept") or "")
    st.session_state[OFFERED] = offered
    if offered in VISITS:
        st.session_state[KEY] = offered
