"""What the page shows of each setting, and settings from what people chose. All of it derives from `SETTINGS`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.presets import OUR_OWN, PRESETS
from model.settings import ALL_WEIGHTS_ZERO, GROUPS, PRESET, SETTINGS, Setting, StyleSettings, format_value
from serving.errors import InvalidInput

VISIBLE = ("size", "steps", "style_weight", "content_weight", "total_variation_weight")
"""The knobs that are always in sight; all others stand under Advanced."""

BLEND = "blend_weights"
"""The setting that has sliders beside the style pictures in place of a knob."""

ADVANCED = {
    group: tuple(name for name, setting in SETTINGS.items() if setting.group == group and name not in (*VISIBLE, BLEND))
    for group in GROUPS
}
"""The knobs under Advanced, by heading."""

REPRODUCTIONS = tuple(name for name in PRESETS if name not in OUR_OWN)
"""The presets that work as another system does."""

REPRODUCTION_LABELS = {
    "classic": "Classic: style 1e6, Adam",
    "gatys2016": "Gatys, Ecker and Bethge, 2016",
    "neural-style": "neural-style (Johnson)",
    "keras-io": "keras.io example",
    "tensorflow-tutorial": "TensorFlow tutorial",
    "crowsonkb": "style-transfer-pytorch (Crowson)",
}

CHOICE_LABELS = {
    "gram": "Gram matrix",
    "lbfgs": "L-BFGS",
    "sgd": "Gradient descent",
}
"""What a person reads for choices whose names do not say enough."""


@dataclass(frozen=True)
class Knob:
    """How a widget shows a setting.

    Attributes:
      setting: the setting.
      label: its label, with the unit.
      step: what a click on + or - adds, or None where there is none.
      format: how a number is written (printf), or None.
    """

    setting: Setting
    label: str
    step: int | float | None
    format: str | None

    @classmethod
    def of(cls, name: str) -> Knob:
        setting = SETTINGS[name]
        unit = f" ({setting.unit})" if setting.unit and setting.unit != setting.name else ""
        label = f"{setting.label}{unit}"
        if setting.kind == "integer":
            return cls(setting, label, _integer_step(setting), "%d")
        if setting.kind == "number":
            return cls(setting, label, _number_step(setting), "%g")
        return cls(setting, label, None, None)

    @property
    def is_text(self) -> bool:
        return self.setting.kind in ("layers", "weights")

    def shown(self, value: Any) -> Any:
        """Returns a setting's value as the widget holds it: layers and weights are text."""
        return format_value(value) if self.is_text else value

    def taken(self, shown: Any) -> Any:
        """Returns the setting's value for what the widget holds.

        Raises:
          InvalidInput: a text that does not parse, or a field left empty.
        """
        if shown is None:
            raise self.setting.error("nothing")
        return self.setting.parse(shown) if self.is_text else shown


def _integer_step(setting: Setting) -> int:
    """Returns a step that suits the range: 512 pixels move by 64, 500 steps by 50, a seed by 1."""
    if setting.unit == "pixels" and setting.high is not None and setting.high >= 1000:
        return 64
    return 50 if setting.default >= 100 else 1


def _number_step(setting: Setting) -> float:
    """Returns a small part of a share, else a power of ten near a tenth of the default: 1000 moves by 100, 8 by 1."""
    is_share = setting.high is not None and setting.high <= 1 and not 0 < setting.default < 0.01
    if is_share:
        return 0.01 if setting.high == 1 else 0.001
    exponent = math.floor(math.log10(float(setting.default) / 5)) if setting.default else -1
    return float(f"1e{exponent}")


def choice_label(choice: str) -> str:
    """Returns what a person reads for one of a setting's choices."""
    return CHOICE_LABELS.get(choice, choice.replace("_", " ").capitalize())


def preset_label(preset: str) -> str:
    """Returns what a person reads for a preset."""
    return REPRODUCTION_LABELS.get(preset, preset.capitalize())


def shown_values(settings: StyleSettings) -> dict[str, Any]:
    """Returns what every widget shows for settings."""
    return {name: Knob.of(name).shown(value) for name, value in settings.items()}


def preset_values(preset: str) -> dict[str, Any]:
    """Returns what every widget shows for a preset."""
    return shown_values(StyleSettings(preset))


def turned(shown: Mapping[str, Any], preset: str) -> tuple[str, ...]:
    """Returns the names of the knobs that stand elsewhere than a preset has them."""
    values = preset_values(preset)
    return tuple(name for name, value in values.items() if name != BLEND and shown.get(name, value) != value)


def matching_preset(shown: Mapping[str, Any], base: str = PRESET.default) -> str | None:
    """Returns the preset that the widgets stand at, `base` before others, or None if a person went their own way."""
    return next((preset for preset in (base, *PRESETS) if not turned(shown, preset)), None)


def to_settings(shown: Mapping[str, Any], base: str = PRESET.default) -> StyleSettings:
    """Returns the settings for what the widgets hold: a preset, and only what differs from it.

    Raises:
      InvalidInput: the values do not make settings.
    """
    values = {name: Knob.of(name).taken(shown[name]) for name in SETTINGS}
    of_preset = dict(StyleSettings(base).items())
    return StyleSettings(base, **{name: value for name, value in values.items() if value != of_preset[name]})


def blend_text(weights: Sequence[float]) -> str:
    """Returns `blend_weights` as text for the styles' sliders; all alike is nothing."""
    return "" if len(set(weights)) < 2 and any(weights) else format_value(tuple(map(float, weights)))


def explain(error: InvalidInput) -> str:
    """Says in plain words why values do not make settings: labels in place of names."""
    text = str(error)
    if text == ALL_WEIGHTS_ZERO:
        return "At least one of the three weights must be above 0."
    if text.startswith(f"`{BLEND}`"):
        return "At least one style must be above 0: move its slider to the right."
    for name, setting in SETTINGS.items():
        if text.startswith(f"`{name}`"):
            return f"{setting.label} must be {setting.expected}."
    return text
