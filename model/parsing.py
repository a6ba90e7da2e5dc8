"""Reads a settings string inside the graph, by the grammar and limits of model/settings.py.

The same texts give the same values, or the same error text, as `StyleSettings.parse` in Python; only the layers are
held against what the exported model has.
"""

from __future__ import annotations

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
    Layers,
    Setting,
    format_value,
)

ParsedSettings = dict[str, tf.Tensor]
"""By name: int32 or float32 scalars, for a choice its place in `Setting.choices`, int32 scalar; for layers float32
[2, L], the weight of each and the largest long side at which it counts; float32 [n] for styles."""


def choice_index(name: str, choice: str) -> int:
    """Returns what a parsed setting is where it is a certain one of its choices."""
    return SETTINGS[name].choices.index(choice)


def is_chosen(settings: ParsedSettings, name: str, choice: str) -> tf.Tensor:
    """Returns whether a parsed setting is a certain one of its choices, bool scalar."""
    return settings[name] == choice_index(name, choice)


def switch(name: str, chosen: tf.Tensor, branches: Mapping[str, Callable[[], Any]]) -> Any:
    """Returns what the branch of a setting's choice gives, as `tf.switch_case` does; there is one for each choice."""
    return tf.switch_case(chosen, [branches[choice] for choice in SETTINGS[name].choices])


def parse_settings(text: tf.Tensor, layers: Sequence[str]) -> ParsedSettings:
    """Reads one settings string.

    Args:
      text: string scalar, see model/settings.py.
      layers: names of the model's L layers.

    Returns:
      Every setting. Layers become weights and largest sizes over the model's layers.

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

    def last_of(wanted: list[str], otherwise: tf.Tensor) -> tf.Tensor:
        """Returns for each name the last value that was given, or `otherwise`; string [K] both."""
        position = tf.where(names[:, tf.newaxis] == wanted, tf.range(tf.size(names))[:, tf.newaxis], -1)
        last = tf.reduce_max(tf.concat([position, tf.fill([1, len(wanted)], -1)], 0), 0)  # [K]
        return tf.where(last >= 0, tf.gather(tf.concat([values, [""]], 0), tf.maximum(last, 0)), otherwise)

    preset = last_of([PRESET.name], tf.constant([PRESET.default]))[0]
    row = _choices([PRESET], {PRESET.name: preset})[PRESET.name]
    # One tensor for all settings: an op for each would be thousands, and a graph's time to load grows with them.
    by_preset = [[_text_of(s, PRESETS[name].get(s.name), layers) for s in SETTINGS.values()] for name in PRESET.choices]
    all_texts = last_of(list(SETTINGS), tf.constant(by_preset)[row])
    texts = dict(zip(SETTINGS, tf.unstack(all_texts, num=len(SETTINGS)), strict=True))

    parsed = _numbers(_of("integer", "number"), texts) | _choices(_of("choice"), texts)
    parsed |= {setting.name: _parse_layers(setting, texts[setting.name], layers) for setting in _of("layers")}
    parsed |= {setting.name: _parse_weights(setting, texts[setting.name]) for setting in _of("weights")}
    terms = [parsed[name] for name in ("style_weight", "content_weight", "total_variation_weight")]
    parsed["style_weight"] = checked(parsed["style_weight"], tf.reduce_any(tf.stack(terms) > 0), ALL_WEIGHTS_ZERO)
    return {name: parsed[name] for name in SETTINGS}


def recipe(settings: ParsedSettings) -> list[tf.Tensor]:
    """Returns what tells two recipes apart: all settings but `steps`, which changes how long a run is, not its losses.

    They are in few tensors, as each costs ops: the scalars of a type in one, and every vector by itself. The first
    says what the numbers stand for, so that a release with other settings or choices takes none for another.
    """
    meaning = tf.constant(str([(setting.name, setting.choices) for setting in SETTINGS.values()]))
    integers = tf.stack([settings[s.name] for s in _of("integer", "choice") if s.name != "steps"])
    numbers = tf.stack([settings[s.name] for s in _of("number")])
    return [meaning, integers, numbers, *(settings[s.name] for s in _of("layers", "weights"))]


def _of(*kinds: str) -> list[Setting]:
    return [setting for setting in SETTINGS.values() if setting.kind in kinds]


# What Python's `str.strip` takes away, as RE2 writes it; `tf.strings.strip` knows ASCII's blanks alone.
_BLANK = r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"


def _strip(text: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(text, rf"\A{_BLANK}+|{_BLANK}+\z", "")


def _text_of(setting: Setting, override: Any, layers: Sequence[str]) -> str:
    value = setting.default if override is None else override
    if setting.kind == "layers":
        value = available(value, layers)
    return format_value(value)


def available(value: Layers, layers: Sequence[str]) -> Layers:
    """Returns those layers of a preset that a model has; its deepest where it has none that counts at every size."""
    own = tuple(layer for layer in value if layer.name in layers)
    return own if any(layer.up_to == MAX_SIZE_PX for layer in own) else (Layer(layers[-1]),)


def _choices(settings: Sequence[Setting], texts: Mapping[str, tf.Tensor]) -> ParsedSettings:
    """Returns the place of each setting's text among its choices, int32 scalars, once it is one of them."""
    most = max(len(setting.choices) for setting in settings)
    table = [[*setting.choices, *[""] * (most - len(setting.choices))] for setting in settings]
    own = tf.stack([texts[setting.name] for setting in settings])
    same = (own[:, tf.newaxis] == table) & tf.not_equal(table, "")  # [K, most]; an empty text is no choice
    places = _all_good(settings, own, tf.argmax(same, -1, output_type=tf.int32), tf.reduce_any(same, -1))
    return {setting.name: place for setting, place in zip(settings, tf.unstack(places), strict=True)}


