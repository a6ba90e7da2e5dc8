"""The cost of a step against the pixels of the picture, both on logarithmic axes."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure


def cost(seconds: Mapping[int, float], path: Path) -> None:
    """Draws seconds a step by the side of a square picture, beside a line on which every pixel costs the same."""
    pixels = [size**2 for size in seconds]
    level = sum(seconds.values()) / sum(pixels)
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="pixels", ylabel="seconds a step")
    axes.plot(pixels, [level * count for count in pixels], color="0.7", label="every pixel costs the same")
    axes.plot(pixels, list(seconds.values()), "o", label="measured")
    axes.set_xticks(pixels, [f"{size}x{size}" for size in seconds])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path, dpi=150)
