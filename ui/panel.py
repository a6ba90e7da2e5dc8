"""The preset switch and the knobs: a few always visible, all others under Advanced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from model.presets import OUR_OWN
from model.settings import PRESET, SETTINGS, StyleSettings
from serving.errors import InvalidInput
from ui import knobs

NARROWEST_PX = 130  # width of a widget; two fit side by side on a phone
MOST_NAMES = 4  # of changed knobs listed by name

BASE = "base"  # key of session_state: the preset that the knobs were last set to
SWITCH, REPRODUCTION = "preset", "reproduction"  # keys of the widgets that choose one


def show_presets() -> None:
    """Draws the preset switch; must come before `show`, which draws the knobs that it sets."""
    if BASE not in st.session_state:
        use(StyleSettings())
    st.segmented_control(
        PRESET.label, list(OUR_OWN), format_func=knobs.preset_label, key=SWITCH, help=PRESET.help,
        on_change=_use_preset, args=(SWITCH,), width="stretch",
    )  # fmt: skip


def show(blend: Sequence[float] = ()) -> StyleSettings | None:
    """Draws the knobs and returns the settings, or None if they are not valid.

    Args:
      blend: the weight of each style; empty if there is only one.
    """
    for row in (knobs.VISIBLE[:2], knobs.VISIBLE[2:]):
        with st.grid(len(row), min_column_width=NARROWEST_PX, vertical_alignment="bottom"):
            for name in row:
                _knob(name)
    with st.expander("Advanced", icon=":material/tune:"):
        st.selectbox(
            "Reproduce another system", knobs.REPRODUCTIONS, index=None, format_func=knobs.preset_label,
            key=REPRODUCTION, placeholder="None: our own settings", on_change=_use_preset, args=(REPRODUCTION,),
            help="Sets every knob as a well-known system does.",
        )  # fmt: skip
        for group, names in knobs.ADVANCED.items():
            st.markdown(f"**{group}**")
            grid = st.grid(3, min_column_width=NARROWEST_PX, vertical_alignment="bottom", dense=True)
            for name in names:
                with grid.cell(column_span="all" if knobs.is_text(SETTINGS[name]) else 1):
                    _knob(name)
    base, values = st.session_state[BASE], shown()
    labels = [SETTINGS[name].label for name in knobs.changed(values, base)]
    if labels:
        more = f" and {len(labels) - MOST_NAMES} more" if len(labels) > MOST_NAMES else ""
        st.caption(f"{knobs.preset_label(base)} (modified: {', '.join(labels[:MOST_NAMES])}{more})")
    try:
        return knobs.to_settings({**values, knobs.BLEND: knobs.blend_text(blend)}, base)
    except InvalidInput as error:
        st.error(knobs.explain(error), icon=":material/tune:")
        return None


def shown() -> dict[str, Any]:
    """Returns the value of every knob."""
    return {name: st.session_state[_key(name)] for name in SETTINGS if name != knobs.BLEND}


def use(settings: StyleSettings) -> None:
    """Sets every knob to these settings."""
    st.session_state[BASE] = settings.preset
    turn(**knobs.shown_values(settings))


def turn(**values: Any) -> None:
    """Sets some knobs, and leaves the others as they are."""
    for name, value in values.items():
        st.session_state[_key(name)] = value
    _show_preset()


def _key(name: str) -> str:
    return f"knob_{name}"


def _use_preset(switch: str) -> None:
    """Sets every knob to the chosen preset; clearing the choice of another system returns to our own settings."""
    if st.session_state[switch] is not None:
        use(StyleSettings(st.session_state[switch]))
    elif switch == REPRODUCTION:
        use(StyleSettings())


def _show_preset() -> None:
    """Selects the preset that has the knobs' values, if any."""
    preset = knobs.matching_preset(shown())
    st.session_state[BASE] = preset or st.session_state[BASE]
    st.session_state[SWITCH] = preset if preset in OUR_OWN else None
    st.session_state[REPRODUCTION] = preset if preset in knobs.REPRODUCTIONS else None


def _knob(name: str) -> None:
    """Draws the widget that suits a setting's kind."""
    setting = SETTINGS[name]
    label = knobs.label(setting)
    common: dict[str, Any] = {"key": _key(name), "help": setting.help, "on_change": _show_preset}
    if setting.kind == "choice":
        st.selectbox(label, setting.choices, format_func=knobs.choice_label, **common)
    elif knobs.is_text(setting):
        st.text_input(label, **common)
    else:
        number = int if setting.kind == "integer" else float
        st.number_input(
            label, min_value=number(setting.low or 0), max_value=number(setting.high or 0), step=knobs.step(setting),
            format="%d" if number is int else "%g", **common,
        )  # fmt: skip