def _numbers(settings: Sequence[Setting], texts: Mapping[str, tf.Tensor]) -> ParsedSettings:
    """Returns int32 or float32 scalars, by way of float64, which holds every integer and number exactly."""
    whole = tf.constant([setting.kind == "integer" for setting in settings])
    own = tf.stack([texts[setting.name] for setting in settings])
    values = tf.where(whole, _number(own, INTEGER.pattern), _number(own, NUMBER.pattern))
    low = tf.constant([setting.low for setting in settings], tf.float64)
    high = tf.constant([setting.high for setting in settings], tf.float64)
    # A value that is no number reads as NaN, which no range holds.
    values = _all_good(settings, own, values, (values >= low) & (values <= high))
    types = {"integer": tf.int32, "number": tf.float32}
    return {s.name: tf.cast(value, types[s.kind]) for s, value in zip(settings, tf.unstack(values), strict=True)}


def _parse_weights(setting: Setting, text: tf.Tensor) -> tf.Tensor:
    items = tf.strings.split(text, "/")
    items = tf.boolean_mask(items, tf.fill(tf.shape(items), tf.not_equal(text, "")))
    weights = _number(_strip(items), NUMBER.pattern)
    weights = _all_good([setting], [text], weights, [_are_weights(weights) | tf.equal(text, "")])
    return tf.cast(weights, tf.float32)


def _all_good(settings: Sequence[Setting], texts: tf.Tensor, values: tf.Tensor, good: tf.Tensor) -> tf.Tensor:
    """Returns the values once all K settings are good; else fails with the words for the first that is not."""
    first = tf.argmin(tf.cast(good, tf.int32))
    words = tf.constant([f"`{setting.name}` must be {setting.expected}. Received: " for setting in settings])
    return checked(values, tf.reduce_all(good), words[first], tf.gather(texts, first))


def _number(text: tf.Tensor, pattern: str) -> tf.Tensor:
    """Reads float64 numbers from strings of any shape; NaN where the pattern does not match."""
    matches = tf.strings.regex_full_match(text, pattern)
    return tf.strings.to_number(tf.where(matches, text, "nan"), tf.float64)


def _are_weights(weights: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all((weights >= 0) & (weights <= MAX_WEIGHT)) & tf.reduce_any(weights >= LEAST_WEIGHT)


def _parse_layers(setting: Setting, text: tf.Tensor, layers: Sequence[str]) -> tf.Tensor:
    items = tf.strings.split(text, "/")

    def part(items: tf.Tensor, mark: str, otherwise: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what stands before the mark in each item, and what after it, or `otherwise` without a mark."""
        marked = tf.strings.regex_full_match(items, f"(?s).*{mark}.*")
        after = _strip(tf.strings.regex_replace(items, f"^[^{mark}]*{mark}", "", replace_global=False))
        return tf.strings.regex_replace(items, f"(?s){mark}.*", ""), tf.where(marked, after, otherwise)

    items, written_size = part(items, "@", str(MAX_SIZE_PX))
    names, written_weight = part(items, ":", "1")
    weights, up_to = _number(written_weight, NUMBER.pattern), _number(written_size, INTEGER.pattern)  # [items] both
    chosen = _strip(names)[:, tf.newaxis] == list(layers)  # [items, L]
    once = tf.reduce_all(tf.reduce_sum(tf.cast(chosen, tf.int32), 0) <= 1)
    known = tf.reduce_all(tf.reduce_any(chosen, -1))
    size = SETTINGS["size"]
    sizes_in_range = (up_to >= size.low) & (up_to <= size.high)
    in_range = tf.reduce_all((weights >= 0) & (weights <= MAX_WEIGHT) & sizes_in_range)
    weights = checked(
        weights,
        once & known & in_range & _are_weights(tf.boolean_mask(weights, up_to == MAX_SIZE_PX)),
        f"`{setting.name}` must be {setting.expected} (the model has {', '.join(layers)}). Received: ",
        text,
    )
    both = tf.where(chosen, tf.stack([weights, up_to])[..., tf.newaxis], tf.zeros([], tf.float64))  # [2, items, L]
    return tf.cast(tf.reduce_sum(both, 1), tf.float32)
