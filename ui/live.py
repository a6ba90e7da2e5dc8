"""The right side of the page: an empty frame, then the picture in progress, then the result."""

from __future__ import annotations

from functools import partial

import streamlit as st

from model.contract import NOT_FINITE
from serving.errors import ServingUnavailable
from serving.request import Request
from ui import chart, components, gallery, jobs, server, visits, wording
from ui.jobs import Job, Snapshot, Status

ALT = "The result"
BEAT_S = 1.0  # how often the browser asks for the state of a run; each time costs as much as drawing the page
LARGEST_PNG = 4_000_000  # bytes, some 1300 pixels square; larger results are shown as JPEG


def show(job: Job | None, active: bool) -> None:
    """Draws a job, every second while it runs; `active` says whether it ran when the page was drawn."""
    st.fragment(_draw, run_every=BEAT_S if active else None)(job, active)


def _draw(job: Job | None, active: bool) -> None:
    if job is None:
        _nothing_yet()
        return
    now = job.snapshot()
    if now.active != active:
        st.rerun()  # the whole page, because Start and the timer have to change
    if now.active:
        _running(job, now)
    else:
        _ended(job, now)
    chart.show(now.losses, now.steps)


def _nothing_yet() -> None:
    with st.container(
        border=True, height=440, horizontal_alignment="center", vertical_alignment="center", key="nothing_yet"
    ):
        st.markdown("### :material/imagesmode:", width="content")
        st.markdown("**Your result appears here**", width="content")
        st.caption("Press Start and watch it being painted.", width="content")


def _running(job: Job, now: Snapshot) -> None:
    # Above the picture, so that a low window shows both.
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.progress(min(max(now.fraction_done, 0.0), 1.0), text=wording.progress_line(now))
        st.button(
            "Stop", key="stop", icon=":material/stop_circle:", help="Ends the run and keeps the picture so far.",
            disabled=now.status is Status.STOPPING, on_click=job.stop,
        )  # fmt: skip
    if now.problem is not None:
        st.warning(wording.interrupted(now), icon=":material/sync:")
    # Until the first preview comes, show the photograph.
    st.image(now.preview or job.request.content, width="stretch", alt="The picture so far")


def _ended(job: Job, now: Snapshot) -> None:
    if isinstance(now.problem, ServingUnavailable):  # the header says what to do
        st.error(wording.cut_off(now), icon=":material/error:")
    elif now.problem is not None:
        st.error(server.explain(now.problem), icon=":material/error:")
    if now.stopped == NOT_FINITE:
        st.warning(wording.NOT_FINITE, icon=":material/warning:")
    elif now.stopped:
        st.info(wording.CONVERGED, icon=":material/check_circle:")
    if now.step:
        _picture(job, now)
    elif now.status is Status.STOPPED:
        st.info("Stopped before the first step: there is no picture yet.", icon=":material/info:")
    with st.container(horizontal=True, vertical_alignment="center"):
        if now.step:
            _download(job, now)
        if now.status is Status.DONE:
            _onward(job.request, now.image)
        else:
            st.button(
                "Continue", key="continue", icon=":material/resume:", disabled=not server.is_ready(),
                on_click=job.start,
            )  # fmt: skip
        if now.step:
            st.caption(wording.summary(now))


def _picture(job: Job, now: Snapshot) -> None:
    """Draws the result, without loss unless it is very large, and the comparison in a second tab."""
    result, compared = st.tabs(["Result", "Before and after"])
    with result:
        exact = now.image and len(now.image) <= LARGEST_PNG
        st.image(now.picture, width="stretch", alt=ALT, output_format="PNG" if exact else "auto")
    with compared:
        components.compare(job.request.content, now.picture, key=f"compare_{job.number}")


def _download(job: Job, now: Snapshot) -> None:
    name = st.segmented_control(
        "Format", list(gallery.FORMATS), default="PNG", required=True, key="format", persist_state="session",
        label_visibility="collapsed",
    )  # fmt: skip
    suffix, mime = gallery.FORMATS[name]
    st.download_button(
        f"Download {name}", partial(gallery.encode, now.picture, name, now.origin(job.request)),
        file_name=f"stylised{suffix}", mime=mime, key="download", icon=":material/download:", type="primary",
        help="The file also holds the settings: upload it as your photograph to use them again.", on_click="ignore",
    )  # fmt: skip


def _onward(request: Request, result: bytes) -> None:
    """Draws the buttons that continue from a result."""
    st.button(
        "Refine", key="refine", icon=":material/auto_fix_high:", disabled=not server.is_ready(),
        help=f"Improves this result with {jobs.REFINE_STEPS} more steps at the same size.",
        on_click=visits.start, args=(jobs.refined(request, result),),
    )  # fmt: skip
    larger = jobs.enlarged(request, result)
    if larger is not None:
        st.button(
            "Larger", key="larger", icon=":material/zoom_out_map:", disabled=not server.is_ready(),
            help=f"Paints this result again at {larger.settings.size} pixels. Each step takes up to four times as "
            "long.",
            on_click=visits.start, args=(larger,),
        )  # fmt: skip
