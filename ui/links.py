"""Settings in the page's address, so that a link reproduces them: `?preset=quick&style_weight=2500&style=waves`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.presets import PRESETS
from model.settings import PRESET, SETTINGS, StyleSettings, format_value
from serving.errors import InvalidInput
from ui import knobs
from ui.samples import CONTENTS, STYLES

CONTENT, STYLE = "content", "style"
LONGEST_NAME = 32  # characters of a name that somebody else put into a link


@dataclass(frozen=True)
class Link:
    """What a link asks for.

    Attributes:
      settings: None: it names none.
      content: name of the sample photograph, or "".
      styles: names of the sample paintings.
      problems: plain sentences on what was left out.
    """

    settings: StyleSettings | None = None
    content: str = ""
    styles: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read(query: Mapping[str, str]) -> Link:
    """Reads a link's query, values by name; what it does not understand is left out, with a sentence that says so."""
    problems: list[str] = []
    base = query.get(PRESET.name, PRESET.default)
    if base not in PRESETS:
        problems.append(f"{PRESET.label} must be {PRESET.expected}.")
        base = PRESET.default
    values: dict[str, Any] = {}
    for name, text in query.items():
        if name in SETTINGS:
            try:
                values[name] = SETTINGS[name].parse(text)
            except InvalidInput as error:
                problems.append(knobs.explain(error))
        elif name not in (PRESET.name, CONTENT, STYLE):
            problems.append(f"There is no setting {_quoted(name)}.")
    content = _samples(query.get(CONTENT, ""), [sample.name for sample in CONTENTS], problems)
    styles = _samples(query.get(STYLE, ""), [sample.name for sample in STYLES], problems)
    settings = None
    if values or PRESET.name in query:
        try:
            settings = StyleSettings(base, **values)
        except InvalidInput as error:
            problems.append(knobs.explain(error))
    return Link(settings, "".join(content[:1]), tuple(styles), tuple(problems))


def write(
    shown: Mapping[str, Any], base: str, blend: Sequence[float], content: str, styles: Sequence[str]
) -> dict[str, str]:
    """Returns the query that stands for what the page shows: only what differs from a first visit.

    Args:
      shown: what the knobs hold.
      base: the preset that they started from.
      blend: how much each style counts; empty where there is one.
      content: name of the sample photograph in use, or "": what a person brought is in no link.
      styles: likewise of the sample paintings.
    """
    query = {PRESET.name: base} if base != PRESET.default else {}
    for name in knobs.turned(shown, base):
        if shown[name] is not None:
            query[name] = format_value(shown[name])
    if text := knobs.blend_text(blend):
        query[knobs.BLEND] = text
    if content and content != CONTENTS[0].name:
        query[CONTENT] = content
    if styles and list(styles) != [STYLES[0].name]:
        query[STYLE] = ",".join(styles)
    return query


def _samples(text: str, known: Sequence[str], problems: list[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    problems += [f"There is no sample {_quoted(name)}." for name in names if name not in known]
    return [name for name in names if name in known]


def _quoted(name: str) -> str:
    # Shown as code, so that nothing in a stranger's link is formatted, or becomes a link itself.
    return f"`{name[:LONGEST_NAME].replace('`', '')}`"
