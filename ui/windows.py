"""The window over the page. It stays open when the page is drawn anew meanwhile, as when a run ends."""

from collections.abc import Callable
from typing import Any

import streamlit as st

# Keys of session_state: the window to show, the one that the page shows, whether More is open.
OPEN, DRAWN, MORE = "window", "window_drawn", "more"


def button(label: str, draw: Callable[[], None], *, key: str, icon: str, **look: Any) -> None:
    """Draws a button that opens a window of the same name, in which `draw` draws; `look` is as for `st.button`."""
    st.button(label, key=key, icon=icon, on_click=_open, args=(label, icon, draw), **look)


def _open(*window: Any) -> None:
    st.session_state[OPEN] = window
    st.session_state[MORE] = False  # it would cover the window


def close() -> None:
    """Closes the window."""
    st.session_state[OPEN] = None


def show() -> None:
    """Draws the window that is open, if there is one."""
    opened = st.session_state[DRAWN] = st.session_state.get(OPEN)
    if not opened:
        return
    title, icon, draw = opened

    @st.dialog(title, icon=icon, width="medium", on_dismiss=close)
    def window() -> None:
        if has_changed():
            st.rerun()
        draw()

    window()


def has_changed() -> bool:
    """Tells whether a window has been opened or closed since the whole page was drawn."""
    return st.session_state.get(OPEN) is not st.session_state[DRAWN]
