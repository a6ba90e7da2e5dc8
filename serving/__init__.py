"""How the model is served and called."""

from model.settings import StyleSettings
from serving.client import Progress, StyleTransferClient
from serving.endpoints import RetryPolicy
from serving.errors import StyleTransferError
from serving.request import Request
from serving.results import Result

__all__ = ["Progress", "Request", "Result", "RetryPolicy", "StyleSettings", "StyleTransferClient", "StyleTransferError"]
