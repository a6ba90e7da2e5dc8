"""The default recipe with true VGG19 features on a well-known pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model import weights
from model.objective import Objective
from model.parsing import parse_settings
from model.stylizer import Stylizer
from model.vgg19 import VGG19
from tests.conftest import decoded
from tests.model.inputs import pictures


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_style_loss_falls_by_ninety_percent(true_features: Path, images: Path, dtype: tf.DType) -> None:
    network = VGG19(weights.from_file(true_features).arrays, dtype)
    stylizer = Stylizer(Objective(network))
    content, style = [decoded((images / name).read_bytes()) for name in ("tubingen.jpg", "starry_night.jpg")]

    @tf.function(autograph=False)
    def run() -> tf.Tensor:
        inputs = pictures(content, style)
        settings = parse_settings(tf.constant("size=72,smallest_size=48,steps=40"), network.layers)
        return stylizer.advance(inputs, settings, stylizer.initial_state(inputs, settings), settings["steps"])[1]

    losses = run().numpy()
    assert losses[0, 2] == pytest.approx(1, abs=1e-2)
    assert losses[-1, 2] < 0.1
    assert losses[-1, 1] < 2  # in units of the photograph's own variance: the place is still there
    assert np.isfinite(losses).all()
