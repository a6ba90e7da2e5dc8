"""Several servers as one: a call that fails goes to the next, and is repeated as a retry policy says.

Every signature of the model is a pure function of its inputs, so any call may be repeated anywhere.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    InvalidResponse,
    ModelNotFound,
    Overloaded,
    ServingUnavailable,
    StyleTransferError,
)
from serving.responses import check_response
from serving.transports import Transport
from serving.wire import Arrays

log = logging.getLogger(__name__)

TRANSIENT = (ServingUnavailable, Overloaded, DeadlineExceeded, InvalidResponse)
"""What may be over when the same server is asked again."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call that fails is repeated.

    Attributes:
      max_elapsed_s: from the first failure on; a call under way when it ends is still awaited. 0: every server once.
      initial_backoff_s: the wait before every server is asked again; doubles each time.
      max_backoff_s: what the waits grow to.
    """

    max_elapsed_s: float = 30.0
    initial_backoff_s: float = 0.25
    max_backoff_s: float = 5.0

    def __post_init__(self) -> None:
        if not (self.max_elapsed_s >= 0 and 0 < self.initial_backoff_s <= self.max_backoff_s):
            raise InvalidInput(
                "`max_elapsed_s` must be at least 0 and `initial_backoff_s` above 0, up to `max_backoff_s`. "
                f"Received: {self}"
            )

    def backoff_s(self, rounds: int) -> float:
        """Returns the wait after a number of failed rounds, between half and all of it by chance.

        Chance keeps clients that failed together, as when a server stops, from coming back together.
        """
        longest = min(self.max_backoff_s, self.initial_backoff_s * 2.0 ** min(rounds, 60))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def split_servers(text: str) -> list[str]:
    """Splits addresses at the commas before a scheme; a path may hold commas of its own."""
    return [server.strip() for server in re.split(r",(?=\s*[a-z]+://)", text)]


class Endpoints:
    """Asks the server that answered last; when it fails, the others in turn."""

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
        check: Callable[[Arrays], object] | None = None,
        retry_policy: RetryPolicy | None = None,
        cancelled: threading.Event | None = None,
        on_retry: Callable[[StyleTransferError], object] | None = None,
    ) -> Arrays:
        """Runs a signature wherever it can be run.

        Args:
          signature: its name.
          inputs: as `Transport.predict` takes them.
          timeout_s: longest time for one call to one server.
          check: raises InvalidResponse when a response cannot be right. None: it is held against the contract alone.
          retry_policy: in place of the one that is set for all calls.
          cancelled: once set, nothing is repeated any more.
          on_retry: is told why no server gave an answer, each time before all are asked again.

        Raises:
          InvalidInput: a server refused the inputs; any other would as well, so none is asked again.
          Cancelled: `cancelled` was set while no server gave an answer.
          StyleTransferError: the last failure, when all servers failed for good or their time is up.
        """
        policy = retry_policy or self._retry_policy
        hopeless: set[int] = set()
        failed_since: float | None = None
        rounds = 0
        while True:
            for index in self._order():
                if index in hopeless:
                    continue
                try:
                    response = self._transports[index].predict(signature, inputs, timeout_s=timeout_s)
                    check(response) if check else check_response(signature, response)
                except (InvalidInput, Cancelled):
                    raise
                except StyleTransferError as error:
                    failure = error
                    # A server that had the model and knows it no more was started again and is loading it.
                    loading = isinstance(error, ModelNotFound) and index in self._served
                    if not (isinstance(error, TRANSIENT) or loading):
                        hopeless.add(index)
                else:
                    self._current = index
                    self._served.add(index)
                    return response
                if failed_since is None:
                    failed_since = time.monotonic()
                if cancelled is not None and cancelled.is_set():
                    raise Cancelled(f"Stopped while no server answered. {failure}") from failure
            wait_s = policy.backoff_s(rounds)
            over = time.monotonic() + wait_s > (failed_since or 0.0) + policy.max_elapsed_s
            if over or len(hopeless) == len(self._transports):
                raise failure
            rounds += 1
            log.warning("%s Trying again in %.1f s.", failure, wait_s)
            if on_retry is not None:
                on_retry(failure)
            if cancelled is None:
                time.sleep(wait_s)
            elif cancelled.wait(wait_s):
                raise Cancelled(f"Stopped while no server answered. {failure}") from failure

    def _order(self) -> list[int]:
        count = len(self._transports)
        return [(self._current + turn) % count for turn in range(count)]

    def close(self) -> None:
        for transport in self._transports:
            transport.close()
