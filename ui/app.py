"""The page, started by `streamlit run ui/app.py`: two pictures, a few knobs, one button, and the result."""

import sys
from contextlib import suppress
from pathlib import Path

import streamlit as st

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)  # `streamlit run` puts only the script's own folder on the path

from serving.errors import InvalidInput  # noqa: E402 - needs the path above
from serving.files import sha256  # noqa: E402
from serving.request import MASKS, Request  # noqa: E402
from ui import cards, components, estimate, gallery, knobs, links, live, masks, panel, server, visits, windows  # noqa: E402
from ui.jobs import Job  # noqa: E402
from ui.variations import Variations  # noqa: E402
from ui.visits import Visit  # noqa: E402
from ui.wording import duration  # noqa: E402

DRAWN, LINK = "drawn_visit", "link_problems"  # keys of session_state
CARD_PX, START_PX = 150, 320  # width of a card at least, two fit side by side on a phone; and of Start


def main() -> None:
    """Draws the whole page, from top to bottom."""
    st.set_page_config(page_title="Neural style transfer", page_icon=":material/brush:", layout="wide")
    visit = visits.current()
    stage, active = visit.stage, visit.active
    # Always one block: below a message that comes or goes, the browser would make all anew, unfinished masks too.
    with (head := st.container()):
        server.show(visit.problem, active)
    panel.begin()
    if st.session_state.get(DRAWN) is not visit:
        st.session_state[DRAWN] = visit
        st.session_state[LINK] = links.follow(visit)
        cards.begin(visit)
    if ignored := " ".join(st.session_state[LINK]):
        head.warning(f"Some settings in this link were ignored: {ignored}", icon=":material/link_off:")
    windows.show()
    inputs, result = st.columns([6, 7], gap="large")
    with inputs:
        with st.grid(2, min_column_width=CARD_PX):
            cards.show_content(visit)
            cards.show_styles(visit)
        with st.container():  # as `head`
            panel.show()
        panel.show_advanced()
        masks.show(visit)
        try:
            request = _request(visit)
        except InvalidInput as error:
            request = None
            st.error(knobs.explain(error), icon=":material/tune:")
        blocked = request is None or not server.is_ready()
        st.button(
            "Try variations", key="vary", icon=":material/grid_view:", width="stretch", disabled=blocked or active,
            help="Paints nine small pictures: three style weights, each with three sizes of brush strokes.",
            on_click=_start, args=(Variations,),
        )  # fmt: skip
    # At the window's foot, so that a phone too shows it without scrolling.
    with st.bottom, st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center"):
        st.button(
            "Paint next" if active else "Start", key="start", type="primary", icon=":material/brush:", width=START_PX,
            shortcut="Ctrl+Enter", disabled=blocked, on_click=_start,
        )  # fmt: skip
        if request is not None and (seconds := estimate.PACE.seconds(request)) is not None:
            st.caption(f"Takes about {duration(seconds)} on this server", width="content")
    with result, st.container(gap=None):  # else what is below would stand lower than the cards
        components.element("reveal")(key="reveal", data={"started": id(visit.work) if visit.work else 0}, height=1)
        with st.container():
            live.show(visit, stage)
    gallery.show(visit, stage.results)  # those that `live` shows too, though a run may have ended meanwhile
    links.write(visit)
    visits.stay_with_tab()


def _start(kind: type[Job] | type[Variations] = Job) -> None:
    """Starts what the page shows at the moment of the click; a knob turned just before counts."""
    with suppress(InvalidInput):
        visits.start(_request(visits.current()), kind)


def _request(visit: Visit) -> Request:
    """Returns the request that Start sends.

    Raises:
      InvalidInput: a setting is not valid.
    """
    settings = panel.settings(cards.blend(visit))
    pictures = {"content": (visit.content.data,), "styles": tuple(style.picture.data for style in visit.styles)}
    digests = {"content": (visit.content.digest,), "styles": tuple(style.picture.digest for style in visit.styles)}
    for name in MASKS:
        if of_kind := masks.of(visit, name.removesuffix("_masks")):
            pictures[name], digests[name] = of_kind, tuple(map(sha256, of_kind))
    return Request.from_pictures(pictures, settings, digests)


main()
