"""The two cards: the photograph's and the paintings'. When several paintings are blended, each has a slider."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import streamlit as st

from model.limits import MAX_STYLES
from model.settings import StyleSettings
from ui import panel, uploads
from ui.samples import CONTENTS, STYLES, Sample
from ui.uploads import BadPicture, File, Picture
from ui.visits import Style, Visit

THUMBNAIL_PX = 66  # width of each painting in a blend
LONGEST_NAME = 24  # characters shown of a file's name
FULL = f"You can blend up to {MAX_STYLES} styles. To add another, first press the name of one to remove it."

# Keys of session_state: the selected samples, the switch between one style and several, errors about files.
CONTENT, ONE_STYLE, SEVERAL_STYLES, BLEND = "content_sample", "style_sample", "style_samples", "blend"
CONTENT_PROBLEM, STYLE_PROBLEM = "content_problem", "style_problem"

_BY_NAME = {sample.name: sample for sample in CONTENTS + STYLES}
_numbers = itertools.count(1)


def begin(visit: Visit) -> None:
    """Fills the cards when a page first shows a visit."""
    _set_content(visit, visit.content or uploads.sample(CONTENTS[0]))
    _set_styles(visit, visit.styles or (_of_sample(STYLES[0].name),))
    _set_sliders(visit.styles, visit.blend)


def choose(visit: Visit, content: str = "", styles: Sequence[str] = ()) -> None:
    """Puts the named samples on the cards; a card without a named sample stays as it is."""
    if content:
        _set_content(visit, uploads.sample(_BY_NAME[content]))
    if styles:
        _set_styles(visit, [_of_sample(name) for name in styles])


def reuse(visit: Visit, settings: StyleSettings) -> None:
    """Sets every knob to these settings, and the sliders too if the settings blend as many styles as the visit."""
    panel.use(settings)
    _set_sliders(visit.styles, settings.blend_weights)


def show_content(visit: Visit) -> None:
    """Draws the photograph's card."""
    with st.container(border=True, gap="small", height="stretch"):
        _head(":material/landscape:", "Content", "Your photograph", CONTENT_PROBLEM)
        if visit.content is not None:
            st.image(visit.content.thumbnail, width="stretch", alt=visit.content.alt)
        labels = _labels(CONTENTS)
        st.pills(
            "Content samples", list(labels), format_func=labels.__getitem__, required=True, key=CONTENT,
            on_change=lambda: choose(visit, content=st.session_state[CONTENT]),
            label_visibility="collapsed", wrap=True,
        )  # fmt: skip
        uploads.show("content", lambda files: _take_content(visit, files), listens=True)
    if visit.content and visit.content.settings:
        st.button(
            "Use the settings of this picture", key="reuse", icon=":material/tune:", width="stretch",
            help="This picture holds the settings that made it. Press to set every knob to them.",
            on_click=reuse, args=(visit, visit.content.settings),
        )  # fmt: skip


def show_styles(visit: Visit) -> None:
    """Draws the paintings' card, and reads the sliders."""
    with st.container(border=True, gap="small", height="stretch"):
        _head(":material/palette:", "Style", "The painting to imitate", STYLE_PROBLEM)
        if len(visit.styles) == 1:
            st.image(visit.styles[0].picture.thumbnail, width="stretch", alt=visit.styles[0].picture.alt)
        else:
            for style in visit.styles:
                _row(style)
        labels = _labels(STYLES)
        if st.session_state.get(BLEND):
            labels |= {_pill(style): style.name for style in visit.styles if not style.picture.sample}
            st.pills(
                "Style samples", list(labels), format_func=labels.__getitem__, selection_mode="multi",
                key=SEVERAL_STYLES, on_change=_use_selected, args=(visit,), label_visibility="collapsed", wrap=True,
            )  # fmt: skip
        else:
            st.pills(
                "Style samples", list(labels), format_func=labels.__getitem__, required=True, key=ONE_STYLE,
                on_change=lambda: choose(visit, styles=[st.session_state[ONE_STYLE]]),
                label_visibility="collapsed", wrap=True,
            )  # fmt: skip
        st.toggle(
            "Blend several styles", key=BLEND, on_change=_blend_or_not, args=(visit,),
            help=f"Choose up to {MAX_STYLES} paintings, and how strongly each one shows in the result.",
        )  # fmt: skip
        uploads.show("style", lambda files: _take_styles(visit, files), several=True)
    sliders = map(_slider, visit.styles) if len(visit.styles) > 1 else ()
    visit.blend = tuple(float(st.session_state[slider]) for slider in sliders)


