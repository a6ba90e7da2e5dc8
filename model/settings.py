"""The settings of a run: defined once here, derived everywhere else.

Command line flags, page widgets, the `settings` input of the SavedModel and the table in model/README.md come from the
fields of `StyleSettings`. Imports no TensorFlow.

Settings are sent as text: any number of comma-separated `name=value` pairs in any order, for example
`preset=fine,size=1024,style_weight=2e3`. Layers are a list with weights, for example
`style_layers=block1_conv1/block2_conv1:0.5/block4_conv1:1@192`. The weight is 1 if left out; a layer with `@192` counts
only at sizes up to 192 pixels on the long side.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from model.errors import InvalidInput
from model.layers import BLOCK_STARTS, LAYERS, Layer
from model.limits import MAX_SIZE_PX, MAX_STEPS, SHORT_SIDE_PX
from model.presets import PRESETS

LOSS_TERMS = ("total", "content", "style", "total_variation")
"""The columns of `losses`: the weighted sum, then the three terms without their weights."""

Layers = tuple[Layer, ...]

GROUPS = ("Picture", "Style", "Losses", "Optimisation")
"""The headings under which the settings are listed."""


@dataclass(frozen=True)
class Setting:
    """The description of one field of `StyleSettings`, by which it is shown and checked.

    Attributes:
      name: the field's name; also of the flag, and in settings texts.
      default: its value in the default preset.
      help: one or two sentences on what it does.
      label: its name on the page.
      group: one of GROUPS.
      unit: unit of a number, or "".
      low, high: inclusive range of a number.
      choices: the values of a choice.
    """

    name: str
    default: Any
    help: str
    label: str
    group: str = GROUPS[0]
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """One of `integer`, `number`, `choice`, `layers`, `weights`."""
        if self.choices:
            return "choice"
        if isinstance(self.default, tuple):
            return "layers" if self.default else "weights"
        return "integer" if isinstance(self.default, int) else "number"

    @property
    def expected(self) -> str:
        """What a value must be, as errors and help texts say it."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "layers":
            return (
                "different layers of the model as NAME[:WEIGHT][@PIXELS], joined by slashes, where WEIGHT is a number "
                f"from 0 and PIXELS, the largest size at which the layer counts, is {SETTINGS['size'].expected}; at "
                "least one layer must have a WEIGHT above 0 and no PIXELS"
            )
        if self.kind == "weights":
            return "empty, or one number from 0 for each style, joined by slashes, at least one above 0"
        noun = "an integer" if self.kind == "integer" else "a number"
        return f"{noun} from {self.low:.10g} to {self.high:.10g}"

    def error(self, value: object) -> InvalidInput:
        return InvalidInput(f"`{self.name}` must be {self.expected}. Received: {value}")

    def parse(self, value: Any) -> Any:
        """Returns a value, or a value written as text, in the field's type.

        Every value is first written by `format_value` and then read: so a valid value can always be sent as text.

        Raises:
          InvalidInput: the value is of the wrong kind or outside its range.
        """
        try:
            return self._read(format_value(value).strip())
        except (TypeError, ValueError):
            raise self.error(value) from None

    def _read(self, text: str) -> Any:
        if self.kind == "choice":
            _require(text in self.choices)
            return text
        if self.kind == "layers":
            layers = tuple(map(_read_layer, text.split("/")))
            names = [layer.name for layer in layers]
            _require(set(names) <= set(LAYERS) and len(set(names)) == len(names))
            _require(max((layer.weight for layer in layers if layer.up_to == MAX_SIZE_PX), default=0) >= LEAST_WEIGHT)
            return layers
        if self.kind == "weights":
            weights = tuple(map(_read_weight, text.split("/") if text else ()))
            _require(not weights or max(weights) >= LEAST_WEIGHT)
            return weights
        pattern, number = (INTEGER, int) if self.kind == "integer" else (NUMBER, float)
        return number(_read_number(text, pattern, self.low, self.high))


