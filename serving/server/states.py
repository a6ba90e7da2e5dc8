"""What a request asks for and where a version stands: the words that manager, core and adapters share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.versions import VersionPath

if TYPE_CHECKING:
    from serving.server.servable import Servable

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


class Version:
    """One version of one model and where it stands. The manager's lock guards it.

    Attributes:
      source: its directory.
      status: what a status call answers.
      servable: what runs, while it is loaded.
      wanted: whether it is to be served.
      users: calls that hold it.
      attempts: loads that failed.
      due: when the next attempt to load it is, on the clock of `time.monotonic`.
    """

    def __init__(self, source: VersionPath) -> None:
        self.source = source
        self.status = VersionStatus(source.number, START)
        self.servable: Servable | None = None
        self.wanted = True
        self.users = 0
        self.attempts = 0
        self.due = 0.0

    def set(self, state: str, code: str = "OK", message: str = "") -> None:
        self.status = VersionStatus(self.source.number, state, code, message)

    @property
    def state(self) -> str:
        return self.status.state

    @property
    def to_load(self) -> bool:
        """Whether it is yet to be loaded, now or when the next attempt is due."""
        return self.wanted and self.state in (START, LOADING) and self.servable is None
