"""A state that is damaged is refused in one sentence. What the exported model does with it is in test_export.py."""

import tensorflow as tf

from model.state import decode_state
from model.stylizer import RunState
from serving.errors import clean
from tests.model.inputs import smallest_state

WORDS = "`state_bytes` must be empty or the unchanged state that an earlier call of `advance` returned"
FRAME_BYTES = 20  # a serialised vector of less than 2 MB needs no more before its elements
STATE = smallest_state("a model's")


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def decode(data: tf.Tensor) -> RunState:
    return decode_state(data, "a model's")


def is_refused(data: bytes) -> bool:
    try:
        decode(data)
    except tf.errors.InvalidArgumentError as error:
        assert clean(error.message).startswith(WORDS)  # noqa: PT017 - or there is no error
        return True
    return False


def with_byte_flipped(place: int, flip: int) -> bytes:
    return STATE[:place] + bytes([STATE[place] ^ flip]) + STATE[place + 1 :]


def test_every_flipped_byte_is_refused_and_in_the_frame_changes_nothing():
    whole = tf.nest.flatten(decode(STATE))
    for flip in (0x01, 0xFF):
        for place in range(FRAME_BYTES, len(STATE)):
            assert is_refused(with_byte_flipped(place, flip)), place
        for place in range(FRAME_BYTES):
            framed = with_byte_flipped(place, flip)
            if not is_refused(framed):
                for one, other in zip(tf.nest.flatten(decode(framed)), whole, strict=True):
                    tf.debugging.assert_equal(one, other)


def test_every_truncation_is_refused():
    for length in range(1, len(STATE)):
        assert is_refused(STATE[:length])
        assert is_refused(STATE[FRAME_BYTES:][:length])
    assert is_refused(STATE + b"\0")
