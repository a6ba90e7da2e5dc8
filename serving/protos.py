"""Messages of TensorFlow Serving built from tables, without TensorFlow.

`tensorflow-serving-api` imports all of TensorFlow, which a client or a page should not. Only the numbers and types of
fields travel, so the messages may have a package of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Table: TypeAlias = Mapping[str, Mapping[str, tuple[int, str]]]
"""Message: field: (number, type). A type in capitals is protobuf's; "[]" repeats it, "{}" maps strings to it."""


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
