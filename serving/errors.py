"""The errors of servers and clients: one small tree, and one table of gRPC and HTTP codes.

StyleTransferError
├── InvalidInput          an argument is wrong; the text names it, and says what was expected and received
├── WeightsUnavailable    only in model.export: ImageNet's weights were found nowhere
├── ModelNotFound         the server has no such model, version or label
├── AccessDenied          the server wants another address, certificate or token; a retry fails, the text says which
├── ServingUnavailable    the server cannot be reached, or is loading or stopping
│   └── ConnectionLost    the connection broke before the response was complete
├── Overloaded            the server's queue is full
├── DeadlineExceeded      the call took longer than allowed
├── Cancelled             the caller gave up
└── ServingFailed         any other failure of a server; `code` says which
    ├── InvalidResponse   the response is incomplete, garbled or not of a model server; another server may be right
    └── TooLarge          the call needs more than the servers have; a retry fails, the text says what to change
"""

import codecs
import re

from model.errors import InvalidInput as InvalidInput
from model.errors import StyleTransferError as StyleTransferError

HTTP_STATUS = {
    # As in tensorflow_model_server (model_servers/http_server.cc, ToHTTPStatusCode). If codes share a status, the most
    # common one comes first.
    "OK": 200,
    "CANCELLED": 499,
    "INTERNAL": 500,
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
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
}


class ModelNotFound(StyleTransferError):
    code = "NOT_FOUND"


class ServingUnavailable(StyleTransferError):
    code = "UNAVAILABLE"


class ConnectionLost(ServingUnavailable):
    """The connection broke before the response was complete: the server may have gone down over the call."""


class AccessDenied(StyleTransferError):
    code = "PERMISSION_DENIED"


class Overloaded(StyleTransferError):
    code = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(StyleTransferError):
    code = "DEADLINE_EXCEEDED"


class Cancelled(StyleTransferError):
    code = "CANCELLED"


class ServingFailed(StyleTransferError):
    code = "INTERNAL"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.code


class InvalidResponse(ServingFailed):
    code = "DATA_LOSS"


class TooLarge(ServingFailed):
    code = "RESOURCE_EXHAUSTED"


TRANSIENT = (ServingUnavailable, Overloaded, DeadlineExceeded, InvalidResponse)
"""Errors after which the same server may answer a retry."""

_BY_CODE = {
    error.code: error for error in (InvalidInput, ModelNotFound, ServingUnavailable, Overloaded, DeadlineExceeded)
}
_BY_CODE["CANCELLED"] = ServingUnavailable  # a server that stops ends its calls so; the caller's own end is no response
_OUT_OF_MEMORY = "OOM when allocating"  # TensorFlow's text, with the code of a full queue
_ADVICE = "The server has too little memory for this call. Choose a smaller `size`."
_BY_HTTP_STATUS = {502: "UNAVAILABLE"}  # from a gateway that cannot reach its server
_BY_HTTP_STATUS |= {status: code for code, status in reversed(HTTP_STATUS.items())}


def from_code(code: str, message: str) -> StyleTransferError:
    """Returns the error for the name of a gRPC status code."""
    if _OUT_OF_MEMORY in message:
        return TooLarge(message if message.startswith(_ADVICE) else f"{_ADVICE} ({clean(message)})")
    error = _BY_CODE.get(code)
    return error(message) if error else ServingFailed(message, code)


def from_http_status(status: int, message: str) -> StyleTransferError:
    """Returns the error for an HTTP status; of several codes with this status, the most common one."""
    return from_code(_BY_HTTP_STATUS.get(status, "INTERNAL"), message)


def clean(message: str) -> str:
    """Returns the graph's own sentence from an error text of TensorFlow."""
    message = re.sub(r"^\d+ root error\(s\) found\.\s*\(0\) [\w ]+: ", "", message)  # of several the first
    found = re.search(r"assertion failed: \[(.*)", message, re.DOTALL)
    if not found:
        lines = filter(None, map(str.strip, message.splitlines()))
        wrapping = ("Graph execution error", "[[")
        return next((line for line in lines if not line.startswith(wrapping)), "The server gave no reason.")
    # TensorFlow escapes an assertion's text as in C.
    sentence = re.split(r"\]\s+\[\[\{\{|\]\s*$", found[1], maxsplit=1)[0]
    return codecs.escape_decode(sentence.encode())[0].decode("utf-8", "replace")
