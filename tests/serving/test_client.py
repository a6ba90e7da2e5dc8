"""A run seen from the client: chunks of steps, time left, stopping and going on."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from model.settings import StyleSettings
from serving import client as client_module
from serving.client import StyleTransferClient
from serving.endpoints import RetryPolicy
from serving.errors import InvalidInput, InvalidResponse, ServingUnavailable
from serving.request import Request
from serving.transports import connect
from tests.conftest import decoded, encode, smooth_picture
from tests.served import Served
from tests.serving.fakes import IMAGE, chunk

CONTENT, STYLE = encode(smooth_picture(40, 56, 1)), encode(smooth_picture(50, 40, 2))
SETTINGS = StyleSettings(size=56, smallest_size=28, steps=12)
REQUEST = Request(CONTENT, [STYLE], SETTINGS)


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
        return chunk(str(end).encode(), end, self.steps, IMAGE if done else b"", rows=end - step)

    def close(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    model = FakeModel(0.1)
    monkeypatch.setattr(client_module, "time", SimpleNamespace(monotonic=lambda: model.now))
    return model


def test_a_run_ends_with_the_picture_of_one_call(served: Served) -> None:
    with StyleTransferClient(served.grpc) as client:
        records = list(client.run(REQUEST))
        inputs = {"content_bytes": [CONTENT], "style_bytes": [[STYLE]], "settings": [str(SETTINGS)]}
        outputs = client._transport.predict("stylize", inputs, timeout_s=60)
    assert records[-1].image == outputs["image_bytes"][0]
    assert [bool(record.image) for record in records] == [False] * (len(records) - 1) + [True]
    np.testing.assert_array_equal(np.concatenate([record.losses for record in records]), outputs["losses"][0])
    assert (records[-1].step, records[-1].fraction_done, records[-1].seconds_left) == (12, 1, 0)
    shapes = [decoded(record.preview).shape for record in records]
    assert (shapes[0], shapes[-1]) == ((20, 28, 3), (40, 56, 3))  # the picture as it stands, at the size it has by then
    difference = decoded(records[-1].preview).astype(float) - decoded(records[-1].image)
    assert np.abs(difference).mean() < 5  # as close as a JPEG may be


def test_chunks_grow_to_the_time_that_is_wanted(fake: FakeModel) -> None:
    list(StyleTransferClient(fake).run(REQUEST))
    wanted = round(client_module.CHUNK_S / fake.seconds_a_step)
    growing = [client_module.GROWTH**n for n in range(10) if client_module.GROWTH**n < wanted]
    assert fake.takes[: len(growing)] == growing
    assert set(fake.takes[len(growing) :]) == {wanted}
    assert 0.3 <= wanted * fake.seconds_a_step <= 2


def test_a_step_longer_than_a_chunk_is_taken_alone(fake: FakeModel) -> None:
    fake.seconds_a_step, fake.steps = 100.0, 5
    list(StyleTransferClient(fake).run(REQUEST))
    assert fake.takes == [1] * 5


def test_speed_and_time_left_are_right_when_steps_are_even(fake: FakeModel) -> None:
    for record in StyleTransferClient(fake).run(REQUEST):
        assert record.steps_per_s == pytest.approx(10)
        if record.step > 1:
            assert record.seconds_left == pytest.approx((1000 - record.step) * 0.1, abs=1e-3)
        else:
            assert record.seconds_left is None
    assert record.seconds == pytest.approx(100)


def test_stopping_keeps_the_picture_as_it_stands(fake: FakeModel) -> None:
    cancelled = threading.Event()
    records = []
    for record in StyleTransferClient(fake).run(REQUEST, cancelled=cancelled):
        records.append(record)
        if len(records) == 3:
            cancelled.set()
    assert len(records) == 4
    assert fake.takes[-1] == 0
    assert records[-1].image == IMAGE
    assert records[-1].step == records[-2].step < records[-1].steps


def test_a_run_goes_on_from_a_state(served: Served) -> None:
    with StyleTransferClient(served.http) as client:
        whole = list(client.run(REQUEST))
        begun = next(client.run(REQUEST))
        resumed = list(client.run(REQUEST, state=begun.state))
    assert begun.step > 0
    assert resumed[-1].image == whole[-1].image


def test_masks_and_a_start_reach_the_model(served: Served) -> None:
    mask = np.zeros((40, 56), np.uint8)
    mask[:, :28] = 255
    guides = {"content_masks": [encode(mask)], "initial": STYLE}
    with StyleTransferClient(served.grpc) as client:
        image = decoded(list(client.run(replace(REQUEST, **guides)))[-1].image).astype(float)
        plain = decoded(list(client.run(REQUEST))[-1].image).astype(float)
    content = decoded(CONTENT).astype(float)
    assert np.abs(image - content)[:, 30:].max() <= 1
    assert np.abs(image - plain)[:, :26].mean() > 3


def test_masks_must_be_one_for_each_style_or_none(fake: FakeModel) -> None:
    with pytest.raises(
        InvalidInput, match=r"`content_masks` must be one for each of the 2 styles, or none\. Received: 1"
    ):
        Request(CONTENT, [STYLE, STYLE], SETTINGS, content_masks=[CONTENT])
    with pytest.raises(InvalidInput, match="`style_masks` must be a picture"):
        next(StyleTransferClient(fake).run(replace(REQUEST, style_masks=[b"hello"])))


def test_a_run_that_ends_early_says_why(served: Served) -> None:
    settings = StyleSettings(size=24, smallest_size=24, steps=5000, style_weight=0, content_weight=0)
    with StyleTransferClient(served.grpc) as client:
        last = list(client.run(replace(REQUEST, settings=settings)))[-1]
    assert last.stopped == "converged"
    assert last.complete
    assert last.step < last.steps
    assert decoded(last.image).shape == (17, 24, 3)


def test_large_pictures_are_shrunk_before_they_are_sent(served: Served) -> None:
    sent: list[Mapping[str, Any]] = []
    way = connect(served.grpc)
    predict = way.predict

    def spy(signature: str, inputs: Mapping[str, Any], **options: Any) -> Any:
        sent.append(inputs)
        return predict(signature, inputs, **options)

    way.predict = spy  # type: ignore[method-assign]
    with StyleTransferClient(way) as client:
        large = encode(smooth_picture(300, 401))
        request = Request(large, [large], StyleSettings(size=57, smallest_size=57, steps=1))
        *_, last = client.run(request)
        next(client.run(replace(request, settings=request.settings.replace(style_scale=1.5))))
    assert decoded(sent[0]["content_bytes"][0]).shape == (43, 57, 3)
    assert decoded(sent[0]["style_bytes"][0][0]).shape == (43, 57, 3)
    assert decoded(last.image).shape == (43, 57, 3)
    assert decoded(sent[-1]["style_bytes"][0][0]).shape == (64, 86, 3)


def test_describe_gives_the_weights_and_the_settings(served: Served) -> None:
    with StyleTransferClient(served.http) as client:
        description = client.describe(StyleSettings(size=77))
    assert description["weights"]["name"]
    assert description["settings"]["size"] == 77


@pytest.mark.parametrize("count", [0, 9])
def test_the_number_of_styles_is_checked(count: int) -> None:
    with pytest.raises(InvalidInput, match=rf"`styles` must be 1 to 8 pictures. Received: {count}"):
        Request(CONTENT, [STYLE] * count)


def test_several_servers_may_be_one_text_or_a_list() -> None:
    with pytest.raises(InvalidInput, match="`server` must name at least one server"):
        StyleTransferClient([])
    for servers in ("grpc://a:1,http://b:2", ["grpc://a:1", "http://b:2"]):
        with StyleTransferClient(servers) as client:
            assert len(client._transport._transports) == 2


class Unsteady(FakeModel):
    """Fails before and after each good response."""

    def predict(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        self.turn = getattr(self, "turn", 0) + 1
        if self.turn % 3 == 1:
            raise ServingUnavailable("gone")
        response = super().predict(*arguments, **options)
        return response | {"step": np.int32([12345])} if self.turn % 3 == 2 else response


def test_a_run_survives_failures_and_wrong_responses_in_every_chunk() -> None:
    at_once = RetryPolicy(initial_backoff_s=1e-4, max_backoff_s=1e-4)
    records = list(StyleTransferClient(Unsteady(0, 50), retry_policy=at_once).run(REQUEST))
    assert records[-1].image == IMAGE
    assert sum(len(record.losses) for record in records) == 50


def test_a_run_that_fails_leaves_a_state_to_go_on_from() -> None:
    model = FakeModel(0)
    client = StyleTransferClient(model, retry_policy=RetryPolicy(0))
    run = client.run(REQUEST)
    last = next(run)
    gone = mock.patch.object(model, "predict", side_effect=ServingUnavailable("gone"))
    with gone, pytest.raises(ServingUnavailable, match="gone"):
        next(run)
    resumed = list(client.run(REQUEST, state=last.state))
    assert resumed[0].step > last.step
    assert resumed[-1].image == IMAGE


@pytest.mark.parametrize("text", [b"{", b"[]", b"3", b"{}", b'{"weights": 3}', b"[" * 100_000])
def test_a_description_that_is_none_is_an_invalid_response(text: bytes) -> None:
    model = FakeModel(0)
    response = {"description": np.array([text], object)}
    model.predict = lambda *_, **__: response  # type: ignore[assignment, method-assign]
    with pytest.raises(InvalidResponse, match="contract for `describe`"):
        StyleTransferClient(model).describe()
