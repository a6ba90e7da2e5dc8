"""Visitors' pictures from files, the camera or the clipboard: checked, turned upright, and given a thumbnail."""

import base64
import binascii
import io
import mimetypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import NamedTuple

import streamlit as st
from PIL import Image, ImageEnhance, ImageOps

from model.limits import MAX_INPUT_PX
from model.settings import StyleSettings
from serving import pictures, results
from serving.errors import InvalidInput
from serving.files import sha256
from ui import components, windows
from ui.samples import Sample

THUMBNAIL_PX = (480, 320)
SMALL_PX = 640  # long side of a picture to work on; masks are soft enough to be enlarged
QUALITY = 95  # of an edited photograph's JPEG

NOUNS = {"content": "photo", "style": "style", "mask": "mask"}  # what each kind of picture is called on the page

HEIF = "The page cannot read HEIC, the format of iPhones: share or export this photo as JPEG, then add it again."
NO_PICTURE = "This file is not a picture that the page can read: choose a JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF file."
BROKEN = "This picture is damaged or in an unusual format: open it in an image editor, save it as JPEG and try again."


class BadPicture(Exception):
    """A file cannot be used. The text is one plain sentence for the visitor."""


class File(NamedTuple):
    """A visitor's file."""

    name: str
    data: bytes


Take = Callable[[Sequence[File]], None]
Share = tuple[int, int]  # from and to, in percent


@dataclass(frozen=True)
class Picture:
    """A picture that the model can use."""

    data: bytes  # the file; `Request.prepared` turns it upright, and makes it as small as the model needs it
    thumbnail: bytes  # see `thumbnail`
    alt: str  # what it shows, for those who cannot see it
    digest: str  # of the original file
    settings: StyleSettings | None = None  # that made it, if it is a result that holds them
    sample: str = ""  # the sample's name, or "" for a visitor's file
    name: str = ""  # of the sample or of the file


def load(data: bytes, argument: str, alt: str, name: str = "") -> Picture:
    """Makes a picture, for use as `content` or `style`, from a file's bytes; see `read` for errors."""
    small = read(data, argument, max(THUMBNAIL_PX))
    return Picture(data, thumbnail(small), alt, sha256(data), results.settings_of(data), name=name)


def read(data: bytes, argument: str, longest_px: int | None = None, background: str = pictures.BACKGROUND) -> bytes:
    """Returns a file as `pictures.prepare` does.

    Raises:
      BadPicture: it is not a picture, too large, or damaged.
    """
    try:
        return pictures.prepare(data, argument, longest_px=longest_px, background=background)
    except pictures.NotAPicture as error:
        raise BadPicture(HEIF if pictures.is_heif(data) else NO_PICTURE) from error
    except pictures.TooManyPixels as error:
        raise BadPicture(_too_large(error.size)) from error
    except InvalidInput as error:
        raise BadPicture(BROKEN) from error


def turned(picture: Picture) -> Picture:
    """Returns a picture turned by 90 degrees, clockwise; a transparent one stays so."""
    return _edited(picture, lambda image: image.transpose(Image.Transpose.ROTATE_270))


def cropped(picture: Picture, across: Share, down: Share) -> Picture:
    """Returns the part of a picture between shares of its width and of its height; a transparent one stays so."""
    return _edited(picture, lambda image: image.crop(_box(image, across, down)))


def crop_preview(picture: Picture, across: Share, down: Share) -> Image.Image:
    """Returns a small picture on which all that `cropped` removes is dark."""
    with Image.open(io.BytesIO(small(picture.data))) as image:
        box = _box(image, across, down)
        shown = ImageEnhance.Brightness(image).enhance(0.25)
        shown.paste(image.crop(box), box)
        return shown


@st.cache_data(scope="session", max_entries=2, show_spinner=False)
def small(data: bytes) -> bytes:
    """Returns a picture of SMALL_PX to crop or to paint a mask on."""
    return pictures.prepare(data, "content", longest_px=SMALL_PX)


def _box(image: Image.Image, across: Share, down: Share) -> tuple[int, int, int, int]:
    (left, right), (top, bottom) = across, down
    width, height = image.size
    return left * width // 100, top * height // 100, right * width // 100, bottom * height // 100


def _edited(picture: Picture, edit: Callable[[Image.Image], Image.Image]) -> Picture:
    upright = pictures.with_transparency_of(picture.data, pictures.prepare(picture.data, "content"))
    with Image.open(io.BytesIO(upright)) as image:
        edited = edit(image)
    if edited.has_transparency_data:
        data = components.saved(edited, "PNG")
    else:
        data = components.saved(edited.convert("RGB"), "JPEG", quality=QUALITY, subsampling=0)
    return replace(picture, data=data, thumbnail=thumbnail(data), digest=sha256(data), sample="")


