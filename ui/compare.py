"""Before and after in one frame: a line that is dragged, or moved by the arrow keys, between photograph and result."""

from __future__ import annotations

import io

from PIL import Image

from ui import components
from ui.components import jpeg_url

LONGEST_PX = 1024  # of a picture in the frame; the download has all pixels
QUALITY = 88


def pair(before: bytes, after: bytes) -> dict[str, str] | None:
    """Returns a photograph and its result as the frame shows them, equally large, or None if one cannot be read."""
    try:
        with Image.open(io.BytesIO(after)) as result, Image.open(io.BytesIO(before)) as photograph:
            shown = result.convert("RGB")
            shown.thumbnail((LONGEST_PX, LONGEST_PX))
            before_shown = photograph.convert("RGB").resize(shown.size)
            return {"before": jpeg_url(before_shown, QUALITY), "after": jpeg_url(shown, QUALITY)}
    except (OSError, ValueError, SyntaxError):
        return None


def show(data: dict[str, str], key: str) -> None:
    """Draws the frame."""
    components.element("compare")(data=data, key=key)