def _head(icon: str, name: str, sentence: str, problem: str) -> None:
    st.markdown(f"**{icon} {name}**  \n:small[{sentence}]")
    if st.session_state[problem]:
        st.error(st.session_state[problem], icon=":material/broken_image:")


def _row(style: Style) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
        st.image(style.picture.thumbnail, width=THUMBNAIL_PX, alt=style.picture.alt)
        st.session_state.setdefault(_slider(style), 1.0)
        st.slider(style.name, 0.0, 1.0, step=0.05, key=_slider(style), width="stretch")


def _labels(samples: Sequence[Sample]) -> dict[str, str]:
    return {sample.name: sample.label for sample in samples}


def _slider(style: Style) -> str:
    return f"blend_{style.number}"


def _pill(style: Style) -> str:
    """Returns the key of a style's pill."""
    return style.picture.sample or f"file {style.number}"


def _set_content(visit: Visit, picture: Picture | None, problem: str = "") -> None:
    """Sets the photograph, and selects its pill if it is a sample."""
    visit.content = picture
    st.session_state[CONTENT_PROBLEM] = problem
    st.session_state[CONTENT] = (picture.sample or None) if picture else None


def _set_styles(visit: Visit, chosen: Sequence[Style], problem: str = "") -> None:
    """Sets the styles, and selects their pills."""
    if len(chosen) > MAX_STYLES:
        chosen, problem = chosen[:MAX_STYLES], FULL
    visit.styles = tuple(chosen)
    st.session_state[STYLE_PROBLEM] = problem
    st.session_state[SEVERAL_STYLES] = [_pill(style) for style in chosen]
    st.session_state[ONE_STYLE] = (chosen[0].picture.sample or None) if chosen else None
    if len(chosen) > 1:
        st.session_state[BLEND] = True


def _set_sliders(styles: Sequence[Style], blend: Sequence[float]) -> None:
    """Sets the sliders to blend weights, or all to 1 if there are none; ignores weights of the wrong number."""
    weights = blend or (1.0,) * len(styles)
    if len(weights) == len(styles):
        for style, weight in zip(styles, weights, strict=True):
            st.session_state[_slider(style)] = weight / max(weights)


def _of_sample(name: str) -> Style:
    return Style(next(_numbers), _BY_NAME[name].label, uploads.sample(_BY_NAME[name]))


def _of_file(file: File) -> Style:
    picture = uploads.load(file.data, "style", f"Your painting, {file.name}", name=file.name)
    name = file.name if len(file.name) <= LONGEST_NAME else f"{file.name[: LONGEST_NAME - 1]}…"
    return Style(next(_numbers), name, picture)


def _use_selected(visit: Visit) -> None:
    """Uses the selected pills as the styles; the last style cannot be removed."""
    selected = st.session_state[SEVERAL_STYLES]
    kept = [style for style in visit.styles if _pill(style) in selected]
    added = [name for name in selected if name not in map(_pill, kept)]
    _set_styles(visit, [*kept, *map(_of_sample, added)] or visit.styles)


def _blend_or_not(visit: Visit) -> None:
    if not st.session_state[BLEND]:
        _set_styles(visit, visit.styles[:1])


def _take_content(visit: Visit, files: Sequence[File]) -> None:
    file = files[-1]
    try:
        _set_content(visit, uploads.load(file.data, "content", f"Your photograph, {file.name}", name=file.name))
    except BadPicture as error:
        _set_content(visit, None, str(error))


def _take_styles(visit: Visit, files: Sequence[File]) -> None:
    loaded: list[Style] = []
    problem = ""
    for file in files:
        try:
            loaded.append(_of_file(file))
        except BadPicture as error:
            problem = str(error)
    kept = visit.styles if st.session_state[BLEND] else ()
    _set_styles(visit, [*kept, *loaded], problem)
