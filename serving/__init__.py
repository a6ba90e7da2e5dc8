"""How the model is served and called."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.settings import StyleSettings
    from serving.client import Progress, StyleTransferClient
    from serving.endpoints import RetryPolicy
    from serving.errors import StyleTransferError
    from serving.request import Request
    from serving.results import Result

__all__ = ["Progress", "Request", "Result", "RetryPolicy", "StyleSettings", "StyleTransferClient", "StyleTransferError"]


def __getattr__(name: str) -> Any:
    """Imports the client with the first of its names: the server needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("serving.client"), name)
