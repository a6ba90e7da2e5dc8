"""Variations: small, quick results side by side, at several style weights and style scales."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import streamlit as st
from PIL import Image, ImageDraw, ImageFont

from model.settings import SETTINGS, StyleSettings, format_value
from serving.client import StyleTransferClient
from serving.errors import StyleTransferError
from serving.request import Request
from ui import panel, server, wording
from ui.jobs import Job, RunQueue, Status

ROWS, COLUMNS = "style_weight", "style_scale"
"""The settings that change from row to row and from column to column."""

FACTORS = {ROWS: (0.2, 1.0, 5.0), COLUMNS: (0.6, 1.0, 1.6)}
"""The factors by which each setting's value is multiplied."""

SIZE_PX, STEPS = 192, 40  # of a variation, at most

MARGIN_PX, LINE_PX = 14, 30  # of the contact sheet
INK, PAPER = "#2a2530", "#fcfaf6"

NARROWEST_PX = 100  # width of a cell; three fit side by side even on a phone
BEAT_S = 1.0  # how often the page draws them while they run


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


def label(settings: StyleSettings, name: str) -> str:
    """Returns the label and the value of a setting."""
    return f"{SETTINGS[name].label} {format_value(getattr(settings, name))}"


class Variations:
    """The runs of all variations, one after another. All methods may be called from any thread.

    Attributes:
      rows: the jobs, in the arrangement of `grid`.
      jobs: all of them.
    """

    def __init__(
        self, client: StyleTransferClient, request: Request, queue: RunQueue, unattended: Callable[[], bool]
    ) -> None:
        """Prepares variations around a request; the arguments are those of `Job`."""
        self.rows = [
            [Job(client, replace(request, settings=settings), queue, unattended) for settings in row]
            for row in grid(request.settings)
        ]
        self.jobs = [job for row in self.rows for job in row]
        self._cancelled = threading.Event()
        self._worker = threading.Thread(target=self._work, name="variations", daemon=True)

    @property
    def active(self) -> bool:
        return self._worker.is_alive()

    @property
    def fraction_done(self) -> float:
        """Fraction of the work that is done, 0 to 1."""
        return sum(job.snapshot().fraction_done for job in self.jobs) / len(self.jobs)

    @property
    def problem(self) -> StyleTransferError | None:
        """Why a variation failed, which ends them all, or why the server does not answer at the moment."""
        return next((problem for job in self.jobs if (problem := job.problem)), None)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """Ends the work after the current chunk, and keeps the pictures so far."""
        self._cancelled.set()
        for job in self.jobs:
            job.stop()

    def wait(self, timeout_s: float | None = None) -> None:
        """Waits until all have ended."""
        self._worker.join(timeout_s)

    def _work(self) -> None:
        for job in self.jobs:
            if self._cancelled.is_set():
                return
            job.start()
            if self._cancelled.is_set():
                job.stop()  # `stop` may have come just before `start`, when it had no effect
            job.wait()
            if job.snapshot().status is Status.FAILED:
                return


def contact_sheet(rows: Sequence[Sequence[tuple[StyleSettings, bytes]]]) -> bytes:
    """Returns pictures in rows, labelled with their settings, as PNG.

    Args:
      rows: the settings and the encoded picture of each cell. All rows have the same length, all pictures the same
        size; an empty picture leaves its cell empty.
    """
    pictures = [[Image.open(io.BytesIO(data)).convert("RGB") if data else None for _, data in row] for row in rows]
    width, height = next(picture.size for row in pictures for picture in row if picture)
    font = ImageFont.load_default(15)
    names = [label(row[0][0], ROWS) for row in rows]
    left, top = round(max(map(font.getlength, names))) + 2 * MARGIN_PX, LINE_PX + MARGIN_PX
    across, down = width + MARGIN_PX, height + MARGIN_PX
    sheet = Image.new("RGB", (left + len(rows[0]) * across, top + len(rows) * down), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, (settings, _) in enumerate(rows[0]):
        draw.text((left + column * across + width / 2, top / 2), label(settings, COLUMNS), INK, font, anchor="mm")
    for row, name in enumerate(names):
        draw.text((left - MARGIN_PX, top + row * down + height / 2), name, INK, font, anchor="rm")
        for column, picture in enumerate(pictures[row]):
            if picture:
                sheet.paste(picture, (left + column * across, top + row * down))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def show(variations: Variations, active: bool) -> None:
    """Draws variations, every second while they run; for `active` see `live.show`."""
    st.fragment(_draw, run_every=BEAT_S if active else None)(variations, active)


def _draw(variations: Variations, active: bool) -> None:
    problem = variations.problem
    if variations.active != active:
        st.rerun()
    if active:
        done = sum(bool(job.snapshot().image) for job in variations.jobs)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.progress(min(variations.fraction_done, 1.0), text=f"{done} of {len(variations.jobs)} variations painted")
            st.button("Stop", key="stop_variations", icon=":material/stop_circle:", on_click=variations.stop)
    else:
        st.subheader("Variations", anchor=False)
        st.caption("Choose the one you like, then press Start to paint it at full size.")
    waiting = next((now for job in variations.jobs if (now := job.snapshot()).active and now.problem), None)
    if waiting is not None:
        st.warning(wording.interrupted(waiting), icon=":material/sync:")
    elif problem is not None:
        st.error(server.explain(problem), icon=":material/error:")
    with st.grid(len(variations.rows[0]), min_column_width=NARROWEST_PX, gap="small"):
        for job in variations.jobs:
            _cell(job)
    if not active and any(job.snapshot().image for job in variations.jobs):
        st.download_button(
            "Download the sheet", lambda: _sheet(variations), file_name="variations.png", mime="image/png",
            key="download_sheet", icon=":material/download:", on_click="ignore",
        )  # fmt: skip


def _cell(job: Job) -> None:
    settings, now = job.request.settings, job.snapshot()
    words = f"{label(settings, ROWS)}, {label(settings, COLUMNS).lower()}"
    with st.container(gap="xsmall"):
        if now.picture:
            st.image(now.picture, width="stretch", alt=f"A variation: {words}")
        else:
            st.skeleton(height=110)
        st.caption(words)
        used = st.button(
            "Use this one", key=f"use_{job.number}", icon=":material/tune:", help=f"Sets the knobs to {words}.",
            on_click=panel.turn, kwargs={name: getattr(settings, name) for name in (ROWS, COLUMNS)},
        )  # fmt: skip
        if used:
            st.rerun()  # the knobs are outside this fragment


def _sheet(variations: Variations) -> bytes:
    return contact_sheet([[(job.request.settings, job.snapshot().image) for job in row] for row in variations.rows])
