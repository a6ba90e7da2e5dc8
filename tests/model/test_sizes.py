"""The sizes of a run and the share of the steps that each gets."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from model.limits import MAX_SIZE_PX
from model.settings import DEEP_UP_TO_PX
from model.sizes import plan_sizes, progress
from serving.errors import clean
from tests.model.inputs import settings


def test_sizes_grow_by_the_root_of_two_up_to_the_size_asked_for() -> None:
    sizes = plan_sizes(tf.zeros([768, 1024, 3]), settings("size=512"))
    assert sizes.widths.numpy().tolist() == [128, 181, 256, 362, 512]
    assert sizes.heights.numpy().tolist() == [96, 136, 192, 272, 384]


@pytest.mark.parametrize("size", [16, 127, 128, 129, 180, 182, 511, 513, 4096])
@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (333, 334), (100, 100)])
def test_aspect_ratio_and_size_are_kept_to_the_pixel(size: int, shape: tuple[int, int]) -> None:
    content, text = tf.zeros([*shape, 3]), f"size={size},smallest_size=64"
    if size * min(shape) / max(shape) < 16:
        pytest.skip("too small for the network")
    sizes = plan_sizes(content, settings(text))
    height, width = int(sizes.heights[-1]), int(sizes.widths[-1])
    assert max(height, width) == size
    assert (height, width) == tuple(round(size * n / max(shape)) for n in shape)
    assert int(tf.reduce_min(sizes.heights)) >= 12


LADDERS = ["", "size=256,smallest_size=32", "size=4096,smallest_size=16", "smallest_size=512"]


@pytest.mark.parametrize("steps", [1, 2, 5, 17, 500, 10_000])
@pytest.mark.parametrize("text", LADDERS)
def test_every_step_belongs_to_a_size_and_every_size_has_some(text: str, steps: int) -> None:
    ends = plan_sizes(tf.zeros([300, 400, 3]), settings(f"{text},steps={steps}")).ends.numpy()
    own = np.diff(ends, prepend=0)
    assert ends[-1] == steps
    assert (own > 0).all()


@pytest.mark.parametrize("text", LADDERS)
def test_fewer_steps_than_sizes_leave_out_the_smallest_sizes(text: str) -> None:
    def widths(steps: int) -> list[int]:
        return plan_sizes(tf.zeros([300, 400, 3]), settings(f"{text},steps={steps}")).widths.numpy().tolist()

    ladder = widths(10_000)
    for steps in range(1, 20):
        assert widths(steps) == ladder[-steps:]


def test_as_many_steps_as_sizes_or_more_use_all_of_them() -> None:
    expected = {5: [1, 2, 3, 4, 5], 17: [5, 9, 12, 14, 17], 300: [107, 182, 235, 273, 300]}
    for steps, ends in expected.items():
        assert plan_sizes(tf.zeros([300, 400, 3]), settings(f"steps={steps}")).ends.numpy().tolist() == ends


def refusal(height: int, width: int) -> str:
    @tf.function(autograph=False)
    def plan() -> tf.Tensor:
        return plan_sizes(tf.zeros([height, width, 3]), settings("size=512")).heights

    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        plan()
    return clean(failure.value.message)


def test_a_picture_too_narrow_for_its_size_is_refused() -> None:
    assert refusal(10, 400) == (
        "`size` must be at least 640 for a content picture of 400x10 (the short side then has 16 pixels). Received: 512"
    )


@pytest.mark.parametrize(("height", "width"), [(10, 4000), (4000, 10), (1, 257), (1, 64_000_000)])
def test_a_picture_too_narrow_for_every_size_is_not_told_to_have_another_size(height: int, width: int) -> None:
    assert refusal(height, width) == (
        "`content_bytes` must have a long side of at most 256 times its short side, so crop it. "
        f"Received: {width}x{height}"
    )


def test_the_narrowest_picture_has_one_size() -> None:
    sizes = plan_sizes(tf.zeros([1, 256, 3]), settings(f"size={MAX_SIZE_PX}"))
    assert (sizes.heights.numpy().tolist(), sizes.widths.numpy().tolist()) == ([16], [MAX_SIZE_PX])


@pytest.mark.parametrize("size", [*range(256, 1100, 7), MAX_SIZE_PX])
def test_the_two_smallest_sizes_of_a_plan_and_no_others_are_deep(size: int) -> None:
    sizes = plan_sizes(tf.zeros([300, 400, 3]), settings(f"size={size}"))
    assert (sizes.widths.numpy() <= DEEP_UP_TO_PX).tolist() == [True, True, *[False] * (len(sizes.widths) - 2)]


def test_progress_counts_what_steps_cost() -> None:
    sizes = plan_sizes(tf.zeros([300, 400, 3]), settings("size=128,smallest_size=64,steps=30"))
    shares = [float(progress(sizes, tf.constant([2.0, 7.0, 5.0]), tf.constant(step))) for step in range(31)]
    assert shares[0] == 0
    assert shares[-1] == 1
    np.testing.assert_allclose((shares[30] - shares[29]) / (shares[1] - shares[0]), 5 / 2, rtol=1e-4)
