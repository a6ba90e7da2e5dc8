"""Runs a SavedModel in this process; the one module of the client side that needs TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from model.errors import InvalidInput, clean, from_code
from model.versions import find_versions

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def load_signatures(path: Path) -> Callable[[str, dict[str, npt.NDArray[Any]]], dict[str, npt.NDArray[Any]]]:
    """Loads a SavedModel and returns a function of a signature's name and its inputs.

    Args:
      path: a version's directory, or the base path above it, of which the latest version is taken.

    Raises:
      InvalidInput: there is no SavedModel, or no TensorFlow to run it with.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise InvalidInput(
            f"`local` needs TensorFlow to run the model in this process; without it, `server` names a model server. "
            f"Received: {path}"
        ) from error

    versions = find_versions(path)
    directory = path if (path / "saved_model.pb").exists() or not versions else versions[-1].path
    try:
        loaded = tf.saved_model.load(str(directory))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"`local` must be the path of a SavedModel. Received: {path}") from error

    def call(signature: str, inputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        if signature not in loaded.signatures:
            raise InvalidInput(f"`local` must be a model of this project. Received: {path}, without `{signature}`")
        function = loaded.signatures[signature]
        try:
            outputs = function(**{name: tf.constant(value) for name, value in inputs.items()})
        except tf.errors.OpError as error:
            raise from_code(_CODES[error.error_code], clean(error.message)) from error
        return {name: np.asarray(value.numpy()) for name, value in outputs.items()}

    return call
