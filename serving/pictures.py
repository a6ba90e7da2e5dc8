"""Input pictures: whatever Pillow reads becomes an upright sRGB picture that the graph decodes."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError

from model.limits import MAX_INPUT_PX, SHORT_SIDE_PX
from serving.errors import InvalidInput

BACKGROUND = "white"  # what shows where a picture is transparent
MASK_BACKGROUND = "black"  # where a mask is transparent it selects nothing

HEIF = (
    "a HEIF picture (.heic), as telephones take them, whose codec is patented and therefore not read here; "
    "save or export it as JPEG first"
)

_AS_IS = ("JPEG", "PNG")  # formats that the graph decodes as well as Pillow does


class NotAPicture(InvalidInput):
    """The bytes are not a picture of a format that is read."""


class TooManyPixels(InvalidInput):
    """The picture has more than MAX_INPUT_PX pixels; `size` is its width and height, where they were read."""

    def __init__(self, message: str, size: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.size = size


def prepare(data: bytes, argument: str, *, longest_px: int | None = None, background: str = BACKGROUND) -> bytes:
    """Returns a picture as the served model wants it: upright, sRGB, opaque, no larger than it will be used.

    Handles EXIF orientation, ICC profiles, transparency, greyscale, CMYK, 16 bits and animations (first frame). A
    picture that needs none of that is returned as it came.

    Args:
      data: an encoded picture of any format that Pillow reads.
      argument: what to call the picture in an error.
      longest_px: longest side to keep, as far as the short side then has SHORT_SIDE_PX; None keeps all.
      background: colour that shows where the picture is transparent, by name or as #RRGGBB.

    Returns:
      An encoded picture, JPEG or PNG.

    Raises:
      InvalidInput: NotAPicture, TooManyPixels, or another: the picture is damaged, or the background is no colour.
    """
    try:
        colour = ImageColor.getrgb(background)[:3]
    except ValueError as error:
        raise InvalidInput(f"`background` must be a colour, by name or as #RRGGBB. Received: {background}") from error
    try:
        with warnings.catch_warnings():
            # The size is checked right below, from the header; Pillow's own warning would come twice.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_INPUT_PX:
            raise TooManyPixels(
                f"`{argument}` must be a picture of at most {MAX_INPUT_PX} pixels. "
                f"Received: {image.width}x{image.height}",
                image.size,
            )
        image.load()
        ready = _ready(image, longest_px, colour)
    except UnidentifiedImageError as error:
        received = HEIF if is_heif(data) else f"{len(data)} bytes that are not one"
        raise NotAPicture(f"`{argument}` must be a picture. Received: {received}") from error
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"`{argument}` must be a picture of at most {MAX_INPUT_PX} pixels. {error}") from error
    except InvalidInput:
        raise
    except Exception as error:  # Pillow's readers raise almost anything on hostile files
        raise InvalidInput(f"`{argument}` must be an undamaged picture. Received: {error}") from error
    if ready is image and image.format in _AS_IS:
        return data
    output = io.BytesIO()
    ready.save(output, "PNG", compress_level=1, icc_profile=None)  # the profile that it came with is no longer true
    return output.getvalue()


_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def is_heif(data: bytes) -> bool:
    """Whether the file type box at the start names one of HEIF's brands (ISO/IEC 14496-12, 4.3)."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def _ready(image: Image.Image, longest_px: int | None, background: tuple[int, int, int]) -> Image.Image:
    """Returns the same object when there is nothing to do."""
    upright = ImageOps.exif_transpose(image) if image.getexif().get(0x0112, 1) != 1 else image  # 0x0112: Orientation
    opaque = _opaque(_eight_bits(upright), background)
    result = _srgb(opaque, image.info.get("icc_profile"))
    # A side of a few pixels would no longer say what ratio the picture has.
    scale = max(longest_px / max(result.size), SHORT_SIDE_PX / min(result.size)) if longest_px else 1.0
    if scale < 1:
        size = (round(result.width * scale), round(result.height * scale))
        result = result.resize(size, Image.Resampling.LANCZOS)
    return result


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N", "F"):
        # Pillow clips these modes instead of scaling them. 16-bit files use the whole range; numbers with a point go
        # from 0 to 1 by custom.
        values = image.convert("F")
        unit = image.mode == "F" and max(map(abs, values.getextrema())) <= 1  # type: ignore[arg-type]
        white = 1.0 if unit else 65535.0
        return values.point(lambda value: value * (255.0 / white) + 0.5).convert("L")
    return image


def _opaque(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if not image.has_transparency_data:
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba).convert("RGB")


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        # A profile is for the colours that a palette names; of two colours LittleCMS knows nothing.
        image = image.convert("RGB") if image.mode in ("P", "1") else image
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a profile that is broken or does not fit the picture: its plain values are the best guess
    return image if image.mode == "RGB" else image.convert("RGB")
