"""What a request asks for and where a version stands: the words that manager, core and adapters share."""

from __future__ import annotations

from dataclasses import dataclass

# TensorFlow Serving's states of a version, in the order in which it goes through them.
START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"


@dataclass(frozen=True)
class ModelRef:
    """What a request asks for: a model, and either its newest version, one by number, or one by label."""

    name: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        return f"Latest({self.name})" if self.version is None else f"Specific({self.name}, {self.version})"


@dataclass(frozen=True)
class VersionStatus:
    """Where a version stands; `code` is the name of a gRPC status code."""

    version: int
    state: str
    code: str = "OK"
    message: str = ""
