"""Bodies of REST predict calls <-> named arrays: TensorFlow Serving's two formats, with its error texts.

A request carries `instances` (row format: one element per member of the batch) or `inputs` (columnar: whole tensors),
and is answered in kind, with `predictions` or `outputs`. What one value may look like is json_values' business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tensorflow.core.protobuf import meta_graph_pb2

from serving.errors import InvalidInput
from serving.server.json_values import ENCODING_ERRORS, is_base64, quote, to_array, to_value
from serving.server.tensor_proto import Array

_WHITESPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()

TensorInfos: TypeAlias = Mapping[str, meta_graph_pb2.TensorInfo]


@dataclass(frozen=True)
class Body:
    """The body of a request, parsed but not yet checked against a signature."""

    signature_name: str
    document: Mapping[str, Any]

    @property
    def row_format(self) -> bool:
        """Whether the answer goes out as `predictions` (else as `outputs`)."""
        return "instances" in self.document


def parse_body(body: bytes) -> Body:
    """Parses a request body. As in TensorFlow Serving, what follows the first JSON value is ignored.

    Raises:
      InvalidInput: the body is no JSON object, or `signature_name` is no string.
    """
    text = body.decode("utf-8-sig", ENCODING_ERRORS)
    start = _WHITESPACE.match(text).end()  # type: ignore[union-attr]  # the pattern matches anything
    if start == len(text):
        raise InvalidInput("JSON Parse error: The document is empty")
    try:
        document, _ = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except (RecursionError, ValueError) as error:  # nested too deeply; an integer of thousands of digits
        raise InvalidInput(f"JSON Parse error: {str(error).partition(';')[0]}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"JSON Value: {quote(document)} Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidInput(
            f"JSON Value: {quote(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return Body(name, document)


def tensors_of(body: Body, infos: TensorInfos) -> dict[str, Array]:
    """Returns the input arrays of a request: alias to array, strings as object arrays of bytes.

    Args:
      body: the parsed body.
      infos: alias to TensorInfo, the inputs that the signature declares. REST needs every one of them.

    Raises:
      InvalidInput: the values do not fit the declared inputs.
      ServingFailed: UNIMPLEMENTED, an input's dtype cannot be written in JSON.
    """
    document = body.document
    if not infos:
        raise InvalidInput(f"Failed to get input map for signature: {body.signature_name or 'DEFAULT'}")
    if "instances" in document and "inputs" in document:
        raise InvalidInput(
            f"JSON Value: {quote(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in document:
        return _from_rows(document["instances"], infos)
    if "inputs" in document:
        return _from_columns(document["inputs"], infos)
    raise InvalidInput("Missing 'inputs' or 'instances' key")


def to_json(outputs: Mapping[str, Array], row_format: bool) -> bytes:
    """Returns the body of a predict answer.

    Args:
      outputs: alias to array, strings as object arrays of bytes.
      row_format: whether the request came as `instances`: every output then needs the same 0-th dimension.

    Raises:
      InvalidInput: the row format cannot hold these outputs.
      ServingFailed: an output's dtype cannot be written in JSON.
    """
    if not outputs:
        raise InvalidInput("Cannot convert empty tensor map to JSON")
    if row_format:
        _check_batch(outputs)
    values = {name: to_value(name, array) for name, array in sorted(outputs.items())}
    alone = next(iter(values.values())) if len(values) == 1 else None
    document: dict[str, Any]
    if not row_format:
        document = {"outputs": values if alone is None else alone}
    elif alone is not None:
        document = {"predictions": alone}
    else:
        document = {"predictions": [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]}
    return json.dumps(document, ensure_ascii=False).encode("utf-8", ENCODING_ERRORS)


def error_body(message: str) -> bytes:
    """Returns the body of every failed call: exactly {"error": message}."""
    return json.dumps({"error": message}, ensure_ascii=False).encode("utf-8", "replace")


def _from_rows(rows: Any, infos: TensorInfos) -> dict[str, Array]:
    if not isinstance(rows, list):
        raise InvalidInput(f"JSON Value: {quote(rows)} Excepting 'instances' to be an list/array")
    if not rows:
        raise InvalidInput("JSON Value: [] No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise InvalidInput(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named, names = _is_named(rows[0]), set(infos)
    for index, row in enumerate(rows):
        if _is_named(row) != named:
            got = "Expecting object but got list" if named else "Expecting value/list but got object"
            raise InvalidInput(f"{got} at item {index} of input list")
        if named and row.keys() != names:
            raise InvalidInput(
                f"Failed to process element: {index} of 'instances' list. JSON object: {quote(row)} keys must be "
                f"equal to: {','.join(sorted(infos))}"
            )
    columns = {name: [row[name] for row in rows] if named else rows for name in infos}
    return {name: _stack(column, name if named else None, infos[name].dtype) for name, column in columns.items()}


def _stack(column: Sequence[Any], key: str | None, dtype: int) -> Array:
    """Returns the values of a batch as one array; an error names the first element that does not fit."""
    try:
        return to_array(column, dtype)
    except InvalidInput as error:
        reason, culprit = str(error), 0
        first: tuple[int, ...] | None = None
        for index, value in enumerate(column):
            try:
                shape = to_array(value, dtype).shape
            except InvalidInput as element_error:
                reason, culprit = str(element_error), index
                break
            first = shape if first is None else first
            if shape != first:
                reason, culprit = f"Expecting shape {_shape(first)} but got: {_shape(shape)}", index
                break
        where = f"{culprit} key: {key}" if key is not None else str(culprit)
        raise InvalidInput(
            f"Failed to process element: {where} of 'instances' list. Error: INVALID_ARGUMENT: {reason}"
        ) from None


def _from_columns(value: Any, infos: TensorInfos) -> dict[str, Array]:
    if _is_named(value):
        for name in sorted(infos):
            if name not in value:
                raise InvalidInput(f"Missing named input: {name} in 'inputs' object.")
        return {name: to_array(value[name], info.dtype) for name, info in infos.items()}
    if len(infos) > 1:
        raise InvalidInput(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    ((name, info),) = infos.items()
    return {name: to_array(value, info.dtype)}


def _check_batch(outputs: Mapping[str, Array]) -> None:
    batch: int | None = None
    for name, array in sorted(outputs.items()):
        if array.ndim == 0:
            raise InvalidInput(f"Tensor name: {name} has no shape information ")
        if batch is not None and len(array) != batch:
            raise InvalidInput(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting batch size: {batch}"
            )
        batch = len(array)


def _is_named(value: Any) -> bool:
    """Whether a JSON value is an object of named tensors."""
    return isinstance(value, dict) and not is_base64(value)


def _shape(shape: Sequence[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
