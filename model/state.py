"""A run's state as one string that a client carries from call to call; the server keeps nothing.

Layout: 20 decimal digits of a hash, then a serialised string tensor of the parts: the format with the model's digest,
and every tensor of the state in the order of its fields. Whatever is damaged on the way fails the hash, so what passes
it is trusted to have the shapes it had when it was written.
"""

from __future__ import annotations

import tensorflow as tf

from model.checks import checked
from model.stylizer import STATE, RunState

_HASH_DIGITS = 20
_HASH_BUCKETS = 2**63 - 1
_FORMAT = "style-transfer-state-3"
_SPECS = tf.nest.flatten(STATE)


def encode_state(state: RunState, model_digest: str) -> tf.Tensor:
    """Returns the state as a string scalar; `model_digest` names the model that it belongs to."""
    parts = [tf.io.serialize_tensor(part) for part in tf.nest.flatten(state)]
    payload = tf.io.serialize_tensor(tf.stack([_mark(model_digest), *parts]))
    return tf.strings.join([_hash(payload), payload])


def decode_state(data: tf.Tensor, model_digest: str) -> RunState:
    """Reads what `encode_state` wrote.

    Raises:
      tf.errors.InvalidArgumentError: when the graph runs; the state is damaged, or of another model.
    """
    # What is shorter than a hash is replaced by a hash that no payload has, since its parts could not be read.
    long_enough = tf.where(tf.strings.length(data) >= _HASH_DIGITS, data, "9" * _HASH_DIGITS)
    payload = tf.strings.substr(long_enough, _HASH_DIGITS, -1)
    payload = checked(
        payload,
        tf.strings.substr(long_enough, 0, _HASH_DIGITS) == _hash(payload),
        "`state_bytes` must be empty or what an earlier call of `advance` returned, unchanged. Received: ",
        tf.strings.length(data),
        " bytes that are damaged or no state at all",
    )
    strings = tf.io.parse_tensor(payload, tf.string)
    mark = _mark(model_digest)
    strings = checked(
        strings, strings[0] == mark, f"`state_bytes` must come from this model ({mark}). Received: ", strings[0]
    )
    strings = tf.ensure_shape(strings, [1 + len(_SPECS)])
    parts = [
        tf.ensure_shape(tf.io.parse_tensor(strings[1 + index], spec.dtype), spec.shape)
        for index, spec in enumerate(_SPECS)
    ]
    return tf.nest.pack_sequence_as(STATE, parts)


def fingerprint(inputs: list[tf.Tensor]) -> tf.Tensor:
    """Returns an int64 scalar that tells other inputs apart from these, so that a state knows what it was made from."""
    hashes = [tf.strings.to_hash_bucket_fast(tf.io.serialize_tensor(one), _HASH_BUCKETS) for one in inputs]
    return tf.strings.to_hash_bucket_fast(tf.io.serialize_tensor(tf.stack(hashes)), _HASH_BUCKETS)


def _mark(model_digest: str) -> str:
    return f"{_FORMAT} {model_digest}"


def _hash(payload: tf.Tensor) -> tf.Tensor:
    number = tf.strings.to_hash_bucket_fast(payload, _HASH_BUCKETS)
    return tf.strings.as_string(number, width=_HASH_DIGITS, fill="0")