def _too_large(size: tuple[int, int] | None) -> str:
    what = "is larger than"
    if size:
        width, height = size
        what = f"has {width} x {height} pixels ({width * height / 1e6:.0f} megapixels), and the limit is"
    return f"This picture {what} {MAX_INPUT_PX / 1e6:.0f} megapixels: make it smaller and try again."


def thumbnail(data: bytes) -> bytes:
    """Returns a picture centred in a transparent PNG of THUMBNAIL_PX, so that cards line up."""
    with Image.open(io.BytesIO(data)) as image:
        return components.saved(ImageOps.pad(image.convert("RGBA"), THUMBNAIL_PX, color=(0, 0, 0, 0)), "PNG")


def to_png(data: bytes) -> bytes:
    """Returns an encoded picture as PNG; a PNG stays as it is."""
    if data.startswith(b"\x89PNG"):
        return data
    with Image.open(io.BytesIO(data)) as image:
        return components.saved(image, "PNG")


@lru_cache
def sample(which: Sample) -> Picture:
    """Returns a sample as a picture. All sessions share the cache: samples are public."""
    data = which.path.read_bytes()
    return Picture(data, thumbnail(data), which.alt, sha256(data), sample=which.name, name=which.name)


def show(
    what: str, take: Take, *, several: bool = False, listens: bool = False, edit: Callable[[], None] | None = None
) -> None:
    """Draws the ways to add a picture, `content` or `style`: file, camera and clipboard; and a button to `edit` it.

    `take` is called with the new files, of which there may be `several` at a time. If the card `listens`, Ctrl+V
    anywhere on the page pastes into it.
    """
    show_uploader(what, take, several=several)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        # Not twice the same: a screen reader may list the buttons without the cards.
        camera = "Camera" if what == "content" else f"Photograph a {NOUNS[what]}"
        shoot = partial(_camera, camera, what, take)
        windows.button(camera, shoot, key=f"{what}_camera", icon=":material/photo_camera:", type="tertiary")
        _paste(what, take, listens)
        if edit:
            windows.button("Edit", edit, key=f"{what}_edit", icon=":material/crop_rotate:", type="tertiary")


def show_uploader(
    what: str, take: Take, *, several: bool = False, type: str = "image", max_upload_size: int | None = None
) -> None:
    """Draws only the file uploader; see `show`, and `st.file_uploader` for type and size."""
    key = _key(what)
    st.file_uploader(
        f"Upload your own {NOUNS.get(what, what)}", type=type, label_visibility="collapsed",
        max_upload_size=max_upload_size, key=key, on_change=_uploaded, args=(what, key, take),
        accept_multiple_files=several,
    )  # fmt: skip


def _key(what: str) -> str:
    return f"{what}_upload_{st.session_state.get(f'{what}_uploads', 0)}"


def _uploaded(what: str, key: str, take: Take) -> None:
    """Hands over the files and empties the uploader, so that it does not list them beside the picture."""
    if key != _key(what):
        return  # a browser may send the files once more before it hears of the empty one
    uploaded = st.session_state[key]
    several = uploaded if isinstance(uploaded, list) else [uploaded]
    if files := [File(file.name, file.getvalue()) for file in several if file is not None]:
        # An uploader cannot be emptied, but under a new key it starts empty.
        st.session_state[f"{what}_uploads"] = st.session_state.get(f"{what}_uploads", 0) + 1
        take(files)


def _camera(title: str, what: str, take: Take) -> None:
    def shot() -> None:
        if st.session_state[windows.OPEN] and (photograph := st.session_state[key]):  # it may be sent once more
            windows.close()
            take([File("camera.jpg", photograph.getvalue())])

    key = f"{what}_shot"
    st.camera_input(title, key=key, label_visibility="collapsed", resolution="1080p", on_change=shot)


def _paste(what: str, take: Take, listens: bool) -> None:
    def pasted() -> None:
        if file := from_url(str(st.session_state[key].get("picture") or ""), "pasted"):
            take([file])

    key, most_mb = f"{what}_paste", int(st.get_option("server.maxUploadSize"))
    components.element("paste")(
        key=key, width="content", on_picture_change=pasted,
        data={
            "label": f"Paste a {NOUNS[what]}", "listens": listens,
            "most": most_mb * 1_000_000, "tooLarge": f"Larger than {most_mb} MB.",
        },
    )  # fmt: skip


def from_url(url: str, name: str) -> File | None:
    """Returns the file in a data URL, named by its type, or None if there is none."""
    head, _, body = url.partition(",")
    kind = head.removeprefix("data:").removesuffix(";base64")
    try:
        data = base64.b64decode(body, validate=True)
    except binascii.Error:
        return None
    return File(name + (mimetypes.guess_extension(kind) or ""), data) if data else None
