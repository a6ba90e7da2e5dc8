"""The page, started by `streamlit run ui/app.py`: two pictures, a few knobs, one button, and the result."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)  # `streamlit run` puts only the script's own folder on the path

from model.settings import StyleSettings  # noqa: E402 - needs the path above
from serving.files import sha256  # noqa: E402
from serving.request import MASKS, Request  # noqa: E402
from ui import cards, gallery, links, live, masks, panel, server, visits  # noqa: E402
from ui.variations import Variations  # noqa: E402
from ui.visits import Visit  # noqa: E402

DRAWN, LINK = "drawn_visit", "link_problems"  # keys of session_state


def main() -> None:
    """Draws the whole page, from top to bottom."""
    st.set_page_config(page_title="Neural style transfer", page_icon=":material/brush:", layout="wide")
    visit = visits.current()
    stage, active = visit.stage, visit.active
    server.note(visit.problem)
    server.show()
    if st.session_state.get(DRAWN) is not visit:
        st.session_state[DRAWN] = visit
        st.session_state[LINK] = links.follow(visit)
        cards.begin(visit)
    if st.session_state[LINK]:
        st.warning(
            f"Some settings in this link were ignored: {' '.join(st.session_state[LINK])}", icon=":material/link_off:"
        )
    inputs, result = st.columns([6, 7], gap="large")
    with inputs:
        left, right = st.columns(2, gap="small")
        with left:
            cards.show_content(visit)
        with right:
            cards.show_styles(visit)
    with result, st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        # Beside the cards, so that a new visitor sees Start without scrolling, however many samples there are.
        panel.show_presets()
        go = st.container(width="stretch")
    with inputs:
        request = _request(visit, panel.show(visit.blend))
        blocked = request is None or not server.is_ready()
        go.button(
            "Paint next" if active else "Start", key="start", type="primary", icon=":material/brush:", width="stretch",
            shortcut="Ctrl+Enter",
            disabled=blocked, on_click=visits.start, args=(request,),
        )  # fmt: skip
        masks.show(visit)
        st.button(
            "Try variations", key="vary", icon=":material/grid_view:", width="stretch", disabled=blocked,
            help="Paints nine small pictures: three style weights, each with three sizes of brush strokes.",
            on_click=visits.start, args=(request, Variations),
        )  # fmt: skip
    with result:
        live.show(visit, stage)
    gallery.show(visit)
    links.write(visit)
    visits.stay_with_tab()


def _request(visit: Visit, settings: StyleSettings | None) -> Request | None:
    """Returns the request that Start sends, or None while something is missing."""
    if not (visit.content and visit.styles and settings):
        return None
    pictures = {"content": (visit.content.data,), "styles": tuple(style.picture.data for style in visit.styles)}
    digests = {"content": (visit.content.digest,), "styles": tuple(style.picture.digest for style in visit.styles)}
    for name in MASKS:
        if of_kind := masks.of(visit, name.removesuffix("_masks")):
            pictures[name], digests[name] = of_kind, tuple(map(sha256, of_kind))
    return Request.from_pictures(pictures, settings, digests)


main()
