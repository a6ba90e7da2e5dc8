"""Python and the graph read any settings text alike: both take it, with the same values, or both refuse it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import InvalidInput
from model.layers import LAYERS
from model.parsing import parse_settings
from model.presets import PRESETS
from model.settings import PRESET, SETTINGS, Setting, StyleSettings, format_value

Parse = Callable[[str], dict[str, Any] | None]


@pytest.fixture(scope="module")
def graph() -> Parse:
    """Reads a text in the graph; None where it is refused."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.string)])
    def parse(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return parse_settings(text, LAYERS)

    def run(text: str) -> dict[str, Any] | None:
        with contextlib.suppress(tf.errors.InvalidArgumentError):
            return {name: value.numpy() for name, value in parse(tf.constant(text.encode())).items()}
        return None

    return run


def python(text: str) -> StyleSettings | None:
    with contextlib.suppress(InvalidInput):
        return StyleSettings.parse(text)
    return None


def assert_agree(graph: Parse, text: str) -> None:
    ours, theirs = python(text), graph(text)
    assert (ours is None) == (theirs is None), f"Python {ours}, graph {theirs}"
    if ours is None or theirs is None:
        return
    for name, value in ours.items():
        if SETTINGS[name].kind == "choice":
            assert SETTINGS[name].choices[theirs[name]] == value
        elif SETTINGS[name].kind == "layers":
            given = {layer.name: layer[1:] for layer in value}
            np.testing.assert_array_equal(theirs[name], np.float32([given.get(layer, (0, 0)) for layer in LAYERS]).T)
        elif SETTINGS[name].kind == "integer":
            assert theirs[name] == value
        else:
            np.testing.assert_array_equal(theirs[name], np.float32(value))


BLANKS = [chr(code) for code in range(0x3001) if chr(code).isspace()]
spaces = st.sampled_from(["", "", "", " ", "\t \n", "\u200b", *BLANKS])
numbers = (
    st.floats().map(str)
    | st.integers().map(str)
    | st.integers(0, 5000).map(str)
    | st.floats(0, 10, allow_subnormal=False).map(str)
    | st.from_regex(r"[-+]?[0-9]{0,3}\.?[0-9]{0,3}([eE][-+]?[0-9]{0,3})?", fullmatch=True)
    | st.sampled_from(["nan", "inf", "1_000", "０", "1e5", ".5", "5.", "0x10", "1e99", "1e-99", "+7"])
)
number_lists = st.lists(numbers, max_size=4).map("/".join)
layer_lists = st.lists(
    st.tuples(st.sampled_from([*LAYERS, "", "nosuch"]), st.none() | numbers, spaces), max_size=4
).map(
    lambda items: "/".join(
        name + space + ("" if weight is None else f":{space}{weight}") for name, weight, space in items
    )
)


def values_of(setting: Setting) -> st.SearchStrategy[str]:
    choices = st.sampled_from([*setting.choices, "nosuch", setting.default if setting.choices else "", ""])
    kinds = {"choice": choices, "layers": layer_lists, "weights": number_lists, "integer": numbers, "number": numbers}
    edges = [] if setting.low is None or setting.high is None else [setting.low, setting.high]
    near = [format_value(value) for edge in edges for value in (edge, edge - 1, edge + 1, np.nextafter(edge, np.inf))]
    return kinds[setting.kind] | st.sampled_from([format_value(setting.default), *near]) | st.text(max_size=4)


@st.composite
def pairs(draw: st.DrawFn, setting: Setting) -> str:
    name = draw(st.just(setting.name) | st.sampled_from([*PRESETS, "nosuch", "", setting.name.upper()]))
    equals = draw(st.sampled_from(["=", "=", "=", "=", "", "=="]))
    return "".join([draw(spaces), name, draw(spaces), equals, draw(spaces), draw(values_of(setting)), draw(spaces)])


known = st.sampled_from([PRESET, *SETTINGS.values()])
texts = (
    st.lists(known, max_size=4, unique_by=lambda setting: setting.name)
    .flatmap(lambda chosen: st.tuples(*map(pairs, chosen)))
    .map(",".join)
) | st.text(max_size=20)


@settings(max_examples=200)
@given(texts)
def test_python_and_the_graph_agree(graph: Parse, text: str) -> None:
    assert_agree(graph, text)


@pytest.mark.soak
@settings(max_examples=20_000, derandomize=False)
@given(texts)
def test_python_and_the_graph_agree_for_long(graph: Parse, text: str) -> None:
    assert_agree(graph, text)


def test_a_bad_value_that_a_later_one_replaces(graph: Parse) -> None:
    assert_agree(graph, "size=nosuch,size=64")


def test_blanks_are_pythons_everywhere(graph: Parse) -> None:
    assert_agree(graph, "blend_weights=1/\N{NO-BREAK SPACE}2 / 3,\N{EM SPACE}size = 64\N{NO-BREAK SPACE}")
