"""How the page shows each setting, and the settings that its widgets hold. All of it derives from `SETTINGS`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from model.presets import OUR_OWN, PRESETS
from model.settings import ALL_WEIGHTS_ZERO, GROUPS, PRESET, SETTINGS, Setting, StyleSettings, format_value
from serving.errors import InvalidInput

VISIBLE = ("size", "steps", "style_weight", "content_weight", "total_variation_weight")
"""The knobs that are always visible; all others are under Advanced."""

BLEND = "blend_weights"
"""The setting that has sliders beside the paintings instead of a knob."""

ADVANCED = {
    group: tuple(name for name, setting in SETTINGS.items() if setting.group == group and name not in (*VISIBLE, BLEND))
    for group in GROUPS
}
"""The knobs under Advanced, by heading."""

REPRODUCTIONS = tuple(name for name in PRESETS if name not in OUR_OWN)
"""The presets that reproduce another system."""

REPRODUCTION_LABELS = {
    "classic": "Classic: style 1e6, Adam",
    "gatys2016": "Gatys, Ecker and Bethge, 2016",
    "neural-style": "neural-style (Johnson)",
    "keras-io": "keras.io example",
    "tensorflow-tutorial": "TensorFlow tutorial",
    "crowsonkb": "style-transfer-pytorch (Crowson)",
}

CHOICE_LABELS = {"gram": "Gram matrix", "lbfgs": "L-BFGS", "sgd": "Gradient descent"}
"""Labels of choices whose own names are unclear."""


def label(setting: Setting) -> str:
    """Returns a setting's label with its unit."""
    return f"{setting.label} ({setting.unit})" if setting.unit not in ("", setting.name) else setting.label


def step(setting: Setting) -> float:
    """Returns what a click on + or - adds to a number, as the number's type.

    512 pixels change by 64, 500 steps by 50, a seed by 1. A number with a fraction changes by a small part of its range
    if the range ends at 1 or below, else by the power of ten near a tenth of its default: 1000 by 100, 8 by 1.
    """
    high = setting.high or 0
    if setting.kind == "integer":
        if setting.unit == "pixels" and high >= 1000:
            return 64
        return 50 if setting.default >= 100 else 1
    if high <= 1 and not 0 < setting.default < 0.01:
        return 0.01 if high == 1 else 0.001
    exponent = math.floor(math.log10(setting.default / 5)) if setting.default else -1
    return float(f"1e{exponent}")


def is_text(setting: Setting) -> bool:
    """Tells whether the setting's widget holds text."""
    return setting.kind in ("layers", "weights")


def choice_label(choice: str) -> str:
    """Returns the label of one of a setting's choices."""
    return CHOICE_LABELS.get(choice, choice.replace("_", " ").capitalize())


def preset_label(preset: str) -> str:
    """Returns the label of a preset."""
    return REPRODUCTION_LABELS.get(preset, preset.capitalize())


def shown_values(settings: StyleSettings) -> dict[str, Any]:
    """Returns the value that each widget shows for these settings."""
    return {name: format_value(value) if is_text(SETTINGS[name]) else value for name, value in settings.items()}


def changed(shown: Mapping[str, Any], preset: str) -> tuple[str, ...]:
    """Returns the names of the knobs whose values differ from a preset's."""
    values = shown_values(StyleSettings(preset))
    return tuple(name for name, value in values.items() if name != BLEND and shown.get(name, value) != value)


def matching_preset(shown: Mapping[str, Any]) -> str | None:
    """Returns the preset whose values the widgets show, or None."""
    return next((preset for preset in PRESETS if not changed(shown, preset)), None)


def to_settings(shown: Mapping[str, Any], base: str = PRESET.default) -> StyleSettings:
    """Returns the settings that the widgets hold: a preset, and only the values that differ from it.

    Raises:
      InvalidInput: a field is empty, a text does not parse, or the values are not valid.
    """
    values: dict[str, Any] = {}
    for name, of_preset in StyleSettings(base).items():
        if shown[name] is None:
            raise SETTINGS[name].error("nothing")
        value = SETTINGS[name].parse(shown[name])
        if value != of_preset:
            values[name] = value
    return StyleSettings(base, **values)


def blend_text(weights: Sequence[float]) -> str:
    """Returns the sliders' values as the text of `blend_weights`; "" if all are equal."""
    return "" if len(set(weights)) < 2 and any(weights) else format_value(tuple(map(float, weights)))


def explain(error: InvalidInput) -> str:
    """Explains in plain words why values are not valid, with labels instead of names."""
    text = str(error)
    if text == ALL_WEIGHTS_ZERO:
        return "At least one of the three weights must be above 0."
    if text.startswith(f"`{BLEND}`"):
        return "Move the slider of at least one style above 0."
    for name, setting in SETTINGS.items():
        if text.startswith(f"`{name}`"):
            return f"{setting.label} must be {setting.expected}."
    return text
