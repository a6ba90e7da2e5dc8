"""The errors that the model raises; serving/errors.py adds those of servers and clients."""


class StyleTransferError(Exception):
    """Base of all errors that this project raises on purpose.

    Attributes:
      code: name of the gRPC status code that stands for this error.
    """

    code = "UNKNOWN"


class InvalidInput(StyleTransferError, ValueError):
    """An argument is wrong. The text names it, and says what was expected and what was received."""

    code = "INVALID_ARGUMENT"


class WeightsUnavailable(StyleTransferError):
    """ImageNet's weights were found nowhere. The text says what was tried and what to do."""

    code = "FAILED_PRECONDITION"
