"""What the page shows of each setting, and settings from what people chose. All of it derives from `SETTINGS`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.errors import InvalidInput
from model.presets import PRESETS
from model.settings import ALL_WEIGHTS_ZERO, SETTINGS, Setting, StyleSettings, format_value

VISIBLE = ("size", "steps", "style_weight", "content_weight", "total_variation_weight")
"""The knobs that are always in sight; all others stand under Advanced."""

ADVANCED = tuple(name for name in SETTINGS if name not in VISIBLE)

CHOICE_LABELS = {"mean_covariance": "Mean and covariance", "gram": "Gram matrix"}
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

    def shown(self, value: Any) -> Any:
        """Returns a setting's value as the widget holds it: layers are text."""
        return format_value(value) if self.setting.kind == "layers" else value

    def taken(self, shown: Any) -> Any:
        """Returns the setting's value for what the widget holds.

        Raises:
          InvalidInput: a text that does not parse, or a field left empty.
        """
        if shown is None:
            raise self.setting.error("nothing")
        return self.setting.parse(shown) if self.setting.kind == "layers" else shown


def _integer_step(setting: Setting) -> int:
    """Returns a step that suits the default: 512 pixels move by 64, 500 steps by 50, a seed by 1."""
    if setting.unit == "pixels":
        return 64
    return 50 if setting.default >= 100 else 1


def _number_step(setting: Setting) -> float:
    """Returns a hundredth of a share, else a power of ten near a tenth of the default: 1000 moves by 100, 8 by 1."""
    if setting.high is not None and setting.high <= 1:
        return 0.01
    exponent = math.floor(math.log10(float(setting.default) / 5)) if setting.default else -1
    return float(f"1e{exponent}")


def choice_label(choice: str) -> str:
    """Returns what a person reads for one of a setting's choices."""
    return CHOICE_LABELS.get(choice, choice.replace("_", " ").capitalize())


def preset_values(preset: str) -> dict[str, Any]:
    """Returns what every widget shows for a preset."""
    return {name: Knob.of(name).shown(value) for name, value in StyleSettings.of(preset).items()}


def matching_preset(shown: Mapping[str, Any]) -> str | None:
    """Returns the preset that the widgets stand at, or None if a person went their own way."""
    for preset in PRESETS:
        if all(shown.get(name) == value for name, value in preset_values(preset).items()):
            return preset
    return None


def to_settings(shown: Mapping[str, Any]) -> StyleSettings:
    """Returns the settings for what the widgets hold.

    Raises:
      InvalidInput: the values do not make settings.
    """
    return StyleSettings(**{name: Knob.of(name).taken(shown[name]) for name in SETTINGS})


def explain(error: InvalidInput) -> str:
    """Says in plain words why values do not make settings: labels in place of names."""
    text = str(error)
    if text == ALL_WEIGHTS_ZERO:
        return "At least one of the three weights must be above 0."
    for name, setting in SETTINGS.items():
        if text.startswith(f"`{name}`"):
            return f"{setting.label} must be {setting.expected}."
    return text
