"""Draws the sample pictures: `python -m ui.samples --output DIR [NAME ...]`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from ui.samples import cubist, engraving, knife, watercolour, woodblock

SIZE_PX = 768  # long side
QUALITY = 88  # of the JPEG
LARGEST_FILE = 250_000  # bytes; a picture with much fine detail is saved a little coarser

DRAW: Mapping[str, Callable[[int], Image.Image]] = {
    "waves": woodblock.waves,
    "birches": knife.birches,
    "engraving": engraving.engraving,
    "watercolour": watercolour.watercolour,
    "cubist": cubist.cubist,
}


def save(image: Image.Image, path: Path) -> None:
    """Writes a JPEG of at most `LARGEST_FILE` bytes."""
    for quality in range(QUALITY, 60, -4):
        image.save(path, quality=quality, optimize=True, progressive=True)
        if path.stat().st_size <= LARGEST_FILE:
            return


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws every sample into a directory."""
    parser = argparse.ArgumentParser(prog="python -m ui.samples", description="Draws the page's sample pictures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to draw: {', '.join(DRAW)} (default: all)")
    parser.add_argument("--output", type=Path, required=True, help="directory to write the JPEG files to")
    parser.add_argument("--size", type=int, default=SIZE_PX, help=f"long side in pixels (default: {SIZE_PX})")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in DRAW]:
        parser.error(f"`NAME` must be of {', '.join(DRAW)}. Received: {', '.join(unknown)}")
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.names or DRAW:
        path = options.output / f"{name}.jpg"
        save(DRAW[name](options.size), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
