"""Which failures are repeated, where, and for how long; by a clock of the test's own."""

import contextlib
import itertools
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from serving import endpoints as endpoints_module
from serving.endpoints import Endpoints, RetryPolicy, split_servers
from serving.errors import (
    TRANSIENT,
    AccessDenied,
    Cancelled,
    ConnectionLost,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServingFailed,
    ServingUnavailable,
    StyleTransferError,
    TooLarge,
)
from serving.transports import Pin

ANSWER: dict[str, Any] = {}
GONE, FULL, NO_MODEL = ServingUnavailable("gone"), Overloaded("full"), ModelNotFound("no such model")
DENIED, CUT, POISON = AccessDenied("wants a token"), ConnectionLost("cut"), TooLarge("went down twice")
REFUSED, BROKEN = InvalidInput("`size` is wrong"), ServingFailed("Out of memory")


class Clock(threading.Event):
    """A clock, and an event whose wait it measures."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0)
        self.now += timeout or 0
        return self.is_set()


def server(*outcomes: StyleTransferError | dict[str, Any]) -> Mock:
    """A transport that gives one outcome after another, the last for ever."""
    return Mock(**{"predict.side_effect": itertools.chain(outcomes, itertools.repeat(outcomes[-1]))})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    # Not time's own function: event loops of servers in this process would sleep for ever by such a clock.
    monkeypatch.setattr(endpoints_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def ask(clock: Clock, *servers: Mock, policy: RetryPolicy | None = None, times: int = 1, **options: Any) -> Any:
    endpoints = Endpoints(servers, policy or RetryPolicy())
    options = {"read": lambda response: response, "cancelled": clock} | options
    return [endpoints.predict("describe", {}, timeout_s=9, **options) for _ in range(times)][-1]


@pytest.mark.parametrize(
    ("outcomes", "times", "raised", "calls", "waits"),
    [
        *[pytest.param([[k("x"), k("x"), ANSWER]], 1, None, [3], 2, id=f"{k.__name__} is repeated") for k in TRANSIENT],
        pytest.param([[FULL], [ANSWER]], 1, None, [1, 1], 0, id="the next server is asked without a wait"),
        pytest.param([[GONE], [ANSWER]], 3, None, [1, 3], 0, id="the server that answered last is asked first"),
        pytest.param([[REFUSED], [ANSWER]], 1, REFUSED, [1, 0], 0, id="refused inputs are asked once"),
        pytest.param([[DENIED]], 1, DENIED, [1], 0, id="who is not let in does not ask again"),
        pytest.param([[DENIED], [ANSWER]], 1, None, [1, 1], 0, id="another may let in"),
        pytest.param([[CUT], [ANSWER]], 1, None, [1, 1], 0, id="a server that goes down is left"),
        pytest.param([[CUT, GONE, ANSWER]], 1, None, [3], 2, id="a server that goes down and comes back is awaited"),
        pytest.param([[ANSWER, CUT, ANSWER, CUT, ANSWER]], 3, None, [5], 2, id="each call counts by itself"),
        pytest.param([[CUT], [CUT], [ANSWER]], 1, POISON, [1, 1, 0], 0, id="what brings down two is kept from a third"),
        pytest.param([[CUT, CUT, ANSWER]], 1, POISON, [2], 1, id="what brings down one twice is not sent again"),
        pytest.param([[NO_MODEL], [ANSWER]], 1, None, [1, 1], 0, id="another may have the model"),
        pytest.param([[NO_MODEL], [BROKEN]], 1, BROKEN, [1, 1], 0, id="waiting does not help"),
        pytest.param([[NO_MODEL], [GONE, GONE, ANSWER]], 1, None, [1, 3], 2, id="failed for good, another is awaited"),
        pytest.param([[ANSWER, GONE, NO_MODEL, ANSWER]], 2, None, [4], 2, id="started again, loads the model it had"),
    ],
)
def test_what_is_asked_again_and_where(
    clock: Clock, outcomes: Any, times: int, raised: StyleTransferError | None, calls: list[int], waits: int
) -> None:
    servers = [server(*each) for each in outcomes]
    with pytest.raises(type(raised)) if raised else contextlib.nullcontext():
        assert ask(clock, *servers, times=times) is ANSWER
    assert [each.predict.call_count for each in servers] == calls
    assert len(clock.waits) == waits


@pytest.mark.parametrize("answer", [[1], NO_MODEL, DENIED])
def test_a_call_whose_connection_was_lost_waits_until_a_server_answers_at_all(clock: Clock, answer: Any) -> None:
    """As long as a server restarts, a load balancer before it may accept connections and close them."""
    one = server(CUT, ANSWER)
    one.versions.side_effect = [CUT, GONE, DeadlineExceeded("silent"), CUT, answer]
    assert ask(clock, one) is ANSWER
    assert (one.predict.call_count, one.versions.call_count) == (2, 5)


def versioned(weights: dict[int, str], asked: list[int | None]) -> Mock:
    """A transport to a server with these versions; a state is the weights that it comes from."""

    def predict(_: str, inputs: dict[str, str], *, timeout_s: float, pin: Pin) -> str:
        asked.append(pin.version)
        number = pin.version or max(weights, default=0)
        if number not in weights:
            raise NO_MODEL
        if inputs["state"] != weights[number]:
            raise InvalidInput("`state_bytes` must come from this model")
        pin.version = number
        return weights[number]

    return Mock(predict=predict)


@pytest.mark.parametrize(
    ("servers", "asked", "pinned"),
    [
        pytest.param([{1: "a", 2: "b"}], [1], 1, id="the version is still there"),
        pytest.param([{2: "a"}], [1, None], 2, id="a new version has the same weights"),
        pytest.param([{}, {7: "a"}], [1, None, 1, None], 7, id="another server has the weights by another number"),
        pytest.param([{2: "b"}, {1: "a", 2: "b"}], [1, None, 1], 1, id="another server still has the version"),
        pytest.param([{2: "b"}], [1, None], None, id="the weights are gone"),
    ],
)
def test_a_run_stays_with_its_version_and_then_with_its_weights(
    clock: Clock, servers: list[dict[int, str]], asked: list[int | None], pinned: int | None
) -> None:
    calls: list[int | None] = []
    endpoints, pin = Endpoints([versioned(one, calls) for one in servers], RetryPolicy()), Pin(1)

    def call() -> Any:
        return endpoints.predict("advance", {"state": "a"}, timeout_s=9, read=lambda x: x, pin=pin, cancelled=clock)

    if pinned is None:
        with pytest.raises(
            ServingFailed, match=r"^Version 1 of the model, on which the run began, is no longer served"
        ):
            call()
    else:
        assert [call(), call()] == ["a", "a"]
        assert pin == Pin(pinned)
    assert calls == (asked if pinned is None else [*asked, pinned])


def test_waits_double_up_to_the_longest_vary_by_chance_and_are_told(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    policy, told = RetryPolicy(max_elapsed_s=100, initial_backoff_s=1, max_backoff_s=8), []
    ask(clock, server(*[GONE] * 5, FULL, ANSWER), policy=policy, on_retry=told.append)
    assert told == [*[GONE] * 5, FULL]
    assert caplog.messages[0].startswith(f"gone Retrying in {clock.waits[0]:.1f} s")
    fractions = [wait / longest for wait, longest in zip(clock.waits, [1, 2, 4, 8, 8, 8], strict=True)]
    assert all(0.5 <= fraction <= 1 for fraction in fractions)
    assert len(set(fractions)) > 1


@pytest.mark.parametrize(
    ("total_s", "call_s", "calls"),
    [(30, 300, 2), (2.5, 0.0, 3), (0, 0.0, 1)],  # of two calls of 300 s the first does not count
)
def test_the_time_counts_from_the_first_failure_and_the_last_one_is_told(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, total_s: float, call_s: float, calls: int
) -> None:
    monkeypatch.setattr(RetryPolicy, "backoff_s", lambda *_: 1.0)
    outcomes = iter([*[DeadlineExceeded("before")] * (calls - 1), GONE])

    def fail(*_: Any, **__: Any) -> None:
        clock.now += call_s
        raise next(outcomes)

    with pytest.raises(ServingUnavailable, match="gone"):
        ask(clock, Mock(predict=fail), policy=RetryPolicy(total_s))
    assert not list(outcomes)


@pytest.mark.parametrize("delay_s", [0, 0.05])
def test_who_gives_up_is_not_kept_waiting(clock: Clock, delay_s: float) -> None:
    cancelled = threading.Event()
    threading.Timer(delay_s, cancelled.set).start()
    endless = RetryPolicy(max_elapsed_s=1e6, initial_backoff_s=1e5, max_backoff_s=1e5)
    with pytest.raises(Cancelled, match=r"Stopped while no server answered. gone"):
        ask(clock, server(GONE), policy=endless, cancelled=cancelled)


@pytest.mark.parametrize("values", [{"max_elapsed_s": -1}, {"initial_backoff_s": 0}, {"max_backoff_s": 0.1}])
def test_a_policy_is_checked(values: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="`max_elapsed_s` must be at least 0"):
        RetryPolicy(**values)


def test_addresses_are_split_at_commas_before_a_scheme() -> None:
    assert split_servers("grpc://a:1, http://b:2,https://c:3") == ["grpc://a:1", "http://b:2", "https://c:3"]
    assert split_servers("/models/a,b") == ["/models/a,b"]
