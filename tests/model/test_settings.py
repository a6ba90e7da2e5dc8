"""The settings in Python, and the same texts read in the graph."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from model.errors import InvalidInput
from model.layers import LAYERS, Layer
from model.parsing import parse_settings, recipe
from model.presets import PRESETS
from model.settings import GROUPS, PRESET, SETTINGS, StyleSettings, format_value
from model.state import fingerprint
from serving.errors import clean

MODEL_LAYERS = LAYERS[:5]

GOOD = [
    "",
    "size=384",
    "preset=fine",
    "preset=quick,steps=7",
    "steps=7,preset=quick",
    " size = 20 , steps = 3 ",
    ",,size=20,,",
    "size=20,size=30",
    "size=+20",
    "style_weight=2e3,content_weight=.5,total_variation_weight=0",
    "learning_rate=1.",
    "statistics=gram,start=noise,seed=42",
    "style_layers=block2_conv2",
    "style_layers= block1_conv1 : 2 / block3_conv1:0",
    "content_layers=block1_conv2:1e-3/block2_conv1",
    "content_layers=block1_conv2/block2_conv1 : 5 @ 192 /block2_conv2:0@16",
    "style_layers=block1_conv1@4096",
    "blend_weights=1",
    "blend_weights= 1 / .5 /0",
    "blend_weights=",
    "optimizer=lbfgs,history=5,result=average,averaging=1e-3",
]

BAD = [
    ("size=9", "`size` must be an integer from 16 to 4096. Received: 9"),
    ("size=4097", "`size`"),
    ("size=", "`size`"),
    ("size=5e2", "`size`"),
    ("size==3", "`size`"),
    ("steps=1.5", "`steps` must be an integer from 1 to 10000. Received: 1.5"),
    ("steps=99999999999999999999", "`steps`"),
    ("style_weight=nan", "`style_weight` must be a number from 0 to 1000000000. Received: nan"),
    ("style_weight=-1", "`style_weight`"),
    ("style_weight=inf", "`style_weight`"),
    ("style_weight=1e99", "`style_weight`"),
    ("style_weight=0x10", "`style_weight`"),
    ("style_weight=0,content_weight=0,total_variation_weight=0", "`style_weight`, `content_weight`"),
    ("statistics=Gram", "`statistics` must be one of wasserstein, gram. Received: Gram"),
    ("preset=best", "`preset` must be one of quick, balanced, fine, classic, gatys2016, "),
    ("sise=9", "`settings` must be name=value pairs"),
    ("size", "`settings` must be name=value pairs"),
    ("=", "`settings` must be name=value pairs"),
    ("style_layers=", "`style_layers`"),
    ("style_layers=conv1", "`style_layers`"),
    ("style_layers=block1_conv1:", "`style_layers`"),
    ("style_layers=block1_conv1:-1/block2_conv1", "`style_layers`"),
    ("style_layers=block1_conv1:0", "`style_layers`"),
    ("style_layers=block1_conv1/block1_conv1", "`style_layers`"),
    ("style_layers=block1_conv1//block2_conv1", "`style_layers`"),
    ("style_layers=block1_conv1:1e-60", "`style_layers`"),
    ("style_layers=block1_conv1@192", "`style_layers`"),
    ("style_layers=block1_conv1:0/block2_conv1:1@192", "`style_layers`"),
    ("style_layers=block1_conv1/block2_conv1@", "`style_layers`"),
    ("style_layers=block1_conv1/block2_conv1@192:2", "`style_layers`"),
    ("style_layers=block1_conv1/block2_conv1@15", "`style_layers`"),
    ("style_layers=block1_conv1/block2_conv1@4097", "`style_layers`"),
    ("style_layers=block1_conv1/block2_conv1@99.5", "`style_layers`"),
    ("style_layers=block1_conv1/block2_conv1:-1@192", "`style_layers`"),
    ("blend_weights=1e-60/0", "`blend_weights`"),
    ("blend_weights=1/-1", "`blend_weights` must be one number for each style"),
    ("blend_weights=0/0", "`blend_weights`"),
    ("blend_weights=1/x", "`blend_weights`"),
    ("blend_weights=1//1", "`blend_weights`"),
    ("beta_1=1", "`beta_1` must be a number from 0 to 0.9999. Received: 1"),
    ("size=größer", "`size` must be an integer from 16 to 4096. Received: größer"),
]


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def in_graph(text: tf.Tensor) -> dict[str, tf.Tensor]:
    return parse_settings(text, MODEL_LAYERS)


def as_the_graph_gives_them(settings: StyleSettings) -> dict[str, Any]:
    values = dict(settings.items())
    for name, setting in SETTINGS.items():
        if setting.kind == "layers":
            given = {layer.name: layer[1:] for layer in values[name]}
            values[name] = np.float32([given.get(layer, (0, 0)) for layer in MODEL_LAYERS]).T
        elif setting.kind == "weights":
            values[name] = np.float32(values[name])
        elif setting.kind == "choice":
            values[name] = setting.choices.index(values[name])
    return values


@pytest.mark.parametrize("text", GOOD)
def test_python_and_graph_read_the_same_values(text: str) -> None:
    expected = as_the_graph_gives_them(StyleSettings.parse(text))
    actual = {name: value.numpy() for name, value in in_graph(tf.constant(text)).items()}
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(("text", "words"), BAD, ids=[text for text, _ in BAD])
def test_python_and_graph_refuse_the_same_texts_in_the_same_words(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as in_python:
        StyleSettings.parse(text)
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        in_graph(tf.constant(text))
    assert str(in_python.value).startswith(words)
    # The graph adds which layers the model has.
    of_graph = clean(failure.value.message).replace(f" (the model has {', '.join(MODEL_LAYERS)})", "")
    assert of_graph == str(in_python.value)


def test_a_layer_that_the_model_lacks_is_refused_by_the_graph_alone() -> None:
    text = "style_layers=block5_conv1"
    assert StyleSettings.parse(text).style_layers == (Layer("block5_conv1"),)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"the model has block1_conv1, .*Received: block5_conv1"):
        in_graph(tf.constant(text))


@pytest.mark.parametrize("preset", PRESETS)
def test_text_and_settings_turn_into_each_other(preset: str) -> None:
    settings = StyleSettings(
        preset, style_layers=(("block1_conv1", 0.25), ("block2_conv2", 1, 192), "block3_conv1"), seed=3
    )
    assert StyleSettings.parse(str(settings)) == settings


def test_only_what_was_asked_for_travels() -> None:
    assert str(StyleSettings()) == ""
    assert str(StyleSettings(size=20)) == "size=20"
    assert str(StyleSettings("fine")) == "preset=fine"
    assert str(StyleSettings("fine", steps=7)) == "preset=fine,steps=7"
    assert str(StyleSettings("fine").replace(seed=3)) == "preset=fine,seed=3"


def test_what_was_asked_for_travels_even_where_it_is_the_default() -> None:
    """The server's preset may differ: by its weights, or because its model lacks a layer."""
    text = f"style_layers={format_value(StyleSettings().style_layers)}"
    assert StyleSettings.parse(text) == StyleSettings()
    assert str(StyleSettings.parse(text)) == text


