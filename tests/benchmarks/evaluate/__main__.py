"""Compares recipes, and what other programs made, by measures that no run has lowered.

    make evaluate CONTENTS=DIR STYLES=DIR WEIGHTS=PATH SIZE=384 OUT=DIR FLAGS="--presets quick --results peer=DIR"

Every content picture with every style picture, by every preset and every recipe of one's own (--settings
"few=preset=quick,steps=90"), all at one size, each with the steps that it asks for; and the pictures that another
program made of the same pairs (--results). What is measured, and why, is in tests/benchmarks/evaluate/measures.py.
Writes evaluation.md, evaluation.json, sheet.png and every result, in folders that --results takes.
"""

import argparse
import dataclasses
import itertools
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

# Before anything imports TensorFlow or NumPy, whose threads wait busily: a score took 22 CPU seconds in place of 3.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from PIL import Image

from model.errors import InvalidInput, StyleTransferError
from model.export import PRECISIONS, build, choose_precision, served_layers
from model.vgg19 import VGG19
from model.weights import Weights, load
from tests.benchmarks.evaluate.measures import CONTENT_LAYER, MEASURES, Judge, mean_over_scales
from tests.benchmarks.evaluate.report import Row, markdown, sheet
from tests.benchmarks.evaluate.runs import Candidate, candidates, keep, labelled, pictures_of, run

USUAL_PRESETS = ("quick", "balanced")
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
        expected = "`contents` and `styles` must be of the same number with --pairs"
        raise InvalidInput(f"{expected}. Received: {len(contents)}, {len(styles)}")
    chosen = zip(contents, styles, strict=True) if one_to_one else itertools.product(contents, styles)
    return {f"{content.stem}+{style.stem}": (content, style) for content, style in chosen}


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--contents", type=Path, nargs="+", required=True, help="content pictures, or folders of them")
    add("--styles", type=Path, nargs="+", required=True, help="style pictures, or folders of them")
    add("--pairs", action="store_true", help="the first content with the first style and so on, not each with each")
    add("--weights", default="imagenet", help="weights of runs and judge, as model.export takes them")
    add("--size", type=int, default=384, help="long side of every result (default: 384)")
    add("--output", type=Path, required=True, help="folder for tables, sheet and results")
    usual = f"{' and '.join(USUAL_PRESETS)}, or none with --settings or --results"
    add("--presets", nargs="*", help=f"presets to compare (default: {usual})")
    add("--settings", nargs="*", default=[], metavar="LABEL=TEXT", help="recipes to compare")
    add("--precision", default="auto", help="type of the convolutions (default: auto)")
    add(
        "--results",
        action="append",
        default=[],
        metavar="LABEL=DIR",
        help="folder of results of another program, CONTENT+STYLE.png by the names of the pictures, and what each took "
        'in cost.json, if known: {"CONTENT+STYLE": {"steps": N, "seconds": CPU_SECONDS}}; may be repeated',
    )
    return parser


def evaluate(options: argparse.Namespace, judging: Weights) -> None:
    """Runs and scores everything, and writes the files."""
    paths = pairs_of(pictures_in(options.contents, "contents"), pictures_in(options.styles, "styles"), options.pairs)
    if options.precision not in PRECISIONS:
        raise InvalidInput(f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {options.precision}")
    precision = choose_precision() if options.precision == "auto" else options.precision
    weights = served_layers(judging)
    model = build(weights, precision)
    recipes, folders = labelled("settings", options.settings, "TEXT"), labelled("results", options.results, "DIR")
    presets = options.presets if options.presets is not None else [] if recipes or folders else USUAL_PRESETS
    chosen = candidates(model, options.size, [*((name, f"preset={name}") for name in presets), *recipes])
    given = [(Candidate(label), pictures_of(Path(folder), paths)) for label, folder in folders]
    labels = [candidate.label for candidate in (*chosen, *(peer for peer, _ in given))]
    if len(set(labels)) < len(labels):
        raise InvalidInput(f"`settings` and `results` must have labels that differ. Received: {', '.join(labels)}")

    options.output.mkdir(parents=True, exist_ok=True)
    opened: dict[str, tuple[Image.Image, Image.Image]] = {}
    rows: list[Row] = []
    network = VGG19(judging.arrays)
    for name, (content, style) in paths.items():
        pair = content.read_bytes(), style.read_bytes()
        opened[name] = Image.open(content).convert("RGB"), Image.open(style).convert("RGB")
        judge = Judge(network, options.size, *opened[name])
        if chosen and not rows:  # the very first call also pays for the graph
            run(model, dataclasses.replace(chosen[0], text=f"{chosen[0].text},size=64,steps=1"), pair)
        made = ((candidate, run(model, candidate, pair)) for candidate in chosen)
        for candidate, result in itertools.chain(made, ((peer, found[name]) for peer, found in given)):
            keep(result, name, options.output / "results" / re.sub(r"[^\w+=.,-]", "_", candidate.label))
            rows.append(Row(candidate, name, result, judge.scores(result.picture)))
            means = mean_over_scales(rows[-1].scores).items()
            _say(f"{name}, {candidate.label}: {', '.join(f'{MEASURES[one]} {value:.3f}' for one, value in means)}")

    facts = [
        f"{options.size} pixels on the long side, {len(paths)} pairs, {precision} convolutions, float32 for the judge",
        f"weights of the runs: {weights.name} ({weights.digest}), to {weights.layers[-1]}",
        f"judge: {judging.name} ({judging.digest}); style at {', '.join(judge.style_layers)}, content at "
        f"{CONTENT_LAYER}, self-similarity at {judge.similarity_layer}",
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
    options = build_parser().parse_args(arguments)
    try:
        evaluate(options, load(options.weights, report=_say))
    except StyleTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print((options.output / "evaluation.md").read_text(encoding="utf-8"))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
