"""The style card: one painting, or several that are blended, each with a slider for how much it counts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import streamlit as st

from model.limits import MAX_STYLES
from ui import cards, sources, uploads
from ui.samples import STYLES, Sample
from ui.sources import File
from ui.uploads import BadPicture
from ui.visits import Style, Visit

BLEND, ONE, SEVERAL, PROBLEM, DRAWN_FOR = "blend", "style_sample", "style_samples", "style_problem", "style_drawn_for"
THUMBNAIL_PX = 66  # width of a painting among several
LONGEST_NAME = 24  # characters

FULL = f"Up to {MAX_STYLES} styles can be blended: press the name of one to take it away first."

_numbers = itertools.count(1)


def show(visit: Visit) -> None:
    """Draws the card, by which the visit gets its paintings."""
    if st.session_state.get(DRAWN_FOR) != visit.number:
        st.session_state[DRAWN_FOR] = visit.number
        _choose(visit, visit.styles or (_of_sample(STYLES[0]),))
        use(visit.styles, visit.blend)
    chosen = visit.styles
    with st.container(border=True, gap="small", height="stretch"):
        cards.title(":material/palette:", "Style", "The style to apply")
        if st.session_state[PROBLEM]:
            st.error(st.session_state[PROBLEM], icon=":material/broken_image:")
        if len(chosen) == 1:
            st.image(chosen[0].picture.thumbnail, width="stretch", alt=chosen[0].picture.alt)
        elif chosen:
            _several(chosen)
        blends = st.session_state.get(BLEND, False)
        labels = {sample.name: sample.label for sample in STYLES}
        if blends:
            labels |= {_name(style): style.name for style in chosen if not style.picture.sample}
        st.pills(
            "Style samples", list(labels), format_func=labels.__getitem__, label_visibility="collapsed", wrap=True,
            selection_mode="multi" if blends else "single",
            key=SEVERAL if blends else ONE, on_change=_use_samples if blends else _use_sample, args=(visit,),
        )  # fmt: skip
        st.toggle(
            "Blend several styles", key=BLEND, on_change=_blend_or_not, args=(visit,),
            help=f"Choose up to {MAX_STYLES} paintings, and how much of each the result takes on.",
        )  # fmt: skip
        sources.show("style", lambda files: _take(visit, files), several=True)


def choose(visit: Visit, names: Sequence[str]) -> None:
    """Makes samples the paintings, those that there are of these names."""
    _choose(visit, [_of_sample(sample) for name in names for sample in STYLES if sample.name == name] or visit.styles)


def note(visit: Visit) -> None:
    """Takes down how much each style counts, by its slider; nothing where there is one style."""
    sliders = [_slider(style) for style in visit.styles] if len(visit.styles) > 1 else []
    visit.blend = tuple(float(st.session_state.get(slider, 1.0)) for slider in sliders)


def use(chosen: Sequence[Style], blend: Sequence[float]) -> None:
    """Moves the sliders to blend weights; nothing: all alike. Weights for another number of styles say nothing here."""
    if blend and len(blend) != len(chosen):
        return
    most = max(blend, default=1.0)
    for style, weight in zip(chosen, blend or (1.0,) * len(chosen), strict=True):
        st.session_state[_slider(style)] = weight / most


def _slider(style: Style) -> str:
    return f"blend_{style.number}"


def _several(chosen: Sequence[Style]) -> None:
    for style in chosen:
        with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
            st.image(style.picture.thumbnail, width=THUMBNAIL_PX, alt=style.picture.alt)
            st.session_state.setdefault(_slider(style), 1.0)
            st.slider(style.name, 0.0, 1.0, step=0.05, key=_slider(style), width="stretch")


def _name(style: Style) -> str:
    """Returns what a style is called among the pills: a sample by its name, a file by its number."""
    return style.picture.sample or f"file {style.number}"


def _of_sample(sample: Sample) -> Style:
    return Style(next(_numbers), sample.label, uploads.sample(sample))


def _of_file(file: File) -> Style:
    name = file.name
    picture = uploads.load(file.data, "style", f"Your style picture, {name}")
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return Style(next(_numbers), shown, picture)


def _choose(visit: Visit, chosen: Sequence[Style], problem: str = "") -> None:
    """Makes these the styles, and lights their samples."""
    if len(chosen) > MAX_STYLES:
        chosen, problem = chosen[:MAX_STYLES], FULL
    visit.styles = tuple(chosen)
    one = chosen[0].picture.sample if chosen else ""
    st.session_state.update({PROBLEM: problem, SEVERAL: [_name(style) for style in chosen], ONE: one or None})
    if len(chosen) > 1:
        st.session_state[BLEND] = True


def _use_sample(visit: Visit) -> None:
    if st.session_state[ONE] is not None:
        choose(visit, [st.session_state[ONE]])
    else:  # a second click on the lit sample is no choice of nothing
        _choose(visit, visit.styles)


def _use_samples(visit: Visit) -> None:
    lit = st.session_state[SEVERAL]
    kept = [style for style in visit.styles if _name(style) in lit]
    there = {_name(style) for style in kept}
    kept += [_of_sample(sample) for sample in STYLES if sample.name in lit and sample.name not in there]
    _choose(visit, kept or visit.styles)


def _take(visit: Visit, files: Sequence[File]) -> None:
    brought: list[Style] = []
    problem = ""
    for file in files:
        try:
            brought.append(_of_file(file))
        except BadPicture as error:
            problem = str(error)
    kept = visit.styles if st.session_state[BLEND] else ()
    _choose(visit, [*kept, *brought], problem)


def _blend_or_not(visit: Visit) -> None:
    if not st.session_state[BLEND]:
        _choose(visit, visit.styles[:1])
