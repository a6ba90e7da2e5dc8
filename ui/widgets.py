"""Widgets whose values the page sets too, as choosing a size sets the steps.

A browser sends the values of all widgets with every message, and a page that shows a run sends one each second. Sent
before the browser heard of a new value, it would bring the old one back; and the new value is lost with its message if
the page is drawn anew at once. So a widget whose value the page sets is replaced by one with another key, which begins
with that value however often it is drawn.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st

SET = "widgets_set"  # of session_state: by name, how often a widget was replaced, and what the present one began with


def key(name: str) -> str:
    """Returns the key of the widget that is shown at the moment."""
    times, _ = st.session_state.get(SET, {}).get(name, (0, None))
    return f"{name}_{times}" if times else name


def first(name: str, default: Any = None) -> Any:
    """Returns the value that the widget begins with."""
    _, value = st.session_state.get(SET, {}).get(name, (0, default))
    return value


def value(name: str, default: Any = None) -> Any:
    """Returns what the widget holds."""
    return st.session_state.get(key(name), first(name, default))


def put(name: str, new: Any) -> None:
    """Sets the value of a widget; one that has it already stays, and with it the keyboard's focus."""
    is_drawn = key(name) in st.session_state
    if not (is_drawn and value(name) == new):
        times, _ = st.session_state.setdefault(SET, {}).get(name, (0, None))
        st.session_state[SET][name] = times + is_drawn, new


def keyed(name: str, on_change: Callable[[], None]) -> dict[str, Any]:
    """Returns the arguments `key` and `on_change` of a widget; what a replaced widget still sends is ignored."""
    shown = key(name)
    return {"key": shown, "on_change": lambda: on_change() if key(name) == shown else None}
