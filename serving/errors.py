"""All errors of this project: one small tree, and one table of gRPC and HTTP codes.

StyleTransferError
├── InvalidInput          an argument is wrong; the text names it, what was expected, what came
├── WeightsUnavailable    no feature weights to be had; the text says what was tried
├── ModelNotFound         the server has no such model or version
├── ServingUnavailable    no answer from the server, or it is still loading or stopping
├── Overloaded            the server has as much work as it takes; try again later
├── DeadlineExceeded      the call did not end in its time
├── Cancelled             the caller gave up
└── ServingFailed         anything else that a server answers; its code says what
    └── InvalidResponse   the response violates the model's contract; another server may do better
"""

from __future__ import annotations

import codecs
import re

from model.errors import InvalidInput, StyleTransferError, WeightsUnavailable

__all__ = [
    "HTTP_STATUS",
    "Cancelled",
    "DeadlineExceeded",
    "InvalidInput",
    "InvalidResponse",
    "ModelNotFound",
    "Overloaded",
    "ServingFailed",
    "ServingUnavailable",
    "StyleTransferError",
    "WeightsUnavailable",
    "clean",
    "from_code",
    "from_http_status",
]

HTTP_STATUS = {
    # As tensorflow_model_server maps them (model_servers/http_server.cc, ToHTTPStatusCode).
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
}


class ModelNotFound(StyleTransferError):
    """The server knows no such model, version or label."""

    code = "NOT_FOUND"


class ServingUnavailable(StyleTransferError):
    """The server cannot be reached, or is loading or stopping."""

    code = "UNAVAILABLE"


class Overloaded(StyleTransferError):
    """The server runs as much as it can bear, and its queue is full."""

    code = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(StyleTransferError):
    """The call did not end in its time."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(StyleTransferError):
    """The caller gave up."""

    code = "CANCELLED"


class ServingFailed(StyleTransferError):
    """Any other failure of a server; `code` is set per instance."""

    code = "INTERNAL"

    def __init__(self, message: str, code: str = "INTERNAL") -> None:
        super().__init__(message)
        self.code = code


class InvalidResponse(ServingFailed):
    """The response violates the model's contract: cut, garbled, or of something else than a model server."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "DATA_LOSS")


_BY_CODE = {
    error.code: error
    for error in (InvalidInput, ModelNotFound, ServingUnavailable, Overloaded, DeadlineExceeded, Cancelled)
}
_BY_HTTP_STATUS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",  # no server's own answer, but a gateway's that cannot reach it
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def from_code(code: str, message: str) -> StyleTransferError:
    """Returns the error that stands for a gRPC status code name."""
    error = _BY_CODE.get(code)
    return error(message) if error else ServingFailed(message, code)


def from_http_status(status: int, message: str) -> StyleTransferError:
    """Returns the error that stands for an HTTP status (several codes share one: the commonest is taken)."""
    return from_code(_BY_HTTP_STATUS.get(status, "INTERNAL"), message)


def clean(message: str) -> str:
    """Returns the sentence that the graph wrote, out of what TensorFlow wraps around it."""
    found = re.search(r"assertion failed: \[(.*)", message, re.DOTALL)
    if not found:
        lines = [line.strip() for line in message.splitlines()]
        lines = [line for line in lines if line and not line.startswith(("Graph execution error", "[["))]
        return lines[0] if lines else "The server gave no reason."
    # An assertion's text comes escaped as in C.
    sentence, *wrapping = re.split(r"\]\s+\[\[\{\{", found[1], maxsplit=1)
    sentence = sentence if wrapping else sentence.rstrip().removesuffix("]")
    return codecs.escape_decode(sentence.encode())[0].decode("utf-8", "replace")
