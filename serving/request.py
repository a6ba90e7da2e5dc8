"""What a run is made from: one value for client, batch, run file and page."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from PIL import Image

from model.limits import MAX_STYLES
from model.settings import StyleSettings
from serving.errors import InvalidInput
from serving.files import read_file, sha256
from serving.pictures import BACKGROUND, MASK_BACKGROUND, prepare

MASKS = ("content_masks", "style_masks")

Picture = str | Path | bytes | Image.Image
"""A picture as callers give it: the path of a file, the bytes of one, or a PIL image."""


@dataclass(frozen=True)
class Request:
    """What a run is made from.

    Attributes:
      content: an encoded picture.
      styles: 1 to MAX_STYLES encoded pictures.
      settings: all that can be set.
      content_masks: for each style an encoded picture that is white where that style paints; an empty one stands for
        what the others leave. None at all: the styles blend everywhere.
      style_masks: for each style an encoded picture that is white where it counts; empty: all of it.
      initial: an encoded picture to start from; empty: as the settings' `start` says.
      background: colour that shows where a picture is transparent; a mask is black there.
      sha256: digests of the files as they were given, by attribute, as hexadecimal digits; empty: the pictures are
        those files.
    """

    content: bytes
    styles: Sequence[bytes]
    settings: StyleSettings = field(default_factory=StyleSettings)
    content_masks: Sequence[bytes] = ()
    style_masks: Sequence[bytes] = ()
    initial: bytes = b""
    background: str = BACKGROUND
    sha256: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.styles) <= MAX_STYLES:
            raise InvalidInput(f"`styles` must be 1 to {MAX_STYLES} pictures. Received: {len(self.styles)}")
        for name in MASKS:
            if (count := len(getattr(self, name))) not in (0, len(self.styles)):
                expected = f"one for each of the {len(self.styles)} styles, or none"
                raise InvalidInput(f"`{name}` must be {expected}. Received: {count}")

    @classmethod
    def read(
        cls,
        content: Picture,
        styles: Picture | Sequence[Picture],
        settings: StyleSettings | None = None,
        *,
        content_masks: Picture | Sequence[Picture] = (),
        style_masks: Picture | Sequence[Picture] = (),
        initial: Picture = b"",
        background: str = BACKGROUND,
        **values: Any,
    ) -> Self:
        """Returns the request for pictures that are paths of files, the bytes of files, or PIL images.

        A text is always a path. The arguments are those of `Request`; `values` are settings by name, such as
        `size=512`, and replace those in `settings`.

        Raises:
          InvalidInput: an argument is wrong or its file cannot be read; the text names it.
        """

        def read_all(name: str, given: Picture | Sequence[Picture]) -> tuple[bytes, ...]:
            several = [given] if isinstance(given, (str, bytes)) or not isinstance(given, Sequence) else given
            behind = MASK_BACKGROUND if name in MASKS else background
            return tuple(_read(picture, name, behind) for picture in several)

        return cls(
            _read(content, "content", background),
            read_all("styles", styles),
            (settings or StyleSettings()).replace(**values),
            content_masks=read_all("content_masks", content_masks),
            style_masks=read_all("style_masks", style_masks),
            initial=_read(initial, "initial", background),
            background=background,
        )

    @classmethod
    def from_pictures(
        cls, pictures: Mapping[str, tuple[bytes, ...]], settings: StyleSettings, digests: Mapping[str, tuple[str, ...]]
    ) -> Self:
        """Returns the request with these `pictures` and, as `sha256`, these digests."""
        content_masks, style_masks = (pictures.get(name, ()) for name in MASKS)
        (content,), (initial,) = pictures["content"], pictures.get("initial", (b"",))
        return cls(content, pictures["styles"], settings, content_masks, style_masks, initial, sha256=digests)

    @property
    def pictures(self) -> dict[str, tuple[bytes, ...]]:
        """All pictures by attribute, without empty masks and an empty start."""
        guides = {"content_masks": self.content_masks, "style_masks": self.style_masks, "initial": (self.initial,)}
        said = {name: tuple(pictures) for name, pictures in guides.items() if any(pictures)}
        return {"content": (self.content,), "styles": tuple(self.styles), **said}

    def prepared(self) -> Self:
        """Returns the same request with its pictures as `prepare` makes them, or raises its InvalidInput."""
        ready = {name: tuple(self._prepared(data, name) for data in all_) for name, all_ in self.pictures.items()}
        digests = self.sha256 or {name: tuple(map(sha256, all_)) for name, all_ in self.pictures.items()}
        return self.from_pictures(ready, self.settings, digests)

    def _prepared(self, data: bytes, name: str) -> bytes:
        if name in MASKS and not data:
            return data
        longest_px = self.settings.size
        if name in ("styles", "style_masks"):
            # As large as the model may use it.
            longest_px = math.ceil((self.settings.style_size or longest_px) * max(1.0, self.settings.style_scale))
        background = MASK_BACKGROUND if name in MASKS else self.background
        ready = prepare(data, name, longest_px=longest_px, background=background)
        if name in MASKS and Image.open(io.BytesIO(ready)).convert("L").getextrema()[1] == 1:
            raise InvalidInput(f"`{name}` must be white, 255, where a style counts. Received: a picture from 0 to 1")
        return ready


def _read(picture: object, name: str, background: str) -> bytes:
    if isinstance(picture, Image.Image):
        return prepare(picture, name, background=background)
    if isinstance(picture, (str, Path)):
        return read_file(Path(picture), f"`{name}`")
    if not isinstance(picture, bytes):
        expected = "the path of a picture, its bytes or a PIL image"
        raise InvalidInput(f"`{name}` must be {expected}. Received: {type(picture).__name__}")
    return picture
