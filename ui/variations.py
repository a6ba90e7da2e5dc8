"""The sweep on the page: a grid of small pictures, each with a button that takes its settings."""

from __future__ import annotations

import streamlit as st

from ui import backend, header, panel, sweep, wording
from ui.jobs import Job
from ui.sweep import Sweep

NARROWEST_PX = 100  # of a cell, so that three stand side by side on a phone too
BEAT_S = 1.0


def show(which: Sweep, active: bool) -> None:
    """Draws a sweep, anew while it runs; `active` is whether the rest of the page was drawn as of a run."""
    st.fragment(_draw, run_every=BEAT_S if active else None)(which, active)


def _draw(which: Sweep, active: bool) -> None:
    if which.active != active or header.is_news(which.problem):
        st.rerun()
    if active:
        done = sum(not now.active and bool(now.image) for now in (job.snapshot() for job in which.jobs))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.progress(min(which.fraction_done, 1.0), text=f"{done} of {len(which.jobs)} variations painted")
            st.button("Stop", key="stop_sweep", icon=":material/stop_circle:", on_click=which.stop)
    else:
        st.subheader("Variations", anchor=False)
        st.caption("Small and quick: Start paints the one that you like at full size.")
    waiting = next((now for job in which.jobs if (now := job.snapshot()).active and now.problem), None)
    if waiting is not None:
        st.warning(wording.interrupted(waiting), icon=":material/sync:")
    elif which.problem is not None:
        st.error(backend.sentence(which.problem, backend.address()), icon=":material/error:")
    with st.grid(len(which.rows[0]), min_column_width=NARROWEST_PX, gap="small"):
        for job in which.jobs:
            _cell(job)
    if not active and any(job.snapshot().image for job in which.jobs):
        st.download_button(
            "Download the sheet", lambda: _sheet(which), file_name="variations.png", mime="image/png",
            key="download_sheet", icon=":material/download:", on_click="ignore",
        )  # fmt: skip


def _cell(job: Job) -> None:
    settings, now = job.request.settings, job.snapshot()
    words = f"{sweep.label(settings, sweep.ROWS)}, {sweep.label(settings, sweep.COLUMNS).lower()}"
    with st.container(gap="xsmall"):
        if now.picture:
            st.image(now.picture, width="stretch", alt=f"A variation: {words}")
        else:
            st.skeleton(height=110)
        st.caption(words)
        used = st.button(
            "Use this look", key=f"use_{job.number}", icon=":material/tune:", help=f"Turns the knobs to {words}.",
            on_click=panel.turn, kwargs={name: getattr(settings, name) for name in (sweep.ROWS, sweep.COLUMNS)},
        )  # fmt: skip
        if used:
            st.rerun()  # a fragment draws itself alone, and the knobs stand outside


def _sheet(which: Sweep) -> bytes:
    return sweep.contact_sheet([[(job.request.settings, job.snapshot().image) for job in row] for row in which.rows])
