"""Results as files: PNG, JPEG or WebP by the suffix, with their origin as text inside.

The text is one JSON object, in a PNG's iTXt chunk `style_transfer`, in a JPEG's or WebP's EXIF UserComment: those
survive copying, and any tool that shows metadata shows them.
"""

import functools
import io
import json
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, PngImagePlugin

from model.settings import StyleSettings, format_value
from serving.errors import InvalidInput
from serving.files import atomic_write
from serving.pictures import opaque
from serving.request import Request
from serving.responses import Description

PROGRAM = "style-transfer-serving 0.1.0"
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

_KEYWORD = "style_transfer"  # of the iTXt chunk
_QUALITY = 95  # of JPEG and WebP; above it files grow without a difference to be seen
_SOFTWARE, _EXIF_IFD, _USER_COMMENT = 0x0131, 0x8769, 0x9286  # EXIF tags
_ASCII = b"ASCII\0\0\0"  # the character code that opens a UserComment
_MAX_TEXT = 65_536  # characters; ours have about one thousand


@dataclass(frozen=True)
class Origin:
    """What made a result. Digests are of the files as they were given, as hexadecimal digits."""

    settings: StyleSettings
    model: Mapping[str, str]  # from its description: digest, the weights' name, precision and TensorFlow's version
    content_sha256: str
    styles_sha256: tuple[str, ...]
    step: int  # where the run ended
    steps: int  # of the whole run
    program: str = PROGRAM  # what wrote the file
    guides_sha256: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by the attribute of `Request`
    content_share: float = 0.0  # fraction of the content picture that was mixed into the result afterwards, 0 to 1

    @classmethod
    def of(cls, request: Request, model: Description | None, *, step: int, steps: int) -> Self:
        """Returns the origin of a run; `model` is its description for the request's settings, None if not known."""
        guides = dict(request.sha256)
        content, styles = guides.pop("content", ("",)), guides.pop("styles", ())
        model = model or Description(settings=request.settings)
        about = {name: getattr(model, name) for name in ("digest", "precision", "tensorflow")}
        about["weights"] = model.weights.name
        return cls(model.settings, about, content[0], styles, step, steps, guides_sha256=guides)

    def to_text(self) -> str:
        """Returns the origin as JSON, in ASCII."""
        return json.dumps({**vars(self), "settings": full_text(self.settings), "seed": self.settings.seed})

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Reads what `to_text` wrote; raises an error of Python's or a StyleTransferError on anything else."""
        values = json.loads(text)
        return cls(
            settings=StyleSettings.parse(values["settings"]),
            model={str(name): str(value) for name, value in values["model"].items()},
            content_sha256=str(values["content_sha256"]),
            styles_sha256=tuple(map(str, values["styles_sha256"])),
            step=int(values["step"]),
            steps=int(values["steps"]),
            program=str(values["program"]),
            guides_sha256={str(name): tuple(map(str, of)) for name, of in values.get("guides_sha256", {}).items()},
            content_share=float(values.get("content_share", 0.0)),
        )


def full_text(settings: StyleSettings) -> str:
    """Returns every setting as text, defaults too: a later default must not change what the text means."""
    return ",".join(f"{name}={format_value(value)}" for name, value in settings.items())


@dataclass(frozen=True)
class Result:
    """The picture at the end of a run. A notebook shows it.

    Attributes:
      image: the picture as PNG.
      origin: what made it: its settings, the model, digests of the pictures, the step.
      losses: float32 [N, 4], a row for each step: total, content, style, total_variation.
      stopped: why the run ended before its last step, `converged` or `not_finite`; else "".
    """

    image: bytes = field(repr=False)
    origin: Origin
    losses: npt.NDArray[np.float32] = field(repr=False)
    stopped: str = ""

    def save(self, path: str | Path, *, metadata: bool = True) -> None:
        """Writes a PNG, JPEG or WebP file, by the suffix of its name.

        >>> result = client.stylize("photo.jpg", "painting.jpg", size=512, steps=60)
        >>> result.save("out.jpg")
        >>> origin_of(Path("out.jpg").read_bytes()) == result.origin
        True

        Args:
          path: of the file; one that is there is replaced.
          metadata: whether the file tells its origin, which `origin_of` reads.

        Raises:
          InvalidInput: another suffix, or the file cannot be written there; the text names a file that has the picture.
        """
        check_suffix(path := Path(path), "path")
        atomic_write(path, encode_result(self.image, path.suffix, self.origin if metadata else None))

    def to_pil(self) -> Image.Image:
        return Image.open(io.BytesIO(self.image))

    def _repr_png_(self) -> bytes:
        return self.image


