"""A state that is damaged or of another model is refused in one sentence, by the exported model itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from model import optimizers
from model.errors import InvalidInput
from model.state import encode_state
from model.stylizer import begin_size
from model.weights import Weights
from serving.transports import LocalTransport
from tests.conftest import encode, smooth_picture
from tests.model.inputs import settings

TEXT = "size=16,smallest_size=16,steps=2"
WORDS = "`state_bytes` must be empty or what an earlier call of `advance` returned, unchanged"

FRAME_BYTES = 20  # a serialised vector of less than 2 MB needs no more before its elements

Advance = Callable[[bytes], dict[str, Any]]
StateOf = Callable[[str], bytes]


@pytest.fixture(scope="module")
def local(small_model: Path) -> LocalTransport:
    return LocalTransport(small_model)


@pytest.fixture(scope="module")
def advance(local: LocalTransport) -> Advance:
    picture = encode(smooth_picture(16, 16))
    inputs = {"content_bytes": [picture], "style_bytes": [[picture]], "settings": [TEXT], "take_steps": [1]}
    return lambda state: local.predict("advance", inputs | {"state_bytes": [state]}, timeout_s=60)


@pytest.fixture(scope="module")
def smallest_state_of() -> StateOf:
    """Makes a model's state, by its digest, whose pictures have one pixel, so that there are few bytes to damage."""
    descent = optimizers.initial(tf.ones([1, 1, 3]), settings("optimizer=sgd"))
    state = begin_size(tf.constant(1), descent, settings(TEXT))
    return lambda digest: bytes(encode_state(state, digest).numpy())


@pytest.fixture(scope="module")
def smallest_state(local: LocalTransport, smallest_state_of: StateOf) -> bytes:
    described = local.predict("describe", {"settings": [""]}, timeout_s=60)["description"][0]
    return smallest_state_of(json.loads(described)["digest"])


def damaged(state: bytes, flip: int) -> list[bytes]:
    return [state[:i] + bytes([state[i] ^ flip]) + state[i + 1 :] for i in range(len(state))]


def refusal(advance: Advance, state: bytes) -> str:
    """Returns the error of a call, or nothing."""
    try:
        advance(state)
    except InvalidInput as error:
        return str(error)
    return ""


def assert_refused(advance: Advance, state: bytes) -> None:
    assert refusal(advance, state).startswith(WORDS)


def assert_refused_behind_the_frame(advance: Advance, state: bytes, flip: int) -> None:
    states = damaged(state, flip)
    for framing in states[:FRAME_BYTES]:
        assert not refusal(advance, framing) or refusal(advance, framing).startswith(WORDS)
    for content in states[FRAME_BYTES:]:
        assert_refused(advance, content)


def test_the_undamaged_state_goes_on(advance: Advance, smallest_state: bytes) -> None:
    assert advance(smallest_state)["step"] == [2]


def test_a_frame_that_is_damaged_changes_nothing(advance: Advance, smallest_state: bytes) -> None:
    whole, reframed = advance(smallest_state), advance(b"\0" + smallest_state[1:])
    assert reframed["state_bytes"][0] == whole["state_bytes"][0]


@pytest.mark.parametrize("flip", [0x01, 0xFF])
def test_every_flipped_byte_is_refused(advance: Advance, smallest_state: bytes, flip: int) -> None:
    assert_refused_behind_the_frame(advance, smallest_state, flip)


def test_every_truncation_is_refused(advance: Advance, smallest_state: bytes) -> None:
    for length in range(1, len(smallest_state), 7):
        assert_refused(advance, smallest_state[:length])
        assert_refused(advance, smallest_state[FRAME_BYTES:][:length])
    assert_refused(advance, smallest_state + b"\0")


def test_a_state_of_other_weights_or_another_precision_is_refused(
    advance: Advance, smallest_state_of: StateOf, small_weights: Weights
) -> None:
    brighter = Weights("brighter", {key: value * 1.5 for key, value in small_weights.arrays.items()})
    assert not refusal(advance, smallest_state_of(f"{small_weights.digest}-float32"))
    for digest in (f"{brighter.digest}-float32", f"{small_weights.digest}-bfloat16"):
        assert refusal(advance, smallest_state_of(digest)).startswith("`state_bytes` must come from this model")


@pytest.mark.soak
def test_every_flipped_byte_of_a_whole_state_is_refused(advance: Advance) -> None:
    assert_refused_behind_the_frame(advance, advance(b"")["state_bytes"][0], 0xFF)
