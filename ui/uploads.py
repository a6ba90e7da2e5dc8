"""Visitors' pictures from files, the camera or the clipboard: checked, turned upright, and given a thumbnail."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import streamlit as st
from PIL import Image, ImageOps

from model.limits import MAX_INPUT_PX
from model.settings import StyleSettings
from serving import pictures, results
from serving.errors import InvalidInput
from serving.files import sha256
from ui import components
from ui.samples import Sample

THUMBNAIL_PX = (480, 320)
PASTED = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif", "image/bmp": "bmp"}
"""The picture types accepted from the clipboard, each with its file suffix."""

HEIF = f"This is {pictures.HEIF}."
NO_PICTURE = "This file is not a picture that the page can read: choose a JPEG, PNG, WebP, GIF, BMP or TIFF file."
BROKEN = "This picture is damaged or in an unusual format: open it in an image editor, save it as JPEG and try again."


class BadPicture(Exception):
    """A file cannot be used. The text is one plain sentence for the visitor."""


class File(NamedTuple):
    """A visitor's file."""

    name: str
    data: bytes


Take = Callable[[Sequence[File]], None]


@dataclass(frozen=True)
class Picture:
    """A picture that is ready to be sent.

    Attributes:
      data: encoded, upright, sRGB.
      thumbnail: see `thumbnail`.
      alt: what it shows, for those who cannot see it.
      digest: of the original file.
      settings: the settings that made it, if it is a result that holds them.
      sample: the sample's name, or "" for a visitor's file.
      name: of the sample or of the file.
    """

    data: bytes
    thumbnail: bytes
    alt: str
    digest: str
    settings: StyleSettings | None = None
    sample: str = ""
    name: str = ""


def load(data: bytes, argument: str, alt: str, background: str = pictures.BACKGROUND, name: str = "") -> Picture:
    """Makes a picture from a file's bytes.

    Args:
      data: the file.
      argument: what the picture is for: `content`, `style` or `mask`.
      alt: what it shows.
      background: colour that shows where it is transparent.
      name: of the file.

    Raises:
      BadPicture: it is not a picture, too large, or damaged.
    """
    try:
        upright = pictures.prepare(data, argument, background=background)
    except pictures.NotAPicture as error:
        raise BadPicture(HEIF if pictures.is_heif(data) else NO_PICTURE) from error
    except pictures.TooManyPixels as error:
        raise BadPicture(_too_large(error.size)) from error
    except InvalidInput as error:
        raise BadPicture(BROKEN) from error
    return Picture(upright, thumbnail(upright), alt, sha256(data), results.settings_of(data), name=name)


def _too_large(size: tuple[int, int] | None) -> str:
    limit = f"{MAX_INPUT_PX / 1e6:.0f} megapixels"
    what = f"is larger than {limit}"
    if size:
        width, height = size
        what = f"has {width} x {height} pixels ({width * height / 1e6:.0f} megapixels), and the limit is {limit}"
    return f"This picture {what}: make it smaller and try again."


def thumbnail(data: bytes) -> bytes:
    """Returns a picture centred in a transparent PNG of THUMBNAIL_PX, so that cards line up."""
    with Image.open(io.BytesIO(data)) as image:
        return _as_png(ImageOps.pad(image.convert("RGBA"), THUMBNAIL_PX, color=(0, 0, 0, 0)))


def _as_png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def to_png(data: bytes) -> bytes:
    """Returns an encoded picture as PNG; a PNG stays as it is."""
    if data.startswith(b"\x89PNG"):
        return data
    with Image.open(io.BytesIO(data)) as image:
        return _as_png(image)


@lru_cache
def sample(which: Sample) -> Picture:
    """Returns a sample as a picture. All sessions share the cache: samples are public."""
    data = which.path.read_bytes()
    return Picture(data, thumbnail(data), which.alt, sha256(data), sample=which.name, name=which.name)


def show(what: str, take: Take, *, several: bool = False, listens: bool = False) -> None:
    """Draws the ways to add a picture: file, camera and clipboard.

    Args:
      what: `content` or `style`.
      take: called with the new files.
      several: whether more than one file may be added at a time.
      listens: whether Ctrl+V anywhere on the page pastes into this card.
    """
    show_uploader(what, take, several=several)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        if st.button("Camera", key=f"{what}_camera", icon=":material/photo_camera:", type="tertiary"):
            _camera(what, take)
        _paste(what, take, listens)


def show_uploader(
    what: str, take: Take, *, several: bool = False, type: str = "image", max_upload_size: int | None = None
) -> None:
    """Draws only the file uploader; see `show`, and `st.file_uploader` for type and size."""
    # An uploader cannot be emptied, but under a new key it starts empty.
    key = f"{what}_upload_{count(what)}"
    st.file_uploader(
        f"Upload your own {what}", type=type, label_visibility="collapsed", max_upload_size=max_upload_size, key=key,
        on_change=_uploaded, args=(what, key, take), accept_multiple_files=several,
    )  # fmt: skip


def count(what: str) -> int:
    """Returns how often files were added by the uploader of this name."""
    return int(st.session_state.get(_count(what), 0))


def _count(what: str) -> str:
    return f"{what}_uploads"


def _uploaded(what: str, key: str, take: Take) -> None:
    """Hands over the files and empties the uploader, so that it does not list them beside the picture."""
    uploaded = st.session_state[key]
    files = uploaded if isinstance(uploaded, list) else [uploaded]
    files = [File(file.name, file.getvalue()) for file in files if file is not None]
    if files:
        st.session_state[_count(what)] = count(what) + 1
        take(files)


def _camera(what: str, take: Take) -> None:
    @st.dialog(f"Take a picture to use as the {what}", icon=":material/photo_camera:")
    def shoot() -> None:
        shot = st.camera_input("Camera", key=f"{what}_shot", label_visibility="collapsed", resolution="1080p")
        if shot is not None:
            take([File("camera.jpg", shot.getvalue())])
            st.rerun()

    shoot()


def _paste(what: str, take: Take, listens: bool) -> None:
    key = f"{what}_paste"
    most_mb = int(st.get_option("server.maxUploadSize"))
    components.element("paste")(
        key=key,
        data={
            "label": f"Paste a picture to use as the {what}",
            "listens": listens,
            "most": most_mb * 1_000_000,
            "tooLarge": f"Larger than {most_mb} MB.",
        },
        width="content",
        on_picture_change=partial(_pasted, key, take),
    )


def _pasted(key: str, take: Take) -> None:
    file = from_url(str(st.session_state[key].get("picture") or ""), "pasted")
    if file is not None:
        take([file])


def from_url(url: str, name: str) -> File | None:
    """Returns the picture in a data URL, named by its type, or None if there is none."""
    head, _, body = url.partition(",")
    suffix = PASTED.get(head.removeprefix("data:").removesuffix(";base64"))
    try:
        return File(f"{name}.{suffix}", base64.b64decode(body, validate=True)) if suffix else None
    except binascii.Error:
        return None
