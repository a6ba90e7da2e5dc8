"""What a client takes for a response of the model, and what not."""

from typing import Any

import numpy as np
import pytest

from model.contract import SIGNATURES
from model.settings import StyleSettings
from serving.errors import InvalidResponse
from serving.responses import Description, WeightsInfo, check_chunk, check_response, read_description
from tests.serving.fakes import IMAGE, chunk, strings

EARLY = {"stopped": strings(b"converged")}


@pytest.mark.parametrize(
    ("response", "before", "take"),
    [
        pytest.param(chunk(b"s", 5, 12), 3, 2, id="as far as asked"),
        pytest.param(chunk(b"s", 9, 12), 3, 2, id="further: a size ended early"),
        pytest.param(chunk(b"s", 12, 12, IMAGE), 10, 50, id="to the end"),
        pytest.param(chunk(b"s", 5, 12, IMAGE), 5, 0, id="rendered only"),
        pytest.param(chunk(b"s", 15, 12, IMAGE), 15, 4, id="was over before"),
        pytest.param(chunk(b"s", 5, 12, IMAGE) | EARLY, 3, 9, id="over early"),
        pytest.param(chunk(b"s", 9, 12), None, 2, id="from a state from elsewhere"),
    ],
)
def test_a_right_chunk_is_returned(response: Any, before: int | None, take: int) -> None:
    assert check_chunk("advance", response, before=before, take=take) is response


@pytest.mark.parametrize(
    ("wrong", "before", "take", "words"),
    [
        ({"step": np.int32([4])}, 3, 2, "step 4 of 12 after 2 more from 3"),
        ({"step": np.int32([-1])}, 3, 2, "step -1"),
        ({"step": np.int32([1])}, None, 2, "step 1 of 12 after 2 more from None"),
        ({"step": np.int32([6])}, 5, 0, "step 6 of 12 after 0 more"),
        ({"steps": np.int32([0])}, 3, 2, "of 0"),
        ({"steps": np.int32([5])}, 3, 2, "image_bytes is empty at the end"),
        ({"progress": np.float32([np.nan])}, 3, 2, "progress nan"),
        ({"progress": np.float32([1.5])}, 3, 2, "progress 1.5"),
        ({"state_bytes": strings(b"")}, 3, 2, "state_bytes is empty"),
        *[({name: strings(b"<html>")}, 3, 2, f"{name} is no") for name in ("preview_bytes", "image_bytes")],
        ({"image_bytes": strings(IMAGE)}, 3, 9, "step 5 of 12 after 9 more from 3"),
        (EARLY, 3, 9, "image_bytes is empty at the end"),
        ({}, 5, 0, "image_bytes is empty"),
    ],
)
def test_a_chunk_that_cannot_be_right_is_refused(wrong: Any, before: int | None, take: int, words: str) -> None:
    with pytest.raises(InvalidResponse, match=words):
        check_chunk("advance", chunk(b"s", 5, 12) | wrong, before=before, take=take)


@pytest.mark.parametrize("name", [tensor.name for tensor in SIGNATURES["advance"].outputs])
def test_every_output_must_be_there_with_its_dtype_and_shape(name: str) -> None:
    right = chunk(b"s", 5, 12, rows=2)
    value = right[name]
    other_dtype = value.astype("float64") if value.dtype != object else np.array([1.0])
    for wrong in (None, value.tolist(), value[0], np.stack([value] * 2), np.concatenate([value] * 2), other_dtype):
        with pytest.raises(InvalidResponse, match=f"contract for `advance`: {name}"):
            check_response("advance", right | {name: wrong})


def test_a_description_may_lack_some_things_and_say_others_that_are_not_known() -> None:
    settings = StyleSettings(seed=3)
    for text in (b'{"weights": {}}', b'{"weights": {"name": null, "later": 1}, "later": [], "settings": {"later": 2}}'):
        assert read_description({"description": strings(text)}, settings) == Description(settings=settings)
    said = (
        b'{"weights": {"name": "w"}, "layers": ["a"], "device": "GPU", "limits": {"steps": 9}, "settings": {"seed": 4}}'
    )
    expected = Description("", WeightsInfo("w"), ("a",), "", "GPU", "", {"steps": 9}, StyleSettings(seed=4))
    assert read_description({"description": strings(said)}, settings) == expected


@pytest.mark.parametrize(
    "text",
    [
        *[b"{", b"[]", b"3", b"{}", b'{"weights": 3}', b"[" * 100_000, b'{"weights": {}, "layers": 3}'],
        *[b'{"weights": {}, "limits": {"steps": "x"}}', b'{"weights": {}, "settings": {"seed": -1}}'],
    ],
)
def test_a_description_that_is_none_is_an_invalid_response(text: bytes) -> None:
    with pytest.raises(InvalidResponse, match="contract for `describe`"):
        read_description({"description": strings(text)}, StyleSettings())
