"""Several servers as one: a failed call goes to the next server, and is retried under a retry policy.

Every signature of the model is a pure function of its inputs, so any call may be repeated on any server.
"""

import logging
import math
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from serving.errors import (
    TRANSIENT,
    Cancelled,
    ConnectionLost,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    ServingFailed,
    ServingUnavailable,
    StyleTransferError,
    TooLarge,
)
from serving.transports import Pin, Transport
from serving.wire import Arrays

log = logging.getLogger(__name__)

T = TypeVar("T")
MOST_LOSSES = 2  # connections that a call may lose: what brings down two servers would bring down a third


@dataclass(frozen=True)
class RetryPolicy:
    """How long a failed call is retried.

    Attributes:
      max_elapsed_s: after the first failure no retry starts later than this. 0: every server is asked once.
      initial_backoff_s: the wait before all servers are asked again; it doubles each time.
      max_backoff_s: the longest wait.
    """

    max_elapsed_s: float = 30.0
    initial_backoff_s: float = 0.25
    max_backoff_s: float = 5.0

    def __post_init__(self) -> None:
        if not (self.max_elapsed_s >= 0 and 0 < self.initial_backoff_s <= self.max_backoff_s):
            expected = "`max_elapsed_s` must be at least 0 and `initial_backoff_s` above 0, up to `max_backoff_s`"
            raise InvalidInput(f"{expected}. Received: {self}")

    def backoff_s(self, rounds: int) -> float:
        """Returns the wait after a number of failed rounds, at random between half of it and all of it.

        Clients that failed together, when a server stopped, then do not retry together.
        """
        longest = min(self.max_backoff_s, self.initial_backoff_s * 2.0 ** min(rounds, 60))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def split_servers(text: str) -> list[str]:
    """Splits addresses at the commas that precede a scheme; a path may contain commas."""
    return [server.strip() for server in re.split(r",(?=\s*[a-z]+://)", text)]


class Endpoints:
    """Calls the server that answered last; if it fails, the others in turn."""

    def __init__(self, transports: Sequence[Transport], retry_policy: RetryPolicy) -> None:
        self._transports = list(transports)
        self._retry_policy = retry_policy
        self._current = 0
        self._served: set[int] = set()

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        *,
        timeout_s: float,
        read: Callable[[Arrays], T],
        pin: Pin | None = None,
        retry_policy: RetryPolicy | None = None,
        cancelled: threading.Event | None = None,
        on_retry: Callable[[StyleTransferError], object] | None = None,
    ) -> T:
        """Runs a signature on the first server that answers.

        Args:
          signature: its name.
          inputs: as for `Transport.predict`.
          pin: as for `Transport.predict`. A server that lacks the pinned version is asked for its newest.
          timeout_s: longest time for one call to one server.
          read: checks and converts a response to the value that is returned; may raise InvalidResponse.
          retry_policy: for this call, in place of the client's.
          cancelled: once set, nothing is retried.
          on_retry: called with the last failure before each retry of all servers.

        Raises:
          InvalidInput: a server refused the inputs. The others would too, so they are not asked.
          Cancelled: `cancelled` was set while no server answered.
          TooLarge: two servers went down while they worked on the call, or one did so twice.
          StyleTransferError: the last failure, if no server is worth a retry or the policy's time is up.
        """
        policy = retry_policy or self._retry_policy
        cancelled = cancelled or threading.Event()
        count = len(self._transports)
        retryable = set(range(count))  # servers worth a retry
        failed_since = math.inf
        losses = rounds = 0
        while True:
            for index in sorted(retryable, key=lambda index: (index - self._current) % count):
                transport = self._transports[index]
                try:
                    if losses:
                        _check_up(transport)
                    response = read(_predict(transport, signature, inputs, timeout_s, pin))
                except (InvalidInput, Cancelled):
                    raise
                except StyleTransferError as error:
                    failure = error
                    losses += isinstance(error, ConnectionLost)
                    if losses == MOST_LOSSES:
                        raise TooLarge(
                            f"{error} Servers went down twice while they worked on this call, so it is not sent again: "
                            "it may need more memory than they have. Choose a smaller `size`."
                        ) from error
                    # A server that had the model before was restarted and is loading it.
                    loading = isinstance(error, ModelNotFound) and index in self._served
                    if not (isinstance(error, TRANSIENT) or loading):
                        retryable.discard(index)
                else:
                    self._current = index
                    self._served.add(index)
                    return response
                failed_since = min(failed_since, time.monotonic())
                if cancelled.is_set():
                    raise Cancelled(f"Stopped while no server answered. {failure}") from failure
            wait_s = policy.backoff_s(rounds)
            if not retryable or time.monotonic() + wait_s > failed_since + policy.max_elapsed_s:
                raise failure
            rounds += 1
            log.warning("%s Retrying in %.1f s.", failure, wait_s)
            if on_retry is not None:
                on_retry(failure)
            if cancelled.wait(wait_s):
                raise Cancelled(f"Stopped while no server answered. {failure}") from failure

    def close(self) -> None:
        for transport in self._transports:
            transport.close()


def _predict(server: Transport, signature: str, inputs: Mapping[str, Any], timeout_s: float, pin: Pin | None) -> Arrays:
    """Calls the pinned version; where that is not served, the newest, which has the same weights after most updates."""
    try:
        return server.predict(signature, inputs, timeout_s=timeout_s, pin=pin)
    except ModelNotFound:
        if pin is None or not pin.version:
            raise
    begun_on, pin.version = pin.version, None
    try:
        return server.predict(signature, inputs, timeout_s=timeout_s, pin=pin)
    except StyleTransferError as error:
        pin.version = begun_on  # another server may have it
        if isinstance(error, InvalidInput) and "`state_bytes`" in str(error):
            raise ServingFailed(
                f"Version {begun_on} of the model, on which the run began, is no longer served, and the new model "
                "cannot continue the run.",
                "FAILED_PRECONDITION",
            ) from error
        raise


def _check_up(transport: Transport) -> None:
    """Makes sure that a server answers before it gets a call over which a connection was lost.

    Only then does a second loss tell that the call brings servers down. Otherwise it may be a load balancer or the port
    of a container, which accept connections and close them while the server behind them restarts.
    """
    try:
        transport.versions()
    except ConnectionLost as error:
        raise ServingUnavailable(str(error)) from error
    except (ServingUnavailable, DeadlineExceeded):
        raise
    except StyleTransferError:
        pass  # an answer all the same
