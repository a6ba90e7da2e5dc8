"""The loss of a whole picture against the formulas, its gradient against its slope, and what each setting does."""

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from model import colour
from model.images import resize, to_uint8
from model.layers import LAYERS
from model.objective import Measured, Objective, Targets, layer_weights
from model.parsing import ParsedSettings
from model.sizes import plan_sizes
from model.vgg19 import VGG19
from model.weights import Weights
from serving.errors import clean
from tests.conftest import CHANNELS, smooth_picture
from tests.model import test_losses as formulas
from tests.model.inputs import CONTENT, STYLE, Picture, pictures, settings

IMAGE = tf.constant(smooth_picture(48, 64, 4), tf.float32)
LEFT, RIGHT = np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8)
LEFT[:, :32], RIGHT[:, 32:] = 255, 255


@pytest.fixture(scope="module")
def objective(small_weights: Weights) -> Objective:
    return Objective(VGG19(small_weights.arrays))


def targets(objective: Objective, parsed: ParsedSettings, *args: Picture, **options: list[Picture | None]) -> Targets:
    return objective.targets(pictures(*args, **options), parsed, tf.constant(48), tf.constant(64), Measured.nothing())


def features(objective: Objective, picture: tf.Tensor) -> dict[str, formulas.Array]:
    computed = objective.network.features(tf.cast(picture, tf.float32), 4)
    return {name: f.numpy().astype(np.float64) for name, f in zip(CHANNELS, computed, strict=True)}


def test_losses_of_a_picture_equal_the_formulas(objective):
    """Weights, layers and the blend of two styles, in float64 NumPy. Other normalisations are in test_presets.py."""
    parsed = settings(
        "statistics=gram,normalisation=relative,blend_weights=1/3,"
        "style_weight=7,content_weight=3,total_variation_weight=0.01,"
        "style_layers=block1_conv1:2/block2_conv1:1,content_layers=block2_conv2:1/block1_conv2:3"
    )
    second_style = smooth_picture(64, 48, 3)
    actual, _ = objective.losses_and_gradient(IMAGE, targets(objective, parsed, CONTENT, STYLE, second_style), parsed)
    own, content = features(objective, IMAGE), features(objective, tf.constant(CONTENT))
    styles = [features(objective, resize(STYLE, 64, 51)), features(objective, resize(second_style, 64, 48))]

    def style_term(layer: str) -> float:
        target = sum(w * formulas.gram(style[layer]) for w, style in zip((0.25, 0.75), styles, strict=True))
        of_content, of_own = formulas.gram(content[layer]), formulas.gram(own[layer])
        return float(np.mean((of_own - target) ** 2) / np.mean((of_content - target) ** 2))

    def content_term(layer: str) -> float:
        return formulas.content(own[layer], content[layer]) / float(content[layer].var())

    content_loss = 0.25 * content_term("block2_conv2") + 0.75 * content_term("block1_conv2")
    style_loss = 2 / 3 * style_term("block1_conv1") + 1 / 3 * style_term("block2_conv1")
    variation = formulas.variation(IMAGE.numpy().astype(np.float64))
    total = 3 * content_loss + 7 * style_loss + 0.01 * variation
    np.testing.assert_allclose(actual, [total, content_loss, style_loss, variation], rtol=1e-3)


def test_style_loss_is_one_and_content_loss_nothing_for_the_content_itself(objective):
    parsed = settings("")
    losses, _ = objective.losses_and_gradient(tf.constant(CONTENT, tf.float32), targets(objective, parsed), parsed)
    np.testing.assert_allclose(losses[1:3], [0, 1], atol=1e-5)


SETTINGS = [
    "", "statistics=gram", "style_weight=0", "content_weight=0,normalisation=target", "pooling=average,padding=zero",
    "content_loss=sum,normalisation=none,style_weight=1", "total_variation=nine_point,total_variation_weight=1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "masks"), [*((text, None) for text in SETTINGS), *((text, [LEFT, None]) for text in SETTINGS[:2])]
)
def test_gradient_is_the_slope_of_the_total_loss(objective, text, masks):
    parsed = settings(text)
    aims = targets(objective, parsed, CONTENT, STYLE, smooth_picture(40, 40, 5), masks=masks)
    _, gradient = objective.losses_and_gradient(IMAGE, aims, parsed)
    direction = gradient / tf.norm(gradient)

    def total(distance: float) -> float:
        return float(objective.losses_and_gradient(IMAGE + distance * direction, aims, parsed)[0][0])

    # Max pooling has kinks; a small step meets few.
    np.testing.assert_allclose(total(0.25) - total(-0.25), 0.5 * tf.norm(gradient), rtol=2e-2)


