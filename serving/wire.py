"""TensorFlow Serving's gRPC messages, and the conversion of arrays to and from messages and JSON, without TensorFlow.

`tensorflow-serving-api` imports all of TensorFlow, which a client should not need, so the messages are built from
tables. Their fields are those of tensorflow/core/framework/{tensor,tensor_shape,types}.proto and
tensorflow_serving/apis/{model,predict,get_model_status}.proto; a test compares them with the official messages.
"""

import json
import math
import secrets
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pybase64
from google.protobuf import descriptor_pb2, message_factory

from model.contract import SIGNATURES, TensorInfo

PREDICT = "/tensorflow.serving.PredictionService/Predict"
MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
AVAILABLE = 30  # ModelVersionStatus.State
DATA_TYPES = {"float32": 1, "int32": 3, "string": 7}  # DT_FLOAT, DT_INT32, DT_STRING
MAX_VALUES = 10_000_000  # elements in a tensor of a response; the losses of the longest call are 40,000

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
"""Tensors by name; strings are arrays of `bytes` objects."""


def build_messages(table: Mapping[str, Mapping[str, tuple[int, str]]]) -> dict[str, Any]:
    """Returns message classes by name. Their own names are free: only field numbers and types are sent.

    Args:
      table: the number and type of each field, by message and field name. A type in capitals is one of protobuf's, any
        other a message of the table; "[]" marks a repeated field.
    """
    file = descriptor_pb2.FileDescriptorProto(name="messages.proto", syntax="proto3")
    for message_name, fields in table.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind) in fields.items():
            field = message.field.add(name=name, number=number)
            base = kind.removesuffix("[]")
            field.label = field.LABEL_OPTIONAL if base == kind else field.LABEL_REPEATED
            if base.isupper():
                field.type = getattr(field, f"TYPE_{base}")
            else:
                field.type, field.type_name = field.TYPE_MESSAGE, f".{base}"
    return message_factory.GetMessages([file])


_MESSAGES = build_messages(
    {
        "Dim": {"size": (1, "INT64")},
        "TensorShape": {"dim": (2, "Dim[]")},
        "Tensor": {
            "dtype": (1, "INT32"),  # an enum in the official message; both are sent as a varint
            "tensor_shape": (2, "TensorShape"),
            "tensor_content": (4, "BYTES"),
            "float_val": (5, "FLOAT[]"),
            "int_val": (7, "INT32[]"),
            "string_val": (8, "BYTES[]"),
        },
        "Entry": {"key": (1, "STRING"), "value": (2, "Tensor")},  # a map is sent as a repeated message of key and value
        "Int64": {"value": (1, "INT64")},
        "ModelSpec": {"name": (1, "STRING"), "version": (2, "Int64"), "signature_name": (3, "STRING")},
        "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "Entry[]")},
        "PredictResponse": {"outputs": (1, "Entry[]"), "model_spec": (2, "ModelSpec")},
        "StatusRequest": {"model_spec": (1, "ModelSpec")},
        "VersionStatus": {"version": (1, "INT64"), "state": (2, "INT32")},
        "StatusResponse": {"model_version_status": (1, "VersionStatus[]")},
    }
)
Tensor = _MESSAGES["Tensor"]
PredictRequest, PredictResponse = _MESSAGES["PredictRequest"], _MESSAGES["PredictResponse"]
StatusRequest, StatusResponse = _MESSAGES["StatusRequest"], _MESSAGES["StatusResponse"]


def to_arrays(signature: str, inputs: Mapping[str, Any]) -> Arrays:
    """Returns a signature's inputs, nested lists or arrays by name, as arrays of the contract's dtypes."""
    return {tensor.name: to_array(inputs[tensor.name], tensor) for tensor in SIGNATURES[signature].inputs}


def to_array(value: Any, tensor: TensorInfo) -> npt.NDArray[Any]:
    """Returns nested lists as an array of the tensor's dtype; raises ValueError or TypeError if they do not fit."""
    if tensor.dtype != "string":
        return np.asarray(value, tensor.dtype)
    array = np.array(value, object)
    for index, item in np.ndenumerate(array):
        array[index] = item.encode() if isinstance(item, str) else item
        if not isinstance(array[index], bytes):
            raise TypeError(f"{tensor.name} holds {type(item).__name__} instead of strings")
    return array


def to_proto(array: npt.NDArray[Any], tensor: TensorInfo, proto: Any) -> None:
    """Writes an array into a tensor message."""
    proto.dtype = DATA_TYPES[tensor.dtype]
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if tensor.dtype == "string":
        proto.string_val.extend(array.flat)
    else:
        proto.tensor_content = array.tobytes()


def from_proto(proto: Any, tensor: TensorInfo) -> npt.NDArray[Any]:
    """Reads a tensor message; raises ValueError if its type or shape is wrong."""
    shape = [dim.size for dim in proto.tensor_shape.dim]
    count = math.prod(shape)
    if proto.dtype != DATA_TYPES[tensor.dtype] or min(shape, default=0) < 0 or count > MAX_VALUES:
        raise ValueError(f"dtype {proto.dtype}, shape {shape}")
    if tensor.dtype == "string":
        return np.array(proto.string_val, object).reshape(shape)
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, tensor.dtype).reshape(shape)
    values = np.asarray(proto.float_val or proto.int_val, tensor.dtype)
    # A tensor message may omit trailing values that equal the last one.
    return np.concatenate([values, np.repeat(values[-1:], max(0, count - values.size))]).reshape(shape)


def to_json(document: Any) -> bytes:
    """Returns a document as JSON, bytes in it as {"b64": ...}.

    `json.dumps` alone would search the base64 of a state for characters to escape, which takes longer than to make it.
    """
    encoded: list[bytes] = []
    mark = secrets.token_hex()

    def take(data: bytes) -> str:
        encoded.append(pybase64.b64encode(data))
        return mark

    first, *rest = json.dumps(document, default=take, ensure_ascii=False).encode().split(f'"{mark}"'.encode())
    pieces = [first]
    for data, after in zip(encoded, rest, strict=True):
        pieces += b'{"b64": "', data, b'"}', after
    return b"".join(pieces)


def from_json(value: dict[str, Any]) -> Any:
    """Returns the bytes of a {"b64": ...} object, or any other object unchanged; for `object_hook` of `json.loads`.

    Raises ValueError or TypeError if the value is not base64.
    """
    return pybase64.b64decode(value["b64"], validate=True) if value.keys() == {"b64"} else value
