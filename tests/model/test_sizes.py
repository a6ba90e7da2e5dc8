"""The sizes of a run and the share of the steps that each gets."""

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model.limits import MAX_SIZE_PX
from model.settings import DEEP_UP_TO_PX
from model.sizes import Sizes, plan_sizes
from serving.errors import clean
from tests.model.inputs import settings


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int32)], autograph=False)
def in_graph(text: tf.Tensor, shape: tf.Tensor) -> Sizes:
    return plan_sizes(tf.zeros([shape[0], shape[1], 3], tf.uint8), settings(text))


def plan(text: str, height: int = 300, width: int = 400) -> tuple[npt.NDArray[np.int32], ...]:
    """Returns heights, widths and ends of a run's sizes, for a content picture of 400x300 unless told otherwise."""
    return tuple(part.numpy() for part in in_graph(tf.constant(text), tf.constant([height, width])))


def test_sizes_grow_by_the_root_of_two_up_to_the_size_asked_for():
    heights, widths, _ = plan("size=512", 768, 1024)
    assert widths.tolist() == [128, 181, 256, 362, 512]
    assert heights.tolist() == [96, 136, 192, 272, 384]


@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (333, 334), (100, 100)], ids=str)
def test_aspect_ratio_and_size_are_kept_to_the_pixel(shape):
    for size in (22, 127, 128, 129, 180, 182, 511, 513, 4096):
        heights, widths, _ = plan(f"size={size},smallest_size=64", *shape)
        assert (heights[-1], widths[-1]) == tuple(round(size * n / max(shape)) for n in shape)
        assert min(heights.min(), widths.min()) >= 16


@pytest.mark.parametrize("text", ["", "size=256,smallest_size=32", "size=4096,smallest_size=16", "smallest_size=512"])
def test_every_size_has_a_step_and_the_smallest_are_left_out_where_there_are_too_few(text):
    _, ladder, _ = plan(f"{text},steps=10000")
    for steps in (*range(1, 20), 500, 10_000):
        _, widths, ends = plan(f"{text},steps={steps}")
        assert widths.tolist() == ladder[-steps:].tolist()
        assert ends[-1] == steps
        assert (np.diff(ends, prepend=0) > 0).all()


@pytest.mark.parametrize(
    ("steps", "ends"), [(5, [1, 2, 3, 4, 5]), (17, [5, 9, 12, 14, 17]), (300, [107, 182, 235, 273, 300])]
)
def test_a_larger_size_gets_fewer_steps(steps, ends):
    assert plan(f"steps={steps}")[2].tolist() == ends


@pytest.mark.parametrize(
    ("height", "width", "error"),
    [
        (10, 400, "`size` must be at least 640 for a content picture of 400x10 (the short side then has 16 pixels). "
         "Received: 512"),
        *[(height, width, "`content_bytes` must have a long side of at most 256 times its short side, so crop it. "
           f"Received: {width}x{height}") for height, width in [(10, 4000), (4000, 10), (1, 257)]],
    ],
    ids=["for its size", "for every size", "upright", "by one pixel"],
)  # fmt: skip
def test_a_picture_too_narrow_is_refused(height, width, error):
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        plan("size=512", height, width)
    assert clean(failure.value.message) == error


def test_the_narrowest_picture_has_one_size():
    heights, widths, _ = plan(f"size={MAX_SIZE_PX}", 1, 256)
    assert (heights.tolist(), widths.tolist()) == ([16], [MAX_SIZE_PX])


def test_the_two_smallest_sizes_of_a_plan_and_no_others_are_deep():
    for size in (*range(256, 1100, 7), MAX_SIZE_PX):
        _, widths, _ = plan(f"size={size}")
        assert (widths <= DEEP_UP_TO_PX).tolist() == [True, True, *[False] * (len(widths) - 2)], size
