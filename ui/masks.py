"""Masks: where on the photograph a style paints, and which part of a painting counts; painted or uploaded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from PIL import Image

from serving.pictures import MASK_BACKGROUND
from ui import painter, sources, uploads
from ui.sources import File
from ui.uploads import BadPicture, Picture
from ui.visits import Style, Visit

TARGET, PROBLEM, OPEN = "mask_target", "mask_problem", "masks_open"


@dataclass(frozen=True)
class Target:
    """What a mask is for.

    Attributes:
      kind: `content` or `style`, the picture that it lies over.
      style: the painting that it is about.
      over: the picture that it lies over. Another picture there is another target.
    """

    kind: str
    style: Style
    over: Picture

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.style.number}-{self.over.digest[:16]}"

    @property
    def label(self) -> str:
        where = "where on the photograph it paints" if self.kind == "content" else "which part of the painting counts"
        return f"{self.style.plain_name}: {where}"


def targets(visit: Visit) -> list[Target]:
    """Returns all masks that there can be, the photograph's first."""
    if visit.content is None:
        return []
    of_content = [Target("content", style, visit.content) for style in visit.styles]
    return of_content + [Target("style", style, style.picture) for style in visit.styles]


def of(visit: Visit, kind: str) -> tuple[bytes, ...]:
    """Returns the masks of a kind, one for each style, empty where there is none; nothing if there is none at all."""
    masks = tuple(visit.masks.get(target.key, b"") for target in targets(visit) if target.kind == kind)
    return masks if any(masks) else ()


def show(visit: Visit) -> None:
    """Draws the masks' place, folded until somebody wants one."""
    possible = targets(visit)
    with st.expander("Masks", icon=":material/format_paint:", key=OPEN, on_change="rerun") as place:
        if not (place.open and possible):
            return
        by_key = {target.key: target for target in possible}
        if st.session_state.get(TARGET) not in by_key:
            st.session_state[TARGET] = possible[0].key
        which = st.selectbox("Mask", list(by_key), format_func=lambda key: by_key[key].label, key=TARGET)
        target = by_key[which]
        painter.show(
            target.over.data, target.over.alt, visit.masks.get(which, b""), which,
            lambda key, mask: _take(visit, key, mask),
        )  # fmt: skip
        if st.session_state.get(PROBLEM):
            st.error(st.session_state[PROBLEM], icon=":material/broken_image:")
        sources.upload("mask", lambda files: _take_file(visit, which, files))
        st.caption(say(visit))


def say(visit: Visit) -> str:
    """Says in plain words what the masks do."""
    used = [target for target in targets(visit) if target.key in visit.masks]
    if not used:
        return (
            "Paint over a part of the picture, or bring a picture that is white there. Without masks all of it counts."
        )
    masked = [target.style.name for target in used if target.kind == "content"]
    rest = [style.name for style in visit.styles if style.name not in masked]
    words = []
    if masked:
        elsewhere = f"{' and '.join(rest)} where none of them does" if rest else "elsewhere the photograph stays"
        words.append(f"{' and '.join(masked)} painted where the mask is; {elsewhere}.")
    parts = [target.style.name for target in used if target.kind == "style"]
    if parts:
        words.append(f"Of {' and '.join(parts)} only the masked part counts.")
    return " ".join(words)


def _take(visit: Visit, key: str, mask: bytes) -> None:
    """Keeps a mask; one that is empty, all black or no picture is none."""
    visit.masks.pop(key, None)
    st.session_state[PROBLEM] = ""
    if not mask:
        return
    try:
        ready = uploads.load(mask, "mask", "A mask", MASK_BACKGROUND).data
        with Image.open(io.BytesIO(ready)) as image:
            if image.convert("L").getextrema()[1] == 0:
                raise BadPicture("This mask is black everywhere: it must be white where something counts.")
        visit.masks[key] = ready
    except BadPicture as error:
        st.session_state[PROBLEM] = str(error)


def _take_file(visit: Visit, key: str, files: Sequence[File]) -> None:
    _take(visit, key, files[-1].data)
