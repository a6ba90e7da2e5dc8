"""Classify, Regress and MultiInference: runs on tf.Examples, by TensorFlow Serving's rules and in its words.

Sources: tensorflow_serving/servables/tensorflow/{classifier,regressor,multi_inference,util}.cc.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from google.protobuf import text_format

from serving.errors import InvalidInput, ServingFailed
from serving.server.signature_rules import DEFAULT_SIGNATURE, Signature
from serving.server.tensor_proto import Array, dtype_name_of

# What the outputs mean: for each example its classes, as (label, score); or for each example a value.
Classes: TypeAlias = list[list[tuple[str, float]]]
Values: TypeAlias = list[float]
Result: TypeAlias = Any  # Classes or Values, by the task's method

INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"  # the aliases that such signatures use


class Method(Enum):
    """What is asked of the examples; the value is the signature's `method_name`."""

    Classify = "tensorflow/serving/classify"
    Regress = "tensorflow/serving/regress"


@dataclass(frozen=True)
class Task:
    """One signature to run, and as what."""

    method: Method
    signature_name: str = ""


@dataclass(frozen=True)
class Plan:
    """What one run feeds and fetches to serve all tasks."""

    feed: str
    fetches: tuple[str, ...]
    tasks: tuple[tuple[Method, Signature], ...]

    def results(self, outputs: Mapping[str, Array], count: int) -> list[Result]:
        """Returns the result of each task.

        Args:
          outputs: tensor name to array, for all fetches.
          count: how many examples there were.

        Raises:
          InvalidInput: an output has a shape or dtype that is none of a classification or regression.
        """
        read = {Method.Classify: _classes_of, Method.Regress: _values_of}
        return [read[method](signature, outputs, count) for method, signature in self.tasks]


def plan(
    signatures: Mapping[str, Signature],
    tasks: Sequence[Task],
    *,
    check_method_names: bool = False,
) -> Plan:
    """Returns how to run the tasks in one run.

    Args:
      signatures: name to SignatureDef, of the version.
      tasks: one or more.
      check_method_names: whether a signature must have been made for the method.

    Raises:
      InvalidInput: a signature is not there, is none of that method, or reads from elsewhere than the others.
    """
    feeds: set[str] = set()
    fetches: set[str] = set()
    pairs = []
    for task in tasks:
        name = task.signature_name or DEFAULT_SIGNATURE
        if name not in signatures:
            alone = "No signature was found with the name"
            raise InvalidInput(
                f"{alone if len(tasks) == 1 else 'Requested signature not found in model graph'}: {name}"
            )
        signature = signatures[name]
        if check_method_names and signature.method_name != task.method.value:
            kind = {Method.Classify: "classification", Method.Regress: "regression"}[task.method]
            raise InvalidInput(
                f"Expected {kind} signature method_name to be {task.method.value}. Was: {signature.method_name}"
            )
        wanted = _check_classify(signature) if task.method is Method.Classify else _check_regress(signature)
        feeds.add(signature.inputs[INPUTS].name)
        fetches.update(signature.outputs[alias].name for alias in wanted)
        pairs.append((task.method, signature))
    if len(feeds) > 1:
        raise InvalidInput("Input tensor must be the same for all Signatures.")
    return Plan(feeds.pop(), tuple(sorted(fetches)), tuple(pairs))


