"""What a run and a server survive: a run ends with the very picture that it would have had, a server stays small."""

import contextlib
import io
import shutil
import struct
import time
from pathlib import Path

import pytest
from PIL import PngImagePlugin

from model.export import export
from model.settings import StyleSettings
from model.weights import Weights
from serving.client import StyleTransferClient
from serving.endpoints import RetryPolicy
from serving.errors import DeadlineExceeded, InvalidInput, ServingFailed
from serving.request import Request
from serving.transports import connect, served_versions
from tests import processes
from tests import served as servers
from tests.lines import FAULTS, line
from tests.served import Served
from tests.serving.fakes import CONTENT, STYLE, png_of

REQUEST = Request(CONTENT, [STYLE], StyleSettings(size=56, smallest_size=28, steps=60))
IN_THE_MIDDLE_BYTES = 150_000  # of answers: a state at 28 pixels is 27 kB, one at 56 is 108 kB, and there are four
SOON_S = 1.0  # for a call that hangs; one that does not takes a tenth, and is only repeated if the machine dawdles
RETRIES = RetryPolicy(max_elapsed_s=240, max_backoff_s=0.5)  # a busy machine starts a server slowly


@pytest.fixture(scope="module")
def undisturbed(served: Served) -> bytes:
    with StyleTransferClient(served.grpc) as client:
        *_, last = client.run(REQUEST)
    return last.image


def test_a_run_goes_on_elsewhere_or_later_when_its_server_is_killed(served: Served, undisturbed: bytes) -> None:
    with (
        servers.serving(served.address("path")) as server,
        StyleTransferClient([server.http, served.grpc], retry_policy=RETRIES) as with_another,
        StyleTransferClient(server.grpc, retry_policy=RETRIES) as patient,
    ):
        moves, waits = (client.run(REQUEST) for client in (with_another, patient))
        (_, moved), (_, waited) = ((next(run), next(run)) for run in (moves, waits))
        server.kill()
        assert max(moved.step, waited.step) < moved.steps
        server.start()
        for records in (moves, waits):
            *_, last = records
            assert last.image == undisturbed


@pytest.mark.parametrize("way", ["grpc", "http"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_connection_that_breaks_in_an_answer_is_left_for_another_server(
    served: Served, undisturbed: bytes, way: str, fault: str
) -> None:
    with line(getattr(served, way), fault=fault, after_bytes=IN_THE_MIDDLE_BYTES) as broken:
        with StyleTransferClient([broken.address, served.grpc], timeout_s=SOON_S, retry_policy=RETRIES) as client:
            *_, last = client.run(REQUEST)
        assert last.image == undisturbed
        assert broken.failed.is_set()
        if fault == "hang":
            with pytest.raises(DeadlineExceeded, match=f"^{broken.address} did not answer within 0.5 s.$"):
                StyleTransferClient(broken.address).describe(timeout_s=0.5)


def test_a_run_goes_on_with_a_new_version_of_the_same_weights_and_only_with_that(
    served: Served, small_weights: Weights, undisturbed: bytes, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(Path(served.address("path")) / "1", base / "1")
    other = Weights("other", {name: 0.5 * array for name, array in small_weights.arrays.items()})

    def wait_for(version: int) -> None:
        while served_versions(server.http) != [version]:
            time.sleep(0.1)

    with (
        servers.serving(base, "--enable_model_warmup=false") as server,
        StyleTransferClient(server.grpc) as over_grpc,
        StyleTransferClient(server.http) as over_rest,
    ):
        runs = [client.run(REQUEST) for client in (over_grpc, over_rest)]
        first = [next(run) for run in runs]
        shutil.copytree(base / "1", tmp_path / "2")
        (tmp_path / "2").rename(base / "2")
        wait_for(2)
        second = [next(run) for run in runs]
        export(other, base, "float32")
        wait_for(3)
        for run in runs:
            with pytest.raises(ServingFailed, match=r"^Version 2 of the model, on which the run .* no longer served"):
                next(run)
        with pytest.raises(InvalidInput, match="`state_bytes` must come from this model"):
            next(over_grpc.run(REQUEST, state=second[0].state))
    with StyleTransferClient(served.grpc) as client:
        for before, record in zip(first, second, strict=True):
            assert before.step < record.step < record.steps
            *_, last = client.run(REQUEST, state=record.state)
            assert last.image == undisturbed


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


def bombs() -> list[tuple[bytes, str]]:
    """Pictures that are small to send and would take 2.7 GB as RGB; each with what is said of it."""
    side = 30_000
    png = png_of(side, side, 1, 0, bytes(side // 8))  # whole and valid: 112 MB of rows in 110 kB
    decoy = io.BytesIO()  # makes a PNG small to who reads its size where it ought to be
    PngImagePlugin.putchunk(decoy, b"tEXt", struct.pack(">II", 32, 32))
    return [(png, "` must be a picture of 1 to"), (png[:8] + decoy.getvalue() + png[8:], "PNG")]


def test_a_bomb_is_refused_and_moves_no_memory(served: Served) -> None:
    inputs = {"style_bytes": [[STYLE]], "settings": ["size=32"], "state_bytes": [b""], "take_steps": [1]}
    with contextlib.closing(connect(served.address("path") and served.grpc)) as way:
        way.predict("advance", inputs | {"content_bytes": [CONTENT]}, timeout_s=120)
        for bomb, sentence in bombs():
            processes.forget_peak(served.pid)
            before_mb = processes.memory_mb(served.pid)
            for bombed in ({"content_bytes": [bomb]}, {"content_bytes": [CONTENT], "style_bytes": [[bomb]]}):
                with pytest.raises(InvalidInput, match=sentence):
                    way.predict("advance", inputs | bombed, timeout_s=120)
            assert processes.memory_mb(served.pid, peak=True) < before_mb + 150  # what a small picture may need