def test_zero_padding_and_average_pooling_reach_the_network(objective):
    style_losses = {
        round(float(objective.losses_and_gradient(IMAGE, targets(objective, parsed), parsed)[0][2]), 4)
        for parsed in map(settings, ("", "padding=zero", "pooling=average"))
    }
    assert len(style_losses) == 3


def style_statistics(objective: Objective, text: str, layer: int, *args: Picture, **options: object) -> tf.Tensor:
    return targets(objective, settings(text), *args, **options).style[layer]  # type: ignore[arg-type]


def distance(statistics: tf.Tensor, expected: tf.Tensor) -> float:
    return float(tf.norm(statistics - expected) / tf.norm(expected))


def test_the_style_can_take_on_the_colours_of_the_content(objective):
    """Matching in the graph is styling with a picture whose colours were matched by hand."""
    content = np.uint8([40, 80, 120]) + smooth_picture(48, 64, 1) // 4
    style = np.uint8([120, 80, 40]) + smooth_picture(64, 50, 2) // 4
    by_hand = to_uint8(colour.matched(tf.cast(style, tf.float32), tf.cast(content, tf.float32))).numpy()
    expected = style_statistics(objective, "", 0, content, by_hand)
    assert distance(style_statistics(objective, "colours=matched", 0, content, style), expected) < 0.02
    assert distance(style_statistics(objective, "", 0, content, style), expected) > 0.2


def waves(period: int, side: int = 64) -> npt.NDArray[np.uint8]:
    y = np.arange(side)[:, np.newaxis, np.newaxis]
    return np.broadcast_to(127 + 100 * np.sin(2 * np.pi * y / period), (side, side, 3)).astype(np.uint8)


def test_the_size_of_a_style_picture_is_the_results_or_its_own_times_the_scale(objective):
    of_128, *others = [
        style_statistics(objective, text, 2, CONTENT, waves(16, 128))
        for text in ("style_size=128", "style_scale=2", "style_size=256,style_scale=0.5", "")
    ]
    for same in others[:2]:  # the result is 64 pixels long
        np.testing.assert_array_equal(same, of_128)
    assert distance(others[2], of_128) > 0.1


@pytest.mark.parametrize(("shape", "text", "long_side"), [((10, 160), "", 256), ((30, 40), "style_scale=0.2", 22)])
def test_a_style_picture_keeps_its_ratio_where_its_size_leaves_too_little_of_it(objective, shape, text, long_side):
    style = smooth_picture(*shape, 3)
    kept = style_statistics(objective, f"style_size={long_side}", 2, CONTENT, style)
    np.testing.assert_array_equal(style_statistics(objective, text, 2, CONTENT, style), kept)


def test_each_region_of_a_mask_has_its_own_style_and_counts_by_its_area_and_blend_weight(objective):
    second, quarter = smooth_picture(40, 40, 5), np.zeros((48, 64), np.uint8)
    quarter[:, :16] = 255
    aims = targets(objective, settings("blend_weights=3/1"), CONTENT, STYLE, second, masks=[quarter, None])
    for region, style in enumerate((STYLE, second)):
        expected = style_statistics(objective, "", 2, CONTENT, style)[0]
        np.testing.assert_allclose(aims.style[2][region], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(aims.shares, [0.5, 0.5], atol=0.01)  # 3 * 1/4 and 1 * 3/4


def test_the_style_loss_pulls_only_where_the_mask_is(objective):
    parsed = settings("content_weight=0,total_variation_weight=0")
    _, gradient = objective.losses_and_gradient(IMAGE, targets(objective, parsed, masks=[LEFT]), parsed)
    pull = np.abs(gradient).sum(-1).mean(0)
    assert pull[:24].min() > 0
    np.testing.assert_array_equal(pull[48:], 0)  # beyond what the deepest layer in use sees of the mask


def test_a_style_mask_chooses_a_part_of_the_style_picture(objective):
    style = np.concatenate([waves(16)[:, :48], smooth_picture(64, 16, 3)], 1)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :32] = 255
    part = style_statistics(objective, "", 2, CONTENT, style, style_masks=[mask])
    expected = style_statistics(objective, "", 2, CONTENT, waves(16))
    assert distance(part, expected) < 0.4 * distance(style_statistics(objective, "", 2, CONTENT, style), expected)


