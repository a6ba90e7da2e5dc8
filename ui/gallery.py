"""The foot of the page: the visitor's results, with buttons to compare, enlarge, reuse, download and delete them."""

from functools import partial
from typing import Any

import streamlit as st

from ui import cards, components, downloads, jobs, server, visits, windows, wording
from ui.film import as_webp
from ui.visits import GRACE_S, Result, Visit

NARROWEST_PX = 150  # width of a result on the page


def show(visit: Visit, results: tuple[Result, ...]) -> None:
    """Draws the results of a visit, if there are any."""
    if not results:
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        with st.container(width="content", gap="xsmall"):
            st.subheader("Your results", anchor=False)
            st.caption(f"They are deleted {wording.duration(GRACE_S)} after you leave: download those that you like.")
        st.download_button(
            "Download all", partial(downloads.as_zip, results, visit.names), file_name="pictures.zip",
            mime="application/zip", key="download_all", icon=":material/folder_zip:", on_click="ignore",
        )  # fmt: skip
    with st.grid(6, min_column_width=NARROWEST_PX):
        for one in results:
            _show_one(visit, one)


def _show_one(visit: Visit, one: Result) -> None:
    early = f", step {one.origin.step} of {one.origin.steps}" if one.origin.step < one.origin.steps else ""
    words = downloads.title(one.request, visit.names) + early
    with st.container(border=True, gap="xsmall"):
        st.image(one.thumbnail, width="stretch", alt=f"One of your results: {words}")
        st.caption(words)
        compare = partial(components.compare, one.request.content, one.png, f"compared_{one.number}")
        windows.button("Compare", compare, key=f"look_{one.number}", icon=":material/compare:", width="stretch")
        with st.popover("More", key=f"more_{one.number}", icon=":material/more_horiz:", width="stretch"):
            make_large(one, f"larger_{one.number}")
            st.button(
                "Use these settings", key=f"reuse_{one.number}", icon=":material/tune:", width="stretch",
                on_click=cards.reuse, args=(visit, one.origin.settings),
            )  # fmt: skip
            st.download_button(
                "Download", partial(downloads.encode, one, "PNG"),
                file_name=f"{downloads.stem(one.request, visit.names)}.png", mime="image/png",
                key=f"download_{one.number}", icon=":material/download:", width="stretch", on_click="ignore",
            )  # fmt: skip
            film(visit, one, f"film_{one.number}")
            st.button(
                "Delete", key=f"delete_{one.number}", icon=":material/delete:", width="stretch",
                on_click=visit.delete_result, args=(one.number,),
            )  # fmt: skip


def make_large(one: Result, key: str, **look: Any) -> None:
    """Draws the button that enlarges a result, unless it is as large as can be; `look` is as for `st.button`."""
    if larger := jobs.enlarged(one.request, one.png):
        st.button(
            "Make it large", key=key, icon=":material/zoom_out_map:", disabled=not server.is_ready(), **look,
            help=f"Paints this picture again at {larger.settings.size} pixels, with finer strokes.",
            on_click=visits.start, args=(larger,),
        )  # fmt: skip


def film(visit: Visit, one: Result, key: str) -> None:
    """Draws the button that downloads the film of a result, unless there are too few frames."""
    if len(one.film) > 1:
        st.download_button(
            "Download the film", partial(as_webp, one.film, one.png), mime="image/webp",
            file_name=f"{downloads.stem(one.request, visit.names)}.webp", key=key, icon=":material/movie:",
            width="stretch", on_click="ignore", help="How the picture was painted, as an animated picture (WebP).",
        )  # fmt: skip
