"""A run seen from the client: stretches, time left, stopping and going on."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from model.errors import InvalidInput
from model.settings import StyleSettings
from serving import client as client_module
from serving.client import StyleTransferClient
from tests.conftest import decoded, encode, smooth_picture
from tests.served import Served

CONTENT, STYLE = encode(smooth_picture(40, 56, 1)), encode(smooth_picture(50, 40, 2))
SETTINGS = StyleSettings(size=56, smallest_size=28, steps=12)


class FakeModel:
    """A transport whose model takes a fixed time for a step, by a clock of its own."""

    def __init__(self, seconds_a_step: float, steps: int = 1000) -> None:
        self.seconds_a_step = seconds_a_step
        self.steps = steps
        self.now = 0.0
        self.takes: list[int] = []

    def predict(
        self, signature: str, inputs: Mapping[str, Any], *, outputs: Sequence[str] = (), timeout_s: float
    ) -> dict[str, Any]:
        step, take = int(inputs["state_bytes"][0] or b"0"), inputs["take_steps"][0]
        self.takes.append(take)
        end = min(step + take, self.steps)
        self.now += (end - step) * self.seconds_a_step
        done = end == self.steps or take == 0
        return {
            "state_bytes": [str(end).encode()],
            "preview_bytes": [b"preview"],
            "image_bytes": [b"image" if done else b""],
            "losses": np.zeros([1, end - step, 4], np.float32),
            "step": [end],
            "steps": [self.steps],
            "progress": [end / self.steps],
        }

    def close(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    model = FakeModel(0.1)
    monkeypatch.setattr(client_module.time, "monotonic", lambda: model.now)
    return model


def test_a_run_ends_with_the_picture_of_one_call(served: Served) -> None:
    with StyleTransferClient(served.grpc) as client:
        records = list(client.run(CONTENT, [STYLE], SETTINGS))
        outputs = client._transport.predict(
            "stylize",
            {"content_bytes": [CONTENT], "style_bytes": [[STYLE]], "settings": [str(SETTINGS)]},
            timeout_s=60,
        )
    assert records[-1].image == outputs["image_bytes"][0]
    assert [bool(record.image) for record in records] == [False] * (len(records) - 1) + [True]
    np.testing.assert_array_equal(np.concatenate([record.losses for record in records]), outputs["losses"][0])
    assert (records[-1].step, records[-1].share, records[-1].seconds_left) == (12, 1, 0)


def test_stretches_grow_to_the_time_that_is_wanted(fake: FakeModel) -> None:
    list(StyleTransferClient(fake).run(CONTENT, [STYLE], SETTINGS))
    wanted = round(client_module.STRETCH_S / fake.seconds_a_step)
    growing = [client_module.GROWTH**n for n in range(10) if client_module.GROWTH**n < wanted]
    assert fake.takes[: len(growing)] == growing
    assert set(fake.takes[len(growing) :]) == {wanted}


def test_a_step_longer_than_a_stretch_is_taken_alone(fake: FakeModel) -> None:
    fake.seconds_a_step, fake.steps = 100.0, 5
    list(StyleTransferClient(fake).run(CONTENT, [STYLE], SETTINGS))
    assert fake.takes == [1] * 5


def test_speed_and_time_left_are_right_when_steps_are_even(fake: FakeModel) -> None:
    for record in StyleTransferClient(fake).run(CONTENT, [STYLE], SETTINGS):
        assert record.steps_per_s == pytest.approx(10)
        if record.step > 1:
            assert record.seconds_left == pytest.approx((1000 - record.step) * 0.1, abs=1e-3)
        else:
            assert record.seconds_left is None
    assert record.seconds == pytest.approx(100)


def test_stopping_keeps_the_picture_as_it_stands(fake: FakeModel) -> None:
    cancelled = threading.Event()
    records = []
    for record in StyleTransferClient(fake).run(CONTENT, [STYLE], SETTINGS, cancelled=cancelled):
        records.append(record)
        if len(records) == 3:
            cancelled.set()
    assert len(records) == 4
    assert fake.takes[-1] == 0
    assert records[-1].image == b"image"
    assert records[-1].step == records[-2].step < records[-1].steps


def test_a_run_goes_on_from_a_state(served: Served) -> None:
    with StyleTransferClient(served.http) as client:
        whole = list(client.run(CONTENT, [STYLE], SETTINGS))
        begun = next(client.run(CONTENT, [STYLE], SETTINGS))
        resumed = list(client.run(CONTENT, [STYLE], SETTINGS, state=begun.state))
    assert begun.step > 0
    assert resumed[-1].image == whole[-1].image


def test_large_pictures_are_shrunk_before_they_travel(served: Served) -> None:
    sent: list[Mapping[str, Any]] = []
    with StyleTransferClient(served.grpc) as client:
        predict = client._transport.predict

        def spy(signature: str, inputs: Mapping[str, Any], **options: Any) -> Any:
            sent.append(inputs)
            return predict(signature, inputs, **options)

        client._transport.predict = spy  # type: ignore[method-assign]
        large = encode(smooth_picture(300, 401))
        *_, last = client.run(large, [large], StyleSettings(size=57, smallest_size=57, steps=1))
        next(client.run(large, [large], StyleSettings(size=57, smallest_size=57, steps=1, style_scale=1.5)))
    assert decoded(sent[0]["content_bytes"][0]).shape == (43, 57, 3)
    assert decoded(sent[0]["style_bytes"][0][0]).shape == (43, 57, 3)
    assert decoded(last.image).shape == (43, 57, 3)
    assert decoded(sent[-1]["style_bytes"][0][0]).shape == (64, 86, 3)


def test_describe_gives_the_weights_and_the_settings(served: Served) -> None:
    with StyleTransferClient(served.http) as client:
        description = client.describe(StyleSettings(size=77))
    assert description["weights"]["name"] == "small"
    assert description["settings"]["size"] == 77


@pytest.mark.parametrize("count", [0, 9])
def test_the_number_of_styles_is_checked_before_anything_travels(fake: FakeModel, count: int) -> None:
    with pytest.raises(InvalidInput, match=rf"`styles` must be 1 to 8 pictures. Received: {count}"):
        next(StyleTransferClient(fake).run(CONTENT, [STYLE] * count, SETTINGS))
    assert fake.takes == []
