"""TensorProto <-> arrays: both forms, and what contradicts itself."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.errors import InvalidInput
from serving.server import tensors


def shaped(dims: list[int], dtype: int = types_pb2.DT_FLOAT, **fields: object) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in dims:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize("shape", [(), (2, 3), (0, 2)])
def test_strings_keep_every_byte(shape: tuple[int, ...]) -> None:
    array = np.empty(shape, object)
    array.reshape(-1)[:] = [b"\0", b"a\0", "é".encode(), b"", b"\xff", b"b"][: array.size]
    decoded = tensors.to_array(tensors.to_proto(array), "x")
    assert (decoded.dtype, decoded.shape, decoded.tolist()) == (object, shape, array.tolist())


@pytest.mark.parametrize("proto", [shaped([2], float_val=[1, 2]), tf.make_tensor_proto(np.float32([1, 2]))])
def test_numbers_come_in_typed_fields_and_as_bytes(proto: tensor_pb2.TensorProto) -> None:
    assert tensors.to_array(proto, "x").tolist() == [1, 2]


def test_one_value_fills_a_tensor() -> None:
    assert tensors.to_array(shaped([3], float_val=[7]), "x").tolist() == [7, 7, 7]


def test_many_values_may_come_if_each_of_them_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "MAX_REPEATED_ELEMENTS", 10)
    assert tensors.to_array(shaped([50], types_pb2.DT_BOOL, bool_val=[True] * 50), "x").all()
    with pytest.raises(InvalidInput):
        tensors.to_array(shaped([50], types_pb2.DT_BOOL, bool_val=[True]), "x")


@pytest.mark.parametrize(
    "proto",
    [
        shaped([-1], tensor_content=b"1234"),
        shaped([2], float_val=[1, 2, 3]),
        shaped([2], tensor_content=b"123"),
        shaped([1], types_pb2.DT_STRING, tensor_content=b"123"),
        shaped([1] * 100, float_val=[1]),
        shaped([], types_pb2.DT_INVALID),
        shaped([], types_pb2.DT_RESOURCE),
        shaped([1], types_pb2.DT_INT8, int_val=[300]),
    ],
    ids=str,
)
def test_proto_that_contradicts_itself_is_refused(proto: tensor_pb2.TensorProto) -> None:
    with pytest.raises(InvalidInput, match=r"^tensor parsing error: x$"):
        tensors.to_array(proto, "x")


@pytest.mark.parametrize(
    "proto",
    [
        shaped([2**20, 2**20], float_val=[1]),
        shaped([2**20, 2**20]),
        shaped([2**62, 4]),
        shaped([2**20, 2**20], types_pb2.DT_STRING),
        shaped([2**20, 2**20], types_pb2.DT_COMPLEX64, scomplex_val=[1, 0]),
    ],
    ids=str,
)
def test_few_bytes_do_not_claim_all_memory(proto: tensor_pb2.TensorProto) -> None:
    with pytest.raises(InvalidInput, match=r"^tensor parsing error: x$"):
        tensors.to_array(proto, "x")
