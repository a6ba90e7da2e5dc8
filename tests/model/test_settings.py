"""The settings in Python and in the graph: both read the same values from a text, or refuse it with the same error."""

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import InvalidInput
from model.layers import LAYERS, Layer
from model.parsing import parse_settings, recipe
from model.settings import PRESET, SETTINGS, Setting, StyleSettings, format_value
from model.state import fingerprint
from serving.errors import clean

LACKING = LAYERS[-1]
MODEL_LAYERS = LAYERS[:-1]

READ = [
    "", "size=384", "preset=fine", "preset=quick,steps=7", "steps=7,preset=quick", " size = 20 , steps = 3 ",
    ",,size=20,,", "size=20,size=30", "size=nosuch,size=64", "size=+20",
    "style_weight=2e3,content_weight=.5,total_variation_weight=0", "learning_rate=1.",
    "statistics=gram,start=noise,seed=42", "style_layers=block2_conv2",
    "style_layers= block1_conv1 : 2 / block3_conv1:0", "content_layers=block1_conv2:1e-3/block2_conv1",
    "content_layers=block1_conv2/block2_conv1 : 5 @ 192 /block2_conv2:0@16", "style_layers=block1_conv1@4096",
    "blend_weights=1", "blend_weights= 1 / .5 /0", "blend_weights=",
    "blend_weights=1/\N{NO-BREAK SPACE}2 / 3,\N{EM SPACE}size = 64\N{NO-BREAK SPACE}",
]  # fmt: skip
REFUSED = {
    "size": ["9", "4097", "", "5e2", "=3", "20.0", "größer"],
    "steps": ["1.5", "99999999999999999999"],
    "style_weight": ["nan", "-1", "inf", "1e99", "0x10"],
    "statistics": ["Gram"],
    "preset": ["best"],
    "style_layers": [
        "", "conv1", "block1_conv1:", "block1_conv1:-1/block2_conv1", "block1_conv1:0", "block1_conv1/block1_conv1",
        "block1_conv1//block2_conv1", "block1_conv1:1e-60", "block1_conv1@192", "block1_conv1:0/block2_conv1:1@192",
        "block1_conv1/block2_conv1@", "block1_conv1/block2_conv1@192:2", "block1_conv1/block2_conv1@15",
        "block1_conv1/block2_conv1@4097", "block1_conv1/block2_conv1@99.5", "block1_conv1/block2_conv1:-1@192",
    ],
    "blend_weights": ["1e-60/0", "1/-1", "0/0", "1/x", "1//1"],
    "beta_1": ["1"],
}  # fmt: skip
ERRORS = {
    "size=9": "`size` must be an integer from 16 to 4096. Received: 9",
    "beta_1=1": "`beta_1` must be a number from 0 to 0.9999. Received: 1",
    "statistics=Gram": "`statistics` must be one of wasserstein, gram. Received: Gram",
    "blend_weights=0/0": "`blend_weights` must be empty, or one number from 0 for each style, joined by slashes, at "
    "least one above 0. Received: 0/0",
    "style_layers=conv1": "`style_layers` must be different layers of the model as NAME[:WEIGHT][@PIXELS], joined",
    "style_weight=0,content_weight=0,total_variation_weight=0": "`style_weight`, `content_weight` and `total_variation",
    **dict.fromkeys(("s=9", "=", "size"), "`settings` must be name=value pairs joined by commas, with names among pre"),
}


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def in_graph(text: tf.Tensor) -> dict[str, tf.Tensor]:
    return parse_settings(text, MODEL_LAYERS)


def as_the_graph_gives(setting: Setting, value: Any) -> Any:
    if setting.kind == "layers":
        weights = {layer.name: layer[1:] for layer in value}
        return np.float32([weights.get(layer, (0, 0)) for layer in MODEL_LAYERS]).T
    if setting.kind == "choice":
        return setting.choices.index(value)
    return value if setting.kind == "integer" else np.float32(value)


