"""Targets 1, 2 and 8: a step beside the convolutions it cannot do without."""

from collections.abc import Iterator, Sequence

from model.layers import BLOCK_STARTS
from tests.benchmarks.bench.loops import FIVE_LAYERS, Model, floor, quickest, step
from tests.benchmarks.bench.records import Record

OVER_FLOOR = 1.2
STATISTICS = ("gram", "wasserstein")  # what Gatys et al. compare, and what our own recipe does
PER_PIXEL = 1.15
SHALLOW = 0.36  # 14.7 of 47.3 GFLOP at 256x256


def over_floor(model: Model, sizes: Sequence[int]) -> Iterator[Record]:
    """Compares a step with five style layers with the bare pass to the deepest of them, in the same type."""
    for size in sizes:
        steps = [step(model, size, f"{_DEEP},statistics={statistics}") for statistics in STATISTICS]
        bare, *seconds = quickest(floor(model, size), *steps, size=size)
        for statistics, ours in zip(STATISTICS, seconds, strict=True):
            name = f"step over bare pass, {statistics}, {model.dtype.name}, {size}x{size}"
            detail = f"{ours:.3f} s a step, {bare:.3f} s the bare pass"
            yield Record(1, name, ours / bare, OVER_FLOOR, "x", detail)


def shallow(model: Model, size: int) -> Record:
    """Compares a step that weighs nothing beyond block3_conv1 with one that weighs five layers, in one model."""
    deep, first_three = quickest(step(model, size, _DEEP), step(model, size))
    detail = f"{first_three:.3f} s to block3_conv1, {deep:.3f} s to block5_conv1"
    return Record(8, f"shallow step over deep step, {size}x{size}", first_three / deep, SHALLOW, "x", detail)


def per_pixel(model: Model, sizes: Sequence[int]) -> Record:
    """Compares what a pixel costs at several sizes by the default recipe."""
    seconds = quickest(*[step(model, size) for size in sizes])
    costs = {size: value / size**2 for size, value in zip(sizes, seconds, strict=True)}
    detail = ", ".join(f"{size}: {cost * 1e6:.2f} us" for size, cost in costs.items())
    spread = max(costs.values()) / min(costs.values())
    return Record(2, f"dearest over cheapest pixel, {sizes[0]} to {sizes[-1]}", spread, PER_PIXEL, "x", detail)


_DEEP = f"{FIVE_LAYERS},content_layers={BLOCK_STARTS[2]}"
