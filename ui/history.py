"""What this visit has made: a bounded list of results, and a zip of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from serving import results
from serving.results import Origin
from ui import uploads

MOST = 12  # results of a visit; the oldest goes
FORMATS = {"PNG": (".png", "image/png"), "JPEG": (".jpg", "image/jpeg"), "WebP": (".webp", "image/webp")}
"""By the name that people read: suffix and MIME type of a download."""


@dataclass(frozen=True)
class Kept:
    """A result that is kept.

    Attributes:
      number: of the job that made it.
      png: the picture.
      thumbnail: PNG of `uploads.THUMBNAIL_PX`.
      content: the photograph that it was made of, encoded.
      origin: what made it.
    """

    number: int
    png: bytes
    thumbnail: bytes
    content: bytes
    origin: Origin


def keep(kept: Sequence[Kept], number: int, picture: bytes, content: bytes, made_by: Origin) -> tuple[Kept, ...]:
    """Returns the list with a result at its head; an earlier picture of the same job gives way to it."""
    with Image.open(io.BytesIO(picture)) as image:
        new = Kept(number, uploads.as_png(picture), uploads.thumbnail(image), content, made_by)
    return (new, *(one for one in kept if one.number != number))[:MOST]


def encode(picture: bytes, name: str, made_by: Origin) -> bytes:
    """Returns a picture as a file of one of FORMATS, with what made it inside."""
    return results.encode_result(uploads.as_png(picture), FORMATS[name][0], made_by)


def as_zip(kept: Sequence[Kept]) -> bytes:
    """Returns the results as PNG files in a zip, oldest first."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for place, one in enumerate(reversed(kept), start=1):
            archive.writestr(f"stylised-{place:02}.png", encode(one.png, "PNG", one.origin))
    return out.getvalue()