def refusal(text: str) -> str:
    """Returns the error for a text, once Python and the graph refuse it alike."""
    with pytest.raises(InvalidInput) as in_python:
        StyleSettings.parse(text)
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        in_graph(tf.constant(text))
    # The graph adds which layers the model has.
    assert clean(failure.value.message).replace(f" (the model has {', '.join(MODEL_LAYERS)})", "") == str(
        in_python.value
    )
    return str(in_python.value)


def assert_agree(text: str) -> None:
    try:
        expected = StyleSettings.parse(text)
    except InvalidInput:
        with pytest.raises(tf.errors.InvalidArgumentError):
            in_graph(tf.constant(text))
        return
    parsed = in_graph(tf.constant(text))
    assert list(parsed) == list(SETTINGS)
    for name, value in expected.items():
        wanted = as_the_graph_gives(SETTINGS[name], value)  # but for subnormal numbers, which TensorFlow rounds to 0
        np.testing.assert_allclose(parsed[name], wanted, rtol=0, atol=np.finfo(np.float32).tiny, err_msg=name)


@pytest.mark.parametrize("text", READ)
def test_python_and_graph_read_the_same_values(text):
    StyleSettings.parse(text)
    assert_agree(text)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_python_and_graph_refuse_the_same_values_with_the_same_error(name, value):
    error = refusal(f"{name}={value}")
    assert error.startswith(f"`{name}` must be ")
    assert error.endswith(f". Received: {value}")


@pytest.mark.parametrize("text", ERRORS)
def test_an_error_says_what_was_expected_and_what_came(text):
    assert refusal(text).startswith(ERRORS[text])


def test_a_layer_that_the_model_lacks_is_refused_by_the_graph_alone():
    text = f"style_layers={LACKING}"
    assert StyleSettings.parse(text).style_layers == (Layer(LACKING),)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"the model has block1_conv1, .*Received: {LACKING}"):
        in_graph(tf.constant(text))


BLANKS = [chr(code) for code in range(0x3001) if chr(code).isspace()]
spaces = st.sampled_from(["", "", "", " ", "\t \n", *BLANKS])
numbers = (
    st.floats(0, 10).map(str)
    | st.floats().map(str)
    | st.integers().map(str)
    | st.from_regex(r"[-+]?[0-9]{0,3}\.?[0-9]{0,3}([eE][-+]?[0-9]{0,3})?", fullmatch=True)
    | st.sampled_from(["nan", "inf", "1_000", "\N{FULLWIDTH DIGIT ZERO}", "1e5", ".5", "5.", "0x10", "1e99", "5\u200b"])
)
weights, sizes = st.just("") | numbers.map(":{}".format), st.just("") | (st.just("4096") | numbers).map("@{}".format)
layers = st.builds("{}{}{}".format, st.sampled_from([*MODEL_LAYERS, "nosuch", ""]), weights, sizes)
lists = st.lists(layers | numbers | spaces, max_size=4).map("/".join)


@st.composite
def pairs(draw: st.DrawFn) -> str:
    setting = draw(st.sampled_from([PRESET, *SETTINGS.values()]))
    ends = [near for end in (setting.low, setting.high) for near in (end, end - 1, np.nextafter(end, np.inf))]
    good = st.sampled_from([setting.default, *ends, *setting.choices]).map(format_value)
    value = draw(good | good | numbers | lists | st.text(max_size=4))
    name = draw(st.sampled_from([setting.name] * 8 + [setting.name.upper(), ""]))
    equals = draw(st.sampled_from(["="] * 8 + ["", "=="]))
    return "".join([draw(spaces), name, draw(spaces), equals, draw(spaces), value, draw(spaces)])


texts = st.lists(pairs(), max_size=2).map(",".join) | st.text(max_size=20)


@settings(max_examples=100)
@given(texts)
def test_python_and_the_graph_agree(text):
    assert_agree(text)


@pytest.mark.soak
@settings(max_examples=20_000, derandomize=False)
@given(texts)
def test_python_and_the_graph_agree_for_long(text):
    assert_agree(text)


