"""Which failures are repeated, where, and for how long; by a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving import endpoints as endpoints_module
from serving.endpoints import TRANSIENT, Endpoints, RetryPolicy, split_servers
from serving.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    InvalidResponse,
    ModelNotFound,
    Overloaded,
    ServingFailed,
    ServingUnavailable,
    StyleTransferError,
)

ANSWER = {"description": np.array([b"{}"], object)}
Outcome = StyleTransferError | dict[str, Any]


class Server:
    """A transport that gives one outcome after another, the last for ever, each call taking some seconds."""

    def __init__(self, clock: Clock, *outcomes: Outcome, seconds: float = 0.0) -> None:
        self.clock, self.outcomes, self.seconds = clock, list(outcomes), seconds
        self.calls = 0

    def predict(
        self, signature: str, inputs: Mapping[str, Any], *, outputs: Sequence[str] = (), timeout_s: float
    ) -> dict[str, Any]:
        self.calls += 1
        self.clock.now += self.seconds
        outcome = self.outcomes[min(self.calls, len(self.outcomes)) - 1]
        if isinstance(outcome, StyleTransferError):
            raise outcome
        return outcome

    def close(self) -> None:
        self.calls = -1


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    # Not time's own functions: event loops of servers in this process would sleep for ever by such a clock.
    monkeypatch.setattr(endpoints_module, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=clock.sleep))
    return clock


def ask(*servers: Server, policy: RetryPolicy | None = None, **options: Any) -> dict[str, Any]:
    return Endpoints(servers, policy or RetryPolicy()).predict("describe", {}, timeout_s=9, **options)


@pytest.mark.parametrize("kind", TRANSIENT)
def test_what_may_pass_is_repeated_at_the_same_server(clock: Clock, kind: type[StyleTransferError]) -> None:
    server = Server(clock, kind("busy"), kind("busy"), ANSWER)
    assert ask(server) is ANSWER
    assert (server.calls, len(clock.waits)) == (3, 2)


def test_waits_double_up_to_the_longest_and_vary_by_chance(clock: Clock) -> None:
    policy = RetryPolicy(max_elapsed_s=100, initial_backoff_s=1, max_backoff_s=8)
    ask(Server(clock, *[ServingUnavailable("gone")] * 6, ANSWER), policy=policy)
    for wait, longest in zip(clock.waits, [1, 2, 4, 8, 8, 8], strict=True):
        assert longest / 2 <= wait <= longest
    assert len({round(wait / longest, 6) for wait, longest in zip(clock.waits, [1, 2, 4, 8, 8, 8], strict=True)}) > 1


def test_each_failure_that_is_waited_for_is_told(clock: Clock) -> None:
    told: list[StyleTransferError] = []
    gone, full = ServingUnavailable("gone"), Overloaded("full")
    ask(Server(clock, gone, full, ANSWER), on_retry=told.append)
    assert told == [gone, full]
    ask(Server(clock, gone), Server(clock, ANSWER), on_retry=told.append)
    assert told == [gone, full]


def test_the_next_server_is_asked_without_a_wait(clock: Clock) -> None:
    first, second = Server(clock, Overloaded("full")), Server(clock, ANSWER)
    assert ask(first, second) is ANSWER
    assert (first.calls, second.calls, clock.waits) == (1, 1, [])


def test_the_server_that_answered_last_is_asked_first(clock: Clock) -> None:
    first, second = Server(clock, ServingUnavailable("gone")), Server(clock, ANSWER)
    both = Endpoints([first, second], RetryPolicy())
    for _ in range(3):
        both.predict("describe", {}, timeout_s=9)
    assert (first.calls, second.calls) == (1, 3)


def test_inputs_that_are_refused_are_asked_once(clock: Clock) -> None:
    first, second = Server(clock, InvalidInput("`size` is wrong")), Server(clock, ANSWER)
    with pytest.raises(InvalidInput, match="size"):
        ask(first, second)
    assert (first.calls, second.calls, clock.waits) == (1, 0, [])


@pytest.mark.parametrize("failure", [ModelNotFound("no such model"), ServingFailed("Out of memory")])
def test_what_one_server_lacks_another_may_have_but_waiting_does_not_help(
    clock: Clock, failure: StyleTransferError
) -> None:
    first, second = Server(clock, failure), Server(clock, ANSWER)
    assert ask(first, second) is ANSWER
    with pytest.raises(type(failure)):
        ask(first, Server(clock, failure))
    assert clock.waits == []


def test_a_server_that_failed_for_good_is_not_asked_again_while_another_is_awaited(clock: Clock) -> None:
    first, second = Server(clock, ModelNotFound("none")), Server(clock, *[ServingUnavailable("gone")] * 3, ANSWER)
    assert ask(first, second) is ANSWER
    assert (first.calls, second.calls) == (1, 4)


def test_a_server_that_had_the_model_is_waited_for_while_it_loads_it_again(clock: Clock) -> None:
    server = Server(clock, ANSWER, ServingUnavailable("gone"), ModelNotFound("not yet"), ANSWER)
    one = Endpoints([server], RetryPolicy())
    for _ in range(2):
        assert one.predict("describe", {}, timeout_s=9) is ANSWER
    assert server.calls == 4


def test_the_time_counts_from_the_first_failure_and_the_last_one_is_told(clock: Clock) -> None:
    slow = Server(clock, DeadlineExceeded("first"), ServingUnavailable("last"), seconds=300)
    with pytest.raises(ServingUnavailable, match="last"):
        ask(slow, policy=RetryPolicy(max_elapsed_s=30, initial_backoff_s=1, max_backoff_s=1))
    assert slow.calls == 2  # the first call's 300 s do not count, the second's use up all
    gone = Server(clock, ServingUnavailable("gone"))
    begun = clock.now
    with pytest.raises(ServingUnavailable):
        ask(gone, policy=RetryPolicy(max_elapsed_s=30, initial_backoff_s=1, max_backoff_s=1))
    assert 28 < clock.now - begun <= 30


def test_without_time_every_server_is_asked_once(clock: Clock) -> None:
    servers = [Server(clock, ServingUnavailable(str(index))) for index in range(3)]
    with pytest.raises(ServingUnavailable, match="2"):
        ask(*servers, policy=RetryPolicy(0))
    assert [server.calls for server in servers] == [1, 1, 1]


def test_an_answer_that_fails_its_check_is_sought_elsewhere(clock: Clock) -> None:
    def check(answer: Any) -> None:
        if answer is not ANSWER:
            raise InvalidResponse("garbled")

    assert ask(Server(clock, {}), Server(clock, ANSWER), check=check) is ANSWER
    assert ask(Server(clock, {}), Server(clock, ANSWER)) is ANSWER


def test_who_gives_up_is_not_kept_waiting(clock: Clock) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled, match=r"Stopped while no server answered. gone"):
        ask(Server(clock, ServingUnavailable("gone")), cancelled=cancelled)
    assert clock.waits == []


def test_who_gives_up_during_a_wait_ends_it(clock: Clock) -> None:
    cancelled = threading.Event()
    threading.Timer(0.05, cancelled.set).start()
    with pytest.raises(Cancelled):
        ask(
            Server(clock, ServingUnavailable("gone")),
            cancelled=cancelled,
            policy=RetryPolicy(max_elapsed_s=1e6, initial_backoff_s=1e5, max_backoff_s=1e5),
        )


def test_what_it_waits_for_is_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    ask(Server(clock, ServingUnavailable("No server answers at x."), ANSWER))
    assert caplog.messages[0].startswith("No server answers at x. Trying again in 0.")


@pytest.mark.parametrize("values", [{"max_elapsed_s": -1}, {"initial_backoff_s": 0}, {"max_backoff_s": 0.1}])
def test_a_policy_is_checked(values: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="`max_elapsed_s` must be at least 0"):
        RetryPolicy(**values)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("grpc://a:1", ["grpc://a:1"]),
        ("grpc://a:1, http://b:2,https://c:3", ["grpc://a:1", "http://b:2", "https://c:3"]),
        ("/models/a,b", ["/models/a,b"]),
    ],
)
def test_addresses_are_split_at_commas_before_a_scheme(text: str, servers: list[str]) -> None:
    assert split_servers(text) == servers


def test_closing_closes_all(clock: Clock) -> None:
    servers = [Server(clock, ANSWER), Server(clock, ANSWER)]
    Endpoints(servers, RetryPolicy()).close()
    assert [server.calls for server in servers] == [-1, -1]
