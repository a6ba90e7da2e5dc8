"""Colours against their definitions, and on pictures that have none."""

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model import colour
from tests.conftest import smooth_picture
from tests.model import rounding

# ITU-R BT.601: RGB to luma and the two differences of colour (YIQ).
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def picture(seed: int, low: float = 80, high: float = 170) -> npt.NDArray[np.float64]:
    return low + smooth_picture(20, 30, seed) / 255 * (high - low)


def tensor(image: npt.NDArray[np.float64]) -> tf.Tensor:
    return tf.constant(image, tf.float32)


def test_luma_is_the_images_and_chroma_the_contents():
    image, content = picture(1), picture(2)
    result = colour.with_colours_of(tensor(image), tensor(content)).numpy().astype(float)
    np.testing.assert_allclose(result @ YIQ[0], image @ YIQ[0], atol=1e-3)
    np.testing.assert_allclose(result @ YIQ[1:].T, content @ YIQ[1:].T, atol=0.1)


def test_clipped_colours_stay_in_range():
    result = colour.with_colours_of(tf.fill([4, 4, 3], 255.0), tensor(np.full((4, 4, 3), [250.0, 0.0, 10.0])))
    np.testing.assert_allclose(result[0, 0], [255, 179.12, 189.12], atol=0.01)


def test_the_mean_of_many_pixels_is_as_right_as_that_of_few():
    image = tf.fill([2400, 2400, 3], 201.0)
    np.testing.assert_allclose(colour.matched(image, image)[:2, :2], 201, rtol=1e-4)


def test_matched_colours_have_the_contents_mean_and_covariance():
    content = picture(2) * [0.5, 1, 0.8]
    result = colour.matched(tensor(picture(1)), tensor(content)).numpy().astype(float).reshape(-1, 3)
    np.testing.assert_allclose(result.mean(0), content.mean((0, 1)), atol=0.01)
    np.testing.assert_allclose(np.cov(result.T), np.cov(content.reshape(-1, 3).T), rtol=0.02, atol=0.5)


GREY = np.repeat(picture(1)[..., :1], 3, -1)
FLAT = np.ones_like(GREY)


@pytest.mark.parametrize(
    ("style", "content"),
    [(GREY, picture(2)), (picture(1), GREY), (GREY, GREY), (100 * FLAT, 50 * FLAT)],
    ids=["style", "content", "both", "flat"],
)
def test_pictures_without_colour_do_no_harm(style, content):
    result = colour.matched(tensor(style), tensor(content)).numpy()
    assert -50 < result.min() <= result.max() < 305
    np.testing.assert_allclose(result.mean((0, 1)), content.mean((0, 1)), atol=0.01)


@pytest.mark.parametrize("device", rounding.DEVICES)
def test_devices_that_round_the_factors_of_products_match_a_picture_of_one_hue_as_well(device):
    """Its colours vary in one direction, and the map enlarges the others up to a hundredfold."""
    sepia, content = tensor(picture(1, 0, 255)[..., :1] * [1, 0.95, 0.85]), tensor(picture(3, 0, 255))
    exact = colour.matched(sepia, content)
    with rounding.device(device):
        np.testing.assert_allclose(colour.matched(sepia, content), exact, atol=1)