SMALLEST_SIZE_PX = 128
DEEP_UP_TO_PX = 2 * SMALLEST_SIZE_PX - 1
"""Deep layers set the composition, at the two smallest sizes, both below twice `smallest_size`. At larger sizes they
make a step cost 3.3 times as much and the picture look no better (tests/benchmarks/evaluation.md).
"""
LEAST_WEIGHT, MAX_WEIGHT = 1e-30, 1e9  # weights below the first are too small to divide by in float32
# Python and the graph read numbers by the same patterns, which are valid in `re` and in RE2.
INTEGER = re.compile(r"[-+]?[0-9]{1,9}")
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,2})?")


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


def _read_number(text: str, pattern: re.Pattern[str], low: float, high: float) -> float:
    _require(bool(pattern.fullmatch(text)) and low <= float(text) <= high)
    return float(text)


def _read_weight(text: str) -> float:
    return _read_number(text.strip(), NUMBER, 0, MAX_WEIGHT)


def _read_layer(item: str) -> Layer:
    item, at, up_to = item.partition("@")
    name, colon, weight = item.partition(":")
    return Layer(
        name.strip(), _read_weight(weight) if colon else 1.0, SETTINGS["size"].parse(up_to) if at else MAX_SIZE_PX
    )


def format_value(value: Any) -> str:
    """Writes a setting's value as text for `Setting.parse`; returns a text unchanged."""
    if isinstance(value, (tuple, list)):
        return "/".join(map(_format_item, value))
    return value if isinstance(value, str) else str(value).removesuffix(".0")


def _format_item(item: Any) -> str:
    return _format_layer(*item) if isinstance(item, (tuple, list)) else format_value(item)


def _format_layer(name: str, weight: float = 1.0, up_to: int = MAX_SIZE_PX) -> str:
    weight_text = "" if weight == 1 else f":{format_value(weight)}"
    return name + weight_text + ("" if up_to == MAX_SIZE_PX else f"@{up_to}")


def _setting(group: str, default: Any, help: str, **facts: Any) -> Any:
    return dataclasses.field(default=default, metadata={"group": group, "help": help, **facts})


def _number(group: str, default: float, low: float, high: float, help: str, unit: str = "") -> Any:
    return _setting(group, default, help, low=low, high=high, unit=unit)


def _choice(group: str, choices: tuple[str, ...], help: str, **facts: Any) -> Any:
    """Describes a choice; the default is the first value."""
    return _setting(group, choices[0], help, choices=choices, **facts)


