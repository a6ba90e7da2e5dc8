"""A run's state as one string that a client carries from call to call; the server keeps nothing.

The bytes, from the end: a checksum of 8 bytes of all that follow here; the mark of 8, which names format and model;
the shapes of the tensors, int32; the tensors themselves in the order of their fields. What stands before them frames
them as a serialised tensor and is not read: no other op makes a string of a tensor's bytes. Whatever is damaged on the
way fails the checksum, so what passes it is trusted to have the shapes it had when it was written.

A state is most of what a call carries, so it is copied as few times as the ops allow: a third of the time of tensors
that are serialised one by one.
"""

from __future__ import annotations

import tensorflow as tf

from model.checks import checked
from model.stylizer import STATE, RunState

_HASH_BUCKETS = 2**63 - 1
_FORMAT = "style-transfer-state-5"
_SPECS = tf.nest.flatten(STATE)
_RANKS = [spec.shape.rank for spec in _SPECS]
_CHECKSUM_BYTES = 8
_TAIL_BYTES = sum(_RANKS) * tf.int32.size + tf.int64.size  # shapes and mark


def encode_state(state: RunState, model_digest: str) -> tf.Tensor:
    """Returns the state as a string scalar; `model_digest` names the model that it belongs to."""
    parts = tf.nest.flatten(state)
    shapes = tf.concat([tf.shape(part) for part in parts], 0)
    payload = tf.concat([_bytes(part) for part in (*parts, shapes, _mark(model_digest))], 0)
    return tf.io.serialize_tensor(tf.concat([payload, _checksum(payload)], 0))


def decode_state(data: tf.Tensor, model_digest: str) -> RunState:
    """Reads what `encode_state` wrote.

    Raises:
      tf.errors.InvalidArgumentError: when the graph runs; the state is damaged, or of another model.
    """
    content = tf.io.decode_raw(data, tf.uint8)
    length = tf.size(content)
    content = _intact(content, length >= _TAIL_BYTES + _CHECKSUM_BYTES, length)
    payload, given = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    tail = payload[-_TAIL_BYTES:]
    shapes = tf.split(_of_bytes(tail[: -tf.int64.size], tf.int32), _RANKS)
    sizes = [
        tf.reduce_prod(tf.cast(shape, tf.int64)) * spec.dtype.size for shape, spec in zip(shapes, _SPECS, strict=True)
    ]
    begin = tf.cast(length - _CHECKSUM_BYTES - _TAIL_BYTES, tf.int64) - tf.add_n(sizes)
    payload = payload[tf.maximum(begin, 0) :]
    payload = _intact(payload, (begin >= 0) & tf.reduce_all(given == _checksum(payload)), length)
    payload = checked(
        payload,
        _of_bytes(tail[-tf.int64.size :], tf.int64)[0] == _mark(model_digest),
        f"`state_bytes` must come from this model ({_FORMAT}, {model_digest}). Received: the state of another",
    )
    parts = tf.split(payload[:-_TAIL_BYTES], tf.stack(sizes), num=len(_SPECS))
    return tf.nest.pack_sequence_as(
        STATE,
        [
            tf.ensure_shape(tf.reshape(_of_bytes(part, spec.dtype), shape), spec.shape)
            for part, shape, spec in zip(parts, shapes, _SPECS, strict=True)
        ],
    )


def fingerprint(inputs: list[tf.Tensor]) -> tf.Tensor:
    """Returns an int64 scalar that tells other inputs apart from these, so that a state knows what it was made from."""
    hashes = [tf.strings.to_hash_bucket_fast(tf.io.serialize_tensor(one), _HASH_BUCKETS) for one in inputs]
    return tf.strings.to_hash_bucket_fast(tf.io.serialize_tensor(tf.stack(hashes)), _HASH_BUCKETS)


def _intact(content: tf.Tensor, condition: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    return checked(
        content,
        condition,
        "`state_bytes` must be empty or what an earlier call of `advance` returned, unchanged. Received: ",
        length,
        " bytes that are damaged or no state at all",
    )


def _mark(model_digest: str) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(f"{_FORMAT} {model_digest}", _HASH_BUCKETS)


def _checksum(content: tf.Tensor) -> tf.Tensor:
    """Returns uint8 [8] for uint8 [N], where N is not 0."""
    return tf.raw_ops.Fingerprint(data=content[tf.newaxis], method="farmhash64")[0]


def _bytes(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.bitcast(tensor, tf.uint8), [-1])


def _of_bytes(content: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns the numbers [N / size] that uint8 [N] holds."""
    return tf.bitcast(tf.reshape(content, [-1, dtype.size]), dtype)
