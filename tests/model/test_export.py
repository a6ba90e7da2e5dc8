"""The exported SavedModel, run as TensorFlow Serving runs it: a v1 session, by feed and fetch names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import model.export
from model import images, presets, versions, warmup
from model.contract import SIGNATURES
from model.export import describe
from model.objective import Objective
from model.settings import SETTINGS, StyleSettings
from model.signatures import ServedModel
from model.stylizer import Stylizer, size_result
from model.vgg19 import VGG19
from model.weights import Weights
from serving.errors import clean
from tests.conftest import decoded, encode, smooth_picture
from tests.model.inputs import pictures, settings
from tests.model.session import Call, session_of

CONTENT, STYLE = smooth_picture(48, 64, 1), smooth_picture(50, 40, 2)
TEXT = "size=64,smallest_size=32,steps=12"


@pytest.fixture(scope="module")
def call(small_model: Path) -> Call:
    return session_of(small_model / "1")


def one_pair() -> dict[str, Any]:
    return {"content_bytes": [encode(CONTENT)], "style_bytes": [[encode(STYLE)]]}


def advance(call: Call, text: str = TEXT, state: bytes = b"", take: int = 100, **inputs: Any) -> dict[str, Any]:
    return call("advance", **{**one_pair(), **inputs}, settings=[text], state_bytes=[state], take_steps=[take])


def resized(picture: Any, long_side: int) -> Any:
    scale = long_side / max(picture.shape[:2])
    height, width = [round(side * scale) for side in picture.shape[:2]]
    return images.to_uint8(images.resize(tf.constant(picture), height, width)).numpy()


def refusal(call: Call, name: str, **inputs: Any) -> str:
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        call(name, **inputs)
    return clean(failure.value.message)


@pytest.mark.parametrize(
    ("bfloat16_s", "expected"),
    [(0.003, "bfloat16"), (0.0099, "float32"), (0.4, "float32")],
    ids=["fast", "same", "slow"],
)
def test_precision_is_what_the_machine_convolves_fastest_in(
    bfloat16_s: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = []

    def seconds(dtype: tf.DType, side: int) -> float:
        sides.append(side)
        exact = 0.01 * (side / 64) ** 2  # too short to measure at 32 pixels
        return {"float32": exact, "bfloat16": bfloat16_s, "float16": 1.0}[dtype.name]

    monkeypatch.setattr(model.export, "_convolution_s", seconds)
    assert model.export.choose_precision() == expected
    assert sides[:2] == [32, 64]
    assert set(sides[2:]) == {64}


def test_this_machine_has_a_precision() -> None:
    assert model.export.choose_precision() in model.export.PRECISIONS[1:]


def test_signatures_are_those_of_the_contract(call: Call) -> None:
    signatures = call.signatures  # type: ignore[attr-defined]
    for name, expected in SIGNATURES.items():
        for side, tensors in (("inputs", expected.inputs), ("outputs", expected.outputs)):
            exported = getattr(signatures[name], side)
            assert set(exported) == {tensor.name for tensor in tensors}
            for tensor in tensors:
                info = exported[tensor.name]
                assert tf.as_dtype(info.dtype).name == tensor.dtype
                assert [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim] == list(tensor.shape)


def test_the_saved_model_gives_the_picture_of_the_loop_in_the_process(call: Call, small_weights: Weights) -> None:
    text = TEXT + ",optimizer=adam"  # L-BFGS makes much of a rounding that falls otherwise
    stylizer, parsed = Stylizer(Objective(VGG19(small_weights.arrays))), settings(text)

    @tf.function(autograph=False)
    def loop() -> tuple[tf.Tensor, tf.Tensor]:
        inputs = pictures(CONTENT, STYLE)
        state, losses = stylizer.advance(inputs, parsed, stylizer.initial_state(inputs, parsed), tf.constant(12))
        return size_result(state), losses

    image, losses = loop()
    outputs = call("stylize", **one_pair(), settings=[text])
    np.testing.assert_allclose(outputs["losses"][0], losses, rtol=1e-3)
    difference = np.abs(decoded(outputs["image_bytes"][0]).astype(float) - np.round(image))
    assert difference.mean() < 0.05  # the two graphs are optimised apart, so a rounding may fall otherwise


def test_serving_default_is_stylize_with_the_default_settings(call: Call) -> None:
    pair = {**one_pair(), "content_bytes": [encode(smooth_picture(4, 64))]}  # a strip: few pixels at the default size
    default = call("serving_default", **pair)
    explicit = call("stylize", **pair, settings=[""])
    assert default["image_bytes"] == explicit["image_bytes"]
    assert decoded(default["image_bytes"][0]).shape == (32, 512, 3)


def test_five_stretches_give_the_bytes_of_one(call: Call) -> None:
    whole = advance(call)
    state, losses = b"", []
    for take in (1, 3, 2, 1, 50):
        outputs = advance(call, state=state, take=take)
        state = outputs["state_bytes"][0]
        losses.append(outputs["losses"][0])
    assert state == whole["state_bytes"][0]
    assert outputs["image_bytes"][0] == whole["image_bytes"][0]
    np.testing.assert_array_equal(np.concatenate(losses)[:12], whole["losses"][0][:12])


def test_stylize_and_advance_agree(call: Call) -> None:
    assert advance(call)["image_bytes"][0] == call("stylize", **one_pair(), settings=[TEXT])["image_bytes"][0]


def test_the_same_call_gives_the_same_bytes(call: Call) -> None:
    text = TEXT + ",start=noise,seed=5"
    assert advance(call, text)["image_bytes"][0] == advance(call, text)["image_bytes"][0]


def test_advance_says_where_the_run_stands(call: Call) -> None:
    begun = advance(call, take=6)
    assert (begun["step"][0], begun["steps"][0]) == (6, 12)
    assert 0 < begun["progress"][0] < 1
    assert begun["image_bytes"][0] == b""
    assert begun["losses"].shape == (1, 6, 4)
    assert decoded(begun["preview_bytes"][0]).shape[1] == 45
    done = advance(call, state=begun["state_bytes"][0])
    assert (done["step"][0], done["progress"][0]) == (12, 1)
    assert np.isfinite(done["losses"][0]).all(-1).sum() == 6


def test_taking_no_steps_renders_the_picture_as_it_stands(call: Call) -> None:
    begun = advance(call, take=5)
    rendered = advance(call, state=begun["state_bytes"][0], take=0)
    assert rendered["step"][0] == 5
    assert decoded(rendered["image_bytes"][0]).shape == decoded(begun["preview_bytes"][0]).shape


def test_a_run_can_go_on_with_more_steps_at_its_last_size(call: Call) -> None:
    done = advance(call)
    more = advance(call, "size=64,smallest_size=64,steps=15", done["state_bytes"][0])
    assert more["step"][0] == 15
    assert decoded(more["image_bytes"][0]).shape == (48, 64, 3)


def test_more_steps_are_the_same_run(call: Call) -> None:
    text = "size=64,smallest_size=64,result=average,steps="
    done = advance(call, text + "12")
    more = advance(call, text + "15", done["state_bytes"][0])
    assert more["image_bytes"] == advance(call, text + "15")["image_bytes"]


def test_the_same_settings_in_other_words_are_the_same_run(call: Call) -> None:
    begun = advance(call, take=3)
    other_words = " steps = 12, style_weight=1e3 ,smallest_size=32,preset=fine,size=64"
    assert advance(call, other_words, take=3)["state_bytes"] == begun["state_bytes"]


def test_a_state_goes_on_by_the_presets_of_the_release_that_reads_it(
    call: Call, small_weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = advance(call, take=3)["state_bytes"][0]
    expected = advance(call, f"{TEXT},statistics=gram", state, take=2)
    monkeypatch.setitem(presets.PRESETS, "balanced", {"statistics": "gram"})  # type: ignore[arg-type]
    later = ServedModel(VGG19(small_weights.arrays), describe(small_weights, "float32"))
    inputs = {**one_pair(), "settings": [TEXT], "state_bytes": [state], "take_steps": [2]}
    tensors = [tf.constant(inputs[tensor.name]) for tensor in SIGNATURES["advance"].inputs]
    np.testing.assert_allclose(later.functions["advance"](*tensors)["losses"], expected["losses"], rtol=1e-3)


def test_a_batch_treats_each_picture_for_itself(call: Call) -> None:
    texts = [TEXT, "size=40,smallest_size=40,steps=3"]
    turned = np.ascontiguousarray(CONTENT.transpose(1, 0, 2))
    outputs = call(
        "stylize",
        content_bytes=[encode(CONTENT), encode(turned)],
        style_bytes=[[encode(STYLE)], [encode(CONTENT)]],
        settings=texts,
    )
    assert [decoded(data).shape for data in outputs["image_bytes"]] == [(48, 64, 3), (40, 30, 3)]
    assert np.isfinite(outputs["losses"]).all(-1).sum(-1).tolist() == [12, 3]
    alone = call("stylize", **one_pair(), settings=[texts[0]])
    assert outputs["image_bytes"][0] == alone["image_bytes"][0]


def test_two_styles_blend(call: Call) -> None:
    both = [encode(STYLE), encode(smooth_picture(40, 40, 9))]
    results = [advance(call, style_bytes=[s])["image_bytes"][0] for s in (both, both[::-1], both[:1])]
    assert np.abs(decoded(results[0]).astype(float) - decoded(results[1])).mean() < 0.5
    assert np.abs(decoded(results[0]).astype(float) - decoded(results[2])).mean() > 1


def test_the_content_can_keep_its_colours(call: Call) -> None:
    content = resized(CONTENT, 64).astype(float)
    chroma = {}
    for colours in ("of_style", "of_content"):
        outputs = advance(call, f"{TEXT},optimizer=adam,colours={colours}")
        image = decoded(outputs["image_bytes"][0]).astype(float)
        difference = image - content
        inside = ((image > 0) & (image < 255)).all(-1)  # clipping is the one thing that may shift a colour
        chroma[colours] = np.abs(difference - difference.mean(-1, keepdims=True))[inside].mean()
    assert chroma["of_content"] < 1
    assert chroma["of_style"] > 10


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (33, 47), (51, 20), (40, 40)])
def test_orientation_and_odd_sizes_are_kept(call: Call, shape: tuple[int, int]) -> None:
    text = f"size={max(shape)},smallest_size={max(shape)},steps=1"
    image = advance(call, text, content_bytes=[encode(smooth_picture(*shape))])["image_bytes"][0]
    assert decoded(image).shape == (*shape, 3)


def test_a_photograph_that_was_taken_sideways_is_painted_upright(call: Call) -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    photograph = encode(CONTENT, "JPEG", exif=sideways)
    assert decoded(advance(call, content_bytes=[photograph])["image_bytes"][0]).shape == (64, 48, 3)


def test_describe_tells_the_model_and_the_settings_in_full(call: Call, small_weights: Weights) -> None:
    text = "preset=quick,style_layers=block1_conv1:0.25/block2_conv1@99,content_layers=block3_conv1"
    description = json.loads(call("describe", settings=[text])["description"][0])
    assert description["weights"] == {
        "name": "small",
        "digest": small_weights.digest,
        "source": "",
        "credit": "",
        "notice": "",
    }
    assert description["layers"] == list(small_weights.layers)
    assert description["precision"] == "float32"
    assert description["device"] == ("GPU" if tf.config.list_physical_devices("GPU") else "CPU")
    assert list(description["settings"]) == list(SETTINGS)
    expected = StyleSettings.parse(text)
    as_text = ",".join(f"{name}={value}" for name, value in description["settings"].items())
    assert StyleSettings.parse(as_text) == expected


def test_wrong_shapes_are_refused_by_name(call: Call) -> None:
    pair = one_pair()
    assert refusal(call, "stylize", **{**pair, "style_bytes": [[encode(STYLE)]] * 2}, settings=[""]) == (
        "`style_bytes` must have as many elements as `content_bytes`, at least 1. Received: 2 for 1"
    )
    assert refusal(call, "stylize", **{**pair, "style_bytes": [[encode(STYLE)] * 9]}, settings=[""]) == (
        "`style_bytes` must hold 1 to 8 styles for each content picture. Received: 9"
    )
    assert refusal(call, "stylize", **pair, settings=["", ""]).startswith("`settings` must have as many")
    assert (
        refusal(call, "advance", **pair, settings=[""], state_bytes=[b""], take_steps=[-1])
        == "`take_steps` must be from 0 to 10000. Received: -1"
    )


def test_a_bad_picture_is_refused_by_name(call: Call) -> None:
    pair = {**one_pair(), "style_bytes": [[b"hello"]]}
    assert refusal(call, "stylize", **pair, settings=[TEXT]).startswith("`style_bytes` must be a JPEG or PNG")
    first_step = {"settings": [TEXT], "state_bytes": [b""], "take_steps": [1]}
    assert refusal(call, "advance", **pair, **first_step).startswith("`style_bytes` must be a JPEG or PNG")


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s[:-1],
        lambda s: s[:10],
        lambda s: s[:20],
        lambda s: s[:5000] + bytes([s[5000] ^ 1]) + s[5001:],
        lambda s: s[:-1] + bytes([s[-1] ^ 1]),
        lambda s: s + b"\0",
        lambda s: b"no state at all, but a long text",
    ],
)
def test_a_damaged_state_is_refused(call: Call, damage: Callable[[bytes], bytes]) -> None:
    state = damage(advance(call, take=1)["state_bytes"][0])
    message = refusal(call, "advance", **one_pair(), settings=[TEXT], state_bytes=[state], take_steps=[1])
    assert message.startswith("`state_bytes` must be empty or what an earlier call of `advance` returned")


@pytest.fixture(scope="module")
def short_model(small_weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of a network of one block, exported by the command line beside one that was there."""
    folder = tmp_path_factory.mktemp("short")
    arrays = {key: value for key, value in small_weights.arrays.items() if key.startswith("block1")}
    np.savez(folder / "w.npz", **arrays)
    (folder / "models" / "7").mkdir(parents=True)
    command = ["--weights", folder / "w.npz", "--output", folder / "models", "--precision", "float32"]
    assert model.export.main([str(word) for word in command]) == 0
    return folder / "models" / "8"


