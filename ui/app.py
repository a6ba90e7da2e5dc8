"""The page: `streamlit run ui/app.py`. One screen: two pictures, a few knobs, one button, and the result."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)  # `streamlit run` puts only the script's own folder on the path

from model.settings import StyleSettings  # noqa: E402 - needs the path above
from serving.files import sha256  # noqa: E402
from serving.request import Request  # noqa: E402
from ui import cards, gallery, header, live, masks, panel, styles, variations, visiting  # noqa: E402
from ui.jobs import Job, Snapshot  # noqa: E402
from ui.sweep import Sweep  # noqa: E402
from ui.visits import Visit  # noqa: E402


def start(request: Request) -> None:
    """Starts a job; the callback of the buttons that do, so that the page is drawn with the job under way."""
    visit = visiting.current()
    visit.take(Job(header.client(), request, visiting.line(), visit.unattended))


def vary(request: Request) -> None:
    """Starts a sweep."""
    visit = visiting.current()
    visit.vary(Sweep(header.client(), request, visiting.line(), visit.unattended))


def main() -> None:
    """Draws the whole page, from top to bottom."""
    st.set_page_config(page_title="Neural style transfer", page_icon=":material/brush:", layout="wide")
    visit = visiting.current()
    active = visit.active
    now = visit.job.snapshot() if visit.job is not None else Snapshot()
    header.note(visit.problem)
    server = header.show()
    panel.follow(visit)
    inputs, result = st.columns([6, 7], gap="large")
    with inputs:
        left, right = st.columns(2, gap="small")
        with left:
            cards.show(visit)
            if visit.content and visit.content.settings:
                st.button(
                    "Use the settings of this picture",
                    key="reuse",
                    icon=":material/tune:",
                    width="stretch",
                    help="This picture says how it was made: turns every knob to where it was then.",
                    on_click=panel.reuse,
                    args=(visit, visit.content.settings),
                )
        with right:
            styles.show(visit)
        styles.note(visit)
    with result, st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        # Beside the cards, so that a first visit finds the button without scrolling, however many samples there are.
        panel.presets()
        go = st.container(width="stretch")
    with inputs:
        request = _request(visit, panel.show(visit.blend))
        blocked = active or request is None or not server.ready
        go.button(
            "Start",
            key="start",
            type="primary",
            icon=":material/brush:",
            width="stretch",
            shortcut="Ctrl+Enter",
            disabled=blocked,
            on_click=start,
            args=(request,),
        )
        masks.show(visit)
        st.button(
            "Try variations",
            key="vary",
            icon=":material/grid_view:",
            width="stretch",
            disabled=blocked,
            help="Paints nine small pictures: three style weights by three sizes of the strokes.",
            on_click=vary,
            args=(request,),
        )
    with result:
        if visit.sweep is not None:
            variations.show(visit.sweep, active)
        else:
            live.show(visit.job, active, start)
    gallery.note(visit, now)
    gallery.show(visit)
    panel.address(visit)
    visiting.show()


def _request(visit: Visit, settings: StyleSettings | None) -> Request | None:
    """Returns what Start asks for, or None as long as something is missing."""
    if not (visit.content and visit.styles and settings):
        return None
    guides = {f"{kind}_masks": of_kind for kind in ("content", "style") if (of_kind := masks.of(visit, kind))}
    return Request(
        visit.content.data,
        tuple(style.picture.data for style in visit.styles),
        settings,
        content_masks=guides.get("content_masks", ()),
        style_masks=guides.get("style_masks", ()),
        sha256={
            "content": (visit.content.digest,),
            "styles": tuple(style.picture.digest for style in visit.styles),
            **{name: tuple(map(sha256, pictures)) for name, pictures in guides.items()},
        },
    )


main()
