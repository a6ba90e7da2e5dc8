"""The gRPC messages of TensorFlow Serving that a client needs, without TensorFlow.

`tensorflow-serving-api` imports all of TensorFlow, which a client or a page should not. The fields are those of
tensorflow/core/framework/{tensor,tensor_shape,types}.proto and tensorflow_serving/apis/{model,predict}.proto; only
numbers and types travel, so the messages may have a package of their own. A test holds them against the official ones.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PREDICT = "/tensorflow.serving.PredictionService/Predict"

DATA_TYPES = {"float32": 1, "int32": 3, "string": 7}  # DT_FLOAT, DT_INT32, DT_STRING

_PACKAGE = "style_transfer.wire"

# Message: field: (number, type). A type in capitals is protobuf's; "[]" repeats it, "{}" maps strings to it.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Dim": {"size": (1, "INT64")},
    "TensorShape": {"dim": (2, "Dim[]")},
    "Tensor": {
        "dtype": (1, "INT32"),  # an enum on the other side; both travel as a varint
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
}


def _field(message: Any, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number)
    base = kind.rstrip("[]{}")
    field.label = field.LABEL_REPEATED if base != kind else field.LABEL_OPTIONAL
    if kind.endswith("{}"):
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _field(entry, "key", 1, "STRING")
        _field(entry, "value", 2, base)
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{entry.name}"
    elif base.isupper():
        field.type = getattr(field, f"TYPE_{base}")
    else:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{base}"


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="style_transfer/wire.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


_CLASSES = _messages()
Tensor = _CLASSES["Tensor"]
PredictRequest = _CLASSES["PredictRequest"]
PredictResponse = _CLASSES["PredictResponse"]
