"""Our gRPC messages against TensorFlow Serving's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.descriptor import FieldDescriptor
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

from serving import wire

# An enum and an int32 are the same varint.
SAME_ON_THE_WIRE = {FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32}


def assert_subset(ours: Any, theirs: Any) -> None:
    for field in ours.fields:
        official = theirs.fields_by_name[field.name]
        assert field.number == official.number, field.full_name
        assert field.type == SAME_ON_THE_WIRE.get(official.type, official.type), field.full_name
        assert field.label == official.label, field.full_name
        if field.message_type:
            assert_subset(field.message_type, official.message_type)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (wire.Tensor, tensor_pb2.TensorProto),
        (wire.PredictRequest, predict_pb2.PredictRequest),
        (wire.PredictResponse, predict_pb2.PredictResponse),
        (wire.StatusRequest, get_model_status_pb2.GetModelStatusRequest),
        (wire.StatusResponse, get_model_status_pb2.GetModelStatusResponse),
    ],
)
def test_fields_have_the_official_numbers_and_types(ours: Any, theirs: Any) -> None:
    assert_subset(ours.DESCRIPTOR, theirs.DESCRIPTOR)


@pytest.mark.parametrize("dtype", wire.DATA_TYPES)
def test_data_types_have_the_official_numbers(dtype: str) -> None:
    assert wire.DATA_TYPES[dtype] == tf.as_dtype(dtype).as_datatype_enum


def test_a_request_is_read_by_the_official_messages() -> None:
    request = wire.PredictRequest(output_filter=["y"])
    request.model_spec.name, request.model_spec.signature_name = "m", "s"
    proto = request.inputs["x"]
    proto.dtype = wire.DATA_TYPES["string"]
    proto.tensor_shape.dim.add(size=2)
    proto.string_val.extend([b"a", b"\xff"])
    official = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert (official.model_spec.name, official.model_spec.signature_name) == ("m", "s")
    assert list(official.output_filter) == ["y"]
    np.testing.assert_array_equal(tf.make_ndarray(official.inputs["x"]), np.array([b"a", b"\xff"], object))
