"""Runs a SavedModel in this process, as a server would; the one module of the client side that needs TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from model.versions import VersionPath, find_versions
from serving.errors import InvalidInput, ServingFailed, StyleTransferError, clean, from_code


class LocalModel:
    """A SavedModel in this process."""

    def __init__(self, path: Path) -> None:
        """Loads a SavedModel.

        Args:
          path: a version's directory, or the base path above it, of which the latest version is taken.

        Raises:
          InvalidInput: there is no SavedModel, or no TensorFlow to run it with.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        try:
            from serving.server.servable import Servable
        except ImportError as error:
            raise InvalidInput(
                f"`local` needs TensorFlow to run the model in this process; without it, `server` names a model "
                f"server. Received: {path}"
            ) from error

        versions = find_versions(path)
        version = VersionPath(0, path) if (path / "saved_model.pb").exists() or not versions else versions[-1]
        try:
            self._servable = Servable.load(version)
        except ServingFailed as error:
            raise InvalidInput(f"`local` must be the path of a SavedModel. Received: {path}") from error
        self._path = path

    def predict(
        self, signature: str, inputs: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str] = ()
    ) -> dict[str, npt.NDArray[Any]]:
        """Runs a signature.

        Args:
          signature: its name.
          inputs: by name; strings as object arrays of bytes.
          outputs: names of the outputs to compute; empty for all.

        Raises:
          StyleTransferError: with the graph's own sentence; InvalidInput if the model has no such signature.
        """
        if signature not in self._servable.signatures:
            raise InvalidInput(
                f"`local` must be a model of this project. Received: {self._path}, without `{signature}`"
            )
        try:
            return self._servable.predict(signature, inputs, outputs)
        except StyleTransferError as error:
            raise from_code(error.code, clean(str(error))) from error

    def close(self) -> None:
        """Frees the model."""
        self._servable.close()
