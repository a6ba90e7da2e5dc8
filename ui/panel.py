"""The controls of a run: strength, colours and size in front, and a knob for every setting under Advanced."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from model.presets import OUR_OWN
from model.settings import StyleSettings
from ui import knobs, widgets

NARROWEST_PX = 130  # width of a widget; two fit side by side on a phone
MOST_NAMES = 4  # of changed knobs listed by name

BASE = "base"  # key of session_state: the preset that the knobs were last set to
STRENGTH, KEEP_COLOURS, SIZE, REPRODUCTION = "strength", "keep_colours", "size", "reproduction"  # widgets


def begin() -> None:
    """Sets the knobs of a new session."""
    if BASE not in st.session_state:
        use(knobs.FIRST)


def show() -> None:
    """Draws what a visitor needs: how strong, in which colours, how large."""
    photo, *_, painting = knobs.STRENGTHS
    with st.container(horizontal=True, vertical_alignment="bottom", wrap=False):
        st.caption(photo, width="content")
        st.select_slider(
            "Style strength", list(knobs.STRENGTHS), widgets.first(STRENGTH),
            help=f"Towards {photo}, more of your photo stays; towards {painting}, more of the style comes in.",
            **widgets.keyed(
                STRENGTH, lambda: turn(**knobs.of_strength(widgets.value(STRENGTH), st.session_state[BASE]))
            ),
        )  # fmt: skip
        st.caption(painting, width="content")
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        sizes, begun = knobs.sizes(widgets.value(_knob_of("size"))), widgets.first(SIZE)
        st.segmented_control(
            "Size", sizes, default=begun if begun in sizes else None, format_func="{} px".format, required=True,
            help="Long side of the result. A larger picture shows more detail and takes longer.",
            **widgets.keyed(SIZE, _use_size),
        )  # fmt: skip
        st.checkbox(
            "Keep original colours", widgets.first(KEEP_COLOURS),
            help="Takes only brush strokes and light from the style, and the colours from your photo.",
            **widgets.keyed(
                KEEP_COLOURS, lambda: turn(colours="of_content" if widgets.value(KEEP_COLOURS) else "of_style")
            ),
        )  # fmt: skip
    base = st.session_state[BASE]
    said = [knobs.choice_label(base)] if base in knobs.REPRODUCTIONS else []
    if names := knobs.hidden_changes(shown(), base):
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        said.append(f"modified: {', '.join(names[:MOST_NAMES])}{more}")
    if said:
        st.caption(" · ".join(["Advanced", *said]))


def show_advanced() -> None:
    """Draws a knob for every setting."""
    with st.expander("Advanced", icon=":material/tune:"):
        st.selectbox(
            "Reproduce another system", knobs.REPRODUCTIONS, _index(knobs.REPRODUCTIONS, widgets.first(REPRODUCTION)),
            format_func=knobs.choice_label, placeholder="None: our own settings",
            help="Sets every knob as a well-known system does.", **widgets.keyed(REPRODUCTION, _use_reproduction),
        )  # fmt: skip
        for group, names in knobs.ADVANCED.items():
            st.markdown(f"**{group}**")
            grid = st.grid(3, min_column_width=NARROWEST_PX, vertical_alignment="bottom", dense=True)
            for name in names:
                with grid.cell(column_span="all" if knobs.is_text(knobs.SETTINGS[name]) else 1):
                    _knob(name)


def settings(blend: Sequence[float] = ()) -> StyleSettings:
    """Returns the settings that the widgets hold at this moment, with the weights of a blend.

    Raises:
      InvalidInput: they are not valid.
    """
    return knobs.to_settings({**shown(), knobs.BLEND: knobs.blend_text(blend)}, st.session_state[BASE])


def shown() -> dict[str, Any]:
    """Returns the value of every knob."""
    return {name: widgets.value(_knob_of(name)) for name in knobs.SETTINGS if name != knobs.BLEND}


def use(settings: StyleSettings) -> None:
    """Sets every knob to these settings."""
    st.session_state[BASE] = settings.preset
    turn(**knobs.shown_values(settings))


def turn(**values: Any) -> None:
    """Sets some knobs, and leaves the others as they are."""
    for name, value in values.items():
        widgets.put(_knob_of(name), value)
    _follow_knobs()


def _knob_of(setting: str) -> str:
    return f"knob_{setting}"


def _use_reproduction() -> None:
    """Sets every knob as the chosen system does; clearing the choice returns to our own settings."""
    preset = widgets.value(REPRODUCTION)
    use(StyleSettings(preset) if preset else knobs.FIRST)


def _use_size() -> None:
    st.session_state[BASE], values = knobs.of_size(widgets.value(SIZE), st.session_state[BASE])
    turn(**values)


def _follow_knobs() -> None:
    """Makes the other controls show what the knobs hold."""
    values = shown()
    base = knobs.matching_preset(values) or st.session_state[BASE]
    st.session_state[BASE] = base
    widgets.put(REPRODUCTION, base if base not in OUR_OWN and not knobs.changed(values, base) else None)
    widgets.put(STRENGTH, knobs.strength(values, base))
    widgets.put(KEEP_COLOURS, values["colours"] == "of_content")
    if values["size"]:
        widgets.put(SIZE, values["size"])


def _knob(name: str) -> None:
    """Draws the widget that suits a setting's kind."""
    setting = knobs.SETTINGS[name]
    label, begun = knobs.label(setting), widgets.first(_knob_of(name))
    common: dict[str, Any] = {"help": setting.help, **widgets.keyed(_knob_of(name), _follow_knobs)}
    if setting.kind == "choice":
        st.selectbox(label, setting.choices, _index(setting.choices, begun), format_func=knobs.choice_label, **common)
    elif knobs.is_text(setting):
        st.text_input(label, begun, **common)
    else:
        number = int if setting.kind == "integer" else float
        st.number_input(
            label, number(setting.low or 0), number(setting.high or 0), number(begun), step=knobs.step(setting),
            format="%d" if number is int else "%g", **common,
        )  # fmt: skip


def _index(choices: Sequence[str], choice: str | None) -> int | None:
    return choices.index(choice) if choice in choices else None
