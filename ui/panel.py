"""The knobs: a preset switch, those that are always in sight, and all others under Advanced."""

from __future__ import annotations

from typing import Any

import streamlit as st

from model.errors import InvalidInput
from model.presets import PRESETS
from model.settings import PRESET, SETTINGS, StyleSettings
from ui import knobs
from ui.knobs import Knob

NARROWEST_PX = 130  # of a widget; on a phone two stand side by side


def presets() -> None:
    """Draws the preset switch. Comes before `show`, which draws the knobs that it turns."""
    if "preset" not in st.session_state:
        st.session_state["preset"] = PRESET.default
        _use_preset()
    st.segmented_control(
        PRESET.label, list(PRESETS), format_func=str.capitalize, key="preset", help=PRESET.help,
        on_change=_use_preset, width="stretch",
    )  # fmt: skip


def show() -> StyleSettings | None:
    """Draws the knobs and returns the settings, or None where they do not make any."""
    for row in (knobs.VISIBLE[:2], knobs.VISIBLE[2:]):
        with st.grid(len(row), min_column_width=NARROWEST_PX):
            for name in row:
                _widget(Knob.of(name))
    with st.expander("Advanced", icon=":material/tune:"):
        grid = st.grid(2, min_column_width=NARROWEST_PX, dense=True)
        for name in knobs.ADVANCED:
            knob = Knob.of(name)
            with grid.cell(column_span="all" if knob.setting.kind == "layers" else 1):
                _widget(knob)
    try:
        return knobs.to_settings(_shown())
    except InvalidInput as error:
        st.error(knobs.explain(error), icon=":material/tune:")
        return None


def _key(name: str) -> str:
    return f"knob_{name}"


def _shown() -> dict[str, Any]:
    return {name: st.session_state[_key(name)] for name in SETTINGS}


def _use_preset() -> None:
    """Puts every knob where the preset has it; a preset that is switched off leaves them."""
    if st.session_state["preset"] is not None:
        for name, value in knobs.preset_values(st.session_state["preset"]).items():
            st.session_state[_key(name)] = value


def _note_preset() -> None:
    """Shows the preset that the knobs stand at, if any."""
    st.session_state["preset"] = knobs.matching_preset(_shown())


def _widget(knob: Knob) -> None:
    """Draws the widget that suits a setting's kind."""
    setting = knob.setting
    common: dict[str, Any] = {"key": _key(setting.name), "help": setting.help, "on_change": _note_preset}
    if setting.kind == "choice":
        st.selectbox(knob.label, setting.choices, format_func=knobs.choice_label, **common)
    elif setting.kind == "layers":
        st.text_input(knob.label, **common)
    else:
        number = int if setting.kind == "integer" else float
        st.number_input(
            knob.label, min_value=number(setting.low or 0), max_value=number(setting.high or 0),
            step=knob.step, format=knob.format, **common,
        )  # fmt: skip
