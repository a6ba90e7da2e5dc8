"""Settings in the page's address, so that a link reproduces them: `?preset=quick&style_weight=2500&style=waves`."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from model.presets import PRESETS
from model.settings import PRESET, StyleSettings, format_value
from serving.errors import InvalidInput
from serving.request import Request
from ui import cards, components, knobs, panel, uploads
from ui.samples import CONTENTS, STYLES, Sample
from ui.visits import Visit

CONTENT, STYLE = "content", "style"
LONGEST_NAME = 32  # characters shown of an unknown name in a link


def follow(visit: Visit) -> list[str]:
    """Applies the page's address before cards and knobs are drawn; returns a sentence for each part that it ignored."""
    query, problems = st.query_params.to_dict(), []
    preset = query.get(PRESET.name, PRESET.default)
    if preset not in PRESETS:
        problems.append(f"{PRESET.label} must be {PRESET.expected}.")
        preset = PRESET.default
    values: dict[str, Any] = {}
    for name, text in query.items():
        if name in knobs.SETTINGS:
            try:
                values[name] = knobs.SETTINGS[name].parse(text)
            except InvalidInput as error:
                problems.append(knobs.explain(error))
        elif name not in (PRESET.name, CONTENT, STYLE):
            problems.append(f"There is no setting {_quoted(name)}.")
    content = _samples(query.get(CONTENT, ""), CONTENTS, problems)
    styles = _samples(query.get(STYLE, ""), STYLES, problems)
    cards.choose(visit, "".join(content[:1]), styles)
    if values or PRESET.name in query:
        try:
            settings = StyleSettings(preset, **values)
            panel.use(settings)
            visit.blend = settings.blend_weights or visit.blend
        except InvalidInput as error:
            problems.append(knobs.explain(error))
    return problems


def write(visit: Visit) -> None:
    """Writes what the page shows into its address, except for the defaults of a new visit.

    A link never holds visitors' own pictures.
    """
    base, shown = st.session_state[panel.BASE], panel.shown()
    query = {name: format_value(shown[name]) for name in knobs.changed(shown, base) if shown[name] is not None}
    if query or base != knobs.FIRST.preset:
        query = {PRESET.name: base, **query}
    if text := knobs.blend_text(visit.blend):
        query[knobs.BLEND] = text
    if visit.content.sample not in ("", CONTENTS[0].name):
        query[CONTENT] = visit.content.sample
    styles = [style.picture.sample for style in visit.styles]
    if all(styles) and styles != [STYLES[0].name]:
        query[STYLE] = ",".join(styles)
    # `st.query_params` would add an entry to the browser's history for each change.
    components.element("address")(key="address", data={"query": urlencode(query)}, height=1)


def link_to(request: Request) -> tuple[str, bool]:
    """Returns a link to the settings and the samples of a request, and whether all its pictures are samples."""
    settings, preset = request.settings, StyleSettings(request.settings.preset)
    query = {name: format_value(value) for name, value in settings.items() if value != getattr(preset, name)}
    names = {uploads.sample(sample).digest: sample.name for sample in CONTENTS + STYLES}
    used = {
        name: [names.get(digest, "") for digest in request.sha256[argument]]
        for name, argument in ((CONTENT, "content"), (STYLE, "styles"))
    }
    samples = {name: ",".join(of_kind) for name, of_kind in used.items() if all(of_kind)}
    link = urlencode({PRESET.name: settings.preset, **query, **samples}, safe=",:/")
    complete = request.pictures.keys() == {"content", "styles"} and samples.keys() == used.keys()
    return f"{st.context.url or ''}?{link}", complete


def _samples(text: str, samples: Sequence[Sample], problems: list[str]) -> list[str]:
    known = {sample.name for sample in samples}
    names = [name for name in text.split(",") if name]
    problems += [f"There is no sample {_quoted(name)}." for name in names if name not in known]
    return [name for name in names if name in known]


def _quoted(name: str) -> str:
    # As code, so that Markdown in a stranger's link is neither formatted nor clickable.
    return f"`{name[:LONGEST_NAME].replace('`', '')}`"
