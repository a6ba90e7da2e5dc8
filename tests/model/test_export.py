"""The exported SavedModel: what its signatures take, give and refuse, and where an export goes."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

import model.export
from model import versions, warmup
from model.contract import SIGNATURES
from model.layers import LAYERS
from model.objective import Objective
from model.settings import SETTINGS, StyleSettings
from model.stylizer import Stylizer, size_result
from model.vgg19 import VGG19
from model.weights import Weights
from serving.errors import clean
from tests.conftest import decoded, encode, smooth_picture
from tests.model.inputs import CONTENT, STYLE, pictures, settings, smallest_state

TEXT = "size=64,smallest_size=32,steps=12"
SINGLE = "size=64,smallest_size=64,steps=5"
PLAIN: dict[str, Any] = {
    "content_bytes": [encode(CONTENT)], "style_bytes": [[encode(STYLE)]], "settings": [TEXT],
    "content_mask_bytes": [[b""]], "style_mask_bytes": [[b""]], "initial_bytes": [b""],
}  # fmt: skip
LEFT = np.zeros((24, 32), np.uint8)
LEFT[:, :16] = 255
MASKED: dict[str, Any] = {"content_mask_bytes": [[encode(LEFT)]]}

Arrays = dict[str, npt.NDArray[Any]]


class Model:
    """An exported model; inputs that are left out are those of PLAIN."""

    def __init__(self, version: Path) -> None:
        self.signatures = tf.saved_model.load(str(version)).signatures

    def call(self, name: str, **inputs: Any) -> Arrays:
        values = {**PLAIN, **inputs}
        tensors = {tensor.name: tf.constant(values[tensor.name], tensor.dtype) for tensor in SIGNATURES[name].inputs}
        return {name: value.numpy() for name, value in self.signatures[name](**tensors).items()}

    def advance(self, text: str = TEXT, state: bytes = b"", take: int = 100, **inputs: Any) -> Arrays:
        name = "advance_guided" if {"content_mask_bytes", "initial_bytes"} & set(inputs) else "advance"
        return self.call(name, settings=[text], state_bytes=[state], take_steps=[take], **inputs)


@pytest.fixture(scope="module")
def small(small_model: Path) -> Model:
    return Model(small_model / "1")


@pytest.mark.parametrize(("bfloat16_s", "expected"), [(0.003, "bfloat16"), (0.0099, "float32")], ids=["fast", "same"])
def test_precision_is_what_the_machine_convolves_fastest_in(bfloat16_s, expected, monkeypatch):
    sides = []

    def seconds(dtype: tf.DType, side: int) -> float:
        sides.append(side)
        exact = 0.01 * (side / 64) ** 2  # too short to measure at 32 pixels
        return {"float32": exact, "bfloat16": bfloat16_s, "float16": 1.0}[dtype.name]

    monkeypatch.setattr(model.export, "_convolution_s", seconds)
    assert model.export.choose_precision() == expected
    assert sides[:2] == [32, 64]
    assert set(sides[2:]) == {64}


@pytest.mark.parametrize(
    ("flipped_s", "gpus", "expected"),
    [(0.008, [], "Conv2D"), (0.012, [], "Conv2DBackpropInput"), (0.008, ["GPU:0"], "Conv2DBackpropInput")],
)
def test_gradients_take_the_form_that_a_cpu_computes_fastest(small_weights, flipped_s, gpus, expected, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: gpus)
    seconds = lambda _, side, flipped=False: (flipped_s if flipped else 0.01) * (side / 64) ** 2  # noqa: E731
    monkeypatch.setattr(model.export, "_convolution_s", seconds)
    built = model.export.build(small_weights, "float32")
    assert (
        json.loads(built.functions["describe"](tf.constant([""]))["description"][0].numpy())["gradients_by"] == expected
    )


def test_this_machine_has_a_precision():
    assert model.export.choose_precision() in model.export.PRECISIONS[1:]


def test_signatures_are_those_of_the_contract(small_model):
    data = (small_model / "1" / "saved_model.pb").read_bytes()
    signatures = saved_model_pb2.SavedModel.FromString(data).meta_graphs[0].signature_def
    for name, expected in SIGNATURES.items():
        for side in ("inputs", "outputs"):
            exported, tensors = getattr(signatures[name], side), getattr(expected, side)
            assert set(exported) == {tensor.name for tensor in tensors}
            for tensor in tensors:
                info = exported[tensor.name]
                assert tf.as_dtype(info.dtype).name == tensor.dtype
                assert [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim] == list(tensor.shape)


def test_export_carries_requests_for_what_our_clients_call_which_it_answers(small_model, small):
    records = tf.compat.v1.io.tf_record_iterator(str(small_model / "1" / warmup.WARMUP_FILE))
    answers = {}
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
        name = request.model_spec.signature_name
        answers[name] = small.signatures[name](**inputs)
    assert list(answers) == ["describe", "advance"]
    assert answers["advance"]["step"].numpy().tolist() == [1]
    assert decoded(answers["advance"]["preview_bytes"][0].numpy()).shape == (384, 512, 3)


def test_a_server_of_another_user_can_read_the_version(small_model):
    assert (small_model / "1").stat().st_mode & 0o777 == 0o755


def test_the_saved_model_gives_the_picture_of_the_loop_in_the_process(small, small_weights):
    text = TEXT + ",optimizer=adam"  # L-BFGS makes much of a rounding that falls otherwise
    stylizer, parsed, inputs = Stylizer(Objective(VGG19(small_weights.arrays))), settings(text), pictures()
    state, losses = stylizer.advance(inputs, parsed, stylizer.initial_state(inputs, parsed), tf.constant(12))
    outputs = small.advance(text)
    np.testing.assert_allclose(outputs["losses"][0, :12], losses, rtol=1e-3)
    image = decoded(outputs["image_bytes"][0]).astype(float)
    assert np.abs(image - np.round(size_result(state))).mean() < 0.05  # a rounding may fall otherwise


def test_serving_default_is_stylize_with_the_default_settings(small):
    strip = [encode(smooth_picture(2, 64))]  # few pixels at the default size
    default = small.call("serving_default", content_bytes=strip)["image_bytes"]
    assert default == small.call("stylize", content_bytes=strip, settings=[""])["image_bytes"]
    assert decoded(default[0]).shape == (16, 512, 3)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("start=noise,seed=5", {}),
        ("optimizer=lbfgs,history=3", {}),
        ("optimizer=sgd,learning_rate=0.1", {}),
        ("optimizer=adam,result=average,start=grey", {}),
        ("statistics=gram,pooling=average,padding=zero", {}),
        ("style_layers=block1_conv1/block3_conv1:2@40,content_layers=block1_conv2/block2_conv2:4@40", {}),
        ("", {**MASKED, "initial_bytes": [encode(STYLE)]}),
    ],
)
def test_chunks_give_the_bytes_of_one_call(small, text, inputs):
    text, state, losses, outputs = f"{TEXT},{text}", b"", [], {}
    whole = small.call("stylize_guided" if inputs else "stylize", settings=[text], **inputs)
    for take in (1, 3, 50):
        outputs = small.advance(text, state, take, **inputs)
        state = outputs["state_bytes"][0]
        losses.append(outputs["losses"][0])
    assert outputs["image_bytes"] == whole["image_bytes"]
    assert outputs["stopped"] == whole["stopped"] == b""
    np.testing.assert_array_equal(np.concatenate(losses)[:12], whole["losses"][0])


def test_advance_says_where_the_run_stands(small):
    begun = small.advance(take=6)
    assert (begun["step"][0], begun["steps"][0]) == (6, 12)
    assert 0 < begun["progress"][0] < 1
    assert begun["image_bytes"][0] == b""
    assert begun["losses"].shape == (1, 6, 4)
    assert decoded(begun["preview_bytes"][0]).shape == (34, 45, 3)
    rendered = small.advance(state=begun["state_bytes"][0], take=0)
    assert rendered["step"][0] == 6
    assert decoded(rendered["image_bytes"][0]).shape == (34, 45, 3)
    done = small.advance(state=begun["state_bytes"][0])
    assert (done["step"][0], done["progress"][0]) == (12, 1)
    assert np.isfinite(done["losses"][0]).all(-1).sum() == 6


@pytest.mark.parametrize(
    ("text", "inputs", "takes_effect"),
    [
        (" size = 64, smallest_size=64 ,preset=fine,steps=5,style_weight=1e3", {}, False),
        (f"{SINGLE},normalisation=none", {}, True),
        (SINGLE, {"style_bytes": [[encode(CONTENT)]]}, True),
        (SINGLE, {"content_bytes": [encode(STYLE)]}, True),
    ],
)
def test_what_changes_in_mid_run_takes_effect(small, text, inputs, takes_effect):
    """A state carries targets of its inputs, which must not outlive them."""
    state = small.advance(SINGLE, take=2)["state_bytes"][0]
    same, other = small.advance(SINGLE, state, 1), small.advance(text, state, 1, **inputs)
    assert (other["losses"][0, 0, 0] != same["losses"][0, 0, 0]) == takes_effect


def test_a_batch_treats_each_picture_for_itself(small):
    turned = encode(np.ascontiguousarray(CONTENT.transpose(1, 0, 2)))
    styles = [[encode(STYLE), encode(CONTENT)], [encode(CONTENT), encode(CONTENT)]]
    texts = [TEXT, "size=40,smallest_size=40,steps=3"]
    outputs = small.call("stylize", content_bytes=[encode(CONTENT), turned], style_bytes=styles, settings=texts)
    assert [decoded(data).shape for data in outputs["image_bytes"]] == [(48, 64, 3), (40, 30, 3)]
    assert np.isfinite(outputs["losses"]).all(-1).sum(-1).tolist() == [12, 3]
    alone = small.call("stylize", style_bytes=styles[:1])["image_bytes"][0]
    assert outputs["image_bytes"][0] == alone
    assert alone != small.call("stylize")["image_bytes"][0]


def test_masks_and_a_start_reach_the_run(small):
    start = smooth_picture(48, 64, 9)
    outputs = small.advance(SINGLE, take=0, **MASKED, initial_bytes=[encode(start)])
    image = decoded(outputs["image_bytes"][0]).astype(float)
    assert np.abs(image - start)[:, :30].max() <= 1
    assert np.abs(image - CONTENT)[:, 34:].max() <= 1


def test_sizes_that_converge_hand_over_to_the_next_and_the_last_ends_the_run_with_its_picture(small):
    text = "size=33,smallest_size=22,steps=4000,style_weight=0,content_weight=0,history=20"  # until it has one colour
    first = small.advance(text, take=2000)
    assert first["losses"].shape[1] < first["step"][0]  # those that the first size did without count as taken
    assert first["stopped"][0] == b""
    outputs = small.advance(text, first["state_bytes"][0], take=4000)
    assert outputs["stopped"][0] == b"converged"
    assert outputs["progress"][0] == 1
    assert outputs["step"][0] < 4000
    losses = outputs["losses"][0, :, 0]
    assert losses[np.isfinite(losses)][-1] < 1e-6 * first["losses"][0, 0, 0]
    assert decoded(outputs["image_bytes"][0]).shape == (25, 33, 3)


def test_a_state_is_taken_by_its_own_model_alone_and_unchanged(small, small_weights):
    own = smallest_state(f"{small_weights.digest}-float32")
    assert small.advance(state=own, take=1)["step"][0] == 2
    another = "come from this model"
    for state, words in (
        (smallest_state(f"{small_weights.digest}-bfloat16"), another),
        (smallest_state("0123456789abcdef-float32"), another),
        (own[:-1] + b"!", "be empty or the unchanged state that an earlier call of `advance` returned"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError) as failure:
            small.advance(state=state, take=1)
        assert clean(failure.value.message).startswith(f"`state_bytes` must {words}")


def test_describe_tells_the_model_and_the_settings_in_full(small, small_weights):
    text = "preset=quick,style_layers=block1_conv1:0.25/block2_conv1@99,content_layers=block3_conv1,blend_weights=1/2"
    description = json.loads(small.call("describe", settings=[text])["description"][0])
    nothing = dict.fromkeys(("source", "credit", "notice"), "")
    assert description["weights"] == {"name": "small", "digest": small_weights.digest, **nothing}
    assert description["layers"] == list(small_weights.layers)
    assert description["precision"] == "float32"
    assert description["device"] == ("GPU" if tf.config.list_physical_devices("GPU") else "CPU")
    assert list(description["settings"]) == list(SETTINGS)
    as_text = ",".join(f"{name}={value}" for name, value in description["settings"].items())
    assert StyleSettings.parse(as_text) == StyleSettings.parse(text)


AS_MANY = "must have as many elements as `content_bytes`, at least 1. Received: 2 for 1"
NO_PICTURE = "must be a JPEG or PNG picture. Received: 5 bytes that are neither"
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("stylize", {"style_bytes": PLAIN["style_bytes"] * 2}, f"`style_bytes` {AS_MANY}"),
    ("stylize", {"style_bytes": [PLAIN["style_bytes"][0] * 9]},
     "`style_bytes` must hold 1 to 8 styles for each content picture. Received: 9"),
    ("stylize_guided", {"style_mask_bytes": [[b"", b""]]},
     "`style_mask_bytes` must hold one mask for each of the 1 styles, which may be empty. Received: 2"),
    ("advance", {"take_steps": [-1], "state_bytes": [b""]}, "`take_steps` must be from 0 to 10000. Received: -1"),
    ("stylize", {"style_bytes": [[b"hello"]]}, f"`style_bytes` {NO_PICTURE}"),
    ("stylize_guided", {"content_mask_bytes": [[b"hello"]]}, f"`content_mask_bytes` {NO_PICTURE}"),
    ("stylize_guided", {"style_mask_bytes": [[b"hello"]]}, f"`style_mask_bytes` {NO_PICTURE}"),
    ("stylize_guided", {"initial_bytes": [b"hello"]}, f"`initial_bytes` {NO_PICTURE}"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "message"), REFUSED)
def test_wrong_inputs_are_refused_by_name(small, name, inputs, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as failure:
        small.call(name, **inputs)
    assert clean(failure.value.message) == message


def test_export_uses_no_layer_that_no_preset_does_and_names_what_it_wrote(tmp_path, monkeypatch, capsys):
    arrays = {f"{name}/kernel": np.ones((3, 3, 3, 3), np.float32) for name in LAYERS}
    np.savez(tmp_path / "deep.npz", **arrays, **{f"{name}/bias": np.ones(3, np.float32) for name in LAYERS})
    exported: list[Weights] = []
    monkeypatch.setattr(model.export, "export", lambda weights, *_: exported.append(weights) or "models/1")
    assert model.export.main(["--weights", str(tmp_path / "deep.npz"), "--output", "models"]) == 0
    assert exported[0].layers[-1] == "block5_conv2"
    assert capsys.readouterr().out == f"models/1: deep weights, digest {exported[0].digest}\n"


@pytest.fixture
def nothing_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is exported is an empty directory: for tests of where it goes."""
    monkeypatch.setattr(tf.saved_model, "save", lambda _, folder, **__: Path(folder).mkdir())
    monkeypatch.setattr(warmup, "write", lambda _: None)


