"""Parses a settings string inside the graph, by the grammar and limits of model/settings.py.

A text gives the same values or the same error as `StyleSettings.parse` in Python, with one difference: the graph
accepts only the layers of the exported model.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from model.graph import checked
from model.layers import Layer
from model.limits import MAX_SIZE_PX
from model.presets import PRESETS
from model.settings import (
    ALL_WEIGHTS_ZERO,
    INTEGER,
    LEAST_WEIGHT,
    MAX_WEIGHT,
    NUMBER,
    PRESET,
    SETTINGS,
    UNKNOWN_SETTING,
    Setting,
    format_value,
)

ParsedSettings = dict[str, tf.Tensor]
"""Settings by name. An integer: int32 scalar; a number: float32 scalar; a choice: its index in `Setting.choices`, int32
scalar; layers: float32 [2, L], each layer's weight and `up_to`, 0 if not named; `blend_weights`: float32 [S or 0]."""


def choice_index(name: str, choice: str) -> int:
    """Returns the parsed value of a choice: its index."""
    return SETTINGS[name].choices.index(choice)


def is_chosen(settings: ParsedSettings, name: str, choice: str) -> tf.Tensor:
    """Returns whether a setting has this choice, bool scalar."""
    return settings[name] == choice_index(name, choice)


def switch(name: str, chosen: tf.Tensor, branches: Mapping[str, Callable[[], Any]]) -> Any:
    """Runs the branch of a setting's choice by `tf.switch_case`; every choice must have a branch."""
    return tf.switch_case(chosen, [branches[choice] for choice in SETTINGS[name].choices])


def parse_settings(text: tf.Tensor, layers: Sequence[str]) -> ParsedSettings:
    """Parses one settings text, string scalar (see model/settings.py), for a model with these L layers.

    Raises:
      tf.errors.InvalidArgumentError: when the graph runs; the text says which setting, what was expected and received.
    """
    pairs = _strip(tf.strings.split(text, ","))
    pairs = tf.boolean_mask(pairs, tf.not_equal(pairs, ""))
    names, values = _groups(pairs, r"([^=]*)=?(.*)", 2)
    known = tf.reduce_any(names[:, tf.newaxis] == [PRESET.name, *SETTINGS], -1)
    wrong = tf.boolean_mask(pairs, ~known | ~tf.strings.regex_full_match(pairs, "(?s).*=.*"))
    values = checked(values, tf.size(wrong) == 0, UNKNOWN_SETTING, tf.concat([wrong, [""]], 0)[0])

    def last_of(wanted: list[str], otherwise: tf.Tensor) -> tf.Tensor:
        """Returns the last value given for each name, or `otherwise`; both string [K]."""
        position = tf.where(names[:, tf.newaxis] == wanted, tf.range(tf.size(names))[:, tf.newaxis], -1)
        last = tf.reduce_max(tf.concat([position, tf.fill([1, len(wanted)], -1)], 0), 0)  # [K]
        return tf.where(last >= 0, tf.gather(tf.concat([values, [""]], 0), tf.maximum(last, 0)), otherwise)

    preset = last_of([PRESET.name], tf.constant([PRESET.default]))[0]
    row = _choices([PRESET], {PRESET.name: preset})[PRESET.name]
    # One tensor for all settings: ops for each of them would be thousands, and a graph loads more slowly with each op.
    by_preset = [[_preset_text(name, setting, layers) for setting in SETTINGS.values()] for name in PRESET.choices]
    all_texts = last_of(list(SETTINGS), tf.constant(by_preset)[row])
    texts = dict(zip(SETTINGS, tf.unstack(all_texts, num=len(SETTINGS)), strict=True))

    parsed = _numbers(_of("integer", "number"), texts) | _choices(_of("choice"), texts)
    parsed |= {setting.name: _layers(setting, texts[setting.name], layers) for setting in _of("layers")}
    parsed |= {setting.name: _weights(setting, texts[setting.name]) for setting in _of("weights")}
    terms = [parsed[name] for name in ("style_weight", "content_weight", "total_variation_weight")]
    parsed["style_weight"] = checked(parsed["style_weight"], tf.reduce_any(tf.stack(terms) > 0), ALL_WEIGHTS_ZERO)
    return {name: parsed[name] for name in SETTINGS}


def recipe(settings: ParsedSettings) -> list[tf.Tensor]:
    """Returns all settings except `steps`, which does not change the losses.

    There are few tensors, because each costs ops: all scalars of a type in one, every vector by itself. The first
    tensor names the settings and their choices: a release with different ones has different recipes.
    """
    meaning = tf.constant(str([(setting.name, setting.choices) for setting in SETTINGS.values()]))
    integers = tf.stack([settings[s.name] for s in _of("integer", "choice") if s.name != "steps"])
    numbers = tf.stack([settings[s.name] for s in _of("number")])
    return [meaning, integers, numbers, *(settings[s.name] for s in _of("layers", "weights"))]


def _of(*kinds: str) -> list[Setting]:
    return [setting for setting in SETTINGS.values() if setting.kind in kinds]


# The blanks that Python's `str.strip` removes, as an RE2 class; `tf.strings.strip` removes only ASCII blanks.
_BLANK = r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"


