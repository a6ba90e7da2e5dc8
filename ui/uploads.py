"""Pictures that people bring: checked, upright, and a thumbnail that fits its card."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageOps

from model.limits import MAX_INPUT_PX
from model.settings import StyleSettings
from serving import pictures, results
from serving.errors import InvalidInput
from serving.files import sha256
from ui.samples import Sample
from ui.wording import megapixels

THUMBNAIL_PX = (480, 320)

HEIF = f"This is {pictures.HEIF}."
NO_PICTURE = "This file is not a picture that can be read: choose a JPEG, PNG, WebP, GIF, BMP or TIFF file."
BROKEN = "This picture is damaged or of an unusual kind: open it in an image program, save it as JPEG and try again."


class BadPicture(Exception):
    """A file cannot be used. The text is one plain sentence for the person who brought it."""


@dataclass(frozen=True)
class Picture:
    """A picture that is ready to be sent.

    Attributes:
      data: encoded, upright, sRGB.
      width, height: in pixels.
      thumbnail: PNG of `THUMBNAIL_PX`, the picture in the middle, transparent around it, so that cards line up.
      alt: what it shows, for those who cannot see it.
      digest: of the file that was brought.
      settings: what made it, if it is a result that says so.
      sample: name of the sample that it is, or "" for a file that was brought.
    """

    data: bytes
    width: int
    height: int
    thumbnail: bytes
    alt: str
    digest: str
    settings: StyleSettings | None = None
    sample: str = ""


def load(data: bytes, argument: str, alt: str, background: str = pictures.BACKGROUND) -> Picture:
    """Makes a picture of a file's bytes.

    Args:
      data: the file.
      argument: what the picture is for: `content`, `style` or `mask`.
      alt: what it shows.
      background: colour that shows where it is transparent.

    Raises:
      BadPicture: it is no picture, too large, or damaged.
    """
    try:
        upright = pictures.prepare(data, argument, background=background)
    except pictures.NotAPicture as error:
        raise BadPicture(HEIF if pictures.is_heif(data) else NO_PICTURE) from error
    except pictures.TooManyPixels as error:
        raise BadPicture(_too_large(error.size)) from error
    except InvalidInput as error:
        raise BadPicture(BROKEN) from error
    with Image.open(io.BytesIO(upright)) as image:
        digest, settings = sha256(data), results.settings_of(data)
        return Picture(upright, image.width, image.height, thumbnail(image), alt, digest, settings)


def _too_large(size: tuple[int, int] | None) -> str:
    what = f"is larger than {megapixels(MAX_INPUT_PX)}"
    if size:
        width, height = size
        what = (
            f"has {width} x {height} pixels ({megapixels(width * height)}), and the limit is {megapixels(MAX_INPUT_PX)}"
        )
    return f"This picture {what}: make it smaller and try again."


def thumbnail(image: Image.Image) -> bytes:
    """Returns a small PNG of a picture, centred on a transparent ground."""
    ground = Image.new("RGBA", THUMBNAIL_PX)
    small = ImageOps.contain(image.convert("RGBA"), THUMBNAIL_PX)
    ground.paste(small, ((ground.width - small.width) // 2, (ground.height - small.height) // 2))
    out = io.BytesIO()
    ground.save(out, "PNG")
    return out.getvalue()


@lru_cache
def sample(which: Sample) -> Picture:
    """Returns a sample as a picture. Kept for all sessions: samples are nobody's."""
    data = which.path.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        digest = sha256(data)
        return Picture(data, *image.size, thumbnail(image), which.alt, digest, sample=which.name)


def as_png(data: bytes) -> bytes:
    """Returns a picture as PNG; what is PNG already stays as it is."""
    if data.startswith(b"\x89PNG"):
        return data
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.save(out, "PNG")
    return out.getvalue()
