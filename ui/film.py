"""The film of a run: a few of its previews, and the animated WebP that they make."""

import io

from PIL import Image, ImageOps

from ui.components import saved

MOST_FRAMES = 48
LONGEST_PX = 384  # long side of a frame
FRAME_MS, LAST_MS = 100, 2500  # how long each frame shows; the last is the result
QUALITY = 80  # of frames and film; a film of all frames has about a megabyte


class Film:
    """Frames from the previews of a run, evenly spaced however many there are."""

    def __init__(self) -> None:
        self.frames: tuple[bytes, ...] = ()  # JPEG, oldest first, MOST_FRAMES at most
        self._every = 1  # one of so many previews becomes a frame
        self._previews = 0

    def add(self, preview: bytes) -> None:
        """Adds a preview, as JPEG."""
        if self._previews % self._every == 0:
            if len(self.frames) == MOST_FRAMES:
                self.frames, self._every = self.frames[::2], 2 * self._every
            self.frames = (*self.frames, frame(preview))
        self._previews += 1


def frame(picture: bytes) -> bytes:
    """Returns an encoded picture as JPEG, at most LONGEST_PX long."""
    with Image.open(io.BytesIO(picture)) as image:
        image.thumbnail((LONGEST_PX, LONGEST_PX))
        return saved(image.convert("RGB"), "JPEG", quality=QUALITY)


def as_webp(frames: tuple[bytes, ...], result: bytes) -> bytes:
    """Returns an animated WebP of frames of any sizes and, at the end, the result, whose aspect ratio it has."""
    with Image.open(io.BytesIO(result)) as image:
        last = ImageOps.contain(image.convert("RGB"), (LONGEST_PX, LONGEST_PX))
    pictures = [Image.open(io.BytesIO(one)).convert("RGB").resize(last.size) for one in frames]
    first, *rest = [*pictures, last]
    durations = [FRAME_MS] * len(rest) + [LAST_MS]
    return saved(first, "WEBP", save_all=True, append_images=rest, duration=durations, loop=0, quality=QUALITY)
