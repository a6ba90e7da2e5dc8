"""The plan of a run without TensorFlow is the graph's."""

import numpy as np
import pytest
import tensorflow as tf

from model.layers import LAYERS
from model.objective import layer_weights
from model.parsing import parse_settings
from model.settings import StyleSettings
from model.sizes import plan_sizes
from model.work import PRODUCTS, plan_work


@pytest.mark.parametrize(
    ("width", "height", "settings"),
    [
        (64, 48, {}),
        (48, 64, {"preset": "fine"}),
        (600, 60, {"size": 200, "steps": 50}),
        (64, 48, {"size": 1024, "steps": 3}),
        (64, 48, {"preset": "gatys2016"}),
        (64, 48, {"size": 768, "smallest_size": 385, "steps": 32}),
        (64, 48, {"content_weight": 0, "style_layers": "block1_conv1"}),
    ],
    ids=["balanced", "upright", "narrow", "few steps", "one size", "enlarged", "no content"],
)
def test_a_run_is_planned_as_the_model_plans_it(width, height, settings):
    parsed = parse_settings(tf.constant(str(StyleSettings(**settings))), LAYERS)
    sizes = plan_sizes(tf.zeros([height, width, 3]), parsed)
    _, _, deepest = layer_weights(parsed, tf.maximum(sizes.heights, sizes.widths))
    planned = plan_work(StyleSettings(**settings), min(width, height) / max(width, height))
    assert [size.end for size in planned] == sizes.ends.numpy().tolist()
    costs = np.array(PRODUCTS)[deepest.numpy()] * (sizes.heights * sizes.widths).numpy()
    np.testing.assert_allclose([size.cost * 1e12 for size in planned], costs, rtol=0.02)  # sides are rounded


def test_the_products_of_the_first_layers_are_counted_by_hand():
    assert PRODUCTS[:3] == [9 * 3 * 64, 9 * 3 * 64 + 9 * 64 * 64, 9 * 3 * 64 + 9 * 64 * 64 + 9 * 64 * 128 / 4]