def tasks_of(request: Any) -> list[Task]:
    """Returns the tasks of a tensorflow.serving.MultiInferenceRequest.

    Raises:
      InvalidInput: they are of several models, or two of them of one signature.
      ServingFailed: UNIMPLEMENTED, one is neither classification nor regression.
    """
    tasks: list[Task] = []
    for entry in request.tasks:
        spec = entry.model_spec
        if not spec.name:
            raise InvalidInput("Found ModelSpec with an empty model name.")
        if spec.name != request.tasks[0].model_spec.name:
            raise InvalidInput("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = spec.signature_name or DEFAULT_SIGNATURE
        if any(task.signature_name == name for task in tasks):
            raise InvalidInput(f"Duplicate evaluation of signature: {name}")
        if entry.method_name not in {method.value for method in Method}:
            raise ServingFailed(f"Unsupported signature method_name: {entry.method_name}", "UNIMPLEMENTED")
        tasks.append(Task(Method(entry.method_name), name))
    return tasks


def serialize(source: Any) -> list[bytes]:
    """Returns the serialised tf.Examples of a request's `input`.

    A context is put before each example: parsed, the two are one, and the example's features win.

    Args:
      source: a tensorflow.serving.Input.

    Raises:
      InvalidInput: there are none.
    """
    context, examples = b"", source.example_list.examples
    if source.WhichOneof("kind") == "example_list_with_context":
        listed = source.example_list_with_context
        context, examples = listed.context.SerializeToString(), listed.examples
    if not examples:
        raise InvalidInput("Input is empty.")
    return [context + example.SerializeToString() for example in examples]


def as_array(serialized: Sequence[bytes]) -> Array:
    """Returns serialised examples as a string tensor, [len(serialized)]."""
    array = np.empty(len(serialized), dtype=object)
    array[:] = serialized
    return array


def _check_inputs(signature: Signature, kind: str) -> None:
    if INPUTS not in signature.inputs:
        raise InvalidInput(f"No {kind} inputs found in SignatureDef: {_text(signature)}")


def _check_classify(signature: Signature) -> list[str]:
    if len(signature.inputs) != 1:
        raise InvalidInput("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise InvalidInput(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    _check_inputs(signature, "classification")
    wanted = [alias for alias in (CLASSES, SCORES) if alias in signature.outputs]
    if not wanted:
        raise InvalidInput(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {_text(signature)}"
        )
    return wanted


def _check_regress(signature: Signature) -> list[str]:
    if len(signature.inputs) != 1:
        raise InvalidInput("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise InvalidInput("Expected one output Tensor.")
    _check_inputs(signature, "regression")
    if OUTPUTS not in signature.outputs:
        raise InvalidInput(f"No regression outputs found in SignatureDef: {_text(signature)}")
    return [OUTPUTS]


def _classes_of(signature: Signature, outputs: Mapping[str, Array], count: int) -> Classes:
    found = {alias: outputs[signature.outputs[alias].name] for alias in (CLASSES, SCORES) if alias in signature.outputs}
    for alias, dtype in ((CLASSES, "string"), (SCORES, "float")):
        if alias not in found:
            continue
        array = found[alias]
        if array.ndim != 2:
            raise InvalidInput(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
        if dtype_name_of(array) != dtype:
            raise InvalidInput(f"Expected {alias} Tensor of DT_{dtype.upper()}. Got: {_dtype(array)}")
        if len(array) != count:
            raise InvalidInput(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
    classes, scores = found.get(CLASSES), found.get(SCORES)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise InvalidInput(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    columns = next(iter(found.values())).shape[1]
    labels = (
        [[""] * columns] * count
        if classes is None
        else [[label.decode("utf-8", "replace") for label in row] for row in classes.tolist()]
    )
    values = [[0.0] * columns] * count if scores is None else scores.tolist()
    return [list(zip(*row, strict=True)) for row in zip(labels, values, strict=True)]


def _values_of(signature: Signature, outputs: Mapping[str, Array], count: int) -> Values:
    array = outputs[signature.outputs[OUTPUTS].name]
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise InvalidInput(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(array)}"
        )
    if len(array) != count:
        raise InvalidInput(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if dtype_name_of(array) != "float":
        raise InvalidInput(f"Expected output Tensor of DT_FLOAT.  Got: {_dtype(array)}")
    values: Values = array.reshape(-1).tolist()
    return values


def _text(signature: Signature) -> str:
    return str(text_format.MessageToString(signature))


def _shape(array: Array) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _dtype(array: Array) -> str:
    return f"DT_{dtype_name_of(array).upper()}"
