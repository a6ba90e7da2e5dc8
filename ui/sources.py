"""Where a picture can come from: a file that is chosen or dropped, the camera, the clipboard."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st

from ui import components

PASTED = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif", "image/bmp": "bmp"}


@dataclass(frozen=True)
class File:
    """A file that was brought."""

    name: str
    data: bytes


Take = Callable[[Sequence[File]], None]


def show(what: str, take: Take, *, several: bool = False, listens: bool = False) -> None:
    """Draws the ways to bring a picture.

    Args:
      what: `content` or `style`.
      take: is given the files that were brought.
      several: whether more than one file may be brought at a time.
      listens: whether Ctrl+V anywhere on the page is meant for this card.
    """
    upload(what, take, several=several)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        if st.button("Camera", key=f"{what}_camera", icon=":material/photo_camera:", type="tertiary"):
            _camera(what, take)
        _paste(what, take, listens)


def upload(what: str, take: Take, *, several: bool = False) -> None:
    """Draws the place for files alone; see `show`."""
    st.session_state.setdefault(_generation(what), 0)
    st.file_uploader(
        f"Your own {what} picture", type="image", label_visibility="collapsed",
        key=_uploader(what), on_change=_uploaded, args=(what, take), accept_multiple_files=several,
    )  # fmt: skip


def of_url(url: str, name: str) -> File | None:
    """Returns the picture in a data URL, named by its type, or None if it is none."""
    head, _, body = url.partition(",")
    suffix = PASTED.get(head.removeprefix("data:").removesuffix(";base64"))
    try:
        return File(f"{name}.{suffix}", base64.b64decode(body, validate=True)) if suffix else None
    except binascii.Error:
        return None


def _generation(what: str) -> str:
    return f"{what}_generation"


def _uploader(what: str) -> str:
    # An uploader cannot be emptied, but under a new key it starts empty.
    return f"{what}_upload_{st.session_state[_generation(what)]}"


def _uploaded(what: str, take: Take) -> None:
    """Hands the files over and empties the uploader, whose list would otherwise stand beside the picture."""
    brought = st.session_state[_uploader(what)]
    files = brought if isinstance(brought, list) else [brought]
    files = [File(file.name, file.getvalue()) for file in files if file is not None]
    if files:
        st.session_state[_generation(what)] += 1
        take(files)


def _camera(what: str, take: Take) -> None:
    @st.dialog(f"Take a picture for the {what}", icon=":material/photo_camera:")
    def shoot() -> None:
        shot = st.camera_input("Camera", key=f"{what}_shot", label_visibility="collapsed", resolution="1080p")
        if shot is not None:
            take([File("camera.jpg", shot.getvalue())])
            st.rerun()

    shoot()


def _paste(what: str, take: Take, listens: bool) -> None:
    key = f"{what}_paste"
    most_mb = int(st.get_option("server.maxUploadSize"))
    button = components.element("paste")
    button(
        key=key,
        data={
            "label": f"Paste a picture for the {what}",
            "listens": listens,
            "most": most_mb * 1_000_000,
            "tooLarge": f"Larger than {most_mb} MB.",
        },
        width="content",
        on_picture_change=partial(_pasted, key, take),
    )


def _pasted(key: str, take: Take) -> None:
    file = of_url(str(st.session_state[key].get("picture") or ""), "pasted")
    if file is not None:
        take([file])
