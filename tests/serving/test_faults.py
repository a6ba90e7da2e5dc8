"""A run outlives its server: whatever happens to one, the picture is to the byte what it would have been."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from model.settings import StyleSettings
from serving.client import StyleTransferClient
from serving.endpoints import RetryPolicy
from serving.errors import DeadlineExceeded, ServingUnavailable
from serving.request import Request
from serving.transports import connect
from tests import served as servers
from tests.conftest import encode, smooth_picture
from tests.faulty import FAULTS, faulty
from tests.ports import free_port
from tests.served import Served

CONTENT, STYLE = encode(smooth_picture(40, 56, 1)), encode(smooth_picture(50, 40, 2))
SETTINGS = StyleSettings(size=56, smallest_size=28, steps=60)
REQUEST = Request(CONTENT, [STYLE], SETTINGS)
IN_THE_MIDDLE_BYTES = 150_000  # of answers: a state at 28 pixels is 27 kB, one at 56 is 108 kB, and there are four
SOON_S = 1.0  # for a call that hangs; one that does not takes a tenth, and is only repeated if the machine dawdles
RETRIES = RetryPolicy(max_elapsed_s=240, max_backoff_s=0.5)  # a busy machine starts a server slowly


@pytest.fixture(scope="module")
def undisturbed(served: Served) -> bytes:
    with StyleTransferClient(served.grpc) as client:
        *_, last = client.run(REQUEST)
    return last.image


class Victim:
    """A server of its own that tests may kill, and start again at the same ports."""

    def __init__(self, model: str) -> None:
        self._model, self._ports = model, (free_port(), free_port())
        self.grpc, self.http = (f"{way}://127.0.0.1:{p}" for way, p in zip(("grpc", "http"), self._ports, strict=True))
        self.start()
        servers.wait_until_available(self._process, self._ports[1])

    def start(self) -> None:
        self._process: subprocess.Popen[bytes] = servers.start(self._model, *self._ports)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)


@pytest.fixture(scope="module")
def victim(served: Served) -> Iterator[Victim]:
    victim = Victim(served.address("path"))
    yield victim
    victim.kill()


def test_a_killed_server_that_is_started_again_goes_on(victim: Victim, undisturbed: bytes) -> None:
    with StyleTransferClient(victim.grpc, retry_policy=RETRIES) as client:
        run = client.run(REQUEST)
        records = [next(run), next(run)]
        victim.kill()
        victim.start()
        records += run
    assert records[1].step < SETTINGS.steps
    assert records[-1].image == undisturbed


def test_after_a_kill_a_second_server_goes_on_by_itself_or_from_the_state(
    victim: Victim, served: Served, undisturbed: bytes
) -> None:
    with (
        StyleTransferClient([victim.http, served.grpc], retry_policy=RETRIES) as with_another,
        StyleTransferClient(victim.grpc, retry_policy=RetryPolicy(0)) as alone,
    ):
        moves, fails = (client.run(REQUEST) for client in (with_another, alone))
        records, last = [next(moves), next(moves)], next(fails)
        victim.kill()
        records += moves
        with pytest.raises(ServingUnavailable, match=r"No server answers|was cut"):
            next(fails)
    assert records[1].step < SETTINGS.steps
    assert records[-1].image == undisturbed
    with StyleTransferClient(served.http) as client:
        *_, last = client.run(REQUEST, state=last.state)
    assert last.image == undisturbed


@pytest.mark.parametrize("way", ["grpc", "http"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_connection_that_breaks_in_an_answer_is_left_for_another_server(
    served: Served, undisturbed: bytes, way: str, fault: str
) -> None:
    with faulty(getattr(served, way), fault, IN_THE_MIDDLE_BYTES) as proxy:
        with StyleTransferClient([proxy.address, served.grpc], timeout_s=SOON_S, retry_policy=RETRIES) as client:
            *_, last = client.run(REQUEST)
        assert proxy.failed.is_set()
    assert last.image == undisturbed


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_a_server_that_hangs_ends_in_a_sentence(served: Served, way: str) -> None:
    with (
        faulty(getattr(served, way), "hang", 10_000) as proxy,
        StyleTransferClient(proxy.address, timeout_s=0.5, retry_policy=RetryPolicy(0)) as client,
        pytest.raises(DeadlineExceeded, match=f"^No answer from {proxy.address} within 0.5 s.$"),
    ):
        list(client.run(REQUEST))


def test_a_run_past_its_deadline_leaves_the_server_to_others(served: Served) -> None:
    forever = {
        "content_bytes": [CONTENT], "style_bytes": [[STYLE]], "state_bytes": [b""], "take_steps": [10_000],
        "settings": ["size=1024,smallest_size=1024,steps=10000,optimizer=adam"],
    }  # fmt: skip
    with contextlib.closing(connect(served.grpc)) as server:
        with pytest.raises(DeadlineExceeded):
            server.predict("advance", forever, timeout_s=0.5)
        # One run at a time: this one is served, so the other is over, which would have taken minutes.
        assert server.predict("describe", {"settings": [""]}, timeout_s=20)["description"].shape == (1,)
