"""The right side of the page: an empty frame, then the picture in progress, then the result, and what comes next."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from model.contract import NOT_FINITE
from model.settings import format_value
from serving.errors import InvalidInput, StyleTransferError
from serving.request import Request
from serving.run_file import decode_run
from ui import chart, components, downloads, gallery, jobs, knobs, panel, server, uploads, visits, windows, wording
from ui.jobs import Job, Snapshot, Status
from ui.links import link_to
from ui.uploads import BadPicture, File
from ui.variations import COLUMNS, ROWS, Variations, describe
from ui.visits import Result, Stage, Visit

ALT = "The result"
BEAT_S = 1.0  # how often the browser asks for the state of a run; each time costs as much as drawing the frame
FIRST_BEAT_S = 0.25  # until the first preview
LARGEST_PNG = 4_000_000  # bytes, some 1300 pixels square; larger results are shown as JPEG
NARROWEST_PX = 100  # width of a variation; three fit side by side even on a phone
RUN_FILE_MB = 200  # a run of 1400 pixels square has 100

# Keys of session_state: what is wrong with files that were added here and with which work it is shown, and the format
# of downloads.
PROBLEM, FORMAT = "live_problem", "format"


def show(visit: Visit, drawn: Stage) -> None:
    """Draws a visit's work, again and again while there is any; `drawn` is the stage for which the page is drawn."""
    beat_s = FIRST_BEAT_S if drawn.starting else BEAT_S
    st.fragment(_draw, run_every=beat_s if drawn.active else None)(visit, drawn)


def _draw(visit: Visit, drawn: Stage) -> None:
    _keep_up(visit, drawn)
    work = drawn.work
    if visit.failed is not None and visit.failed.problem is not None:
        title = downloads.title(visit.failed.request, visit.names)
        st.error(f"{title}: {server.explain(visit.failed.problem)}")
    problem, shown_with = st.session_state.get(PROBLEM, ("", None))
    if problem and shown_with is work:
        st.error(problem, icon=":material/broken_image:")
    if work is None:
        _nothing_yet()
    elif isinstance(work, Variations):
        _variations(visit, work)
    elif work.active:
        now = work.snapshot()
        _progress(visit, now.fraction_done, wording.progress_line(now), now)
        st.image(now.preview or work.photograph, width="stretch", alt="The picture so far")
    else:
        _ended(visit, drawn, work)
    if isinstance(work, Job) and work.snapshot().step > 1:
        with st.expander("How the loss falls", icon=":material/show_chart:", key="curve", on_change="rerun") as place:
            if place.open:
                now = work.snapshot()
                chart.show(now.losses, now.step, now.steps)
    _keep_up(visit, drawn)  # it may have ended meanwhile


def _keep_up(visit: Visit, drawn: Stage) -> None:
    """Draws the whole page anew if Start, the timer, the results or the window have to change."""
    if visit.stage != drawn or windows.has_changed():
        st.rerun()


def _nothing_yet() -> None:
    with st.container(
        border=True, height=440, horizontal_alignment="center", vertical_alignment="center", key="nothing_yet"
    ):
        st.markdown("### :material/imagesmode:", width="content")
        st.markdown("**Your result appears here**", width="content")
        st.caption("Press Start and watch it being painted.", width="content")
        _resume(type="tertiary")


