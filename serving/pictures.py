"""Pictures at the edges: whatever people bring becomes an upright sRGB picture that the graph decodes."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from model.errors import InvalidInput
from model.settings import MAX_INPUT_PX

_AS_IS = ("JPEG", "PNG")  # formats that the graph decodes as well as Pillow does


def prepare(data: bytes, argument: str, *, longest_px: int | None = None) -> bytes:
    """Returns a picture as the served model wants it: upright, sRGB, opaque, no larger than it will be used.

    Handles EXIF orientation, ICC profiles, transparency (over white), greyscale, CMYK, 16 bits and animations (first
    frame). A picture that needs none of that is returned as it came.

    Args:
      data: an encoded picture of any format that Pillow reads.
      argument: what to call the picture in an error.
      longest_px: longest side to keep; None keeps all.

    Returns:
      An encoded picture, JPEG or PNG.

    Raises:
      InvalidInput: the bytes are no picture, a damaged one, or one of more than MAX_INPUT_PX pixels.
    """
    try:
        with warnings.catch_warnings():
            # The size is checked right below, from the header; Pillow's own warning would come twice.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_INPUT_PX:
            raise InvalidInput(
                f"`{argument}` must be a picture of at most {MAX_INPUT_PX} pixels. "
                f"Received: {image.width}x{image.height}"
            )
        image.load()
        ready = _ready(image, longest_px)
    except UnidentifiedImageError as error:
        raise InvalidInput(f"`{argument}` must be a picture. Received: {len(data)} bytes that are none") from error
    except Image.DecompressionBombError as error:
        raise InvalidInput(f"`{argument}` must be a picture of at most {MAX_INPUT_PX} pixels. {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"`{argument}` must be an undamaged picture. Received: {error}") from error
    if ready is image and image.format in _AS_IS:
        return data
    output = io.BytesIO()
    ready.save(output, "PNG", compress_level=1)
    return output.getvalue()


def _ready(image: Image.Image, longest_px: int | None) -> Image.Image:
    """Returns the same object when there is nothing to do."""
    upright = ImageOps.exif_transpose(image) if image.getexif().get(0x0112, 1) != 1 else image  # 0x0112: Orientation
    opaque = _opaque(_eight_bits(upright))
    result = _srgb(opaque, image.info.get("icc_profile"))
    if longest_px is not None and max(result.size) > longest_px:
        scale = longest_px / max(result.size)
        size = (max(1, round(result.width * scale)), max(1, round(result.height * scale)))
        result = result.resize(size, Image.Resampling.LANCZOS)
    return result


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N", "F"):
        # Pillow clips these modes instead of scaling them; 16-bit files use the whole range.
        return image.convert("F").point(lambda value: value / 257).convert("L")
    return image


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a profile that is broken or does not fit the picture: its plain values are the best guess
    return image if image.mode == "RGB" else image.convert("RGB")
