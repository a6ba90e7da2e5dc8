"""What an evaluation leaves behind: tables in Markdown, everything in JSON, and a contact sheet."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.benchmarks.evaluate.measures import MEASURES, SCALES, Scores, mean_over_pairs, mean_over_scales
from tests.benchmarks.evaluate.runs import Candidate, Run

CELL_PX = 320  # long side of a picture on the sheet
LABEL_PX = 16
GAP_PX = 6


@dataclass(frozen=True)
class Row:
    """One result with its scores."""

    candidate: Candidate
    pair: str
    run: Run
    scores: Scores

    @property
    def record(self) -> dict[str, object]:
        """All but the picture, for JSON."""
        return {
            "candidate": self.candidate.label,
            "pair": self.pair,
            "steps": self.run.steps,
            "seconds": self.run.seconds,
            "cpu_seconds": self.run.cpu_seconds,
            "stopped": self.run.stopped,
            "scores": self.scores,
            "mean_over_scales": mean_over_scales(self.scores),
        }


def markdown(rows: Sequence[Row], judged_layers: Sequence[str], facts: Sequence[str]) -> str:
    """Returns the tables: mean over the pairs, each scale, each pair, and the recipes."""
    by_candidate: dict[str, list[Row]] = {}
    for row in rows:
        by_candidate.setdefault(row.candidate.label, []).append(row)
    means = {label: mean_over_pairs([row.scores for row in own]) for label, own in by_candidate.items()}
    parts = ["\n".join(f"- {fact}" for fact in facts)]

    parts.append("## Mean over pairs and scales")
    parts.append(
        _table(
            ["candidate", "steps", "seconds", "CPU seconds", *MEASURES.values()],
            (
                [
                    label + _mark(own[0].candidate, judged_layers),
                    _mean([row.run.steps for row in own], 0),
                    _mean([row.run.seconds for row in own], 1),
                    _mean([row.run.cpu_seconds for row in own], 1),
                    *_numbers(mean_over_scales(means[label])),
                ]
                for label, own in by_candidate.items()
            ),
        )
    )
    if any(_mark(row.candidate, judged_layers) for row in rows):
        parts.append("\\* lowers the statistics of a layer that is judged, so its style distances flatter it.")

    parts.append(f"## By scale ({', '.join(SCALES)})")
    parts.append(
        _table(
            ["candidate", *MEASURES.values()],
            (
                [label, *[" ".join(f"{value:.3f}" for value in mean[name].values()) for name in MEASURES]]
                for label, mean in means.items()
            ),
        )
    )
    parts.append("## By pair (mean over scales)")
    parts.append(
        _table(
            ["pair", "candidate", *MEASURES.values(), "ended early"],
            (
                [row.pair, row.candidate.label, *_numbers(mean_over_scales(row.scores)), row.run.stopped]
                for row in sorted(rows, key=lambda row: row.pair)
            ),
        )
    )
    parts.append("## Recipes")
    parts.append(
        _table(
            ["candidate", "settings", "layers that the weights lack"],
            (
                [label, f"`{own[0].candidate.text}`", own[0].candidate.fallback]
                for label, own in by_candidate.items()
                if own[0].candidate.text
            ),
        )
    )
    return "\n\n".join(parts) + "\n"


def sheet(
    rows: Sequence[Row], pictures: Mapping[str, tuple[Image.Image, Image.Image]], cell_px: int = CELL_PX
) -> Image.Image:
    """Returns the contact sheet: a row for each pair, and as columns content, style and every candidate."""
    labels = list(dict.fromkeys(row.candidate.label for row in rows))
    results = {(row.pair, row.candidate.label): row for row in rows}
    lines: list[list[tuple[str, Image.Image]]] = []
    for pair, (content, style) in pictures.items():
        line = [(pair, content), ("style", style)]
        for label in labels:
            if (pair, label) in results:
                row = results[pair, label]
                mean = mean_over_scales(row.scores)
                caption = f"{label}  style {mean['emd']:.2f} content {mean['similarity']:.2f}"
                line.append((caption, row.run.picture))
        lines.append(line)
    shrunk = [[(caption, _thumbnail(picture, cell_px)) for caption, picture in line] for line in lines]
    heights = [max(picture.height for _, picture in line) + LABEL_PX + GAP_PX for line in shrunk]
    width = max(len(line) for line in shrunk) * (cell_px + GAP_PX)
    canvas = Image.new("RGB", (width, sum(heights)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(LABEL_PX - 4)
    top = 0
    for line, height in zip(shrunk, heights, strict=True):
        for column, (caption, picture) in enumerate(line):
            left = column * (cell_px + GAP_PX)
            draw.text((left, top), _fitting(caption, cell_px, font.getlength), fill="black", font=font)
            canvas.paste(picture, (left, top + LABEL_PX))
        top += height
    return canvas


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.{digits}f}" if len(known) == len(values) else "-"


def _numbers(values: Mapping[str, float]) -> list[str]:
    return [f"{values[name]:.3f}" for name in MEASURES]


def _mark(candidate: Candidate, judged_layers: Sequence[str]) -> str:
    return " \\*" if set(candidate.used.get("style_layers", ())) & set(judged_layers) else ""


def _thumbnail(picture: Image.Image, cell_px: int) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((cell_px, cell_px), Image.Resampling.LANCZOS)
    return small


def _fitting(caption: str, width: int, length: Callable[[str], float]) -> str:
    while length(caption) > width:
        caption = caption[:-1]
    return caption
