"""A run outlives its server: whatever happens to one, the picture is to the byte what it would have been."""

from __future__ import annotations

import contextlib

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


def test_a_run_goes_on_elsewhere_or_later_when_its_server_is_killed(served: Served, undisturbed: bytes) -> None:
    model, ports = served.address("path"), (free_port(), free_port())
    grpc, http = f"grpc://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    with (
        StyleTransferClient([http, served.grpc], retry_policy=RETRIES) as with_another,
        StyleTransferClient(grpc, retry_policy=RETRIES) as patient,
        StyleTransferClient(grpc, retry_policy=RetryPolicy(0)) as alone,
        StyleTransferClient(served.http) as later,
    ):
        moves, waits, fails = (client.run(REQUEST) for client in (with_another, patient, alone))
        with servers.serving(model, *ports) as process:
            (_, moved), (_, waited) = ((next(run), next(run)) for run in (moves, waits))
            last = next(fails)
            process.kill()
        assert max(moved.step, waited.step) < SETTINGS.steps
        with pytest.raises(ServingUnavailable, match=r"No server answers|was cut"):
            next(fails)
        process = servers.start(model, *ports)
        try:
            for records in (moves, waits, later.run(REQUEST, state=last.state)):
                *_, last = records
                assert last.image == undisturbed
        finally:
            servers.stop(process)


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
