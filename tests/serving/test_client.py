"""A run seen from the client: chunks of steps, time left, stopping and going on."""

import contextlib
import io
import itertools
import math
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.settings import StyleSettings
from serving import client as client_module
from serving.client import CHUNK_S, GROWTH, OVERHEAD, StyleTransferClient
from serving.endpoints import RetryPolicy
from serving.errors import InvalidInput
from serving.files import sha256
from serving.request import Request
from serving.transports import connect
from serving.wire import to_arrays
from tests.conftest import decoded
from tests.served import Served
from tests.serving.fakes import CONTENT, IMAGE, STYLE, FakeModel, chunk, strings
from tests.small_model import DEFAULT_LAYERS

SETTINGS = StyleSettings(size=56, smallest_size=28, steps=12)
REQUEST = Request(CONTENT, [STYLE], SETTINGS)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    model = FakeModel(1000)
    monkeypatch.setattr(client_module, "time", SimpleNamespace(monotonic=lambda: model.now))
    return model


def test_a_run_in_chunks_and_one_that_is_resumed_end_with_the_picture_of_one_call(served: Served) -> None:
    with contextlib.closing(connect(served.http)) as way:
        inputs = {"content_bytes": [CONTENT], "style_bytes": [[STYLE]], "settings": [str(SETTINGS)]}
        whole = way.predict("advance", {**inputs, "state_bytes": [b""], "take_steps": [12]}, timeout_s=60)
    with StyleTransferClient(served.grpc) as client:
        records = list(client.run(REQUEST))
        *_, resumed = client.run(REQUEST, state=records[0].state)
    last = records[-1]
    assert resumed.image == last.image == whole["image_bytes"][0]
    assert [bool(record.image) for record in records] == [False] * (len(records) - 1) + [True]
    np.testing.assert_array_equal(np.concatenate([record.losses for record in records]), whole["losses"][0])
    assert (last.step, last.fraction_done, last.seconds_left, last.complete) == (12, 1, 0, True)
    assert [decoded(record.preview).shape for record in (records[0], last)] == [(20, 28, 3), (40, 56, 3)]
    assert np.abs(decoded(last.preview).astype(float) - decoded(last.image)).mean() < 5  # as close as a JPEG may be


def test_a_picture_by_one_call_is_that_of_a_run_and_tells_what_made_it(served: Served, tmp_path: Path) -> None:
    photo, records = tmp_path / "photo.png", []
    photo.write_bytes(CONTENT)
    with StyleTransferClient(served.grpc) as client:
        settings = StyleSettings(size=56, smallest_size=28, steps=9)
        result = client.stylize(photo, STYLE, settings=settings, steps=12, on_progress=records.append)
        *_, last = client.run(REQUEST)
    assert result.image == last.image
    np.testing.assert_array_equal(result.losses, np.concatenate([record.losses for record in records]))
    assert (len(result.losses), result.stopped, result.origin.step, result.origin.steps) == (12, "", 12, 12)
    assert result.origin.settings == SETTINGS.replace(**DEFAULT_LAYERS)
    assert (result.origin.content_sha256, *result.origin.styles_sha256) == (sha256(CONTENT), sha256(STYLE))
    assert result.origin.model["weights"]


def test_a_picture_that_is_cancelled_is_kept_as_it_stands(fake: FakeModel) -> None:
    cancelled, records = threading.Event(), []
    fake.before = lambda call: cancelled.set() if call == 3 else None
    guides = {"content_masks": CONTENT, "initial": Image.open(io.BytesIO(STYLE)), "background": "red"}
    run = {"cancelled": cancelled, "on_progress": records.append}
    result = StyleTransferClient(fake).stylize(CONTENT, [STYLE], **guides, **run)
    assert (len(records), fake.takes[-1], result.image) == (4, 0, IMAGE)
    assert 0 < records[2].step == records[3].step == result.origin.step == len(result.losses) < result.origin.steps
    assert not records[3].complete
    assert result.origin.guides_sha256.keys() == {"content_masks", "initial"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        *[({"timeout_s": s}, f"`timeout_s` must be a number of seconds above 0. Received: {s}") for s in (0, math.inf)],
        ({"server": []}, "`server` must name at least one server. Received: none"),
        *[
            ({"server": server}, f"`server` must be grpc://HOST:PORT, http://HOST:PORT or .* Received: {server}")
            for server in ("ftp://host:1", "grpc://", "://x", "grpc://host:8500,", "http://host:99999")
        ],
    ],
)
def test_a_client_has_a_server_and_calls_that_end(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{sentence}$"):
        StyleTransferClient(**{"server": "grpc://127.0.0.1:1"} | options)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"content": "nosuch.jpg"}, "`content` must be a readable file. Received: nosuch.jpg (No such file"),
        ({"styles": b"x"}, "`styles` must be a picture. Received: 1 bytes that are not one"),
        ({"size": 9}, "`size` must be an integer from 16 to 4096. Received: 9"),
        ({"sise": 9}, "`settings` must be .*Received: sise"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence.replace("(", r"\(")):
        StyleTransferClient("grpc://127.0.0.1:1").stylize(**{"content": CONTENT, "styles": STYLE} | change)


