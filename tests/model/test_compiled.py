"""The export whose steps XLA compiles: the same results as the usual one, where a server lets XLA run.

Equal means equal but for the order of sums: losses to 2e-4, pixels to one grey level.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from model.compiled import losses_by_program
from model.export import export
from model.objective import Targets
from model.program import Uses, numbers_of, program_of
from model.vgg19 import VGG19
from model.weights import Weights
from tests.conftest import decoded, encode, smooth_picture
from tests.model.inputs import settings
from tests.model.session import Call, session_of

CONTENT, STYLE = encode(smooth_picture(24, 32, 1)), encode(smooth_picture(25, 20, 2))
LEFT = encode(np.repeat([[255] * 16 + [0] * 16], 24, 0).astype(np.uint8))
ONE_SIZE = "size=32,smallest_size=32,steps=4"
LOSSES_RTOL = 2e-4


@pytest.fixture(scope="module")
def compiled_model(small_weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(small_weights, tmp_path_factory.mktemp("models") / "style_transfer", "float32", xla=True)


@pytest.fixture(scope="module")
def usual(small_model: Path) -> Call:
    return session_of(small_model / "1")


@pytest.fixture(scope="module")
def compiled(compiled_model: Path) -> Call:
    return session_of(compiled_model)


def advance(call: Call, text: str, take: int = 4, state: bytes = b"", masks: tuple[bytes, ...] = (b"",)) -> Any:
    return call(
        "advance_guided",
        content_bytes=[CONTENT],
        style_bytes=[[STYLE] * len(masks)],
        content_mask_bytes=[masks],
        style_mask_bytes=[[b""] * len(masks)],
        initial_bytes=[b""],
        settings=[f"{ONE_SIZE},{text}"],
        state_bytes=[state],
        take_steps=[take],
    )


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    np.testing.assert_allclose(one["losses"], other["losses"], rtol=LOSSES_RTOL, atol=1e-6)
    first, second = [decoded(outputs["image_bytes"][0]).astype(int) for outputs in (one, other)]
    assert np.abs(first - second).max() <= 1


def functions_for_xla(version: Path) -> list[str]:
    model = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    library = model.meta_graphs[0].graph_def.library.function
    return [function.signature.name for function in library if function.attr["_XlaMustCompile"].b]


def test_the_usual_export_leaves_xla_alone(compiled_model: Path, small_model: Path) -> None:
    assert functions_for_xla(small_model / "1") == []
    assert len(functions_for_xla(compiled_model)) == 2  # the losses with their gradient, and the optimiser's step


def test_it_is_a_model_of_its_own_and_says_so(compiled_model: Path, compiled: Call) -> None:
    assert (compiled_model.parent.name, compiled_model.name) == ("style_transfer_xla", "1")
    assert json.loads(compiled("describe", settings=[""])["description"][0])["xla"] is True


@pytest.mark.parametrize(
    ("text", "masks"),
    [
        ("statistics=gram,optimizer=adam,result=average", (b"",)),
        ("statistics=wasserstein,optimizer=lbfgs,result=last", (b"",)),
        # Layers without a loss before, between and after those that have one, and all else that a recipe may have.
        (
            "statistics=mean_covariance,style_layers=block1_conv2/block2_conv2,content_layers=block2_conv1,pooling=average,"
            "padding=zero,jitter=2,total_variation=nine_point,optimizer=sgd,learning_rate=1,result=best,start=noise",
            (LEFT, b""),
        ),
    ],
    ids=["adam", "lbfgs", "masked"],
)
def test_losses_and_picture_are_those_of_the_usual_export(
    compiled: Call, usual: Call, text: str, masks: tuple[bytes, ...]
) -> None:
    assert_same(advance(compiled, text, masks=masks), advance(usual, text, masks=masks))


def test_what_xla_compiles_decides_nothing_and_has_fixed_shapes(small_weights: Weights) -> None:
    network, regions = VGG19(small_weights.arrays), 2
    parsed = settings("statistics=wasserstein,jitter=1")
    in_style, in_content = [tf.constant(flags) for flags in ([True, False] * 2 + [False], [False] * 3 + [True, False])]
    targets = Targets(
        uses=Uses(in_style, in_content, masked=tf.constant(True), jittered=tf.constant(True)),
        masks=tf.zeros([regions, 24, 32]),
        shares=tf.ones([regions]),
        style=[
            tf.zeros([regions if used else 0, c + 1, c]) for used, c in zip(in_style, network.channels, strict=True)
        ],
        style_scale=[tf.zeros([regions if used else 0]) for used in in_style],
        content=[
            tf.zeros([1, 12, 16, c] if used else [1, 0, 0, c])
            for used, c in zip(in_content, network.channels, strict=True)
        ],
        content_scale=[tf.zeros([])] * 5,
        content_image=tf.zeros([24, 32, 3]),
        packed=tf.zeros([0]),
    )
    shaped = tf.zeros([0, *program_of(parsed, targets.uses).numpy()])
    text_of = losses_by_program(network).by_shape.experimental_get_compiler_ir(
        shaped, tf.zeros([24, 32, 3]), targets, numbers_of(parsed), tf.constant(0)
    )
    assert "<=" not in text_of(stage="hlo")  # a dimension that is known to be no larger than
    assert " conditional(" not in text_of(stage="optimized_hlo")


def test_a_run_goes_on_from_its_state_on_either_export(compiled: Call, usual: Call) -> None:
    text = "statistics=wasserstein,optimizer=lbfgs,result=last"
    whole, begun = advance(compiled, text), advance(compiled, text, take=2)
    for call in (compiled, usual):
        end = advance(call, text, take=2, state=begun["state_bytes"][0])
        assert_same({**end, "losses": np.concatenate([begun["losses"], end["losses"]], 1)}, whole)
