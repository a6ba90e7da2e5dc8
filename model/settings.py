"""The settings of a stylisation: defined once here, derived everywhere else.

Command line flags, page widgets, the `settings` input of the SavedModel and the README's table come from the
fields of `StyleSettings`, so they cannot drift. Imports no TensorFlow.

On the wire settings travel as text: `name=value` pairs, comma separated, any subset, in any order, for example
`preset=fine,size=1024,style_weight=2e3`. Layers are a list with weights:
`style_layers=block1_conv1:1/block2_conv1:0.5` (a weight left out is 1).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from model.errors import InvalidInput

LAYERS = tuple(
    f"block{block}_conv{conv}" for block, convs in enumerate((2, 2, 4, 4, 4), start=1) for conv in range(1, convs + 1)
)
"""VGG19's convolutions, named as in Keras, in the order in which a picture passes them."""

LOSS_TERMS = ("total", "content", "style", "total_variation")
"""What a row of `losses` holds: the weighted sum, then the three terms before their weights."""

MAX_SIZE_PX = 4096  # long side of a result
MAX_STEPS = 10_000  # of a whole run
MAX_STYLES = 8  # style pictures for one content picture
MAX_INPUT_PX = 64_000_000  # width times height of a picture that is sent in; 192 MB once decoded to uint8

LayerWeights = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Setting:
    """What is known about one field of `StyleSettings`, for those who show it or check it.

    Attributes:
      name: the field's name, the same on every surface.
      default: value of the default preset.
      label: what a person reads beside the widget.
      help: one or two sentences on what it does.
      unit: unit of a number, or "".
      low, high: inclusive range of a number.
      choices: the known values of a choice.
    """

    name: str
    default: Any
    label: str
    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """One of `integer`, `number`, `choice`, `layers`."""
        if self.choices:
            return "choice"
        if isinstance(self.default, tuple):
            return "layers"
        return "integer" if isinstance(self.default, int) else "number"

    @property
    def expected(self) -> str:
        """What a value must be, in the words of every error text."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "layers":
            return (
                "layers of the model as NAME or NAME:WEIGHT, joined by slashes, each once, weights from 0 and not all 0"
            )
        noun = "an integer" if self.kind == "integer" else "a number"
        return f"{noun} from {self.low:.10g} to {self.high:.10g}"

    def error(self, value: object) -> InvalidInput:
        return InvalidInput(f"`{self.name}` must be {self.expected}. Received: {value}")

    def parse(self, text: str) -> Any:
        """Returns the value that a text stands for, or raises `InvalidInput`."""
        text = text.strip()
        try:
            return self.check(self._read(text))
        except InvalidInput:
            raise self.error(text) from None

    def _read(self, text: str) -> Any:
        if self.kind == "choice":
            return text
        if self.kind == "layers":
            return _parse_layers(text, self)
        if not (INTEGER if self.kind == "integer" else NUMBER).fullmatch(text):
            raise self.error(text)
        return int(text) if self.kind == "integer" else float(text)

    def check(self, value: Any) -> Any:
        """Returns the value as the field's type, or raises `InvalidInput`."""
        if self.kind == "choice":
            if value not in self.choices:
                raise self.error(value)
            return value
        if self.kind == "layers":
            return self._check_layers(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(value)
        if self.kind == "integer" and value != int(value):
            raise self.error(value)
        if not (math.isfinite(value) and self.low <= value <= self.high):  # type: ignore[operator]
            raise self.error(value)
        return int(value) if self.kind == "integer" else float(value)

    def _check_layers(self, value: Any) -> LayerWeights:
        layers = tuple((str(name), float(weight)) for name, weight in value)
        names = [name for name, _ in layers]
        weights = [weight for _, weight in layers]
        known = set(names) <= set(LAYERS) and len(set(names)) == len(names)
        if not known or not all(0 <= w <= MAX_WEIGHT for w in weights) or not any(weights):
            raise self.error(format_value(layers))
        return layers


MAX_WEIGHT = 1e9
# A number is written the same way for Python and for the graph (both patterns are RE2 as well).
INTEGER = re.compile(r"[-+]?[0-9]{1,9}")
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,2})?")


def _parse_layers(text: str, setting: Setting) -> LayerWeights:
    layers = []
    for item in text.split("/"):
        name, _, weight = (part.strip() for part in item.partition(":"))
        if ":" not in item:
            weight = "1"
        if not NUMBER.fullmatch(weight):
            raise setting.error(text)
        layers.append((name, float(weight)))
    return tuple(layers)


def format_value(value: Any) -> str:
    """Writes a setting's value as `Setting.parse` reads it."""
    if isinstance(value, tuple):
        return "/".join(name if weight == 1 else f"{name}:{format_value(weight)}" for name, weight in value)
    return str(value).removesuffix(".0")


def _setting(default: Any, label: str, help: str, **facts: Any) -> Any:
    return dataclasses.field(default=default, metadata={"label": label, "help": help, **facts})