@pytest.mark.parametrize(("seconds_a_step", "wanted"), [(0.1, 20), (0.02, 100), (1.5, 1), (100, 1)])
def test_chunks_grow_to_the_time_that_is_wanted(fake: FakeModel, seconds_a_step: float, wanted: int) -> None:
    fake.seconds_a_step = seconds_a_step
    list(StyleTransferClient(fake).run(REQUEST))
    assert all(after <= GROWTH * before for before, after in itertools.pairwise(fake.takes))
    assert set(fake.takes[6:]) == {wanted}


@pytest.mark.parametrize("seconds_a_call", [0.3, 3.0, 30.0])
def test_chunks_grow_until_a_fifth_of_the_time_is_overhead(fake: FakeModel, seconds_a_call: float) -> None:
    """Sized by the time of whole calls, those over a slow line would shrink to one step."""
    fake.seconds_a_call, fake.seconds_a_step, fake.steps = seconds_a_call, 0.5, 5000
    list(StyleTransferClient(fake).run(REQUEST))
    steps_s = 0.5 * np.array(fake.takes[6:-1])
    assert np.median(seconds_a_call / (seconds_a_call + steps_s)) <= OVERHEAD + 0.02
    assert steps_s.max() <= max(CHUNK_S, 5 * seconds_a_call)


def test_speed_and_time_left_are_right_when_steps_are_even(fake: FakeModel) -> None:
    for record in StyleTransferClient(fake).run(REQUEST):
        assert record.steps_per_s == pytest.approx(10)
        left = pytest.approx((1000 - record.step) * 0.1, abs=1e-3)
        assert record.seconds_left == (left if record.step > 1 else None)
    assert record.seconds == pytest.approx(100)


def test_a_run_that_ends_early_says_why(fake: FakeModel) -> None:
    early = chunk(b"1", 1, 8, IMAGE) | {"stopped": strings(b"converged")}
    fake.predict = lambda *_, **__: early
    (last,) = StyleTransferClient(fake).run(REQUEST)
    assert (last.step, last.steps, last.stopped, last.complete) == (1, 8, "converged", True)


def test_masks_and_a_start_take_the_guided_signature(fake: FakeModel) -> None:
    list(StyleTransferClient(fake).run(replace(REQUEST, content_masks=[CONTENT], initial=STYLE)))
    (signature, inputs), *_ = fake.sent
    arrays = {name: array.tolist() for name, array in to_arrays(signature, inputs).items()}
    assert signature == "advance_guided"
    assert arrays == {
        "content_bytes": [CONTENT], "style_bytes": [[STYLE]], "content_mask_bytes": [[CONTENT]],
        "style_mask_bytes": [[b""]], "initial_bytes": [STYLE], "settings": [str(SETTINGS).encode()],
        "state_bytes": [b""], "take_steps": [1],
    }  # fmt: skip


def test_a_response_that_is_wrong_at_this_point_of_the_run_is_asked_for_again(fake: FakeModel) -> None:
    right, at_once = fake.predict, RetryPolicy(initial_backoff_s=1e-4, max_backoff_s=1e-4)
    fake.predict = lambda *a, **o: right(*a, **o) | ({"step": np.int32([1])} if len(fake.sent) == 3 else {})
    records = list(StyleTransferClient(fake, retry_policy=at_once).run(REQUEST))
    second, third, again = [inputs["state_bytes"] for _, inputs in fake.sent[1:4]]
    assert second != third == again
    assert sum(len(record.losses) for record in records) == records[-1].step == 1000
