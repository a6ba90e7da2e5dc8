"""Masks, painted or uploaded: where a style goes on the photograph, and which part of a painting is used."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st
from PIL import Image

from serving.pictures import MASK_BACKGROUND
from ui import components, uploads
from ui.uploads import BadPicture, File, Picture
from ui.visits import Style, Visit

# Keys of session_state; UPLOADS counts the masks that replaced what was painted.
TARGET, PROBLEM, OPEN, PAINTER, UPLOADS = "mask_target", "mask_problem", "masks_open", "painter", "mask_uploads"
QUALITY = 80  # of the JPEG to paint on


@dataclass(frozen=True)
class Target:
    """What a mask is for."""

    kind: str  # `content` for a mask on the photograph, `style` for one on a painting
    style: Style  # that the mask limits
    over: Picture  # that the mask covers; it does not carry over to another picture

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.style.number}-{self.over.digest[:16]}"

    @property
    def label(self) -> str:
        where = "where it goes on the photo" if self.kind == "content" else "which part of the painting to use"
        return f"{self.style.plain_name}: {where}"


def targets(visit: Visit) -> list[Target]:
    """Returns all possible masks, those on the photograph first."""
    of_content = [Target("content", style, visit.content) for style in visit.styles]
    return of_content + [Target("style", style, style.picture) for style in visit.styles]


def of(visit: Visit, kind: str) -> tuple[bytes, ...]:
    """Returns the masks of a kind, one for each style, empty for a style without a mask; () if no style has one."""
    masks = tuple(visit.masks.get(target.key, b"") for target in targets(visit) if target.kind == kind)
    return masks if any(masks) else ()


def show(visit: Visit) -> None:
    """Draws the masks' section, folded until somebody opens it."""
    by_key = {target.key: target for target in targets(visit)}
    with st.expander(
        "Masks: choose where a style goes", icon=":material/format_paint:", key=OPEN, on_change="rerun"
    ) as place:
        if not place.open:
            return
        if st.session_state.get(TARGET) not in by_key:
            st.session_state[TARGET] = next(iter(by_key))
        key = st.selectbox("Mask", list(by_key), format_func=lambda key: by_key[key].label, key=TARGET)
        st.caption(explain(visit))
        target, mask = by_key[key], visit.masks.get(key, b"")
        url, size = _canvas(target.over.data)
        components.element("painter")(
            key=PAINTER,
            data={
                "which": key, "label": target.label, "picture": url, "alt": target.over.alt, "size": size,
                "mask": "data:image/png;base64," + base64.b64encode(mask).decode() if mask else "",
                "uploads": st.session_state.get(UPLOADS, 0),
            },
            on_mask_change=partial(_painted, visit),
        )  # fmt: skip
        if st.session_state.get(PROBLEM):
            st.error(st.session_state[PROBLEM], icon=":material/broken_image:")
        uploads.show_uploader("mask", partial(_uploaded, visit, key))


def explain(visit: Visit) -> str:
    """Explains in plain words what the masks do."""
    used = [target for target in targets(visit) if target.key in visit.masks]
    if not used:
        return "Paint over part of the picture, or upload a mask that is white there. Without masks, all of it is used."
    masked = [target.style.name for target in used if target.kind == "content"]
    rest = [style.name for style in visit.styles if style.name not in masked]
    words = []
    if masked:
        elsewhere = f"{' and '.join(rest)}: everywhere else." if rest else "The rest of the photo stays as it is."
        words.append(f"{' and '.join(masked)}: only where masked. {elsewhere}")
    parts = [target.style.name for target in used if target.kind == "style"]
    if parts:
        words.append(f"Only the masked part of {' and '.join(parts)} is used.")
    return " ".join(words)


@st.cache_data(scope="session", max_entries=2, show_spinner=False)
def _canvas(data: bytes) -> tuple[str, tuple[int, int]]:
    """Returns a picture to paint on, as a data URL, and its size."""
    with Image.open(io.BytesIO(uploads.small(data))) as image:
        return components.jpeg_url(image, QUALITY), image.size


def _painted(visit: Visit) -> None:
    """Takes a mask from the painter after each stroke: its key, and its data URL, empty if nothing is painted."""
    key, _, url = str(st.session_state[PAINTER].get("mask") or "").partition(" ")
    if file := uploads.from_url(url, "mask"):
        _set(visit, key, file.data)
    elif key and not url:
        visit.masks.pop(key, None)
        st.session_state[PROBLEM] = ""


def _uploaded(visit: Visit, key: str, files: Sequence[File]) -> None:
    if _set(visit, key, files[-1].data):
        st.session_state[UPLOADS] = st.session_state.get(UPLOADS, 0) + 1


def _set(visit: Visit, key: str, mask: bytes) -> bool:
    """Replaces a mask, and drops those of pictures that are gone; a black or unreadable one changes nothing."""
    try:
        ready = uploads.read(mask, "mask", background=MASK_BACKGROUND)
        with Image.open(io.BytesIO(ready)) as image:
            if image.convert("L").getextrema()[1] == 0:
                raise BadPicture("This mask is black everywhere: make it white in the areas that you want.")
    except BadPicture as error:
        st.session_state[PROBLEM] = str(error)
        return False
    st.session_state[PROBLEM] = ""
    current = {target.key for target in targets(visit)}
    visit.masks = {at: one for at, one in {**visit.masks, key: ready}.items() if at in current}
    return True
