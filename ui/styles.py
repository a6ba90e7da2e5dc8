"""The style card: one painting, or several that are blended, each with a slider for how much it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from model.limits import MAX_STYLES
from ui import cards, uploads
from ui.samples import STYLES, Sample
from ui.uploads import BadPicture, Picture

BLEND, ONE, SEVERAL, GENERATION = "blend", "style_sample", "style_samples", "style_generation"
CHOSEN, NUMBER, PROBLEM = "styles", "style_number", "style_problem"
THUMBNAIL_PX = 66  # width of a painting among several
LONGEST_NAME = 24  # characters

FULL = f"Up to {MAX_STYLES} styles can be blended: take one away first."


@dataclass(frozen=True)
class Style:
    """One painting that was chosen.

    Attributes:
      number: its own in this session.
      name: what a person reads.
      picture: the painting.
      sample: name of the sample that it is, or "" for a file that was brought.
    """

    number: int
    name: str
    picture: Picture
    sample: str = ""


def show() -> Sequence[Style]:
    """Draws the card and returns what was chosen; nothing if the file that was brought cannot be used."""
    if CHOSEN not in st.session_state:
        st.session_state.update({GENERATION: 0, CHOSEN: (), PROBLEM: ""})
        _choose((_of_sample(STYLES[0]),))
    chosen: tuple[Style, ...] = st.session_state[CHOSEN]
    with st.container(border=True, gap="small", height="stretch"):
        cards.title(":material/palette:", "Style", "The painting that lends its look")
        if st.session_state[PROBLEM]:
            st.error(st.session_state[PROBLEM], icon=":material/broken_image:")
        if len(chosen) == 1:
            st.image(chosen[0].picture.thumbnail, width="stretch", alt=chosen[0].picture.alt)
        elif chosen:
            _several(chosen)
        blends = st.session_state.get(BLEND, False)
        labels = {sample.name: sample.label for sample in STYLES}
        st.pills(
            "Style samples", list(labels), format_func=labels.__getitem__, label_visibility="collapsed", wrap=True,
            selection_mode="multi" if blends else "single",
            key=SEVERAL if blends else ONE, on_change=_use_samples if blends else _use_sample,
        )  # fmt: skip
        st.toggle(
            "Blend several styles", key=BLEND, on_change=_blend_or_not,
            help=f"Choose up to {MAX_STYLES} paintings, and how much of each the result takes on.",
        )  # fmt: skip
        st.file_uploader(
            "Your own style picture", type=list(uploads.TYPES), label_visibility="collapsed",
            key=f"style_upload_{st.session_state[GENERATION]}", on_change=_use_uploads, accept_multiple_files=True,
        )  # fmt: skip
    return chosen


def weights(chosen: Sequence[Style]) -> tuple[float, ...]:
    """Returns how much each style counts, by its slider; nothing where there is one style."""
    return tuple(float(st.session_state.get(_slider(style), 1.0)) for style in chosen) if len(chosen) > 1 else ()


def use(blend: Sequence[float]) -> None:
    """Moves the sliders to blend weights; nothing: all alike. Weights for another number of styles say nothing here."""
    chosen: tuple[Style, ...] = st.session_state[CHOSEN]
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
            st.button(
                ":material/close:", key=f"remove_{style.number}", type="tertiary", help=f"Takes {style.name} away.",
                on_click=_remove, args=(style.number,),
            )  # fmt: skip


def _of_sample(sample: Sample) -> Style:
    return Style(_next_number(), sample.label, uploads.sample(sample), sample.name)


def _of_file(name: str, data: bytes) -> Style:
    picture = uploads.load(data, "style", f"Your style picture, {name}")
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    # A slider's label is Markdown, and a file may be called anything.
    return Style(_next_number(), "".join(f"\\{c}" if c in "\\`*_[]$:#<>" else c for c in shown), picture)


def _next_number() -> int:
    st.session_state[NUMBER] = st.session_state.get(NUMBER, 0) + 1
    return int(st.session_state[NUMBER])


def _choose(chosen: Sequence[Style], problem: str = "") -> None:
    """Makes these the styles, and lights their samples."""
    if len(chosen) > MAX_STYLES:
        chosen, problem = chosen[:MAX_STYLES], FULL
    samples = [style.sample for style in chosen if style.sample]
    st.session_state.update(
        {CHOSEN: tuple(chosen), PROBLEM: problem, SEVERAL: samples, ONE: samples[0] if samples else None}
    )


def _use_sample() -> None:
    name = st.session_state[ONE]
    if name is not None:
        _choose([_of_sample(sample) for sample in STYLES if sample.name == name])
    else:  # a second click on the lit sample is no choice of nothing
        _choose(st.session_state[CHOSEN])


def _use_samples() -> None:
    lit = st.session_state[SEVERAL]
    kept = [style for style in st.session_state[CHOSEN] if not style.sample or style.sample in lit]
    there = {style.sample for style in kept}
    kept += [_of_sample(sample) for sample in STYLES if sample.name in lit and sample.name not in there]
    _choose(kept or st.session_state[CHOSEN])


def _use_uploads() -> None:
    """Takes the files over and empties the uploader, whose list would otherwise stand beside the paintings."""
    files = st.session_state[f"style_upload_{st.session_state[GENERATION]}"]
    if not files:
        return
    st.session_state[GENERATION] += 1
    brought: list[Style] = []
    problem = ""
    for file in files:
        try:
            brought.append(_of_file(file.name, file.getvalue()))
        except BadPicture as error:
            problem = str(error)
    blends = st.session_state[BLEND]
    kept = st.session_state[CHOSEN] if blends else ()
    st.session_state[BLEND] = blends or len(brought) > 1
    _choose([*kept, *brought], problem)


def _blend_or_not() -> None:
    if not st.session_state[BLEND]:
        _choose(st.session_state[CHOSEN][:1])


def _remove(number: int) -> None:
    _choose([style for style in st.session_state[CHOSEN] if style.number != number])