def _progress(visit: Visit, fraction_done: float, line: str, now: Snapshot | None) -> None:
    """Draws the progress with Stop, and what comes next. It is above the picture, so that a low window shows both."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.progress(min(max(fraction_done, 0.0), 1.0), text=line)
        st.button(
            "Stop", key="stop", icon=":material/stop_circle:", help="Ends this run and keeps the picture so far.",
            disabled=not visit.active, on_click=visit.stop,
        )  # fmt: skip
    if now is not None and now.problem is not None:
        st.warning(wording.interrupted(now), icon=":material/sync:")
    if not visit.lined_up:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.caption("Next:", width="content")
        for work in visit.lined_up:
            st.button(
                downloads.title(work.request, visit.names), key=f"remove_{id(work)}", icon=":material/close:",
                icon_position="right", type="tertiary", help="Removes this run from the line.",
                on_click=visit.remove, args=(work,),
            )  # fmt: skip
        if len(visit.lined_up) > 1:
            st.button("Remove all", key="remove_all", type="tertiary", on_click=visit.remove, args=visit.lined_up)


def _variations(visit: Visit, work: Variations) -> None:
    active = work.active  # asked once: they may end while they are drawn
    if active:
        painted = sum(bool(job.snapshot().image) for job in work.jobs)
        line = f"{painted} of {len(work.jobs)} variations painted" if work.running else wording.STOPPING
        waiting = next((now for job in work.jobs if (now := job.snapshot()).active and now.problem), None)
        _progress(visit, work.fraction_done, line, waiting)
    else:
        st.subheader("Variations", anchor=False)
        st.caption(f"Press the one you like: it is painted anew at {work.request.settings.size} pixels.")
        if work.problem is not None:
            st.error(server.explain(work.problem), icon=":material/error:")
    with st.grid(len(work.rows[0]), min_column_width=NARROWEST_PX, gap="small"):
        for row, of_row in enumerate(work.rows):
            for column, job in enumerate(of_row):
                _cell(work, job, describe(row, column))


def _cell(work: Variations, job: Job, words: str) -> None:
    now, settings, request = job.snapshot(), job.request.settings, work.request
    with st.container(gap="xsmall"):
        st.image(now.picture or work.jobs[0].photograph, width="stretch", alt=f"A variation: {words}")
        st.button(
            words, key=f"large_{job.number}", icon=":material/zoom_out_map:", width="stretch", disabled=not now.image,
            help=f"Makes it large: paints it anew at {request.settings.size} pixels, and sets the knobs accordingly.",
            on_click=_make_large, args=(request, {name: getattr(settings, name) for name in (ROWS, COLUMNS)}),
        )  # fmt: skip


def _make_large(request: Request, chosen: dict[str, float]) -> None:
    panel.turn(**chosen)
    visits.start(replace(request, settings=request.settings.replace(**chosen)))


def _ended(visit: Visit, drawn: Stage, job: Job) -> None:
    now, result, kind = job.snapshot(), visit.result_of(job), st.session_state.get(FORMAT) or "PNG"
    if now.status is Status.DONE and result is None:  # deleted
        _nothing_yet()
        return
    if now.problem is not None:
        st.error(server.explain(now.problem), icon=":material/error:")
    if now.stopped == NOT_FINITE:
        st.warning(wording.NOT_FINITE, icon=":material/warning:")
    elif now.stopped:
        st.info(wording.CONVERGED, icon=":material/check_circle:")
    if now.status is Status.STOPPED and now.painted_s >= jobs.MOST_S:
        st.info(wording.out_of_time(jobs.MOST_S, now.can_continue), icon=":material/timer:")
    if now.status is Status.STOPPED and not now.step:
        st.info("Stopped before the first step: there is no picture yet.", icon=":material/info:")
    # Where Stop was, so that a low window shows both them and the picture.
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if result is not None:
            share = float(st.session_state.get(f"mix_{result.number}", 0)) / 100  # as the slider below says
            suffix, mime = downloads.FORMATS[kind]
            st.download_button(
                "Download", partial(downloads.encode, result, kind, share), mime=mime, key="download", type="primary",
                file_name=downloads.stem(result.request, visit.names) + suffix, icon=":material/download:",
                help="The file also holds the settings: upload it as your photo to use them again.", on_click="ignore",
            )  # fmt: skip
        if now.can_continue:
            st.button(
                "Continue", key="continue", icon=":material/resume:", disabled=not server.is_ready(),
                on_click=job.start,
            )  # fmt: skip
        elif result is not None:
            gallery.make_large(result, "larger")
        st.fragment(_more)(visit, drawn, job, result, kind)
    if result is not None:
        _picture(result, share)
        st.caption(wording.summary(now))


def _picture(result: Result, content_share: float) -> None:
    """Draws a result, without loss unless it is very large, the comparison in a second tab, and a slider for both."""
    picture = downloads.mixed(result, content_share)
    shown, compared = st.tabs(["Result", "Before and after"])
    with shown:
        st.image(picture, width="stretch", alt=ALT, output_format="PNG" if len(picture) <= LARGEST_PNG else "auto")
    with compared:
        components.compare(result.request.content, picture, key=f"compare_{result.number}")
    st.slider(
        "Mix in the photo", 0, 100, step=5, format="%d%%", key=f"mix_{result.number}",
        help="Softens the effect without painting again. You download what you see.",
    )  # fmt: skip


def _more(visit: Visit, drawn: Stage, job: Job, result: Result | None, kind: str) -> None:
    """Draws what few visitors need. The rest stays as it is: a click on a download that is drawn anew can be lost."""
    _keep_up(visit, drawn)
    if st.session_state.get(FORMAT, kind) != kind:
        st.rerun()  # Download has another name
    now = job.snapshot()
    with st.popover("More", key=windows.MORE, icon=":material/more_horiz:", on_change="rerun") as more:
        if not more.open:
            return
        if result is not None:
            st.segmented_control(
                "Download as", list(downloads.FORMATS), default="PNG", required=True, key=FORMAT, width="stretch",
                persist_state="session",
            )  # fmt: skip
            gallery.film(visit, result, "film")
        if now.status is Status.DONE and result is not None:
            st.button(
                "Refine", key="refine", icon=":material/auto_fix_high:", width="stretch",
                help=f"Improves this result with {jobs.REFINE_STEPS} more steps at the same size.",
                disabled=not server.is_ready(), on_click=visits.start, args=(jobs.refined(job.request, result.png),),
            )  # fmt: skip
        if not job.request.initial:
            windows.button(
                "More photos in this style", partial(_ask_for_photos, job.request),
                key="photos", icon=":material/photo_library:", width="stretch",
            )  # fmt: skip
        link = partial(_show_link, job.request)
        windows.button("Copy link", link, key="link", icon=":material/link:", width="stretch")
        if now.can_continue and now.state and now.model:
            st.download_button(
                "Save the run", partial(downloads.run_file, job), mime="application/zip", key="save_run",
                file_name=f"{downloads.stem(job.request, visit.names)}.run", icon=":material/save:", width="stretch",
                help="A file from which this page, or the command line, can continue later.", on_click="ignore",
            )  # fmt: skip
        _resume(width="stretch")


def _resume(**look: Any) -> None:
    """Draws the button that continues a saved run; `look` is as for `st.button`."""
    windows.button("Continue a saved run", _ask_for_run, key="resume", icon=":material/upload_file:", **look)


def _show_link(request: Request) -> None:
    link, complete = link_to(request)
    st.code(link, language=None, wrap_lines=True)
    if not complete:
        st.caption("Your own pictures and masks stay here: whoever opens the link chooses others.")


def _ask_for_photos(request: Request) -> None:
    st.caption("Each is painted with these settings, one after another.")
    uploads.show_uploader("photos", partial(_paint_each, request), several=True)


def _ask_for_run() -> None:
    st.caption("Choose the file that you saved from this page or from the command line.")
    uploads.show_uploader("run", _continue_saved, type="run", max_upload_size=RUN_FILE_MB)


def _paint_each(request: Request, files: Sequence[File]) -> None:
    """Paints photographs like the one of a request; those that cannot be used are named."""
    photographs, problems = [], []
    for file in files:
        try:
            photographs.append(uploads.load(file.data, "content", f"Your photo, {file.name}", name=file.name))
        except BadPicture as error:
            problems.append(f"{wording.plain(file.name)}: {error}")
    windows.close()
    visits.start_each(request, photographs)
    st.session_state[PROBLEM] = "  \n".join(problems), visits.current().work


def _continue_saved(files: Sequence[File]) -> None:
    windows.close()
    st.session_state[PROBLEM] = _continued(files[-1]), visits.current().work


def _continued(file: File) -> str:
    """Continues a saved run, or returns a sentence that says why not."""
    try:
        run = decode_run(file.data, file.name)
        run.request.prepared()
    except InvalidInput:
        return wording.NO_RUN
    try:
        for name in knobs.LIMITED:
            knobs.SETTINGS[name].parse(format_value(getattr(run.request.settings, name)))
        return "" if visits.resume(run) else wording.OTHER_MODEL
    except InvalidInput as error:
        return knobs.explain(error)
    except StyleTransferError as error:
        return server.explain(error)
