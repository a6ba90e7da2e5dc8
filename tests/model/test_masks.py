"""Masks: decoding, what an empty one stands for, and their resolution at each block of the network."""

import numpy as np
import pytest
import tensorflow as tf

from model import masks
from tests.conftest import encode


def regions(*pictures: np.ndarray | None, size: tuple[int, int] = (4, 6)) -> np.ndarray:
    encoded = [b"" if picture is None else encode(picture) for picture in pictures]
    return masks.regions(tf.constant(encoded), *[tf.constant(side) for side in size]).numpy()


LAYER = np.full((4, 6, 4), 255, np.uint8)  # white on a transparent layer, as paint programs save it
LAYER[..., 3] = [255, 255, 51, 51, 0, 0]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.uint8([[255, 51, 0, 0, 51, 255]] * 4), [1, 0.2, 0, 0, 0.2, 1]),
        (np.full((4, 6, 3), [255, 0, 0], np.uint8), [1 / 3] * 6),
        (LAYER, [1, 1, 0.2, 0.2, 0, 0]),
    ],
    ids=["grey", "in colour", "transparent"],
)
def test_a_mask_counts_by_its_brightness(mask, expected):
    of_style = masks.of_style(tf.constant(encode(mask)), tf.constant(4), tf.constant(6))
    for one in (of_style, regions(mask)[0]):
        np.testing.assert_allclose(one, np.broadcast_to(expected, (4, 6)), atol=1e-6)


def test_a_mask_of_another_size_is_resized_with_soft_edges():
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 35:] = 255
    resized = regions(mask)[0]
    assert (resized[:, 0] == 0).all()
    assert ((resized[:, 3] > 0.3) & (resized[:, 3] < 0.7)).all()
    assert (resized[:, -1] == 1).all()


def test_an_empty_mask_is_what_the_others_leave():
    first, second = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
    first[:, :2], second[:, 1:3] = 255, 255
    np.testing.assert_array_equal(regions(first, None, second)[1], np.broadcast_to([0, 0, 0, 1, 1, 1], (4, 6)))


def test_levels_have_the_sides_of_the_features_and_keep_the_share():
    mask = tf.constant(np.random.default_rng(0).uniform(size=(2, 33, 47)), tf.float32)
    levels = masks.pyramid(mask)
    assert [level.shape[1:] for level in levels] == [(33, 47), (16, 23), (8, 11), (4, 5), (2, 2)]
    np.testing.assert_allclose(tf.reduce_mean(levels[4]), tf.reduce_mean(mask[:, :32, :32]), rtol=0.02)