def test_each_export_is_a_new_version_and_leaves_nothing_else(short_model: Path) -> None:
    assert sorted(path.name for path in short_model.parent.iterdir()) == ["7", "8"]


def test_the_presets_of_a_short_network_use_what_it_has(short_model: Path) -> None:
    answer = session_of(short_model)("describe", settings=["preset=crowsonkb"])["description"][0]
    used = json.loads(answer)["settings"]
    assert used["style_layers"] == "block1_conv1:256"
    assert used["content_layers"] == "block1_conv2:1"


def test_an_export_whose_number_another_one_takes_gets_the_next(
    small_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(_: Any, folder: str, **__: Any) -> None:
        (Path(folder) / "saved_model.pb").write_text("mine")

    def look(base: Path) -> list[versions.VersionPath]:
        found = versions.find_versions(base)
        for number in (1, 2):
            (base / str(number)).mkdir()
            (base / str(number) / "saved_model.pb").write_text("another's")
        return found

    monkeypatch.setattr(tf.saved_model, "save", save)
    monkeypatch.setattr(warmup, "write", lambda _: None)
    monkeypatch.setattr(model.export, "find_versions", look)
    version = model.export.export(small_weights, tmp_path / "models", "float32")
    assert version == tmp_path / "models" / "3"
    written = {path.parent.name: path.read_text() for path in (tmp_path / "models").glob("*/*")}
    assert written == {"1": "another's", "2": "another's", "3": "mine"}


def test_a_version_that_cannot_be_put_in_place_is_an_error_and_leaves_nothing(
    small_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(tf.saved_model, "save", lambda *_, **__: None)
    monkeypatch.setattr(warmup, "write", lambda _: None)
    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="no space left"):
        model.export.export(small_weights, tmp_path / "models", "float32")
    assert list((tmp_path / "models").iterdir()) == []


def test_export_says_what_it_could_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert model.export.main(["--weights", str(tmp_path / "none.npz"), "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err.strip().startswith("error: `weights` must be a readable .npz file")
    assert list(tmp_path.iterdir()) == []


def guided(call: Call, name: str = "stylize_guided", text: str = TEXT, **inputs: Any) -> dict[str, Any]:
    plain = {"content_mask_bytes": [[b""]], "style_mask_bytes": [[b""]], "initial_bytes": [b""], "settings": [text]}
    return call(name, **{**one_pair(), **plain, **inputs})


def test_the_guided_form_without_guidance_is_the_plain_one(call: Call) -> None:
    assert guided(call)["image_bytes"] == call("stylize", **one_pair(), settings=[TEXT])["image_bytes"]


def test_a_mask_leaves_the_content_where_it_is_black(call: Call) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :16] = 255
    image = decoded(guided(call, content_mask_bytes=[[encode(mask)]])["image_bytes"][0]).astype(float)
    content = resized(CONTENT, 64).astype(float)
    assert np.abs(image - content)[:, 34:].max() <= 1
    assert np.abs(image - content)[:, :30].mean() > 5


def test_masks_work_over_stretches_too(call: Call) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :16] = 255
    masks = {"content_mask_bytes": [[encode(mask)]], "initial_bytes": [encode(STYLE)]}
    whole, state = guided(call, **masks)["image_bytes"], b""
    for take in (5, 3, 50):
        outputs = guided(call, "advance_guided", **masks, state_bytes=[state], take_steps=[take])
        state = outputs["state_bytes"][0]
    assert outputs["image_bytes"] == whole


def test_a_run_starts_from_the_picture_that_is_sent(call: Call) -> None:
    picture = smooth_picture(48, 64, 9)
    text = "size=64,smallest_size=64,steps=5"
    start = guided(call, "advance_guided", text, initial_bytes=[encode(picture)], state_bytes=[b""], take_steps=[0])
    assert np.abs(decoded(start["image_bytes"][0]).astype(float) - picture).max() <= 1


def test_masks_must_be_as_many_as_styles(call: Call) -> None:
    inputs = {"content_mask_bytes": [[b""]], "style_mask_bytes": [[b"", b""]], "initial_bytes": [b""]}
    message = refusal(call, "stylize_guided", **one_pair(), **inputs, settings=[TEXT])
    assert message == (
        "`style_mask_bytes` must hold one mask for each of the 1 styles, which may be empty. Received: 2"
    )


@pytest.mark.parametrize("name", ["content_mask_bytes", "style_mask_bytes", "initial_bytes"])
def test_a_bad_mask_or_start_is_refused_by_name(call: Call, name: str) -> None:
    inputs = {"content_mask_bytes": [[b""]], "style_mask_bytes": [[b""]], "initial_bytes": [b""]}
    inputs[name] = [b"hello"] if name == "initial_bytes" else [[b"hello"]]  # type: ignore[list-item]
    message = refusal(call, "stylize_guided", **one_pair(), **inputs, settings=[TEXT])
    assert message.startswith(f"`{name}` must be a JPEG or PNG picture")


def test_blend_weights_must_be_as_many_as_styles(call: Call) -> None:
    message = refusal(call, "stylize", **one_pair(), settings=[TEXT + ",blend_weights=1/2"])
    assert message == "`blend_weights` must be one number for each of the 1 styles, or nothing. Received: 2"


def test_a_run_that_converges_says_so_and_gives_its_picture(call: Call) -> None:
    text = "size=24,smallest_size=24,style_weight=0,content_weight=0"
    outputs = advance(call, f"{text},steps=5000", take=5000)
    assert outputs["stopped"][0] == b"converged"
    assert outputs["progress"][0] == 1
    assert outputs["step"][0] < 5000
    assert decoded(outputs["image_bytes"][0]).shape == (18, 24, 3)
    more = (f"{text},steps=6000", f"{text},steps=6000,total_variation=absolute_sum")
    again, other = [advance(call, words, state=outputs["state_bytes"][0], take=7) for words in more]
    assert again["step"][0] == outputs["step"][0]
    assert again["stopped"][0] == b"converged"
    assert other["step"][0] == outputs["step"][0] + 7  # what it had converged by no longer holds
    assert other["stopped"][0] == b""


@pytest.mark.parametrize(
    "text",
    [
        "optimizer=lbfgs,history=3", "optimizer=sgd,learning_rate=0.1", "result=average", "start=grey",
        "statistics=gram,pooling=average,padding=zero",
        "style_layers=block1_conv1/block3_conv1:2@40,content_layers=block1_conv2/block2_conv2:4@40",
    ],
)  # fmt: skip
def test_stretches_give_the_bytes_of_one_call_with_every_kind_of_state(call: Call, text: str) -> None:
    text = f"{TEXT},{text}"
    whole = call("stylize", **one_pair(), settings=[text])
    state, outputs = b"", {"image_bytes": [b""]}
    while not outputs["image_bytes"][0]:
        outputs = advance(call, text, state, 7)
        state = outputs["state_bytes"][0]
    assert outputs["image_bytes"][0] == whole["image_bytes"][0]
    assert outputs["stopped"][0] == whole["stopped"][0]


@pytest.mark.parametrize(
    ("text", "inputs"),
    [("normalisation=none", {}), ("", {"style_bytes": [[encode(CONTENT)]]}), ("", {"content_bytes": [encode(STYLE)]})],
)
def test_what_changes_in_mid_run_takes_effect(call: Call, text: str, inputs: dict[str, Any]) -> None:
    """A state carries targets of its inputs, which must not outlive them."""
    begun = "size=64,smallest_size=64,steps=4,result=last"
    state = advance(call, begun, take=2)["state_bytes"][0]
    same = advance(call, begun, state, 1)["losses"]
    assert (advance(call, f"{begun},{text}", state, 1, **inputs)["losses"][..., 0] != same[..., 0]).all()