BLACK = np.zeros((8, 8), np.uint8)


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("blend_weights=1/2/3", {}, "`blend_weights` must be one number for each of the 2 styles"),
        ("blend_weights=0/1", {"masks": [LEFT, BLACK]}, "`blend_weights` must be above 0 for a style whose mask"),
        ("", {"masks": [BLACK, BLACK]}, "`content_mask_bytes` must leave an area to paint. Received: masks"),
        ("", {"style_masks": [BLACK, None]}, "`style_mask_bytes` must leave some of the style picture. Received: a"),
        ("", {"style": smooth_picture(1, 257)},
         "`style_bytes` must have a long side of at most 256 times its short side, so crop it. Received: 257x1"),
    ],
)  # fmt: skip
def test_styles_that_cannot_be_taken_are_refused(objective, text, options, sentence):
    style, masks = options.get("style", STYLE), {name: options[name] for name in options if name != "style"}
    traced = tf.function(autograph=False)(
        lambda: targets(objective, settings(text), CONTENT, style, STYLE, **masks).measured
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        traced()
    assert clean(failure.value.message).startswith(sentence)


def test_a_layer_counts_up_to_its_size_on_top_of_those_that_count_at_every_size(objective):
    parsed = settings("style_layers=block1_conv1:3/block2_conv1:1/block3_conv1:2@64,content_layers=block2_conv2")
    style, content, last = layer_weights(parsed, tf.constant(64))
    np.testing.assert_allclose(style, [0.75, 0, 0.25, 0, 0.5])
    np.testing.assert_allclose(content, [0, 0, 0, 1, 0])
    assert LAYERS[int(last)] == "block3_conv1"
    style, _, last = layer_weights(parsed, tf.constant(65))
    np.testing.assert_allclose(style, [0.75, 0, 0.25, 0, 0])
    assert LAYERS[int(last)] == "block2_conv2"


def test_progress_counts_the_multiplications_of_the_steps(objective):
    layers = "style_layers=block1_conv1/block2_conv1@80,content_layers=block1_conv1"
    parsed = settings(f"{layers},size=128,smallest_size=64,steps=30")
    sizes, channels = plan_sizes(tf.zeros([3, 4, 3]), parsed), [3, *CHANNELS.values()]
    first, second, third = [9 * channels[index] * channels[index + 1] for index in range(3)]
    costs = [64 * 48 * (first + second + third / 4), 91 * 68 * first, 128 * 96 * first]
    work = np.cumsum([0, *np.repeat(costs, np.diff(sizes.ends, prepend=0))])
    done = [objective.progress(parsed, sizes, tf.constant(step)) for step in range(31)]
    np.testing.assert_allclose(done, work / work[-1], rtol=1e-5)


@pytest.mark.parametrize("masks", [None, [LEFT, RIGHT]], ids=["plain", "masked"])
def test_targets_are_made_from_what_was_measured_once(objective, masks):
    """Then no style is decoded, and no picture passes the network."""
    parsed = settings("style_layers=block1_conv1/block2_conv1:2,content_layers=block2_conv2")
    inputs = pictures(CONTENT, STYLE, STYLE, masks=masks)
    first = objective.targets(inputs, parsed, tf.constant(48), tf.constant(64), Measured.nothing())
    foreign = inputs._replace(content=tf.zeros([48, 64, 3], tf.uint8), styles=tf.constant([b"no picture"] * 2))
    again = objective.targets(foreign, parsed, tf.constant(48), tf.constant(64), first.measured)
    tf.nest.map_structure(np.testing.assert_array_equal, again, first)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`style_bytes` must be a JPEG"):
        objective.targets(foreign, parsed, tf.constant(48), tf.constant(64), Measured.nothing())


def test_content_that_a_state_left_out_is_computed_anew(objective):
    parsed = settings("content_layers=block1_conv2/block3_conv1")
    first = targets(objective, parsed)
    known = first.measured._replace(content=Measured.nothing().content)
    again = objective.targets(pictures(), parsed, tf.constant(48), tf.constant(64), known)
    tf.nest.map_structure(np.testing.assert_array_equal, again, first)
