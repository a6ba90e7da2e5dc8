"""The server behind the page: where it is, what it says of itself, and its errors in plain words."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.client import StyleTransferClient
from serving.contract import DEFAULT_SERVER, SERVER_VARIABLE
from serving.endpoints import RetryPolicy, split_servers
from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServingUnavailable,
    StyleTransferError,
)
from serving.transports import served_versions

RUNS_VARIABLE, RUNS_AT_ONCE = "NST_RUNS_AT_ONCE", 2
RETRIES = RetryPolicy(max_elapsed_s=120.0)  # a server that starts loads the model first; who waits can press Stop
SCHEMES = ("grpc://", "http://", "https://")


def address() -> str:
    """Returns the server's address, from the environment."""
    return os.environ.get(SERVER_VARIABLE, "").strip() or DEFAULT_SERVER


def runs_at_once() -> int:
    """Returns how many runs of this page's visitors are at work at once, from the environment; the others wait."""
    text = os.environ.get(RUNS_VARIABLE, "").strip()
    return max(1, int(text)) if text.isdigit() else RUNS_AT_ONCE


def connect(server: str) -> StyleTransferClient:
    """Returns a client of the server; the one place where the page makes one.

    Raises:
      InvalidInput: the address is none of a server. A path would make the client run the model in this process,
        and load TensorFlow into it.
    """
    if not server.startswith(SCHEMES):
        raise InvalidInput(f"`{SERVER_VARIABLE}` must be grpc://HOST:PORT or http://HOST:PORT. Received: {server}")
    return StyleTransferClient(server, retry_policy=RETRIES)


@dataclass(frozen=True)
class Server:
    """What the page tells of the server.

    Attributes:
      address: where it is.
      facts: pairs of a name and a value, for people.
      notice: a sentence that people should read before they judge the pictures, or "".
      problem: why it does not answer, in a plain sentence, or "".
    """

    address: str
    facts: tuple[tuple[str, str], ...] = ()
    notice: str = ""
    problem: str = ""

    @property
    def ready(self) -> bool:
        return not self.problem


def look(client: StyleTransferClient, server: str) -> Server:
    """Asks a server what it serves; why it does not tell is in the answer too."""
    try:
        description = client.describe()
    except StyleTransferError as error:
        # A server that is busy with others' runs is there, as its status says without waiting for its turn.
        busy = version(server) if isinstance(error, (DeadlineExceeded, Overloaded)) else None
        return read({}, server, busy) if busy else Server(server, problem=sentence(error, server))
    return read(description, server, version(server))


def version(server: str) -> int | None:
    """Returns the version that is served, or None where no server says so."""
    for one in split_servers(server):
        with contextlib.suppress(StyleTransferError):
            return next(iter(served_versions(one)), None)
    return None


def read(description: Mapping[str, Any], server: str, version: int | None = None) -> Server:
    """Reads what `describe` answers; what is missing there is not shown."""
    weights = description.get("weights") or {}
    digest = str(weights.get("digest") or "")
    name = str(weights.get("name") or "")
    facts = (
        ("Weights", f"{name} ({digest[:8]})" if name and digest else name),
        ("Precision", str(description.get("precision") or "")),
        ("Device", str(description.get("device") or "")),
        ("Model version", str(version or "")),
    )
    return Server(
        server,
        tuple((label, value) for label, value in facts if value),
        notice=str(weights.get("notice") or ""),
    )


def sentence(error: StyleTransferError, server: str) -> str:
    """Says in one plain sentence what went wrong and what helps."""
    if isinstance(error, ServingUnavailable):
        return f"The server at {server} does not answer: start it, or wait until it has loaded the model."
    if isinstance(error, ModelNotFound):
        return f"The server at {server} answers, but it does not serve the style transfer model."
    if isinstance(error, Overloaded):
        return "The server is busy: try again in a minute."
    if isinstance(error, DeadlineExceeded):
        return "The server took too long to answer: try again, or choose a smaller size."
    if isinstance(error, InvalidInput):
        return f"This does not work: {error}"
    return "Something went wrong on the server: try again, and if it happens again look into the server's log."