def _strip(text: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(text, rf"\A{_BLANK}+|{_BLANK}+\z", "")


def _groups(texts: tf.Tensor, pattern: str, count: int) -> list[tf.Tensor]:
    """Returns the first `count` groups of a pattern that matches every text, without blanks around them."""
    return [_strip(tf.strings.regex_replace(texts, rf"(?s)\A{pattern}\z", rf"\{n}")) for n in range(1, count + 1)]


def _preset_text(preset: str, setting: Setting, layers: Sequence[str]) -> str:
    """Writes a preset's value: only layers of the model, or its deepest one if none of them counts at every size."""
    value = PRESETS[preset].get(setting.name, setting.default)
    if setting.kind == "layers":
        value = tuple(layer for layer in value if layer.name in layers)
        if all(layer.up_to < MAX_SIZE_PX for layer in value):
            value = (Layer(layers[-1]),)
    return format_value(value)


def _choices(settings: Sequence[Setting], texts: Mapping[str, tf.Tensor]) -> ParsedSettings:
    """Returns the index of each setting's text among its choices, int32 scalars."""
    most = max(len(setting.choices) for setting in settings)
    table = [[*setting.choices, *[""] * (most - len(setting.choices))] for setting in settings]
    own = tf.stack([texts[setting.name] for setting in settings])
    same = (own[:, tf.newaxis] == table) & tf.not_equal(table, "")  # [K, most]; "" only pads the table
    return _checked(settings, own, tf.argmax(same, -1, output_type=tf.int32), tf.reduce_any(same, -1))


def _numbers(settings: Sequence[Setting], texts: Mapping[str, tf.Tensor]) -> ParsedSettings:
    """Returns int32 or float32 scalars; they are checked in float64, which holds every int32 and float32 exactly."""
    own = tf.stack([texts[setting.name] for setting in settings])
    low, high = tf.unstack(tf.constant([(setting.low, setting.high) for setting in settings], tf.float64), axis=1)
    is_integer = [setting.kind == "integer" for setting in settings]
    values = tf.where(is_integer, _number(own, INTEGER, low, high), _number(own, NUMBER, low, high))
    parsed = _checked(settings, own, values, tf.math.is_finite(values))
    return {s.name: tf.cast(parsed[s.name], tf.int32 if s.kind == "integer" else tf.float32) for s in settings}


def _checked(settings: Sequence[Setting], texts: tf.Tensor, values: tf.Tensor, good: tf.Tensor) -> ParsedSettings:
    """Returns K settings' values by name if all are good, bool [K]; else fails with the error of the first bad one."""
    first = tf.argmin(tf.cast(good, tf.int32))
    words = tf.constant([str(setting.error("")) for setting in settings])
    values = checked(values, tf.reduce_all(good), words[first], texts[first])
    return {setting.name: value for setting, value in zip(settings, tf.unstack(values), strict=True)}


def _number(text: tf.Tensor, pattern: re.Pattern[str], low: tf.Tensor | float, high: tf.Tensor | float) -> tf.Tensor:
    """Reads float64 numbers from strings of any shape; NaN for a text that is out of range or not a number."""
    matches = tf.strings.regex_full_match(text, pattern.pattern)
    value = tf.strings.to_number(tf.where(matches, text, "nan"), tf.float64)
    return tf.where((value >= low) & (value <= high), value, float("nan"))


def _weights(setting: Setting, text: tf.Tensor) -> tf.Tensor:
    items = tf.strings.split(text, "/")
    items = tf.boolean_mask(items, tf.fill(tf.shape(items), tf.not_equal(text, "")))
    weights = _number(_strip(items), NUMBER, 0, MAX_WEIGHT)
    good = tf.reduce_all(tf.math.is_finite(weights)) & tf.reduce_any(weights >= LEAST_WEIGHT)
    return tf.cast(checked(weights, good | tf.equal(text, ""), str(setting.error("")), text), tf.float32)


def _layers(setting: Setting, text: tf.Tensor, layers: Sequence[str]) -> tf.Tensor:
    items = tf.strings.split(text, "/")
    items = tf.strings.regex_replace(items, r"(?s)\A([^:@]*)(@.*)?\z", r"\1:1\2")  # adds a missing weight
    items = tf.strings.regex_replace(items, r"(?s)\A([^@]*)\z", rf"\1@{MAX_SIZE_PX}")  # adds a missing size
    names, written_weights, written_sizes = _groups(items, r"([^:@]*):([^@]*)@(.*)", 3)
    size = SETTINGS["size"]
    weights = _number(written_weights, NUMBER, 0, MAX_WEIGHT)  # [items]
    up_to = _number(written_sizes, INTEGER, size.low, size.high)  # [items]
    chosen = names[:, tf.newaxis] == list(layers)  # [items, L]
    good = tf.reduce_all(tf.reduce_any(chosen, -1) & tf.math.is_finite(weights) & tf.math.is_finite(up_to))
    good &= tf.reduce_all(tf.reduce_sum(tf.cast(chosen, tf.int32), 0) <= 1)
    good &= tf.reduce_any((weights >= LEAST_WEIGHT) & (up_to == MAX_SIZE_PX))
    expected = f"{setting.expected} (the model has {', '.join(layers)})"
    weights = checked(weights, good, f"`{setting.name}` must be {expected}. Received: ", text)
    both = tf.where(chosen, tf.stack([weights, up_to])[..., tf.newaxis], tf.zeros([], tf.float64))  # [2, items, L]
    return tf.cast(tf.reduce_sum(both, 1), tf.float32)