@pytest.mark.parametrize(
    "made",
    [
        lambda: StyleSettings(total_variation_weight=8e-4),
        lambda: StyleSettings().replace(total_variation_weight=8e-4),
        lambda: StyleSettings(total_variation_weight=8e-4, seed=3).replace(seed=0),
        lambda: dataclasses.replace(StyleSettings(), total_variation_weight=8e-4),
        lambda: StyleSettings.parse("total_variation_weight=8e-4"),
        lambda: copy.copy(StyleSettings(total_variation_weight=8e-4)),
        lambda: pickle.loads(pickle.dumps(StyleSettings(total_variation_weight=8e-4))),  # noqa: S301 - our own
    ],
)
def test_no_way_to_make_settings_forgets_what_was_asked_for(made: Callable[[], StyleSettings]) -> None:
    assert made() == StyleSettings()
    assert hash(made()) == hash(StyleSettings())
    assert "total_variation_weight=0.0008" in str(made()).split(",")
    assert "total_variation_weight=0.0008" in str(made().replace(size=20)).split(",")


def test_another_preset_replaces_all_but_what_was_asked_for() -> None:
    settings = StyleSettings(preset="fine", seed=3).replace(preset="quick")
    assert str(settings) == "preset=quick,seed=3"
    assert settings == StyleSettings.parse("preset=quick,seed=3")


def test_an_unknown_preset_or_setting_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="`preset` must be one of quick"):
        StyleSettings("best")
    with pytest.raises(InvalidInput, match=r"`settings` must be name=value pairs .*Received: sise"):
        StyleSettings(sise=9)


def recipe_of(text: str) -> int:
    return int(fingerprint(recipe(in_graph(tf.constant(text)))))


@pytest.mark.parametrize("name", SETTINGS)
def test_another_value_of_any_setting_but_the_steps_is_another_recipe(name: str) -> None:
    setting = SETTINGS[name]
    if setting.kind == "choice":
        other = next(choice for choice in setting.choices if choice != setting.default)
    else:
        number = setting.low if setting.default == setting.high else setting.high
        other = {"layers": "block1_conv2", "weights": "0/1"}.get(setting.kind, format_value(number))
    text = f"{name}={other}"
    assert StyleSettings.parse(text) != StyleSettings()
    assert (recipe_of(text) == recipe_of("")) == (name == "steps")


def test_one_recipe_in_two_ways_of_writing_is_the_same() -> None:
    assert recipe_of("preset=quick,style_weight=2e3") == recipe_of(" style_weight= 2000 , size=384,steps=180")
    assert recipe_of("blend_weights=0.5/0.5") != recipe_of("blend_weights=0.5")


def test_another_meaning_of_the_same_number_is_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release may put a choice in before others: then a parsed choice, which is a place, means another one."""
    before = recipe_of("")
    setting = SETTINGS["result"]
    monkeypatch.setitem(SETTINGS, "result", dataclasses.replace(setting, choices=setting.choices[::-1]))  # type: ignore[arg-type]
    assert recipe_of("") != before


def test_every_setting_tells_enough_to_make_a_flag_and_a_widget() -> None:
    for setting in (PRESET, *SETTINGS.values()):
        assert setting.label
        assert setting.help.endswith(".")
        assert setting.group in GROUPS
        assert setting.check(setting.default) == setting.default
        if setting.kind in ("integer", "number"):
            assert setting.low is not None
            assert setting.high is not None


@pytest.mark.parametrize(
    "values",
    [
        {"size": True},
        {"size": "512"},
        {"size": 20.5},
        {"seed": -1},
        {"averaging": float("nan")},
        {"size": float("inf")},
        {"size": float("nan")},
        {"blend_weights": 0.5},
        {"blend_weights": ("a",)},
        {"style_layers": "block1_conv1"},
        {"style_layers": ()},
        {"style_layers": 3},
        {"style_layers": (("block1_conv1", 1, 192, 3),)},
        {"style_layers": ("block1_conv1", ("block2_conv1", 1, 99.5))},
    ],
)
def test_values_of_the_wrong_kind_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"`{next(iter(values))}` must be"):
        StyleSettings(**values)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        StyleSettings().size = 3  # type: ignore[misc]
