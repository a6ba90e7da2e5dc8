"""The knobs: a preset switch, those that are always in sight, and all others under Advanced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from model.presets import OUR_OWN
from model.settings import PRESET, SETTINGS, StyleSettings
from serving.errors import InvalidInput
from ui import cards, knobs, links, styles
from ui.knobs import Knob
from ui.visits import Visit

NARROWEST_PX = 130  # of a widget; on a phone two stand side by side
FOLLOWED, LINK = "link_followed", "link"
MOST_NAMES = 4  # of changed knobs in one sentence


def presets() -> None:
    """Draws the preset switch. Comes before `show`, which draws the knobs that it turns."""
    if "base" not in st.session_state:
        use(StyleSettings())
    st.segmented_control(
        PRESET.label, list(OUR_OWN), format_func=knobs.preset_label, key="preset", help=PRESET.help,
        on_change=_use_preset, args=("preset",), width="stretch",
    )  # fmt: skip


def show(blend: Sequence[float] = ()) -> StyleSettings | None:
    """Draws the knobs and returns the settings, or None where they do not make any.

    Args:
      blend: how much each style counts; empty where there is one.
    """
    for row in (knobs.VISIBLE[:2], knobs.VISIBLE[2:]):
        with st.grid(len(row), min_column_width=NARROWEST_PX, vertical_alignment="bottom"):
            for name in row:
                _widget(Knob.of(name))
    with st.expander("Advanced", icon=":material/tune:"):
        st.selectbox(
            "Reproduce another system", knobs.REPRODUCTIONS, index=None, format_func=knobs.preset_label,
            key="reproduction", placeholder="None: our own recipe", on_change=_use_preset, args=("reproduction",),
            help="Turns every knob to where a well-known system has it.",
        )  # fmt: skip
        for group, names in knobs.ADVANCED.items():
            st.markdown(f"**{group}**")
            grid = st.grid(3, min_column_width=NARROWEST_PX, vertical_alignment="bottom", dense=True)
            for name in names:
                knob = Knob.of(name)
                with grid.cell(column_span="all" if knob.is_text else 1):
                    _widget(knob)
    _say_what_was_turned()
    try:
        shown = {**_shown(), knobs.BLEND: knobs.blend_text(blend)}
        return knobs.to_settings(shown, st.session_state["base"])
    except InvalidInput as error:
        st.error(knobs.explain(error), icon=":material/tune:")
        return None


def use(settings: StyleSettings) -> None:
    """Turns every knob to where settings have it."""
    for name, value in knobs.shown_values(settings).items():
        st.session_state[_key(name)] = value
    st.session_state["base"] = settings.preset
    _note_preset()


def turn(**values: float) -> None:
    """Turns some knobs, and leaves the others as they are."""
    for name, value in values.items():
        st.session_state[_key(name)] = value
    _note_preset()


def reuse(visit: Visit, settings: StyleSettings) -> None:
    """Turns every knob to where a result's settings have it, and its styles' sliders if there are as many styles."""
    use(settings)
    styles.use(visit.styles, settings.blend_weights)


def follow(visit: Visit) -> None:
    """Does what the page's address asks for, once for each visit, before the cards and knobs are drawn."""
    if st.session_state.get(FOLLOWED) != visit.number:
        st.session_state[FOLLOWED] = visit.number
        link = st.session_state[LINK] = links.read(st.query_params.to_dict())
        if link.settings is not None:
            use(link.settings)
            visit.blend = link.settings.blend_weights or visit.blend
        if link.content:
            cards.choose(visit, link.content)
        if link.styles:
            styles.choose(visit, link.styles)
    if problems := st.session_state[LINK].problems:
        st.warning(
            f"Some settings in this link were ignored: {' '.join(problems)}",
            icon=":material/link_off:",
        )


def address(visit: Visit) -> None:
    """Puts what the page shows into its address."""
    names = [style.picture.sample for style in visit.styles]
    query = links.write(
        _shown(),
        st.session_state["base"],
        visit.blend,
        visit.content.sample if visit.content else "",
        names if all(names) else (),
    )
    if st.query_params.to_dict() != query:
        st.query_params.from_dict(query)


def _key(name: str) -> str:
    return f"knob_{name}"


def _shown() -> dict[str, Any]:
    return {name: st.session_state[_key(name)] for name in SETTINGS if name != knobs.BLEND}


def _use_preset(switch: str) -> None:
    """Puts every knob where the chosen preset has it; no other system any more is our own recipe again."""
    if st.session_state[switch] is not None:
        use(StyleSettings(st.session_state[switch]))
    elif switch == "reproduction":
        use(StyleSettings(PRESET.default))


def _note_preset() -> None:
    """Shows the preset that the knobs stand at, if any."""
    preset = knobs.matching_preset(_shown(), st.session_state["base"])
    st.session_state["base"] = preset or st.session_state["base"]
    st.session_state["preset"] = preset if preset in OUR_OWN else None
    st.session_state["reproduction"] = preset if preset in knobs.REPRODUCTIONS else None


def _say_what_was_turned() -> None:
    base = st.session_state["base"]
    labels = [SETTINGS[name].label for name in knobs.turned(_shown(), base)]
    if labels:
        more = f" and {len(labels) - MOST_NAMES} more" if len(labels) > MOST_NAMES else ""
        st.caption(f"{knobs.preset_label(base)} (modified: {', '.join(labels[:MOST_NAMES])}{more})")


def _widget(knob: Knob) -> None:
    """Draws the widget that suits a setting's kind."""
    setting = knob.setting
    common: dict[str, Any] = {"key": _key(setting.name), "help": setting.help, "on_change": _note_preset}
    if setting.kind == "choice":
        st.selectbox(knob.label, setting.choices, format_func=knobs.choice_label, **common)
    elif knob.is_text:
        st.text_input(knob.label, **common)
    else:
        number = int if setting.kind == "integer" else float
        st.number_input(
            knob.label, min_value=number(setting.low or 0), max_value=number(setting.high or 0),
            step=knob.step, format=knob.format, **common,
        )  # fmt: skip
