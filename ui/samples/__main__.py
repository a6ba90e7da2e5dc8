"""Draws the sample pictures: `python -m ui.samples --output DIR`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from ui.samples import lake, paintings, sea

SIZE_PX = 768  # long side
QUALITY = 88  # of the JPEG
LARGEST_FILE = 250_000  # bytes; a picture with much fine detail is saved a little coarser

DRAW: Mapping[str, Callable[[int], Image.Image]] = {
    "dusk_lake": lake.dusk_lake,
    "lighthouse": sea.lighthouse,
    "eddies": paintings.eddies,
    "stained_glass": paintings.stained_glass,
    "waves": paintings.waves,
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
    parser.add_argument("--output", type=Path, required=True, help="directory to write the JPEG files to")
    parser.add_argument("--size", type=int, default=SIZE_PX, help=f"long side in pixels (default: {SIZE_PX})")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAW.items():
        path = options.output / f"{name}.jpg"
        save(draw(options.size), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
