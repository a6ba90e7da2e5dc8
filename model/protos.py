"""The protocol buffers of TensorFlow Serving that an export and a client need, without TensorFlow.

`tensorflow-serving-api` imports all of TensorFlow, which a client or a page should not. The fields are those of
tensorflow/core/framework/{tensor,tensor_shape,types}.proto and
tensorflow_serving/apis/{model,predict,prediction_log}.proto; only numbers and types travel, so the messages may have a
package of their own. A test holds them against the official ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DATA_TYPES = {"float32": 1, "int32": 3, "string": 7}  # DT_FLOAT, DT_INT32, DT_STRING

Table: TypeAlias = Mapping[str, Mapping[str, tuple[int, str]]]
"""Message: field: (number, type). A type in capitals is protobuf's; "[]" repeats it, "{}" maps strings to it."""

_MESSAGES: Table = {
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
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
}


def build_messages(package: str, table: Table) -> dict[str, Any]:
    """Returns the message classes that a table describes, by name.

    Args:
      package: their package; it only keeps them apart from others.
      table: the messages; a field may have any of them as its type.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in table.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, f".{package}", field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in table}


def _add_field(message: Any, scope: str, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number)
    base = kind.rstrip("[]{}")
    field.label = field.LABEL_REPEATED if base != kind else field.LABEL_OPTIONAL
    if kind.endswith("{}"):
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, scope, "key", 1, "STRING")
        _add_field(entry, scope, "value", 2, base)
        field.type, field.type_name = field.TYPE_MESSAGE, f"{scope}.{message.name}.{entry.name}"
    elif base.isupper():
        field.type = getattr(field, f"TYPE_{base}")
    else:
        field.type, field.type_name = field.TYPE_MESSAGE, f"{scope}.{base}"


_CLASSES = build_messages("style_transfer.protos", _MESSAGES)
Tensor = _CLASSES["Tensor"]
PredictRequest = _CLASSES["PredictRequest"]
PredictResponse = _CLASSES["PredictResponse"]
PredictionLog = _CLASSES["PredictionLog"]