@dataclass(frozen=True, init=False)
class StyleSettings:
    """A preset's values, some of them replaced.

    The default recipe starts from the content at 128 pixels on the long side and enlarges by sqrt(2) up to `size`. At
    every size L-BFGS minimises style + content + total variation; the next size starts from its last image. The two
    smallest sizes use layers down to block5_conv1, the others block1 to block3. Each layer's style loss is divided by
    its value for the content picture, the content loss by the variance of the content's features. So a weight means the
    same for every picture and network.

    >>> str(StyleSettings("fine", size=1024).replace(style_weight=2e3))
    'preset=fine,size=1024,style_weight=2000'
    >>> StyleSettings(size=9)
    Traceback (most recent call last):
    model.errors.InvalidInput: `size` must be an integer from 16 to 4096. Received: 9

    Attributes:
      preset: name of the preset.
      given: names of the settings that the caller gave, even if equal to the preset's values.
    """

    # fmt: off
    size: int = _number("Picture", 512, SHORT_SIDE_PX, MAX_SIZE_PX,
        "Long side of the result; the short side follows the content picture.", "pixels")
    steps: int = _number("Picture", 180, 1, MAX_STEPS,
        "Optimisation steps over all sizes; more steps, more detail.", "steps")
    style_weight: float = _number("Picture", 1000.0, 0, MAX_WEIGHT, "How strongly the result takes on the style.")
    content_weight: float = _number("Picture", 24.0, 0, MAX_WEIGHT, "How closely the result keeps to the content.")
    total_variation_weight: float = _number("Picture", 8e-4, 0, MAX_WEIGHT,
        "How smooth the result is; a higher weight removes fine grain.")
    colours: str = _choice("Picture", ("of_style", "of_content", "matched"),
        "Colours of the result: the style's, the content's (only brightness changes), or the style's, matched to the "
        "content's before the run.")
    start: str = _choice("Picture", ("content", "noise", "grey"),
        "Picture to start from, unless one is sent: the content, noise, or plain grey.")
    seed: int = _number("Picture", 0, 0, 999_999_999, "Seed of the noise; the same seed gives the same picture.")
    style_scale: float = _number("Style", 1.0, 0.1, 4,
        "Size of the style picture relative to the result; a smaller one makes finer strokes.")
    style_size: int = _number("Style", 0, 0, MAX_SIZE_PX,
        "Long side of the style picture before `style_scale`, at every size of the result; 0: that of the result.",
        "pixels")
    blend_weights: tuple[float, ...] = _setting("Style", (), "Weight of each style picture; empty: all the same.")
    statistics: str = _choice("Style", ("wasserstein", "gram"),
        "How the features of each style layer are compared: by the Wasserstein-2 distance between Gaussians with their "
        "mean and covariance, or by their Gram matrix.", label="Style statistics")
    style_layers: Layers = _setting("Style",
        (*map(Layer, BLOCK_STARTS[:3]), *(Layer(name, up_to=DEEP_UP_TO_PX) for name in BLOCK_STARTS[3:])),
        "Style layers, with weights: early ones carry colour and grain, later ones strokes and composition. A layer "
        "with @PIXELS counts only at sizes up to that long side, in addition to the others.")
    content_layers: Layers = _setting("Losses", (Layer("block3_conv1"), Layer("block4_conv2", 4.0, DEEP_UP_TO_PX)),
        "Content layers, with weights and @PIXELS as for the style layers.")
    normalisation: str = _choice("Losses", ("relative", "target", "none"),
        "Divisor of each layer's loss: its value for the untouched content (for the content loss, the variance of the "
        "features), the target's squared distance from zero, or 1.")
    content_loss: str = _choice("Losses", ("mean", "sum"),
        "Mean or sum of the squared differences; the sum grows with the picture's size.")
    total_variation: str = _choice("Losses", ("squared", "squared_sum", "absolute_sum", "power_sum", "nine_point"),
        "How neighbouring pixels are compared: mean of squares, sum of squares, sum of absolute differences, sum of "
        "the squared gradient to the power 1.25, or mean of squares over nine points.")
    pooling: str = _choice("Losses", ("max", "average"),
        "Pooling between the network's blocks. The average is doubled, which roughly keeps the features' magnitude.")
    padding: str = _choice("Losses", ("replicate", "zero"),
        "Padding of the convolutions: the edge repeated, or zeros as in training.")
    smallest_size: int = _number("Optimisation", SMALLEST_SIZE_PX, SHORT_SIDE_PX, MAX_SIZE_PX,
        "Long side of the coarsest size; if it is `size` or more, there is one size only.", "pixels")
    optimizer: str = _choice("Optimisation", ("lbfgs", "adam", "sgd"),
        "Limited-memory BFGS, Adam, or plain gradient descent.", label="Optimiser")
    learning_rate: float = _number("Optimisation", 8.0, 1e-3, 255,
        "L-BFGS: the longest step, as a pixel's mean change. Adam: roughly the largest change of any pixel in a step. "
        "Gradient descent: the factor on the gradient.", "grey levels")
    learning_rate_decay: float = _number("Optimisation", 1.0, 0.01, 1, "Factor on the learning rate every 100 steps.")
    beta_1: float = _number("Optimisation", 0.9, 0, 0.9999, "Decay of Adam's running mean of the gradients.")
    beta_2: float = _number("Optimisation", 0.99, 0, 0.9999, "Decay of Adam's running mean of the squared gradients.")
    epsilon: float = _number("Optimisation", 1e-8, 1e-12, 1,
        "Added to the root of Adam's mean of squares after the bias correction.")
    history: int = _number("Optimisation", 5, 1, 50,
        "Pairs of differences that L-BFGS keeps; each costs 6 bytes a pixel.", "pairs")
    result: str = _choice("Optimisation", ("last", "average"),
        "Result of each size and of the run: the last step, or the running average of the steps.")
    averaging: float = _number("Optimisation", 0.9, 0, 0.999, "Decay of the running average of the steps.")
    # fmt: on
    preset: str = dataclasses.field(default="balanced", compare=False)
    given: tuple[str, ...] = dataclasses.field(init=False, compare=False, repr=False)

    def __init__(self, preset: str = "balanced", **values: Any) -> None:
        """Takes the name of a preset, and by name the settings that replace its values.

        Raises:
          InvalidInput: an unknown preset or setting, or a value of the wrong kind or outside its range.
        """
        preset = PRESET.parse(preset)
        for name in values:
            if name not in SETTINGS:
                raise InvalidInput(UNKNOWN_SETTING + name)
        parsed = {name: SETTINGS[name].parse(v) for name, v in {**_DEFAULTS, **PRESETS[preset], **values}.items()}
        for name, value in {**parsed, "preset": preset, "given": tuple(values)}.items():
            object.__setattr__(self, name, value)  # the class is frozen
        if self.style_weight == self.content_weight == self.total_variation_weight == 0:
            raise InvalidInput(ALL_WEIGHTS_ZERO)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads comma-separated `name=value` pairs; other settings keep the preset's values (default: `balanced`).

        The graph reads the same grammar (model/parsing.py). If a name is given twice, the last value counts.

        Raises:
          InvalidInput: an unknown name, a missing '=', or a bad value.
        """
        texts: dict[str, str] = {}
        for pair in filter(None, (pair.strip() for pair in text.split(","))):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals or (name != PRESET.name and name not in SETTINGS):
                raise InvalidInput(UNKNOWN_SETTING + pair)
            texts[name] = value
        return cls(**texts)

    def __str__(self) -> str:
        """The settings as text: the preset and the given settings.

        The others are left to the server, whose presets fit its weights and layers.
        """
        named = [(PRESET.name, self.preset)] if self.preset != PRESET.default else []
        named += [(name, value) for name, value in self.items() if name in self.given]
        return ",".join(f"{name}={format_value(value)}" for name, value in named)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yields every setting's name and value, in the order of the fields."""
        for name in SETTINGS:
            yield name, getattr(self, name)

    def replace(self, **values: Any) -> Self:
        """Returns a copy with some settings, or the preset, replaced."""
        given = {name: getattr(self, name) for name in (PRESET.name, *self.given)}
        return type(self)(**{**given, **values})


def _described(field: dataclasses.Field[Any]) -> Setting:
    label = field.name.replace("_", " ").capitalize()
    return Setting(**{"name": field.name, "default": field.default, "label": label, **field.metadata})


SETTINGS: Mapping[str, Setting] = {
    field.name: _described(field) for field in dataclasses.fields(StyleSettings) if field.metadata
}
_DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}
PRESET = Setting("preset", "balanced", "Values of the settings that are not given.", "Preset", choices=tuple(PRESETS))

ALL_WEIGHTS_ZERO = (
    "`style_weight`, `content_weight` and `total_variation_weight`: at least one must be above 0. Received: all are 0"
)
UNKNOWN_SETTING = (
    "`settings` must be name=value pairs joined by commas, with names among "
    f"{', '.join([PRESET.name, *SETTINGS])}. Received: "
)
"""The error for a text that is not a pair, or a pair with an unknown name; the text is appended."""
