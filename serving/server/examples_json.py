"""Bodies of REST classify and regress calls <-> tf.Examples and their results.

Source: tensorflow_serving/util/json_tensor.cc: a JSON object is an example, its members features, each a value or a
list of values of one kind; `context` holds features that all examples share.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2

from serving.errors import InvalidInput
from serving.server import json_values
from serving.server.examples import Classes, Values
from serving.server.json_tensor import Body

INT64, UINT64_END = range(-(2**63), 2**63), 2**64
LARGEST_FLOAT = float(np.finfo(np.float32).max)

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def serialized_examples(body: Body) -> list[bytes]:
    """Returns the serialised tf.Examples of a request.

    Raises:
      InvalidInput: there are none, or a feature is none.
    """
    document = body.document
    context = _example(document["context"]).SerializeToString() if "context" in document else b""
    if "examples" not in document:
        raise _format_error(document, "When method is classify, key 'examples' is expected and was not found")
    listed = document["examples"]
    if not isinstance(listed, list):
        raise _format_error(document, "Expecting 'examples' value to be an list/array")
    if not listed:
        raise _format_error(document, "'examples' value is an empty array")
    return [context + _example(value).SerializeToString() for value in listed]


def classes_to_json(results: Classes) -> bytes:
    """Returns the body of a classify answer: for each example its [label, score] pairs."""
    return _results([[[label, _float(score)] for label, score in classes] for classes in results])


def values_to_json(results: Values) -> bytes:
    """Returns the body of a regress answer: a number for each example."""
    return _results([_float(value) for value in results])


def _results(values: Sequence[Any]) -> bytes:
    return json.dumps({"results": values}, ensure_ascii=False).encode()


def _float(value: float) -> float:
    return float(str(np.float32(value)))  # 0.1, not 0.10000000149011612


def _example(value: Any) -> example_pb2.Example:
    if not isinstance(value, dict):
        raise InvalidInput(f"Example must be JSON object but got JSON {json_values.type_name(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        key = json_values.to_bytes(name).decode("utf-8", "replace")
        feature = example.features.feature[key]
        for item in content if isinstance(content, list) else [content]:
            _add(item, name, feature)
    return example


def _add(value: Any, name: str, feature: feature_pb2.Feature) -> None:
    kind, element = _kind_of(value, name)
    before = feature.WhichOneof("kind")
    if before not in (None, kind):
        raise InvalidInput(f"Unexpected element type in feature: {name} expecting type: {_KINDS[before]}")
    getattr(feature, kind).value.append(element)


def _kind_of(value: Any, name: str) -> tuple[str, Any]:
    """Returns which kind of feature a JSON value makes, and the value as it holds it."""
    if isinstance(value, bool):
        return "int64_list", int(value)
    if isinstance(value, str) or json_values.is_base64(value):
        return "bytes_list", json_values.to_bytes(value)
    if isinstance(value, int) and value in INT64:
        return "int64_list", value
    if isinstance(value, int) and 0 <= value < UINT64_END:
        raise InvalidInput(f"Feature: {name} has uint64 element. Only int64 is supported.")
    if isinstance(value, (int, float)):  # an integer beyond 64 bits is a decimal to TensorFlow Serving's parser
        if abs(value) > LARGEST_FLOAT and value not in (np.inf, -np.inf):
            raise InvalidInput(
                f"Cannot convert JSON value: {json_values.quote(value)} to float without loss of precision."
            )
        return "float_list", float(value)
    raise InvalidInput(f"Feature: {name} has element with unexpected JSON type: {json_values.type_name(value)}")


def _format_error(document: Any, message: str) -> InvalidInput:
    return InvalidInput(f"JSON Value: {json_values.quote(document)} {message}")
