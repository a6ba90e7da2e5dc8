"""What a client takes for a response of the model, and what not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model.contract import SIGNATURES
from serving.errors import InvalidResponse
from serving.responses import check_chunk, check_response
from tests.serving.fakes import IMAGE, chunk, strings


def test_a_right_response_passes() -> None:
    check_chunk("advance", chunk(b"s", 5, 12), before=3, take=2)
    check_chunk("advance", chunk(b"s", 12, 12, IMAGE), before=10, take=50)
    check_chunk("advance", chunk(b"s", 5, 12, IMAGE), before=5, take=0)


def test_of_a_state_from_elsewhere_only_the_end_is_known() -> None:
    check_chunk("advance", chunk(b"s", 9, 12), before=None, take=2)
    check_chunk("advance", chunk(b"s", 12, 12, IMAGE), before=None, take=50)
    with pytest.raises(InvalidResponse, match="step 1 of 12 after 2 more"):
        check_chunk("advance", chunk(b"s", 1, 12), before=None, take=2)


def test_a_run_may_end_early_but_must_say_why_and_give_its_picture() -> None:
    early = chunk(b"s", 5, 12, IMAGE) | {"stopped": strings(b"converged")}
    check_chunk("advance", early, before=3, take=9)
    with pytest.raises(InvalidResponse, match="step 5 of 12 after 9 more from 3"):
        check_chunk("advance", chunk(b"s", 5, 12, IMAGE), before=3, take=9)
    with pytest.raises(InvalidResponse, match="image_bytes is empty at the end"):
        check_chunk("advance", early | {"image_bytes": strings(b"")}, before=3, take=9)


def test_a_size_that_ends_early_takes_the_run_further_than_asked() -> None:
    check_chunk("advance", chunk(b"s", 9, 12), before=3, take=2)


def test_a_run_that_is_over_stays_where_it_is() -> None:
    check_chunk("advance", chunk(b"s", 15, 12, IMAGE), before=15, take=4)


@pytest.mark.parametrize("name", [tensor.name for tensor in SIGNATURES["advance"].outputs])
def test_every_output_must_be_there_with_its_dtype_and_shape(name: str) -> None:
    right = chunk(b"s", 5, 12, rows=2)
    value = right[name]
    wrong: list[Any] = [None, value.tolist(), value[0], np.stack([value, value]), np.concatenate([value, value])]
    wrong += [np.array(["text"], object) if value.dtype == object else value.astype("float64")]
    for other in wrong:
        with pytest.raises(InvalidResponse, match=f"contract for `advance`: {name}"):
            check_response("advance", right | {name: other})
    del right[name]
    with pytest.raises(InvalidResponse, match=f"{name} missing"):
        check_response("advance", right)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"step": np.int32([4])}, "step 4 of 12 after 2 more from 3"),
        ({"step": np.int32([-1])}, "step -1"),
        ({"steps": np.int32([0])}, "of 0"),
        ({"steps": np.int32([5])}, "image_bytes is empty at the end"),
        ({"progress": np.float32([np.nan])}, "progress nan"),
        ({"progress": np.float32([1.5])}, "progress 1.5"),
        ({"state_bytes": strings(b"")}, "state_bytes is empty"),
        ({"preview_bytes": strings(b"<html>")}, "preview_bytes is no JPEG"),
        ({"image_bytes": strings(b"<html>")}, "image_bytes is no PNG"),
    ],
)
def test_a_chunk_that_cannot_be_right_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidResponse, match=words):
        check_chunk("advance", chunk(b"s", 5, 12) | wrong, before=3, take=2)


def test_a_picture_that_was_asked_for_must_come() -> None:
    with pytest.raises(InvalidResponse, match="image_bytes is empty"):
        check_chunk("advance", chunk(b"s", 5, 12), before=5, take=0)