ASKED = {"style_layers": (("block1_conv1", 0.25), ("block2_conv2", 1, 192), "block3_conv1"), "blend_weights": [1, 0.5]}


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (StyleSettings(), ""),
        (StyleSettings(size=20), "size=20"),
        (StyleSettings("fine"), "preset=fine"),
        (StyleSettings("fine").replace(seed=3), "preset=fine,seed=3"),
        (StyleSettings("fine", seed=3).replace(preset="quick"), "preset=quick,seed=3"),
        (StyleSettings(**ASKED), "blend_weights=1/0.5,style_layers=block1_conv1:0.25/block2_conv2@192/block3_conv1"),
    ],
)
def test_only_what_was_asked_for_is_sent(made, text):
    assert str(made) == text
    assert StyleSettings.parse(text) == made


@pytest.mark.parametrize(
    "made",
    [
        lambda: StyleSettings(total_variation_weight=8e-4),
        lambda: StyleSettings(total_variation_weight=8e-4, seed=3).replace(seed=0),
        lambda: StyleSettings.parse("total_variation_weight=8e-4"),
        lambda: pickle.loads(pickle.dumps(StyleSettings(total_variation_weight=8e-4))),  # noqa: S301 - our own
    ],
    ids=["by name", "replaced", "parsed", "pickled"],
)
def test_what_was_asked_for_is_sent_even_where_it_is_the_default(made):
    """The server's preset may differ: by its release, or because its model lacks a layer."""
    assert made() == StyleSettings()
    assert hash(made()) == hash(StyleSettings())
    assert "total_variation_weight=0.0008" in str(made()).split(",")
    assert "total_variation_weight=0.0008" in str(made().replace(size=20)).split(",")


def recipe_of(text: str) -> int:
    return int(fingerprint(recipe(in_graph(tf.constant(text)))))


@pytest.mark.parametrize("name", SETTINGS)
def test_another_value_of_any_setting_but_the_steps_is_another_recipe(name):
    setting = SETTINGS[name]
    other = {"choice": setting.choices[-1:], "layers": ["block1_conv2"], "weights": ["0/1"]}.get(setting.kind)
    value = other[0] if other else setting.low if setting.default == setting.high else setting.high
    text = f"{name}={format_value(value)}"
    assert StyleSettings.parse(text) != StyleSettings()
    assert (recipe_of(text) == recipe_of("")) == (name == "steps")


def test_one_recipe_in_two_ways_of_writing_is_the_same():
    assert recipe_of("preset=quick,style_weight=2e3") == recipe_of(" style_weight= 2000 , size=384,steps=180")
    assert recipe_of("blend_weights=0.5/0.5") != recipe_of("blend_weights=0.5")


def test_another_meaning_of_the_same_number_is_another_recipe(monkeypatch):
    """A release may put a choice in before others: then a parsed choice, which is an index, means another one."""
    before = recipe_of("")
    setting = SETTINGS["result"]
    monkeypatch.setitem(SETTINGS, "result", dataclasses.replace(setting, choices=setting.choices[::-1]))  # type: ignore[arg-type]
    assert recipe_of("") != before


@pytest.mark.parametrize(
    "values",
    [
        {"preset": "best"}, {"size": True}, {"size": 20.5}, {"size": None}, {"averaging": float("nan")},
        {"size": float("inf")}, {"blend_weights": ("a",)}, {"style_layers": ()}, {"style_layers": 3},
        {"style_layers": (("block1_conv1", 1, 192, 3),)}, {"style_layers": ("block1_conv1", ("block2_conv1", 1, 99.5))},
        {"style_layers": ((1, 2),)},
    ],
)  # fmt: skip
def test_values_of_the_wrong_kind_are_refused(values):
    with pytest.raises(InvalidInput, match=f"`{next(iter(values))}` must be"):
        StyleSettings(**values)


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(InvalidInput, match=r"`settings` must be name=value pairs .*Received: sise"):
        StyleSettings(sise=9)
