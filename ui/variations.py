"""Variations: small, quick results side by side, at several style weights and style scales."""

import threading
from dataclasses import replace

from model.settings import SETTINGS, StyleSettings
from serving.client import StyleTransferClient
from serving.errors import StyleTransferError
from serving.request import Request
from ui.jobs import Job, Owner, RunQueue, Snapshot, Status

# The settings that change from row to row and from column to column, the factors on their values, and what these do.
ROWS, COLUMNS = "style_weight", "style_scale"
FACTORS = {ROWS: (0.2, 1.0, 5.0), COLUMNS: (0.6, 1.0, 1.6)}
WORDS = {ROWS: ("Weaker", "", "Stronger"), COLUMNS: ("small strokes", "", "large strokes")}

SIZE_PX, STEPS = 192, 20  # of a variation, at most; 40 steps took twice as long, and looked the same


def grid(settings: StyleSettings) -> list[list[StyleSettings]]:
    """Returns rows of settings around the given ones; values stay within their ranges."""
    small = {"size": min(SIZE_PX, settings.size), "steps": min(STEPS, settings.steps)}
    return [
        [settings.replace(**small, **{ROWS: weight, COLUMNS: scale}) for scale in _around(settings, COLUMNS)]
        for weight in _around(settings, ROWS)
    ]


def _around(settings: StyleSettings, name: str) -> list[float]:
    setting, value = SETTINGS[name], float(getattr(settings, name))
    low, high = float(setting.low or 0), float(setting.high or 0)
    return [float(f"{min(max(factor * value, low), high):.3g}") for factor in FACTORS[name]]


class Variations:
    """The runs of all variations, one after another, in rows as in `grid`. Any thread may call all methods."""

    def __init__(self, client: StyleTransferClient, request: Request, queue: RunQueue, owner: Owner) -> None:
        self.request = request
        self.rows = [
            [Job(client, replace(request, settings=settings), queue, self) for settings in row]
            for row in grid(request.settings)
        ]
        self.jobs = [job for row in self.rows for job in row]
        self.unattended = owner.unattended
        self._owner = owner
        self._lock = threading.Lock()
        self.running = False  # whether they have been started, and neither ended nor stopped

    @property
    def active(self) -> bool:
        return self.running or any(job.active for job in self.jobs)

    @property
    def fraction_done(self) -> float:
        """Fraction of the work that is done, 0 to 1."""
        return sum(job.snapshot().fraction_done for job in self.jobs) / len(self.jobs)

    @property
    def problem(self) -> StyleTransferError | None:
        """Why a variation failed, which ends them all, or why the server does not answer at the moment."""
        return next((problem for job in self.jobs if (problem := job.problem)), None)

    def start(self) -> None:
        self.running = True
        self.advance()

    def stop(self) -> None:
        """Ends the work after the current chunk, and keeps the pictures so far."""
        with self._lock:
            self.running = False
            for job in self.jobs:
                job.stop()

    def keep(self, job: Job, ended: Snapshot) -> None:
        """Keeps nothing: a variation is no result."""

    def advance(self) -> None:
        """Starts the next variation, if any; otherwise they have ended."""
        with self._lock:
            states = [job.snapshot().status for job in self.jobs]
            if self.running and Status.NEW in states and Status.FAILED not in states:
                self.jobs[states.index(Status.NEW)].start()
                return
            self.running = False
        self._owner.advance()


def describe(row: int, column: int) -> str:
    """Says in plain words how a variation differs from what was asked: `Weaker, small strokes`."""
    words = ", ".join(filter(None, (WORDS[ROWS][row], WORDS[COLUMNS][column])))
    return words[:1].upper() + words[1:] or "As it is"
