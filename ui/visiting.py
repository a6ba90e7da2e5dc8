"""Which visit a page belongs to: the tab keeps its visit's key, and a page that is loaded anew finds it again."""

from __future__ import annotations

import streamlit as st

from ui import backend, components
from ui.line import Line
from ui.visits import Visit, Visits, new_key

KEY, OFFERED, TAB = "visit", "visit_offered", "visit_tab"
HERE_S = 60.0  # how often a page says that it is there, well within GRACE_S


@st.cache_resource(show_spinner=False)
def visits() -> Visits:
    """Returns the visits of all pages of this process."""
    return Visits()


@st.cache_resource(show_spinner=False)
def line() -> Line:
    """Returns the line that the runs of all pages of this process wait in."""
    return Line(backend.runs_at_once())


class _Page:
    """One page of a visit, for as long as its connection holds."""

    def __init__(self, visits: Visits, key: str) -> None:
        self._visits = visits
        self.visit = visits.enter(key)

    def close(self) -> None:
        self._visits.leave(self.visit.key)


@st.cache_resource(scope="session", on_release=_Page.close, show_spinner=False)
def _page(key: str) -> _Page:
    return _Page(visits(), key)


def current() -> Visit:
    """Returns the visit that this page belongs to."""
    return _page(st.session_state.setdefault(KEY, new_key())).visit


def show() -> Visit:
    """Asks the tab for the visit that it had, which is not seen, and returns this page's visit."""
    visit = current()
    # A page that idles asks for nothing when its connection is back, unless something on it runs by the clock.
    st.fragment(current, run_every=HERE_S)()
    tab = components.element("visit")
    tab(
        key=TAB,
        data={"key": visit.key, "offered": st.session_state.get(OFFERED, "")},
        height=1,
        on_kept_change=_come_back,
    )
    return visit


def _come_back() -> None:
    """Takes up the visit that the tab had, unless it has been forgotten meanwhile."""
    offered = str(st.session_state[TAB].get("kept") or "")
    st.session_state[OFFERED] = offered
    if offered in visits():
        st.session_state[KEY] = offered
