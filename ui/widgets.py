"""Widgets whose values the page sets too, as choosing a size sets the steps.

A browser sends the values of all widgets with every message, and a page that shows a run sends one each second. Sent
before the browser heard of a new value, it would bring the old one back. So a widget whose value the page sets is
replaced by one with another key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import streamlit as st

REPLACED = "widgets_replaced"  # key of session_state: how often each widget was


def key(name: str) -> str:
    """Returns the key of the widget that is shown at the moment."""
    times = st.session_state[REPLACED][name] if REPLACED in st.session_state else 0
    return f"{name}_{times}" if times else name


def value(name: str, default: Any = None) -> Any:
    """Returns what a widget holds."""
    return st.session_state.get(key(name), default)


def put(name: str, new: Any) -> None:
    """Sets the value of a widget; one that has it already stays, and with it the keyboard's focus."""
    if key(name) in st.session_state:
        if value(name) == new:
            return
        st.session_state.setdefault(REPLACED, Counter())[name] += 1
    st.session_state[key(name)] = new


def keyed(name: str, on_change: Callable[[], None]) -> dict[str, Any]:
    """Returns the arguments `key` and `on_change` of a widget; what a replaced widget still sends is ignored."""
    shown = key(name)
    return {"key": shown, "on_change": lambda: on_change() if key(name) == shown else None}