def check_suffix(path: Path, argument: str) -> None:
    """Raises InvalidInput for the name of a file that results cannot be written to."""
    if path.suffix.lower() not in SUFFIXES:
        *others, last = SUFFIXES
        raise InvalidInput(f"`{argument}` must end in {', '.join(others)} or {last}. Received: {path}")


def encode_result(png: bytes, suffix: str, origin: Origin | None = None) -> bytes:
    """Returns a result as a file of a format, tagged as sRGB.

    PNG keeps the very pixels and compression that the server sent. JPEG has quality 95 and no subsampling of colours
    (4:4:4), WebP quality 95. In a JPEG, what is transparent becomes white.

    Args:
      png: `Progress.image`, or another PNG.
      suffix: one of SUFFIXES.
      origin: what to embed; None: nothing.
    """
    kind = SUFFIXES[suffix.lower()]
    if kind == "PNG":
        return _with_chunks(png, origin)
    # Only JPEG knows the last.
    options: dict[str, Any] = {"quality": _QUALITY, "icc_profile": _srgb_profile(), "subsampling": "4:4:4"}
    if origin is not None:
        options["exif"] = exif = Image.Exif()
        exif[_SOFTWARE] = PROGRAM
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _ASCII + origin.to_text().encode("ascii")
    output = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        (image if kind == "WEBP" else opaque(image).convert("RGB")).save(output, kind, **options)
    return output.getvalue()


def settings_of(data: bytes) -> StyleSettings | None:
    """Returns the settings that a result was made with, or None where there are none that this version can read."""
    return origin.settings if (origin := origin_of(data)) else None


def origin_of(data: bytes) -> Origin | None:
    """Returns the origin in a result's file, or None where there is none. The pixels are not decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about whatever else is in the file
            with Image.open(io.BytesIO(data), formats=tuple(set(SUFFIXES.values()))) as image:
                text = _embedded(image)
        return Origin.from_text(text) if 0 < len(text) <= _MAX_TEXT else None
    except Exception:  # noqa: BLE001 - a damaged or hostile file makes Pillow and the parsers raise almost anything
        return None


def _embedded(image: Image.Image) -> str:
    if text := image.info.get(_KEYWORD):
        return str(text)
    comment = image.getexif().get_ifd(_EXIF_IFD)[_USER_COMMENT]
    comment = comment.encode("latin-1") if isinstance(comment, str) else comment
    return str(comment.removeprefix(_ASCII), "ascii")


def _with_chunks(png: bytes, origin: Origin | None) -> bytes:
    """Puts chunks behind the header of a PNG (https://www.w3.org/TR/png-3/): sRGB, and the text uncompressed."""
    header_end = 8 + 25  # the signature, and IHDR, which is always the first chunk and always as long
    output = io.BytesIO()
    output.write(png[:header_end])
    PngImagePlugin.putchunk(output, b"sRGB", b"\0")  # rendering intent: perceptual
    if origin is not None:
        # Keyword, no compression, no language, no translated keyword.
        PngImagePlugin.putchunk(output, b"iTXt", _KEYWORD.encode(), bytes(5), origin.to_text().encode())
    output.write(png[header_end:])
    return output.getvalue()


@functools.cache
def _srgb_profile() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # LittleCMS writes the time of creation (ICC.1:2022, 7.2); the same result must give the same file.
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return bytes(profile)
