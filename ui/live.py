"""The result's side of the page: nothing yet, a picture that improves, or the picture to take home."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import streamlit as st

from model.contract import NOT_FINITE
from serving.errors import ServingUnavailable
from serving.request import Request
from ui import backend, chart, compare, header, history, jobs, wording
from ui.jobs import Job, Snapshot, Status

ALT = "The stylised picture"
BEAT_S = 1.0  # how often the browser asks how far the job is; each time costs it as much as a drawing of the page
LARGEST_PNG = 4_000_000  # bytes of a result that is shown as it is, some 1300 pixels square
FORMAT, SWITCH = "format", "format_switch"  # the choice, and the widget that is gone while a job runs


def show(job: Job | None, active: bool, start: Callable[[Request], None]) -> None:
    """Draws a job, and draws it anew while it runs.

    Args:
      job: what is at work or has ended, if anything.
      active: whether the rest of the page was drawn as of a run.
      start: starts what follows on a result.
    """
    st.fragment(_draw, run_every=BEAT_S if active else None)(job, active, start)


def _draw(job: Job | None, active: bool, start: Callable[[Request], None]) -> None:
    if job is None:
        _nothing_yet()
        return
    now = job.snapshot()
    if now.active != active or header.is_news(now.problem):
        st.rerun()  # the whole page: Start is freed or blocked, the timer stops or starts, the header tells
    if now.active:
        _running(job, now)
    else:
        _ended(job, now, start)


def _nothing_yet() -> None:
    with st.container(
        border=True, height=440, horizontal_alignment="center", vertical_alignment="center", key="nothing_yet"
    ):
        st.markdown("### :material/imagesmode:", width="content")
        st.markdown("**Your picture appears here**", width="content")
        st.caption("Press Start, and watch it being painted.", width="content")


def _running(job: Job, now: Snapshot) -> None:
    # Above the picture, so that a window that is not high shows both.
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.progress(min(max(now.fraction_done, 0.0), 1.0), text=wording.progress_line(now))
        st.button(
            "Stop",
            key="stop",
            icon=":material/stop_circle:",
            help="Ends the run and keeps the picture as it stands.",
            disabled=now.status is Status.STOPPING,
            on_click=job.stop,
        )
    if now.problem is not None:
        st.warning(wording.interrupted(now), icon=":material/sync:")
    # Before the first chunk the content stands in: the picture grows out of it.
    st.image(now.preview or job.request.content, width="stretch", alt="The picture so far")
    _curve(now)


def _ended(job: Job, now: Snapshot, start: Callable[[Request], None]) -> None:
    if now.problem is not None:
        st.error(_why(now), icon=":material/error:")
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
        if now.status in (Status.STOPPED, Status.FAILED):
            st.button(
                "Continue", key="continue", icon=":material/resume:", disabled=not header.ready(), on_click=job.start
            )
        if now.status is Status.DONE:
            _onward(job.request, now.image, start)
        if now.step:
            st.caption(wording.summary(now))
    _curve(now)


def _picture(job: Job, now: Snapshot) -> None:
    """Draws the picture, and beside it, where it can be had, the frame that compares it with the photograph."""
    pair = _pair(job, now)
    if pair is None:
        _result(now)
        return
    result, compared = st.tabs(["Result", "Before and after"])
    with result:
        _result(now)
    with compared:
        compare.show(pair, key=f"compare_{job.number}")


def _result(now: Snapshot) -> None:
    """Draws the picture with every pixel as it is; only a very large one as JPEG, to spare the network."""
    exact = now.image and len(now.image) <= LARGEST_PNG
    st.image(now.picture, width="stretch", alt=ALT, output_format="PNG" if exact else "auto")


def _pair(job: Job, now: Snapshot) -> dict[str, str] | None:
    """Returns what the frame shows; made once for a picture, and kept in this session only."""
    which = (job.number, now.step)
    kept = st.session_state.get("pair")
    if kept is None or kept[0] != which:
        kept = st.session_state["pair"] = (which, compare.pair(job.request.content, now.picture))
    return kept[1]


def _download(job: Job, now: Snapshot) -> None:
    name = st.segmented_control(
        "Format", list(history.FORMATS), default=st.session_state.get(FORMAT, "PNG"), required=True, key=SWITCH,
        on_change=_remember_format, label_visibility="collapsed",
    )  # fmt: skip
    suffix, mime = history.FORMATS[name]
    st.download_button(
        f"Download {name}",
        partial(history.encode, now.picture, name, now.origin(job.request)),
        file_name=f"stylised{suffix}",
        mime=mime,
        key="download",
        icon=":material/download:",
        type="primary",
        help="The settings are inside the file: bring it back as the content to use them again.",
        on_click="ignore",
    )


def _onward(request: Request, result: bytes, start: Callable[[Request], None]) -> None:
    """Draws what can follow on a result."""
    st.button(
        "Refine", key="refine", icon=":material/auto_fix_high:", disabled=not header.ready(),
        help=f"Goes on from this picture with {jobs.REFINE_STEPS} more steps at its full size.",
        on_click=start, args=(jobs.refined(request, result),),
    )  # fmt: skip
    larger = jobs.enlarged(request, result)
    if larger is not None:
        st.button(
            "Larger", key="larger", icon=":material/zoom_out_map:", disabled=not header.ready(),
            help=f"Goes on from this picture at {larger.settings.size} pixels. Takes longer: each step has four times "
            "as much to do.",
            on_click=start, args=(larger,),
        )  # fmt: skip


def _remember_format() -> None:
    st.session_state[FORMAT] = st.session_state[SWITCH]


def _why(now: Snapshot) -> str:
    """Says why a run failed; that the server is away stands at the top of the page already."""
    if isinstance(now.problem, ServingUnavailable):
        return wording.cut_off(now)
    return backend.sentence(now.problem, backend.address()) if now.problem else ""


def _curve(now: Snapshot) -> None:
    if len(now.losses) > 1:
        st.vega_lite_chart(
            chart.loss_table(now.losses),
            chart.loss_chart(now.steps),
            alt="Loss of each term over the steps, on a logarithmic axis",
            key="losses",
        )
