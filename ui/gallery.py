"""The foot of the page: the visitor's results, with buttons to compare, reuse, download and delete them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from functools import partial

import streamlit as st

from serving import results
from serving.results import Origin
from ui import cards, components, knobs, uploads, wording
from ui.visits import GRACE_S, MOST_RESULTS, Result, Visit

NARROWEST_PX = 150  # width of a result on the page

FORMATS = {"PNG": (".png", "image/png"), "JPEG": (".jpg", "image/jpeg"), "WebP": (".webp", "image/webp")}
"""The download formats by their names on the page, each with its suffix and MIME type."""


def encode(picture: bytes, name: str, origin: Origin) -> bytes:
    """Returns a picture as a file in one of FORMATS, with its origin embedded."""
    return results.encode_result(uploads.to_png(picture), FORMATS[name][0], origin)


def as_zip(kept: Sequence[Result]) -> bytes:
    """Returns results as PNG files in a zip, oldest first."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for place, one in enumerate(reversed(kept), start=1):
            archive.writestr(f"stylised-{place:02}.png", encode(one.png, "PNG", one.origin))
    return out.getvalue()


def show(visit: Visit) -> None:
    """Draws the results, if there are any."""
    if not visit.results:
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        with st.container(width="content", gap="xsmall"):
            st.subheader("Your results", anchor=False)
            st.caption(
                f"The page keeps your last {MOST_RESULTS} results, and deletes them {wording.duration(GRACE_S)} after "
                "you leave."
            )
        st.download_button(
            "Download all", partial(as_zip, visit.results), file_name="stylised.zip", mime="application/zip",
            key="download_all", icon=":material/folder_zip:", on_click="ignore",
        )  # fmt: skip
    with st.grid(6, min_column_width=NARROWEST_PX):
        for one in visit.results:
            _show_one(visit, one)


def _show_one(visit: Visit, one: Result) -> None:
    words = describe(one)
    with st.container(border=True, gap="xsmall"):
        st.image(one.thumbnail, width="stretch", alt=f"One of your results: {words}")
        st.caption(words)
        if st.button("Compare", key=f"look_{one.number}", icon=":material/compare:", width="stretch"):
            _compare(one)
        with st.popover("More", key=f"more_{one.number}", icon=":material/more_horiz:", width="stretch"):
            st.button(
                "Use these settings", key=f"reuse_{one.number}", icon=":material/tune:", width="stretch",
                on_click=cards.reuse, args=(visit, one.origin.settings),
            )  # fmt: skip
            st.download_button(
                "Download as PNG", partial(encode, one.png, "PNG", one.origin),
                file_name=f"stylised-{one.number}.png", mime="image/png", key=f"download_{one.number}",
                icon=":material/download:", width="stretch", on_click="ignore",
            )  # fmt: skip
            st.button(
                "Delete", key=f"delete_{one.number}", icon=":material/delete:", width="stretch",
                on_click=visit.delete_result, args=(one.number,),
            )  # fmt: skip


def _compare(one: Result) -> None:
    @st.dialog("Before and after", width="medium", icon=":material/compare:")
    def window() -> None:
        components.compare(one.content, one.png, key=f"compared_{one.number}")
        st.caption(describe(one))

    window()


def describe(one: Result) -> str:
    """Describes in one line how a result was made."""
    settings = one.origin.settings
    preset = knobs.preset_label(settings.preset).partition(":")[0]
    onward = ", from another result" if "initial" in one.origin.guides_sha256 else ""
    return f"{preset}, {settings.size} px, {one.origin.step} of {one.origin.steps} steps{onward}"
