"""How the page shows each setting, and the settings that its widgets hold. All of it derives from `SETTINGS`."""

import dataclasses
import logging
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from model.presets import OUR_OWN, PRESETS
from model.settings import ALL_WEIGHTS_ZERO, GROUPS, PRESET, Setting, StyleSettings, format_value
from model.settings import SETTINGS as MODEL_SETTINGS
from serving.errors import InvalidInput

# The environment variables that limit what a visitor may ask for, by setting.
LIMITED = {"size": "NST_MAX_SIZE", "style_size": "NST_MAX_SIZE", "steps": "NST_MAX_STEPS"}


def limit(variable: str, otherwise: float = math.inf, environment: Mapping[str, str] = os.environ) -> float:
    """Returns a limit for visitors, at least 1; `otherwise` if it is not set or, which is logged, no number."""
    text = environment.get(variable, "").strip()
    if text and not text.isdecimal():
        logging.getLogger(__name__).error("%s must be a whole number, and is ignored. Received: %s", variable, text)
    return max(1, int(text)) if text.isdecimal() else otherwise


def limited(environment: Mapping[str, str]) -> Mapping[str, Setting]:
    """Returns the model's settings, with the limits that the environment sets."""
    most = {variable: limit(variable, environment=environment) for variable in set(LIMITED.values())}
    settings = {name: MODEL_SETTINGS[name] for name in LIMITED}
    highs = {name: min(max(most[LIMITED[name]], one.low), one.high) for name, one in settings.items()}
    return {**MODEL_SETTINGS, **{name: dataclasses.replace(settings[name], high=high) for name, high in highs.items()}}


SETTINGS = limited(os.environ)  # that visitors may choose
BLEND = "blend_weights"  # has sliders beside the paintings instead of a knob
FIRST = StyleSettings("quick")  # of a new visit: on a small server too they give a picture within a minute

# The sizes to choose from. A larger picture needs more steps, so each size brings its own.
SIZES = (FIRST, StyleSettings("balanced"), StyleSettings("balanced", size=768, steps=240), StyleSettings("fine"))

STRENGTHS = {"Photo": 8.0, "Light": 4.0, "Medium": 2.0, "Strong": 1.0, "Painting": 0.5}
"""The stops of the slider of the style's strength, each with a factor on the preset's content weight.

Each stop halves the weight, which makes equal steps. By `make evaluate` with the preset `quick` the content error is
0.60, 0.78, 0.99, 1.21 and 1.46 for cat + eddies, 0.89, 1.14, 1.40, 1.67 and 1.93 for lighthouse + waves (as it was at
commit 4cdc1d4); the earth mover's distance to the style falls from 0.60 to 0.43 and from 0.80 to 0.52. Beyond the ends,
at 16, the result is the photograph under fine hatching; at 0.25, the cat has no face any more.
"""

# The knobs under Advanced, by heading.
ADVANCED = {
    group: tuple(name for name, setting in SETTINGS.items() if setting.group == group and name != BLEND)
    for group in GROUPS
}
REPRODUCTIONS = tuple(name for name in PRESETS if name not in OUR_OWN)  # presets that reproduce another system
LABELS = {  # of choices whose names are unclear
    "classic": "Classic: style 1e6, Adam",
    "gatys2016": "Gatys, Ecker and Bethge, 2016",
    "neural-style": "neural-style (Johnson)",
    "keras-io": "keras.io example",
    "tensorflow-tutorial": "TensorFlow tutorial",
    "crowsonkb": "style-transfer-pytorch (Crowson)",
    "gram": "Gram matrix",
    "lbfgs": "L-BFGS",
    "sgd": "Gradient descent",
}


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
    """Returns the label of a preset, or of one of a setting's choices."""
    return LABELS.get(choice, choice.replace("_", " ").capitalize())


def shown_values(settings: StyleSettings) -> dict[str, Any]:
    """Returns the value that each widget shows for these settings, none above its limit."""
    values = {name: format_value(value) if is_text(SETTINGS[name]) else value for name, value in settings.items()}
    return {**values, **{name: min(values[name], int(SETTINGS[name].high)) for name in LIMITED}}


def changed(shown: Mapping[str, Any], preset: str) -> tuple[str, ...]:
    """Returns the names of the knobs whose values differ from a preset's."""
    values = shown_values(StyleSettings(preset))
    return tuple(name for name, value in values.items() if name != BLEND and shown.get(name, value) != value)


def matching_preset(shown: Mapping[str, Any]) -> str | None:
    """Returns the preset whose values the widgets show, or None."""
    return next((preset for preset in PRESETS if not changed(shown, preset)), None)


def sizes(size: int | None) -> list[int]:
    """Returns the sizes to choose from, in pixels: those of SIZES within the limit, and the given one."""
    usual = {settings.size for settings in SIZES if settings.size <= SETTINGS["size"].high}
    return sorted(usual | ({size} if size else set()))


def of_size(size: int, base: str) -> tuple[str, dict[str, Any]]:
    """Returns the preset and the values of knobs that choosing a size sets; another system keeps its own steps."""
    for settings in SIZES:
        if settings.size == size and base in OUR_OWN:
            return settings.preset, {name: shown_values(settings)[name] for name in ("size", "steps")}
    return base, {"size": size}


def of_strength(strength: str, base: str) -> dict[str, Any]:
    """Returns the values of knobs that choosing one of STRENGTHS sets."""
    preset = StyleSettings(base)
    content_weight = float(f"{preset.content_weight * STRENGTHS[strength]:.3g}")
    return {"style_weight": preset.style_weight, "content_weight": content_weight}


def strength(shown: Mapping[str, Any], base: str) -> str:
    """Returns which of STRENGTHS is nearest to the weights that the widgets show."""
    preset = StyleSettings(base)
    style, content = shown["style_weight"], shown["content_weight"]
    if not (style and content and preset.style_weight and preset.content_weight):
        return "Photo" if content else "Painting"
    factor = content / preset.content_weight / (style / preset.style_weight)
    return min(STRENGTHS, key=lambda name: abs(math.log(STRENGTHS[name] / factor)))


def hidden_changes(shown: Mapping[str, Any], base: str) -> list[str]:
    """Returns the labels of the changed knobs that only Advanced shows, because no control outside says the same."""
    implied = of_strength(strength(shown, base), base)
    if shown["size"]:
        implied |= of_size(shown["size"], base)[1]
    if shown["colours"] == "of_content":
        implied["colours"] = "of_content"
    return [SETTINGS[name].label for name in changed(shown, base) if shown[name] != implied.get(name)]


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
