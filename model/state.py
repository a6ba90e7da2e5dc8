"""A run's state as one string, which the client carries from call to call; the server keeps nothing.

The string is a serialised uint8 tensor, because no other op turns a tensor's bytes into a string. It holds, in order:
the header of the serialised tensor, which is not read; the tensors of the state, in the order of their fields; their
shapes, int32; a mark of 8 bytes, a hash of format and model; a checksum of 8 bytes over everything but the header. The
string is read from its end. A damaged state fails the checksum, so the shapes of one that passes are trusted. The state
is the largest part of a call, and is copied as few times as the ops allow.
"""

import tensorflow as tf

from model.graph import checked
from model.stylizer import STATE_SPECS, RunState

_HASH_BUCKETS = 2**63 - 1
_FORMAT = "style-transfer-state-10"
_SPECS = tf.nest.flatten(STATE_SPECS)
_RANKS = [spec.shape.rank for spec in _SPECS]
_TAIL = [sum(_RANKS) * tf.int32.size, tf.int64.size, 8]  # bytes of shapes, mark, checksum


def encode_state(state: RunState, model_digest: str) -> tf.Tensor:
    """Returns the state as a string scalar, marked as a state of the model with this digest."""
    parts = tf.nest.flatten(state)
    shapes = tf.concat([tf.shape(part) for part in parts], 0)
    pieces = [_bytes(part) for part in (*parts, shapes, _mark(model_digest))]
    return tf.io.serialize_tensor(tf.concat([*pieces, _checksum(pieces)], 0))


def decode_state(data: tf.Tensor, model_digest: str) -> RunState:
    """Reads a state that `encode_state` wrote.

    Raises:
      tf.errors.InvalidArgumentError: when the graph runs, if the state is damaged or of another model.
    """
    content = tf.io.decode_raw(data, tf.uint8)
    length = tf.size(content, tf.int64)
    content = _intact(content, length >= sum(_TAIL), length)
    shapes = _of_bytes(content[-sum(_TAIL) : -sum(_TAIL[1:])], tf.int32)
    split = zip(tf.split(shapes, _RANKS), _SPECS, strict=True)
    sizes = tf.stack([tf.reduce_prod(tf.cast(shape, tf.int64)) * spec.dtype.size for shape, spec in split])
    frame = length - sum(_TAIL) - tf.reduce_sum(sizes)
    content = _intact(content, (frame >= 0) & tf.reduce_all((sizes >= 0) & (sizes <= length)), length)
    lengths = tf.concat([[frame], sizes, _TAIL], 0)
    *pieces, given = tf.split(content, lengths, num=len(_SPECS) + 1 + len(_TAIL))[1:]
    shapes = _intact(shapes, tf.reduce_all(given == _checksum(pieces)), length)
    error = f"`state_bytes` must come from this model ({_FORMAT}, {model_digest}). Received: the state of another"
    shapes = checked(shapes, _of_bytes(pieces[-1], tf.int64)[0] == _mark(model_digest), error)
    with tf.control_dependencies([shapes]):  # TensorFlow removes a vector's `tf.reshape`, and with it `shapes`
        pieces = [tf.identity(piece) for piece in pieces[: len(_SPECS)]]
    parts = [
        tf.ensure_shape(tf.reshape(_of_bytes(piece, spec.dtype), shape), spec.shape)
        for piece, shape, spec in zip(pieces, tf.split(shapes, _RANKS), _SPECS, strict=True)
    ]
    return tf.nest.pack_sequence_as(STATE_SPECS, parts)


def fingerprint(inputs: list[tf.Tensor]) -> tf.Tensor:
    """Returns a hash of the inputs, int64 scalar, by which a later call knows whether a state was made from them."""
    hashes = [tf.strings.to_hash_bucket_fast(tf.io.serialize_tensor(one), _HASH_BUCKETS) for one in inputs]
    return tf.strings.to_hash_bucket_fast(tf.io.serialize_tensor(tf.stack(hashes)), _HASH_BUCKETS)


def _intact(content: tf.Tensor, condition: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    expected = "`state_bytes` must be empty or the unchanged state that an earlier call of `advance` returned"
    return checked(content, condition, expected, ". Received: ", length, " bytes that are no state, or a damaged one")


def _mark(model_digest: str) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(f"{_FORMAT} {model_digest}", _HASH_BUCKETS)


def _checksum(pieces: list[tf.Tensor]) -> tf.Tensor:
    """Returns the checksum, uint8 [8], of uint8 vectors."""
    each = [tf.raw_ops.Fingerprint(data=piece[tf.newaxis], method="farmhash64") for piece in pieces]  # [1, 8]
    return tf.raw_ops.Fingerprint(data=tf.concat(each, 1), method="farmhash64")[0]


def _bytes(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.bitcast(tensor, tf.uint8), [-1])


def _of_bytes(content: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns uint8 [N] read as numbers of a type, [N / size of the type]."""
    return tf.bitcast(tf.reshape(content, [-1, dtype.size]), dtype)
