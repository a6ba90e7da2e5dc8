"""Reads a settings string inside the graph, by the grammar and limits of model/settings.py.

The same texts give the same values, or the same error text, as `StyleSettings.parse` in Python; only the layers are
held against what the exported model has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from model.checks import checked
from model.settings import (
    ALL_WEIGHTS_ZERO,
    INTEGER,
    MAX_WEIGHT,
    NUMBER,
    PRESET,
    PRESETS,
    SETTINGS,
    UNKNOWN_SETTING,
    LayerWeights,
    Setting,
    format_value,
)

ParsedSettings = dict[str, tf.Tensor]
"""By name: int32 or float32 scalars, string scalars for choices, float32 [L] weights for layers."""


def parse_settings(text: tf.Tensor, layers: Sequence[str]) -> ParsedSettings:
    """Reads one settings string.

    Args:
      text: string scalar, see model/settings.py.
      layers: names of the model's L layers.

    Returns:
      Every setting. Layers become a vector of weights over the model's layers.

    Raises:
      tf.errors.InvalidArgumentError: when the graph runs; the text names the setting, what was expected, what came.
    """
    pairs = _strip(tf.strings.split(text, ","))
    pairs = tf.boolean_mask(pairs, tf.not_equal(pairs, ""))
    names = _strip(tf.strings.regex_replace(pairs, "(?s)=.*", ""))
    # RE2 strips up to the first '=' only when the class excludes it.
    values = _strip(tf.strings.regex_replace(pairs, "^[^=]*=", "", replace_global=False))
    known = tf.reduce_any(names[:, tf.newaxis] == [PRESET.name, *SETTINGS], -1)
    wrong = tf.boolean_mask(pairs, ~known | ~tf.strings.regex_full_match(pairs, "(?s).*=.*"))
    values = checked(values, tf.size(wrong) == 0, UNKNOWN_SETTING, tf.concat([wrong, [""]], 0)[0])

    def last_value(name: str, otherwise: tf.Tensor | str) -> tf.Tensor:
        given = tf.boolean_mask(values, names == name)
        return tf.concat([[otherwise], given], 0)[-1]

    preset = last_value(PRESET.name, PRESET.default)
    preset = _parse(PRESET, preset, layers)
    row = tf.argmax(tf.equal(preset, list(PRESETS)))
    parsed = {}
    for setting in SETTINGS.values():
        by_preset = [_text_of(setting, overrides.get(setting.name), layers) for overrides in PRESETS.values()]
        parsed[setting.name] = _parse(setting, last_value(setting.name, tf.constant(by_preset)[row]), layers)
    weights = [parsed[name] for name in ("style_weight", "content_weight", "total_variation_weight")]
    parsed["style_weight"] = checked(parsed["style_weight"], tf.reduce_any(tf.stack(weights) > 0), ALL_WEIGHTS_ZERO)
    return parsed


# What Python's `str.strip` takes away, as RE2 writes it; `tf.strings.strip` knows ASCII's blanks alone.
_BLANK = r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"


def _strip(text: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(text, rf"\A{_BLANK}+|{_BLANK}+\z", "")


def _text_of(setting: Setting, override: Any, layers: Sequence[str]) -> str:
    value = setting.default if override is None else override
    if setting.kind == "layers":
        value = available(value, layers)
    return format_value(value)


def available(value: LayerWeights, layers: Sequence[str]) -> LayerWeights:
    """Returns those layers of a preset that a model has."""
    return tuple((name, weight) for name, weight in value if name in layers)


def _parse(setting: Setting, text: tf.Tensor, layers: Sequence[str]) -> tf.Tensor:
    refusal = (f"`{setting.name}` must be {setting.expected}. Received: ", text)
    if setting.kind == "choice":
        return checked(text, tf.reduce_any(tf.equal(text, list(setting.choices))), *refusal)
    if setting.kind == "layers":
        return _parse_layers(setting, text, layers)
    pattern = INTEGER if setting.kind == "integer" else NUMBER
    value = _number(text, pattern.pattern)
    # A value that is no number reads as NaN, which no range holds.
    value = checked(value, (value >= setting.low) & (value <= setting.high), *refusal)
    return tf.cast(value, tf.int32 if setting.kind == "integer" else tf.float32)


def _number(text: tf.Tensor, pattern: str) -> tf.Tensor:
    """Reads float64 numbers from strings of any shape; NaN where the pattern does not match."""
    matches = tf.strings.regex_full_match(text, pattern)
    return tf.strings.to_number(tf.where(matches, text, "nan"), tf.float64)


def _parse_layers(setting: Setting, text: tf.Tensor, layers: Sequence[str]) -> tf.Tensor:
    items = tf.strings.split(text, "/")
    names = _strip(tf.strings.regex_replace(items, "(?s):.*", ""))
    written = _strip(tf.strings.regex_replace(items, "^[^:]*:?", "", replace_global=False))
    has_weight = tf.strings.regex_full_match(items, "(?s).*:.*")
    weights = _number(tf.where(has_weight, written, "1"), NUMBER.pattern)  # [items]
    chosen = names[:, tf.newaxis] == list(layers)  # [items, L]
    once = tf.reduce_all(tf.reduce_sum(tf.cast(chosen, tf.int32), 0) <= 1)
    known = tf.reduce_all(tf.reduce_any(chosen, -1))
    in_range = tf.reduce_all((weights >= 0) & (weights <= MAX_WEIGHT)) & (tf.reduce_sum(weights) > 0)
    weights = checked(
        weights,
        once & known & in_range,
        f"`{setting.name}` must be {setting.expected} (the model has {', '.join(layers)}). Received: ",
        text,
    )
    vector = tf.reduce_sum(tf.where(chosen, weights[:, tf.newaxis], tf.zeros([], tf.float64)), 0)  # [L]
    return tf.cast(vector, tf.float32)
