"""Which inputs and outputs a call may name: TensorFlow Serving's rules, in its words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from tensorflow.core.protobuf import meta_graph_pb2

from serving.errors import InvalidInput, ServingFailed
from serving.server import tensor_proto
from serving.server.tensor_proto import Array

DEFAULT_SIGNATURE = "serving_default"
METHODS = ("tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress")

Signature: TypeAlias = meta_graph_pb2.SignatureDef


def find_signature(signatures: Mapping[str, Signature], name: str) -> Signature:
    """Returns the signature of that name; an empty name means `serving_default`.

    Raises:
      ServingFailed: FAILED_PRECONDITION, there is none of that name.
    """
    name = name or DEFAULT_SIGNATURE
    if name not in signatures:
        raise ServingFailed(f'Serving signature key "{name}" not found.', "FAILED_PRECONDITION")
    return signatures[name]


def check_method(signature: Signature) -> None:
    """Checks that a signature was made for serving; done if `--enable_signature_method_name_check` is set.

    Raises:
      ServingFailed: INTERNAL, it was not, as that of the initialiser.
    """
    if signature.method_name not in METHODS:
        raise ServingFailed(
            f"Expected prediction signature method_name to be one of {_braces(METHODS, ', ')}. "
            f"Was: {signature.method_name}"
        )


def feeds_of(signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Returns what to feed: feed name to array, declared defaults filled in.

    Args:
      signature: the signature that is called.
      inputs: alias to array. Shapes and dtypes are the graph's to check.

    Raises:
      InvalidInput: too many, too few or other inputs than the signature declares.
    """
    _check_input_count(signature, inputs)
    feeds = {}
    for alias, info in sorted(signature.inputs.items()):
        if alias in inputs:
            feeds[_tensor_name(info, alias)] = inputs[alias]
        elif alias in signature.defaults:
            feeds[_tensor_name(info, alias)] = tensor_proto.decode(signature.defaults[alias], alias)
        else:
            raise InvalidInput(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_braces(sorted(inputs))}, or default input alias "
                f"set: {','.join(sorted(signature.defaults))}"
            )
    unknown = set(inputs) - set(signature.inputs)
    if unknown:
        raise InvalidInput(
            f"Inputs contains invalid name. Used request inputs: {','.join(sorted(set(inputs) - unknown))}, "
            f"request input: {','.join(sorted(inputs))}"
        )
    return feeds


def fetches_of(signature: Signature, output_filter: Sequence[str]) -> dict[str, str]:
    """Returns what to fetch: alias to fetch name. An empty filter means all outputs.

    Raises:
      InvalidInput: the filter names an unknown output, or one twice.
    """
    seen: set[str] = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            raise InvalidInput(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_braces(sorted(signature.outputs))}."
            )
        if alias in seen:
            raise InvalidInput(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    wanted = output_filter or sorted(signature.outputs)
    return {alias: _tensor_name(signature.outputs[alias], alias) for alias in wanted}


def _check_input_count(signature: Signature, inputs: Collection[str]) -> None:
    sent, declared = set(inputs), set(signature.inputs)
    if len(sent) == len(declared) or (len(sent) < len(declared) and signature.defaults):
        return
    raise InvalidInput(
        f"input size does not match signature: {len(sent)}!={len(declared)} len({_braces(sorted(sent))}) != "
        f"len({_braces(sorted(declared))}). Sent extra: {_braces(sorted(sent - declared))}. "
        f"Missing but required: {_braces(sorted(declared - sent))}."
    )


def _tensor_name(info: meta_graph_pb2.TensorInfo, alias: str) -> str:
    if info.WhichOneof("encoding") != "name":
        raise ServingFailed(f"Tensor {alias} is not dense: only dense tensors are served.", "UNIMPLEMENTED")
    return str(info.name)


def _braces(names: Iterable[str], separator: str = ",") -> str:
    return "{" + separator.join(names) + "}"
