"""What TensorFlow Serving's gRPC and REST carry, without TensorFlow: gRPC's messages, and arrays to and from both.

The fields are those of tensorflow/core/framework/{tensor,tensor_shape,types}.proto and
tensorflow_serving/apis/{model,predict,get_model_status}.proto; a test holds them against the official ones.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from model.contract import TensorInfo
from serving.protos import build_messages

PREDICT = "/tensorflow.serving.PredictionService/Predict"
MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
AVAILABLE = 30  # ModelVersionStatus.State
DATA_TYPES = {"float32": 1, "int32": 3, "string": 7}  # DT_FLOAT, DT_INT32, DT_STRING
MAX_VALUES = 10_000_000  # numbers in one tensor of a response; the losses of the longest call are 40,000

Arrays = dict[str, npt.NDArray[Any]]
"""Tensors by name; strings are arrays of `bytes` objects."""

_MESSAGES = build_messages(
    "style_transfer",
    {
        "Dim": {"size": (1, "INT64")},
        "TensorShape": {"dim": (2, "Dim[]")},
        "Tensor": {
            "dtype": (1, "INT32"),  # an enum on the other side; both are sent as a varint
            "tensor_shape": (2, "TensorShape"),
            "tensor_content": (4, "BYTES"),
            "float_val": (5, "FLOAT[]"),
            "int_val": (7, "INT32[]"),
            "string_val": (8, "BYTES[]"),
        },
        "ModelSpec": {"name": (1, "STRING"), "signature_name": (3, "STRING")},
        "PredictRequest": {
            "model_spec": (1, "ModelSpec"),
            "inputs": (2, "Tensor{}"),
            "output_filter": (3, "STRING[]"),
        },
        "PredictResponse": {"outputs": (1, "Tensor{}"), "model_spec": (2, "ModelSpec")},
        "StatusRequest": {"model_spec": (1, "ModelSpec")},
        "VersionStatus": {"version": (1, "INT64"), "state": (2, "INT32")},
        "StatusResponse": {"model_version_status": (1, "VersionStatus[]")},
    },
)
Tensor = _MESSAGES["Tensor"]
PredictRequest, PredictResponse = _MESSAGES["PredictRequest"], _MESSAGES["PredictResponse"]
StatusRequest, StatusResponse = _MESSAGES["StatusRequest"], _MESSAGES["StatusResponse"]


def to_array(value: Any, tensor: TensorInfo) -> npt.NDArray[Any]:
    """Returns nested lists as an array of the tensor's dtype; strings are `bytes` objects."""
    if tensor.dtype != "string":
        return np.asarray(value, tensor.dtype)
    array = np.empty(_shape(value), object)
    array.reshape(-1)[:] = _flat(value)
    return array


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, (bytes, str)):
        return ()
    return (len(value), *(_shape(value[0]) if len(value) else ()))


def _flat(value: Any) -> list[bytes]:
    if isinstance(value, str):
        return [value.encode()]
    return [value] if isinstance(value, bytes) else [leaf for item in value for leaf in _flat(item)]


def to_proto(array: npt.NDArray[Any], tensor: TensorInfo, proto: Any) -> None:
    """Writes an array into a tensor message."""
    proto.dtype = DATA_TYPES[tensor.dtype]
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if tensor.dtype == "string":
        proto.string_val.extend(array.reshape(-1).tolist())
    else:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()


def from_proto(proto: Any, tensor: TensorInfo) -> npt.NDArray[Any]:
    """Reads a tensor message; raises ValueError where it is none of the expected type."""
    shape = [dim.size for dim in proto.tensor_shape.dim]
    count = math.prod(shape)
    if proto.dtype != DATA_TYPES[tensor.dtype] or min(shape, default=0) < 0 or count > MAX_VALUES:
        raise ValueError(f"dtype {proto.dtype}, shape {shape}")
    if tensor.dtype == "string":
        array = np.empty(len(proto.string_val), object)
        array[:] = list(proto.string_val)
        return array.reshape(shape)
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, tensor.dtype).reshape(shape)
    values = np.asarray(proto.float_val or proto.int_val, tensor.dtype)
    # A tensor proto may leave out a run of equal values at its end.
    return np.concatenate([values, np.repeat(values[-1:], max(0, count - values.size))]).reshape(shape)


def to_json(value: Any) -> Any:
    """Returns nested lists as JSON has them, with bytes in base64."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode("ascii")}
    return [to_json(item) for item in value] if isinstance(value, list) else value


def from_json(value: Any) -> Any:
    """Reads what `to_json` returned; raises ValueError, TypeError, LookupError or RecursionError on anything else."""
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return [from_json(item) for item in value] if isinstance(value, list) else value
