"""Visits: one visitor's pictures and results, kept apart from everyone else's and forgotten after the visitor leaves.

A visit outlives its page's connection, so that reloading the tab loses nothing: the tab keeps the visit's key and sends
it when it loads again. Nobody can guess the key, and it is in no address and no cookie.
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

GRACE_S = 300.0  # how long a visit without a page is kept: a lost connection may take minutes
RELOAD_S = 15.0  # how long a page may be away before the visit's run lets waiting runs go first
HERE_S = 60.0  # how often an idle page reports that it is open
MOST_RESULTS = 12  # kept for a visit; then the oldest is dropped
RUNS_VARIABLE, RUNS_AT_ONCE = "NST_RUNS_AT_ONCE", 2

KEY, OFFERED, TAB = "visit", "visit_offered", "visit_tab"  # of session_state; the last is the tab's element


@dataclass(frozen=True)
class Style:
    """A chosen painting.

    Attributes:
      number: unique in this process.
      plain_name: the name that visitors read.
      picture: the painting.
    """

    number: int
    plain_name: str
    picture: Picture

    @property
    def name(self) -> str:
        """The name, escaped for Markdown: a file may have any name."""
        return "".join(f"\\{c}" if c in "\\`*_[]$:#<>~" else c for c in self.plain_name)


@dataclass(frozen=True)
class Result:
    """A result of a visit.

    Attributes:
      number: of the job that made it.
      png: the picture.
      thumbnail: see `uploads.thumbnail`.
      content: the encoded photograph that it was made from.
      origin: how it was made.
    """

    number: int
    png: bytes
    thumbnail: bytes
    content: bytes
    origin: Origin


@dataclass
class Visit:
    """One visitor's pictures, work and results.

    Attributes:
      key: identifies it among the current visits.
      content: the photograph; None until the page is first drawn.
      styles: the paintings.
      blend: the weight of each painting; empty if all are equal.
      masks: encoded pictures by `ui.masks.Target.key`.
      work: the latest run or variations, running or ended.
      results: the latest first.
      kept: job number and step of the picture that was last added to the results.
      pages: how many pages show it.
      left: when its last page closed, on the clock of `time.monotonic`; None while a page is open.
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
        """Why the work waits or has failed."""
        return self.work.problem if self.work is not None else None

    def take(self, work: Job | Variations) -> None:
        """Stops the current work and starts this."""
        self.close()
        self.work = work
        work.start()

    def keep_result(self) -> None:
        """Adds the picture of an ended job to the results; a deleted result does not come back."""
        if not isinstance(self.work, Job):
            return
        job, now = self.work, self.work.snapshot()
        if not now.active and now.step and now.picture and self.kept != (job.number, now.step):
            self.kept = (job.number, now.step)
            png, origin = uploads.to_png(now.picture), now.origin(job.request)
            new = Result(job.number, png, uploads.thumbnail(png), job.request.content, origin)
            # A continued job replaces its own earlier picture.
            self.results = (new, *(one for one in self.results if one.number != job.number))[:MOST_RESULTS]

    def delete_result(self, number: int) -> None:
        self.results = tuple(one for one in self.results if one.number != number)

    def close(self) -> None:
        """Stops the current work."""
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
                timer = threading.Timer(self._grace_s, self._forget, [visit, visit.left])
                timer.daemon = True
                timer.start()

    def _forget(self, visit: Visit, left: float) -> None:
        with self._lock:
            if visit.left != left:
                return  # a page has come back since
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
    """Returns the visit of this page."""
    return _enter(st.session_state.setdefault(KEY, secrets.token_urlsafe()))


def start(request: Request, kind: type[Job] | type[Variations] = Job) -> None:
    """Starts a run or variations; a button's callback, so that the page is drawn with the work already running."""
    visit = current()
    visit.take(kind(server.client(), request, QUEUE, visit.unattended))


def stay_with_tab() -> None:
    """Stores the visit's key in the tab, or returns to the visit that the tab had before."""
    # Without a timer, an idle page would stay silent when its connection comes back.
    st.fragment(current, run_every=HERE_S)()
    components.element("visit")(
        key=TAB,
        data={"key": current().key, "offered": st.session_state.get(OFFERED, "")},
        height=1,
        on_kept_change=_come_back,
    )


def _come_back() -> None:
    """Returns to the visit that the tab had, unless it has been forgotten meanwhile."""
    offered = str(st.session_state[TAB].get("kept") or "")
    st.session_state[OFFERED] = offered
    if offered in VISITS:
        st.session_state[KEY] = offered