@dataclass(frozen=True)
class StyleSettings:
    """All that a person can set, with the default preset's values.

    The default recipe: start from the content at 128 pixels on the long side, enlarge by sqrt(2) up to `size`;
    at every size Adam lowers style + content + total variation, and the averaged iterate goes on to the next.
    Each layer's style term is divided by what it is between the content and the style picture, the content term
    by the variance of the content's features, so that the weights mean the same for any picture and any features.

    Raises:
      InvalidInput: a value is of the wrong kind or outside its range.
    """

    size: int = _setting(
        512,
        "Size",
        "Long side of the result; the short side follows the content picture.",
        unit="pixels",
        low=16,
        high=MAX_SIZE_PX,
    )
    steps: int = _setting(
        500, "Steps", "Optimisation steps over all sizes; more steps, more detail.", unit="steps", low=1, high=MAX_STEPS
    )
    style_weight: float = _setting(
        1000.0, "Style weight", "How strongly the result takes on the painting.", low=0, high=MAX_WEIGHT
    )
    content_weight: float = _setting(
        20.0, "Content weight", "How firmly the result holds to the photograph.", low=0, high=MAX_WEIGHT
    )
    total_variation_weight: float = _setting(
        8e-4, "Total variation weight", "How smooth the result is: higher removes fine grain.", low=0, high=MAX_WEIGHT
    )
    statistics: str = _setting(
        "mean_covariance",
        "Style statistics",
        "What is compared of each style layer: the mean and covariance of its features, or their Gram matrix.",
        choices=("mean_covariance", "gram"),
    )
    style_layers: LayerWeights = _setting(
        (("block1_conv1", 1.0), ("block2_conv1", 1.0), ("block3_conv1", 1.0)),
        "Style layers",
        "Layers whose statistics make the style, with their weights: early ones colour and grain, later ones strokes.",
    )
    content_layers: LayerWeights = _setting(
        (("block3_conv1", 1.0),), "Content layers", "Layers whose features hold the content, with their weights."
    )
    start: str = _setting(
        "content", "Start", "What the first, smallest picture is: the content, or noise.", choices=("content", "noise")
    )
    colours: str = _setting(
        "of_style",
        "Colours",
        "Whose colours the result has: the style's, the content's (only light and dark change), or the style's "
        "matched to the content's beforehand.",
        choices=("of_style", "of_content", "matched"),
    )
    style_scale: float = _setting(
        1.0,
        "Style scale",
        "Size of the style picture to that of the result: smaller makes finer strokes.",
        low=0.1,
        high=4,
    )
    seed: int = _setting(0, "Seed", "Chooses the noise; the same seed gives the same picture.", low=0, high=999_999_999)
    smallest_size: int = _setting(
        128,
        "Smallest size",
        "Long side of the first, coarsest picture; from `size` up there is one size only.",
        unit="pixels",
        low=16,
        high=MAX_SIZE_PX,
    )
    learning_rate: float = _setting(
        8.0,
        "Learning rate",
        "Adam's step: about the most a pixel moves in one step.",
        unit="grey levels",
        low=1e-3,
        high=255,
    )
    averaging: float = _setting(
        0.9,
        "Averaging",
        "Decay of the running average of the steps, which is the result; 0 takes the last step.",
        low=0,
        high=0.999,
    )

    def __post_init__(self) -> None:
        for setting in SETTINGS.values():
            object.__setattr__(self, setting.name, setting.check(getattr(self, setting.name)))
        if self.style_weight == self.content_weight == self.total_variation_weight == 0:
            raise InvalidInput(ALL_WEIGHTS_ZERO)

    @classmethod
    def of(cls, preset: str = "balanced", **values: Any) -> StyleSettings:
        """Returns a preset's settings with some values replaced.

        Raises:
          InvalidInput: an unknown preset or setting, or a value out of range.
        """
        if preset not in PRESETS:
            raise PRESET.error(preset)
        for name in values:
            if name not in SETTINGS:
                raise unknown_setting(name)
        return cls(**{**PRESETS[preset], **values})

    @classmethod
    def parse(cls, text: str) -> StyleSettings:
        """Reads `name=value` pairs, comma separated; what is not named is as in the preset (`balanced` if none).

        The graph reads the same grammar (model/parsing.py). Of a name given twice the last counts.

        Raises:
          InvalidInput: an unknown name, a missing '=', or a bad value.
        """
        values: dict[str, Any] = {}
        preset = PRESET.default
        for pair in filter(None, (pair.strip() for pair in text.split(","))):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals or (name != PRESET.name and name not in SETTINGS):
                raise unknown_setting(pair)
            if name == PRESET.name:
                preset = PRESET.parse(value)
            else:
                values[name] = SETTINGS[name].parse(value)
        return cls.of(preset, **values)

    def __str__(self) -> str:
        """The settings as text: those that differ from the default preset, so that any server understands them."""
        return ",".join(
            f"{name}={format_value(value)}" for name, value in self.items() if value != SETTINGS[name].default
        )

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yields every setting's name and value, in the order of the fields."""
        for name in SETTINGS:
            yield name, getattr(self, name)

    def replace(self, **values: Any) -> StyleSettings:
        return dataclasses.replace(self, **values)


SETTINGS: Mapping[str, Setting] = {
    field.name: Setting(name=field.name, default=field.default, **field.metadata)
    for field in dataclasses.fields(StyleSettings)
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"size": 384, "steps": 250},
    "balanced": {},
    "fine": {"size": 1024, "steps": 900},
}
PRESET = Setting(
    name="preset",
    default="balanced",
    label="Preset",
    help="Where the other settings start from.",
    choices=tuple(PRESETS),
)

ALL_WEIGHTS_ZERO = (
    "`style_weight`, `content_weight` and `total_variation_weight`: at least one must be above 0. Received: all are 0"
)
KNOWN_NAMES = ", ".join([PRESET.name, *SETTINGS])


def unknown_setting(pair: str) -> InvalidInput:
    """Returns the error for a pair that is none, or that names no setting."""
    return InvalidInput(f"{UNKNOWN_SETTING}{pair}")


UNKNOWN_SETTING = f"`settings` must be name=value pairs joined by commas, with names among {KNOWN_NAMES}. Received: "
