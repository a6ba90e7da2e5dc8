"""The page: `streamlit run ui/app.py`. One screen: two pictures, a few knobs, one button, and the result."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)  # `streamlit run` puts only the script's own folder on the path

from ui import cards, gallery, header, live, panel, styles  # noqa: E402 - needs the path above
from ui.jobs import Desk, Job, Request, Snapshot, Status  # noqa: E402


@st.cache_resource(scope="session", on_release=lambda desk: desk.close(), show_spinner=False)
def desk() -> Desk:
    """Returns this session's desk; when the session's page goes away, its job is stopped."""
    return Desk()


def start(request: Request) -> None:
    """Starts a job; the button's callback, so that the page is drawn with the job under way."""
    my_desk().take(Job(header.client(), request))


def my_desk() -> Desk:
    """Returns this session's desk with the job that it had, and lets an interrupted job go on.

    The session's cache is emptied when the connection breaks, even for a moment; the session's state is not. So a
    job that was stopped by a passing failure of the network is found again, and continues from its last stretch.
    """
    mine = desk()
    job = st.session_state.get("job")
    if mine.job is None and job is not None:
        mine.job = job
    if mine.job is not None:
        now = mine.job.snapshot()
        if now.interrupted and now.status is Status.STOPPED:
            mine.job.start()
    return mine


def main() -> None:
    """Draws the whole page, from top to bottom."""
    st.set_page_config(page_title="Neural style transfer", page_icon=":material/brush:", layout="wide")
    job = my_desk().job
    now = job.snapshot() if job is not None else Snapshot()
    st.session_state["job"] = job
    header.note(now.problem)
    server = header.show()
    inputs, result = st.columns([6, 7], gap="large")
    with inputs:
        left, right = st.columns(2, gap="small")
        with left:
            content = cards.show()
            if content and content.settings:
                st.button(
                    "Use the settings of this picture",
                    key="reuse",
                    icon=":material/tune:",
                    width="stretch",
                    help="This picture says how it was made: turns every knob to where it was then.",
                    on_click=panel.reuse,
                    args=(content.settings,),
                )
        with right:
            paintings = styles.show()
        panel.presets()
        go = st.container()
        settings = panel.show(styles.weights(paintings))
        request = None
        if content and paintings and settings:
            request = Request(
                content.data,
                tuple(style.picture.data for style in paintings),
                settings,
                sha256={
                    "content": (content.digest,),
                    "styles": tuple(style.picture.digest for style in paintings),
                },
            )
        # Above the knobs, so that a first visit finds it without scrolling.
        go.button(
            "Start",
            key="start",
            type="primary",
            icon=":material/brush:",
            width="stretch",
            shortcut="Ctrl+Enter",
            disabled=now.active or request is None or not server.ready,
            on_click=start,
            args=(request,),
        )
    with result:
        live.show(job, now.active, start)
    gallery.note(job, now)
    gallery.show()


main()
