"""Compares recipes at equal size and equal seconds, by measures that no run has lowered.

    make evaluate CONTENTS=DIR STYLES=DIR WEIGHTS=PATH SECONDS=12 SIZE=384 OUT=DIR

Every content picture with every style picture, by every preset and every recipe of one's own (--settings
"gram=statistics=gram"). The price of a step is measured for each candidate first, and its `steps` are what the budget
buys, so that a plan from coarse to fine comes to its end and a dear step buys fewer. What is measured, and why, is in
tests/benchmarks/evaluate/measures.py. Writes evaluation.md, evaluation.json, sheet.png and every result.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before anything imports TensorFlow

import tensorflow as tf
from PIL import Image

from model.errors import InvalidInput, StyleTransferError
from model.export import PRECISIONS, choose_precision, describe, served_layers
from model.presets import PRESETS
from model.signatures import ServedModel
from model.vgg19 import VGG19
from model.weights import Weights, load
from tests.benchmarks.evaluate.measures import CONTENT_LAYER, Judge, mean_over_scales
from tests.benchmarks.evaluate.report import Row, markdown, sheet
from tests.benchmarks.evaluate.runs import CLOCKS, PROBES, candidates, measure, run

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp")


def pictures_in(paths: Sequence[Path], argument: str) -> list[Path]:
    """Returns the picture files that the paths name or hold, in order of their names within a folder."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.glob("*") if p.suffix.lower() in ENDINGS) if path.is_dir() else [path]
        if not inside or not all(p.is_file() for p in inside):
            raise InvalidInput(f"`{argument}` must be pictures, or folders that hold some. Received: {path}")
        found += inside
    return found


def pairs_of(contents: Sequence[Path], styles: Sequence[Path], one_to_one: bool) -> dict[str, tuple[Path, Path]]:
    """Returns content and style by name of the pair: each with each, or the first with the first and so on."""
    if one_to_one and len(contents) != len(styles):
        raise InvalidInput(
            f"`contents` and `styles` must be of the same number with --pairs. Received: {len(contents)}, {len(styles)}"
        )
    chosen = zip(contents, styles, strict=True) if one_to_one else ((c, s) for c in contents for s in styles)
    return {f"{content.stem} + {style.stem}": (content, style) for content, style in chosen}


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--contents", type=Path, nargs="+", required=True, help="content pictures, or folders of them")
    parser.add_argument("--styles", type=Path, nargs="+", required=True, help="style pictures, or folders of them")
    parser.add_argument(
        "--pairs", action="store_true", help="the first content with the first style and so on, not each with each"
    )
    parser.add_argument("--weights", default="imagenet", help="feature weights of the runs, as model.export takes them")
    parser.add_argument("--judge", help="weights of the judge, best true features (default: NST_WEIGHTS, or the runs')")
    parser.add_argument("--seconds", type=float, default=12.0, help="budget of a run (default: 12)")
    parser.add_argument(
        "--clock",
        choices=tuple(CLOCKS),
        default="wall",
        help="what seconds are: the wall's, or what this process itself computed on all cores together, which is "
        "fairer on a machine that others use (default: wall)",
    )
    parser.add_argument("--size", type=int, default=384, help="long side of every result (default: 384)")
    parser.add_argument("--output", type=Path, required=True, help="folder for tables, sheet and results")
    parser.add_argument("--presets", nargs="*", help="presets to compare (default: all, or none with --settings)")
    parser.add_argument("--settings", nargs="*", default=[], metavar="LABEL=TEXT", help="recipes to compare")
    parser.add_argument("--precision", default="auto", help="type of the convolutions (default: auto)")
    return parser


def evaluate(options: argparse.Namespace, weights: Weights, judging: Weights) -> None:
    """Runs and scores everything, and writes the files."""
    paths = pairs_of(pictures_in(options.contents, "contents"), pictures_in(options.styles, "styles"), options.pairs)
    if options.precision not in PRECISIONS:
        raise InvalidInput(f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {options.precision}")
    precision = choose_precision() if options.precision == "auto" else options.precision
    model = ServedModel(VGG19(weights.arrays, tf.as_dtype(precision)), describe(weights, precision))
    judge = Judge(VGG19(judging.arrays), options.size)
    clock = CLOCKS[options.clock]
    presets = options.presets if options.presets is not None else [] if options.settings else list(PRESETS)
    chosen = candidates(model, presets, options.settings)

    encoded = {name: (content.read_bytes(), style.read_bytes()) for name, (content, style) in paths.items()}
    opened = {name: (_opened(content), _opened(style)) for name, (content, style) in encoded.items()}
    (options.output / "results").mkdir(parents=True, exist_ok=True)
    first = next(iter(encoded))
    rows: list[Row] = []
    for candidate in chosen:
        cost = measure(model, candidate, options.size, encoded[first], clock)
        _say(f"{candidate.label}: {cost.fixed:.2f} s and {cost.per_step:.3f} s a step")
        for name, pair in encoded.items():
            own = cost.scaled(_area(opened[name][0]) / _area(opened[first][0]))
            result = run(model, candidate, options.size, own.steps(options.seconds), pair, clock)
            rows.append(Row(candidate, name, own, result, judge.scores(result.picture, *opened[name])))
            file = re.sub(r"[^\w+=.,-]", "_", f"{name}, {candidate.label}.png")
            result.picture.save(options.output / "results" / file)
            _say(f"  {name}: {result.steps} steps in {result.seconds:.1f} s, {_brief(rows[-1])}")

    facts = [
        f"{options.size} pixels on the long side, {options.seconds:g} s a run ({options.clock} clock; the steps follow "
        f"from the quickest of {PROBES} short runs), {len(encoded)} pairs, {precision} convolutions",
        f"weights of the runs: {weights.name} ({weights.digest}), to {weights.layers[-1]}",
        f"judge: {judging.name} ({judging.digest}), float32; style at {', '.join(judge.style_layers)}, content at "
        f"{CONTENT_LAYER}",
    ]
    (options.output / "evaluation.md").write_text(markdown(rows, judge.style_layers, facts), encoding="utf-8")
    records = {
        "facts": facts,
        "candidates": [dataclasses.asdict(candidate) | {"fallback": candidate.fallback} for candidate in chosen],
        "runs": [row.record for row in rows],
    }
    (options.output / "evaluation.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    sheet(rows, opened).save(options.output / "sheet.png")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        weights = load(options.weights, report=_say)
        judged_by = options.judge or os.environ.get("NST_WEIGHTS")
        judging = load(judged_by, report=_say) if judged_by else weights
        evaluate(options, served_layers(weights), judging)
    except StyleTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print((options.output / "evaluation.md").read_text(encoding="utf-8"))
    return 0


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _area(picture: Image.Image) -> float:
    """Pixels of a result, up to a factor that all share: its long side is the same for all."""
    return min(picture.size) / max(picture.size)


def _brief(row: Row) -> str:
    mean = mean_over_scales(row.scores)
    return f"style {mean['gram']:.3f} {mean['moments']:.3f}, content {mean['content']:.3f}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
