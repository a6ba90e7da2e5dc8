"""The content card: which photograph."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ui import sources, uploads
from ui.samples import CONTENTS
from ui.sources import File
from ui.uploads import BadPicture, Picture
from ui.visits import Visit

SAMPLE, PROBLEM, DRAWN_FOR = "content_sample", "content_problem", "content_drawn_for"


def title(icon: str, name: str, sentence: str) -> None:
    """Draws the head of a card."""
    st.markdown(f"**{icon} {name}**  \n:small[{sentence}]")


def show(visit: Visit) -> None:
    """Draws the card, by which the visit gets its photograph."""
    if st.session_state.get(DRAWN_FOR) != visit.number:
        st.session_state[DRAWN_FOR] = visit.number
        _choose(visit, visit.content or uploads.sample(CONTENTS[0]))
    with st.container(border=True, gap="small", height="stretch"):
        title(":material/landscape:", "Content", "Your photo")
        if st.session_state[PROBLEM]:
            st.error(st.session_state[PROBLEM], icon=":material/broken_image:")
        if visit.content is not None:
            st.image(visit.content.thumbnail, width="stretch", alt=visit.content.alt)
        labels = {sample.name: sample.label for sample in CONTENTS}
        st.pills(
            "Content samples", list(labels), format_func=labels.__getitem__, key=SAMPLE, on_change=_use_sample,
            args=(visit,), label_visibility="collapsed", wrap=True,
        )  # fmt: skip
        sources.show("content", lambda files: _take(visit, files), listens=True)


def choose(visit: Visit, name: str) -> None:
    """Makes a sample the photograph, if there is one of this name."""
    for sample in CONTENTS:
        if sample.name == name:
            _choose(visit, uploads.sample(sample))


def _choose(visit: Visit, picture: Picture | None, problem: str = "") -> None:
    """Makes this the photograph, and lights its sample if it is one."""
    visit.content = picture
    st.session_state[PROBLEM] = problem
    st.session_state[SAMPLE] = (picture.sample or None) if picture else None


def _use_sample(visit: Visit) -> None:
    if st.session_state[SAMPLE] is not None:
        choose(visit, st.session_state[SAMPLE])
    else:  # a second click on the lit sample is no choice of nothing
        _choose(visit, visit.content, st.session_state[PROBLEM])


def _take(visit: Visit, files: Sequence[File]) -> None:
    file = files[-1]
    try:
        _choose(visit, uploads.load(file.data, "content", f"Your content picture, {file.name}"))
    except BadPicture as error:
        _choose(visit, None, str(error))
