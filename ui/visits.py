"""Visits: what one person has brought and made, kept apart from everyone else's, and forgotten when they have left.

A visit outlives the connection of its page, so that reloading the tab loses nothing. Its key, which nobody can guess,
is known to that tab alone: it stands in no address and in no cookie.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from dataclasses import dataclass, field

from serving.errors import StyleTransferError
from ui.history import Kept
from ui.jobs import Job
from ui.sweep import Sweep
from ui.uploads import Picture

GRACE_S = 300.0  # how long a visit without a page is kept; a reload takes a second, a tunnel minutes
RELOAD_S = 15.0  # how long a page may be away before the visit's run gives way to others who wait


def new_key() -> str:
    """Returns a visit's key: 128 bits of chance."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True)
class Style:
    """One painting that was chosen.

    Attributes:
      number: its own in this process.
      plain_name: what a person reads.
      picture: the painting.
    """

    number: int
    plain_name: str
    picture: Picture

    @property
    def name(self) -> str:
        """The name where Markdown is read: a file may be called anything."""
        return "".join(f"\\{c}" if c in "\\`*_[]$:#<>~" else c for c in self.plain_name)


@dataclass
class Visit:
    """What one person has at hand.

    Attributes:
      key: what tells it from others at the same time.
      content: the photograph; None: the file that was brought cannot be used.
      styles: the paintings.
      blend: how much each of them counts; empty: all alike.
      masks: encoded pictures by `ui.masks.Target.key`.
      job: what is at work, or has ended last.
      sweep: the variations, in place of the job's picture; None: there are none, or a job was started since.
      kept: the results, the latest first.
      noted: number and step of the job's picture that was kept last.
      left: when its last page went, on the clock of `time.monotonic`; None: there is one.
      number: its own in this process: a visit that was forgotten may come again by its key, as a new one.
    """

    key: str
    content: Picture | None = None
    styles: tuple[Style, ...] = ()
    blend: tuple[float, ...] = ()
    masks: dict[str, bytes] = field(default_factory=dict)
    job: Job | None = None
    sweep: Sweep | None = None
    kept: tuple[Kept, ...] = ()
    noted: tuple[int, int] | None = None
    left: float | None = None
    number: int = field(default_factory=itertools.count(1).__next__)

    def unattended(self) -> bool:
        """Whether its page has gone, for longer than a page takes that is loaded anew."""
        left = self.left
        return left is not None and time.monotonic() - left > RELOAD_S

    @property
    def active(self) -> bool:
        """Whether anything is at work."""
        return (self.job is not None and self.job.snapshot().active) or (self.sweep is not None and self.sweep.active)

    @property
    def problem(self) -> StyleTransferError | None:
        """What stands in the way of what is at work, or ended it."""
        if self.sweep is not None:
            return self.sweep.problem
        return self.job.snapshot().problem if self.job is not None else None

    def take(self, job: Job) -> None:
        """Starts a job in place of what was at work before, which is stopped."""
        self.close()
        self.job, self.sweep = job, None
        job.start()

    def vary(self, sweep: Sweep) -> None:
        """Starts a sweep in place of what was at work before, which is stopped."""
        self.close()
        self.sweep = sweep
        sweep.start()

    def close(self) -> None:
        """Stops what is at work."""
        for work in (self.job, self.sweep):
            if work is not None:
                work.stop()


@dataclass
class _Guest:
    visit: Visit
    pages: int = 0
    end: threading.Timer | None = field(default=None, repr=False)


class Visits:
    """The visits under way. All methods may be called from any thread."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._guests: dict[str, _Guest] = {}

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._guests

    def enter(self, key: str) -> Visit:
        """Returns the visit of a page that has come, or come again; a new one if nothing is known of the key."""
        with self._lock:
            guest = self._guests.setdefault(key, _Guest(Visit(key)))
            guest.pages += 1
            guest.visit.left = None
            if guest.end is not None:
                guest.end.cancel()
                guest.end = None
            return guest.visit

    def leave(self, key: str) -> None:
        """Takes note that a page has gone; when none comes again in time, the visit ends and nothing of it is kept."""
        with self._lock:
            guest = self._guests[key]
            guest.pages -= 1
            if guest.pages == 0:
                guest.visit.left = time.monotonic()
                guest.end = threading.Timer(self._grace_s, self._forget, [key])
                guest.end.daemon = True
                guest.end.start()

    def _forget(self, key: str) -> None:
        with self._lock:
            if self._guests[key].pages:
                return  # a page came just now
            guest = self._guests.pop(key)
        guest.visit.close()