@pytest.mark.usefixtures("nothing_saved")
def test_each_export_is_a_new_version_whatever_another_one_takes(small_weights, tmp_path, monkeypatch):
    def look(base: Path) -> list[versions.VersionPath]:
        found = versions.find_versions(base)
        (base / "8" / "assets").mkdir(parents=True)  # by another export, at the same time
        return found

    (tmp_path / "7").mkdir()
    monkeypatch.setattr(model.export, "find_versions", look)
    assert model.export.export(small_weights, tmp_path, "float32") == tmp_path / "9"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7", "8", "9"]


NOT_WRITTEN = "`output` must be a directory that can be written to. Received:"


@pytest.mark.parametrize(
    ("weights", "output", "error"),
    [
        ("none.npz", "models", "`weights` must be a readable .npz file. Received: none.npz ("),
        ("w.npz", "w.npz/models", f"{NOT_WRITTEN} w.npz/models ("),
        ("w.npz", "models", f"{NOT_WRITTEN} models (no space left)"),
    ],
)
@pytest.mark.usefixtures("nothing_saved")
def test_an_export_that_cannot_read_or_write_says_so_and_leaves_nothing(
    small_weights, tmp_path, monkeypatch, capsys, weights, output, error
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "rename", mock.Mock(side_effect=OSError("no space left")))
    np.savez("w.npz", **small_weights.arrays)
    assert model.export.main(["--weights", weights, "--output", output, "--precision", "float32"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {error}")
    assert not list(tmp_path.glob("models/*"))


SENDS = """
import os, sys, model.export
number = int(sys.argv.pop())
model.export.load = lambda *_, **__: os.kill(os.getpid(), number)
sys.exit(model.export.main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_export_that_is_told_to_stop_ends_without_a_traceback(number, tmp_path):
    command = [sys.executable, "-c", SENDS, "--output", str(tmp_path), str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (128 + number, "")
