"""Input pictures: whatever Pillow reads becomes an upright sRGB picture that the graph decodes."""

import contextlib
import io
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError

from model.limits import MAX_INPUT_PX, SHORT_SIDE_PX
from serving.errors import InvalidInput

BACKGROUND = "white"  # what shows where a picture is transparent
MASK_BACKGROUND = "black"  # where a mask is transparent it selects nothing

HEIF = (
    "a HEIF picture (.heic), as telephones take them, whose codec is patented and therefore not read here; "
    "save or export it as JPEG first"
)

_ORIENTATION = 0x0112  # an EXIF tag; the turns are those of its values from 2 on
_TURNS = dict(enumerate((Image.Transpose(turn) for turn in (0, 3, 1, 5, 4, 6, 2)), 2))
_BITS, _PHOTOMETRIC, _SAMPLES = 258, 262, 339  # TIFF tags
_WHITE_IS_ZERO, _SIGNED = 0, 2  # values of the latter two
_OVERSHOOT = 0.5  # how far beyond black and white resizing and sharpening may lead


class NotAPicture(InvalidInput):
    """The bytes are not a picture of a format that is read."""


class TooManyPixels(InvalidInput):
    """The picture has more than MAX_INPUT_PX pixels; `size` is its width and height, where they were read."""

    def __init__(self, message: str, size: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.size = size


def prepare(
    data: bytes | Image.Image, argument: str, *, longest_px: int | None = None, background: str = BACKGROUND
) -> bytes:
    """Returns a picture as the served model wants it: upright, sRGB, opaque, no larger than it will be used.

    Handles EXIF orientation, ICC profiles, transparency, greyscale, CMYK, 16 bits and animations (first frame). What
    Pillow forgives in a file the graph may not: so what is to be sent is encoded anew.

    Args:
      data: an encoded picture of any format that Pillow reads, or a PIL image.
      argument: what to call the picture in an error.
      longest_px: longest side to keep, as far as the short side then has SHORT_SIDE_PX; None, where the picture is not
        to be sent yet, keeps all.
      background: colour that shows where the picture is transparent, by name or as #RRGGBB.

    Returns:
      A PNG, the same for what was returned before; without `longest_px` a plain PNG or JPEG as it came.

    Raises:
      InvalidInput: NotAPicture, TooManyPixels, or another: the picture is damaged, or the background is no colour.
    """
    try:
        colour = ImageColor.getrgb(background)[:3]
    except ValueError as error:
        raise InvalidInput(f"`background` must be a colour, by name or as #RRGGBB. Received: {background}") from error
    limit = f"`{argument}` must be a picture of at most {MAX_INPUT_PX} pixels"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd in a file need not be shown, and Pillow's source still less
            image = data if isinstance(data, Image.Image) else _open(data, argument)
            if image.width * image.height > MAX_INPUT_PX:
                raise TooManyPixels(f"{limit}. Received: {image.width}x{image.height}", image.size)
            image.load()
            if isinstance(data, bytes) and image.format == "PNG":
                _scale_transparency(image, bits=data[24])  # as its header has them
            ready = _ready(image, longest_px, colour)
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"{limit}. {error}") from error
    except InvalidInput:
        raise
    except Exception as error:  # Pillow's readers raise almost anything on hostile files
        raise InvalidInput(f"`{argument}` must be an undamaged picture. Received: {error}") from error
    if isinstance(data, bytes) and longest_px is None and ready is image and image.format in ("JPEG", "PNG"):
        return data
    ready = ready.copy()  # it may be the caller's image
    ready.info = {}  # the profile that it came with is no longer true
    output = io.BytesIO()
    ready.save(output, "PNG", compress_level=1)
    return output.getvalue()


def with_transparency_of(original: bytes, result: bytes) -> bytes:
    """Returns a PNG of an opaque result, as transparent as the picture that it was made from, which `prepare` accepts.

    Where the original is opaque, the result is returned as it came.
    """
    with Image.open(io.BytesIO(original)) as image:
        if not image.has_transparency_data:
            return result
        image.load()
        if image.format == "PNG":
            _scale_transparency(image, bits=original[24])
        alpha = _turned(_eight_bits(image).convert("RGBA").getchannel("A"), like=image)
    if alpha.getextrema()[0] == 255:
        return result
    with Image.open(io.BytesIO(result)) as image:
        clear = image.convert("RGB")
    clear.putalpha(alpha.resize(clear.size, Image.Resampling.LANCZOS))
    output = io.BytesIO()
    clear.save(output, "PNG")
    return output.getvalue()


def _open(data: bytes, argument: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        received = HEIF if is_heif(data) else f"{len(data)} bytes that are not one"
        raise NotAPicture(f"`{argument}` must be a picture. Received: {received}") from error


_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def is_heif(data: bytes) -> bool:
    """Whether the file type box at the start names one of HEIF's brands (ISO/IEC 14496-12, 4.3)."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def _ready(image: Image.Image, longest_px: int | None, background: tuple[int, int, int]) -> Image.Image:
    """Returns the same object when there is nothing to do."""
    flat = opaque(_eight_bits(image), background)
    result = _turned(_srgb(flat, image.info.get("icc_profile")), like=image)
    # A side of a few pixels would no longer say what ratio the picture has.
    scale = max(longest_px / max(result.size), SHORT_SIDE_PX / min(result.size)) if longest_px else 1.0
    if scale < 1:
        size = (round(result.width * scale), round(result.height * scale))
        result = result.resize(size, Image.Resampling.LANCZOS)
    return result


def _turned(image: Image.Image, like: Image.Image) -> Image.Image:
    """Turns a picture upright, as the tags of another one say."""
    # Pillow's own way writes the tags anew, and fails on those of a wrong type.
    with contextlib.suppress(Exception):  # what cannot be read says nothing of the picture
        turn = _TURNS.get(like.getexif().get(_ORIENTATION, 1))
        return image if turn is None else image.transpose(turn)
    return image


def _scale_transparency(image: Image.Image, bits: int) -> None:
    """Brings the grey or colour that stands for clear from the range of a PNG's samples to that of the pixels."""
    clear = image.info.get("transparency")
    if image.mode == "L" and clear is not None:
        image.info["transparency"] = clear * 255 // (2**bits - 1)
    if image.mode == "RGB" and clear is not None:
        image.info["transparency"] = tuple(value >> bits - 8 for value in clear)


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    # Pillow clips these modes instead of scaling them. Integers use the whole range of their bits, 32 of them that of
    # 16; numbers with a point go from 0 to 1 by custom.
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, (16,))[0] - (tags.get(_SAMPLES, (1,))[0] == _SIGNED)
    white, beyond = (1, _OVERSHOOT) if image.mode == "F" else (2 ** min(bits, 16) - 1, 0)
    values = np.asarray(image.convert("F"))
    if not (values.min() >= -beyond and values.max() <= white + beyond):
        raise ValueError(f"grey from {values.min():g} to {values.max():g}, where {white} is white")
    grey = Image.fromarray((np.clip(values / white, 0, 1) * 255 + 0.5).astype(np.uint8))
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = ImageOps.invert(grey)
    if "transparency" in image.info:
        grey.putalpha(Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def opaque(image: Image.Image, background: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Returns a picture on a background that shows where it is transparent."""
    if not image.has_transparency_data:
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba).convert("RGB")


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        # A profile is for the colours that a palette names; of two colours LittleCMS knows nothing.
        image = image.convert("RGB") if image.mode in ("P", "1") else image
        # If it is broken or does not fit the picture, the plain values are the best guess.
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            srgb = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB") or image
    return image if image.mode == "RGB" else image.convert("RGB")
