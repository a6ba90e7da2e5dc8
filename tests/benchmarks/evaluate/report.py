"""What an evaluation leaves behind: tables in Markdown, everything in JSON, and a contact sheet."""

from collections.abc import Mapping, Sequence
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
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row.candidate.label, []).append(row)
    means = {label: mean_over_pairs([row.scores for row in own]) for label, own in by_label.items()}
    flattered = {
        row.candidate.label for row in rows if set(row.candidate.used.get("style_layers", ())) & set(judged_layers)
    }
    measures = list(MEASURES.values())
    overview = [
        [
            f"{label} \\*" if label in flattered else label,
            _mean([row.run.steps for row in own], 0),
            _mean([row.run.seconds for row in own], 1),
            _mean([row.run.cpu_seconds for row in own], 1),
            *_numbers(means[label]),
        ]
        for label, own in by_label.items()
    ]
    by_scale = [
        [label, *(" ".join(f"{value:.3f}" for value in mean[name].values()) for name in MEASURES)]
        for label, mean in means.items()
    ]
    by_pair = [
        [row.pair, row.candidate.label, *_numbers(row.scores), row.run.stopped]
        for row in sorted(rows, key=lambda row: row.pair)
    ]
    candidates = {row.candidate.label: row.candidate for row in rows if row.candidate.text}
    recipes = [[label, f"`{one.text}`", one.fallback] for label, one in candidates.items()]
    note = ["\\* lowers the statistics of a layer that is judged, so its style distances flatter it."]
    parts = [
        "\n".join(f"- {fact}" for fact in facts),
        "## Mean over pairs and scales",
        _table(["candidate", "steps", "seconds", "CPU seconds", *measures], overview),
        *(note if flattered else []),
        f"## By scale ({', '.join(SCALES)})",
        _table(["candidate", *measures], by_scale),
        "## By pair (mean over scales)",
        _table(["pair", "candidate", *measures, "ended early"], by_pair),
        "## Recipes",
        _table(["candidate", "settings", "layers that the weights lack"], recipes),
    ]
    return "\n\n".join(parts) + "\n"


def sheet(rows: Sequence[Row], pictures: Mapping[str, tuple[Image.Image, Image.Image]]) -> Image.Image:
    """Returns the contact sheet: a row for each pair, and as columns content, style and every candidate."""
    lines = {pair: [(pair, content), ("style", style)] for pair, (content, style) in pictures.items()}
    for row in rows:
        mean = mean_over_scales(row.scores)
        caption = f"{row.candidate.label}  style {mean['emd']:.2f} content {mean['similarity']:.2f}"
        lines[row.pair].append((caption, row.run.picture))
    shrunk = [[(caption, _thumbnail(picture)) for caption, picture in line] for line in lines.values()]
    heights = [max(picture.height for _, picture in line) + LABEL_PX + GAP_PX for line in shrunk]
    canvas = Image.new("RGB", (max(map(len, shrunk)) * (CELL_PX + GAP_PX), sum(heights)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(LABEL_PX - 4)
    top = 0
    for line, height in zip(shrunk, heights, strict=True):
        for column, (caption, picture) in enumerate(line):
            left = column * (CELL_PX + GAP_PX)
            while font.getlength(caption) > CELL_PX:
                caption = caption[:-1]
            draw.text((left, top), caption, fill="black", font=font)
            canvas.paste(picture, (left, top + LABEL_PX))
        top += height
    return canvas


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean(values: Sequence[float | None], digits: int) -> str:
    return "-" if None in values else f"{np.mean(values):.{digits}f}"


def _numbers(scores: Scores) -> list[str]:
    return [f"{value:.3f}" for value in mean_over_scales(scores).values()]


def _thumbnail(picture: Image.Image) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)
    return small
