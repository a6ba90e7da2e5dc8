"""The foot of the page: the results of this visit, to take home, to take the settings of, or to throw away."""

from __future__ import annotations

from functools import partial

import streamlit as st

from ui import history, knobs, panel
from ui.history import Kept
from ui.jobs import Job, Snapshot

HISTORY, NOTED = "history", "noted_result"
NARROWEST_PX = 150


def note(job: Job | None, now: Snapshot) -> None:
    """Keeps a job's picture once it has ended; a picture that was thrown away does not come back."""
    if job is None or now.active or not (now.step and now.picture):
        return
    if st.session_state.get(NOTED) != (job.number, now.step):
        st.session_state[NOTED] = (job.number, now.step)
        st.session_state[HISTORY] = history.keep(_kept(), job.number, now.picture, now.origin(job.request))


def show() -> None:
    """Draws what is kept; nothing before there is a result."""
    kept = _kept()
    if not kept:
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        with st.container(width="content", gap="xsmall"):
            st.subheader("This visit", anchor=False)
            st.caption(f"The last {history.MOST} pictures at most; they go when you leave the page.")
        st.download_button(
            "Download all", partial(history.as_zip, kept), file_name="stylised.zip", mime="application/zip",
            key="download_all", icon=":material/folder_zip:", on_click="ignore",
        )  # fmt: skip
    with st.grid(6, min_column_width=NARROWEST_PX):
        for one in kept:
            _one(one)


def _kept() -> tuple[Kept, ...]:
    return tuple(st.session_state.get(HISTORY, ()))


def _one(one: Kept) -> None:
    words = describe(one)
    with st.container(border=True, gap="xsmall"):
        st.image(one.thumbnail, width="stretch", alt=f"A result of this visit: {words}")
        st.caption(words)
        with st.container(horizontal=True, gap="xsmall"):
            st.button(
                ":material/tune:", key=f"reuse_{one.number}", help="Use these settings again",
                on_click=panel.reuse, args=(one.origin.settings,),
            )  # fmt: skip
            st.download_button(
                ":material/download:", partial(history.encode, one.png, "PNG", one.origin),
                file_name=f"stylised-{one.number}.png", mime="image/png", key=f"download_{one.number}",
                help="Download as PNG", on_click="ignore",
            )  # fmt: skip
            st.button(
                ":material/delete:", key=f"delete_{one.number}", help="Throw this picture away",
                on_click=_delete, args=(one.number,),
            )  # fmt: skip


def describe(one: Kept) -> str:
    """Says in a line how a result was made."""
    settings = one.origin.settings
    label = knobs.preset_label(settings.preset).partition(":")[0]
    onward = ", from another result" if "initial" in one.origin.guides_sha256 else ""
    return f"{label}, {settings.size} px, {one.origin.step} of {one.origin.steps} steps{onward}"


def _delete(number: int) -> None:
    st.session_state[HISTORY] = tuple(one for one in _kept() if one.number != number)
