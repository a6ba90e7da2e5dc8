"""The foot of the page: your results, to take home, to take the settings of, or to delete."""

from __future__ import annotations

from functools import partial

import streamlit as st

from ui import compare, history, knobs, panel, wording
from ui.history import Kept
from ui.jobs import Snapshot
from ui.visits import GRACE_S, Visit

NARROWEST_PX = 150


def note(visit: Visit, now: Snapshot) -> None:
    """Keeps a job's picture once it has ended; a picture that was deleted does not come back."""
    job = visit.job
    if job is None or now.active or not (now.step and now.picture):
        return
    if visit.noted != (job.number, now.step):
        visit.noted = (job.number, now.step)
        visit.kept = history.keep(visit.kept, job.number, now.picture, job.request.content, now.origin(job.request))


def show(visit: Visit) -> None:
    """Draws what is kept; nothing before there is a result."""
    kept = visit.kept
    if not kept:
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        with st.container(width="content", gap="xsmall"):
            st.subheader("Your results", anchor=False)
            st.caption(
                f"The last {history.MOST} pictures at most. They are kept for {wording.duration(GRACE_S)} after you "
                "leave the page, and then forgotten."
            )
        st.download_button(
            "Download all", partial(history.as_zip, kept), file_name="stylised.zip", mime="application/zip",
            key="download_all", icon=":material/folder_zip:", on_click="ignore",
        )  # fmt: skip
    with st.grid(6, min_column_width=NARROWEST_PX):
        for one in kept:
            _one(visit, one)


def _one(visit: Visit, one: Kept) -> None:
    words = describe(one)
    with st.container(border=True, gap="xsmall"):
        st.image(one.thumbnail, width="stretch", alt=f"One of your results: {words}")
        st.caption(words)
        if st.button("Compare", key=f"look_{one.number}", icon=":material/compare:", width="stretch"):
            _compare(one)
        with st.popover("More", key=f"more_{one.number}", icon=":material/more_horiz:", width="stretch"):
            st.button(
                "Use these settings", key=f"reuse_{one.number}", icon=":material/tune:", width="stretch",
                on_click=panel.reuse, args=(visit, one.origin.settings),
            )  # fmt: skip
            st.download_button(
                "Download as PNG", partial(history.encode, one.png, "PNG", one.origin),
                file_name=f"stylised-{one.number}.png", mime="image/png", key=f"download_{one.number}",
                icon=":material/download:", width="stretch", on_click="ignore",
            )  # fmt: skip
            st.button(
                "Delete", key=f"delete_{one.number}", icon=":material/delete:", width="stretch",
                on_click=_delete, args=(visit, one.number),
            )  # fmt: skip


def _compare(one: Kept) -> None:
    """Opens a window with the photograph and the result in one frame."""

    @st.dialog("Before and after", width="medium", icon=":material/compare:")
    def window() -> None:
        pair = compare.pair(one.content, one.png)
        if pair is not None:
            compare.show(pair, key=f"compared_{one.number}")
        st.caption(describe(one))

    window()


def describe(one: Kept) -> str:
    """Says in a line how a result was made."""
    settings = one.origin.settings
    label = knobs.preset_label(settings.preset).partition(":")[0]
    onward = ", from another result" if "initial" in one.origin.guides_sha256 else ""
    return f"{label}, {settings.size} px, {one.origin.step} of {one.origin.steps} steps{onward}"


def _delete(visit: Visit, number: int) -> None:
    visit.kept = tuple(one for one in visit.kept if one.number != number)
