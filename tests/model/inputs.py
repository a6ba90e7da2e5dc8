"""Inputs of a run, without their encoding."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model import optimizers
from model.objective import Pictures
from model.parsing import ParsedSettings, parse_settings
from model.state import encode_state
from model.stylizer import begin_size
from tests.conftest import CHANNELS, encode, smooth_picture

Picture = npt.NDArray[np.uint8]

CONTENT, STYLE = smooth_picture(48, 64, 1), smooth_picture(50, 40, 2)


# Traced once: op by op it would take a tenth of a second for each text.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def settings(text: str) -> ParsedSettings:
    """Parses settings for the small network."""
    return parse_settings(text, tuple(CHANNELS))


def pictures(
    content: Picture = CONTENT,
    *styles: Picture,
    masks: list[Picture | None] | None = None,
    style_masks: list[Picture | None] | None = None,
    initial: Picture | None = None,
) -> Pictures:
    """Returns the inputs of a run; a mask is uint8 [H, W], or None for an empty one."""
    styles = styles or (STYLE,)
    nothing: list[Picture | None] = [None] * len(styles)
    return Pictures(
        content=tf.constant(content),
        styles=tf.constant([encode(style) for style in styles]),
        content_masks=tf.constant([_encoded(mask) for mask in masks or nothing]),
        style_masks=tf.constant([_encoded(mask) for mask in style_masks or nothing]),
        initial=tf.constant(_encoded(initial)),
        fingerprint=tf.constant(1, tf.int64),
    )


def _encoded(picture: Picture | None) -> bytes:
    return b"" if picture is None else encode(picture)


def smallest_state(digest: str) -> bytes:
    """Returns the state of a model, by its digest, whose picture is one pixel: there are few bytes to damage."""
    parsed = settings("size=16,smallest_size=16,steps=2,optimizer=sgd")
    state = begin_size(tf.constant(1), optimizers.initial(tf.ones([1, 1, 3]), parsed), parsed)
    return bytes(encode_state(state, digest).numpy())
