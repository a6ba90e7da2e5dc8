"""Where weights come from, and what is said when they do not."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf

from model import weights
from model.errors import InvalidInput, WeightsUnavailable
from model.export import describe, served_layers
from model.layers import LAYERS
from model.presets import BY_WEIGHTS
from model.settings import StyleSettings
from model.signatures import ServedModel
from model.vgg19 import VGG19
from model.weights import Weights


def write_h5(path: Path, source: Weights) -> Path:
    """Writes what Keras's application files look like: /LAYER/LAYER_W_1:0 and /LAYER/LAYER_b_1:0."""
    with h5py.File(path, "w") as file:
        for layer in source.layers:
            file[f"{layer}/{layer}_W_1:0"] = source.arrays[f"{layer}/kernel"]
            file[f"{layer}/{layer}_b_1:0"] = source.arrays[f"{layer}/bias"]
    return path


def write_npz(path: Path, source: Weights) -> Path:
    np.savez(path, **source.arrays)
    return path


def same(one: Weights, other: Weights) -> bool:
    return one.layers == other.layers and all(np.array_equal(one.arrays[k], other.arrays[k]) for k in one.arrays)


@pytest.fixture(autouse=True)
def nothing_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(weights.NST_WEIGHTS, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_weights: Weights) -> Path:
    """A small file in Keras's layout that passes for Keras's own, its hash being the one that is asked for."""
    path = write_h5(tmp_path / "published.h5", small_weights)
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(weights, "KERAS_MD5", digest)
    return path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A local server in place of Keras's, over a directory that is returned."""
    root = tmp_path / "served"
    root.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(root))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        monkeypatch.setattr(weights, "KERAS_URL", f"http://127.0.0.1:{served.server_port}/{weights.KERAS_FILE}")
        yield root
        served.shutdown()
        thread.join()


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """Where Keras's cache has its file; the folder is there."""
    path = tmp_path / "keras" / "models" / weights.KERAS_FILE
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize("write", [write_npz, write_h5])
def test_a_file_gives_its_arrays_and_its_name(tmp_path: Path, small_weights: Weights, write: object) -> None:
    path = write(tmp_path / ("mine.npz" if write is write_npz else "mine.h5"), small_weights)
    loaded = weights.load(str(path))
    assert same(loaded, small_weights)
    assert loaded.name == "mine"
    assert loaded.digest == small_weights.digest


def test_a_file_may_end_at_any_layer(tmp_path: Path, small_weights: Weights) -> None:
    arrays = {key: value for key, value in small_weights.arrays.items() if not key.startswith("block2_conv1")}
    loaded = weights.load(str(write_npz(tmp_path / "short.npz", Weights("short", arrays))))
    assert loaded.layers == LAYERS[:2]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.npz", None, "which does not exist"),
        ("text.npz", b"hello", "must be a readable .h5 or .npz file"),
        ("empty.npz", b"", "must be a readable .h5 or .npz file"),
        ("cut.npz", b"PK\x03\x04 and no more", "must be a readable .h5 or .npz file"),
        ("text.h5", b"hello", "must be a readable .h5 or .npz file"),
        ("weights.txt", b"hello", "must be an .h5 or .npz file"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"`weights`.*{words}|`weights` .*") as failure:
        weights.load(str(path))
    assert words in str(failure.value)
    assert str(path) in str(failure.value)


@pytest.mark.parametrize("write", [write_npz, write_h5])
def test_a_damaged_file_is_refused_in_words_wherever_the_damage_is(
    tmp_path: Path, small_weights: Weights, write: object
) -> None:
    """Its readers raise almost anything: of zip's flags alone, RuntimeError and NotImplementedError."""
    path = write(tmp_path / ("w.npz" if write is write_npz else "w.h5"), small_weights)
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 20):
            damaged[place] = generator.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(InvalidInput):
            weights.load(str(path))


@pytest.mark.parametrize(
    "damage",
    [
        lambda a: a.clear(),
        lambda a: a.update({"block1_conv1/kernel": a["block1_conv1/kernel"][:, :, :2]}),
        lambda a: a.update({"block2_conv1/bias": a["block2_conv1/bias"] * np.nan}),
    ],
    ids=["no layer", "wrong shape", "not finite"],
)
def test_a_file_with_wrong_arrays_is_refused(tmp_path: Path, small_weights: Weights, damage: object) -> None:
    arrays = dict(small_weights.arrays)
    damage(arrays)
    path = tmp_path / "damaged.npz"
    np.savez(path, other=np.zeros(1), **arrays)
    with pytest.raises(InvalidInput, match="`weights` must hold"):
        weights.load(str(path))


def test_imagenet_takes_the_file_that_is_named(
    monkeypatch: pytest.MonkeyPatch, pinned: Path, small_weights: Weights
) -> None:
    monkeypatch.setenv(weights.NST_WEIGHTS, str(pinned))
    loaded = weights.load("imagenet")
    assert loaded.name == "imagenet"
    assert same(loaded, small_weights)


NAMED = {
    "missing.h5": None,
    "another.h5": b"hello",
    "cut.npz": b"PK\x03\x04 and no more",
    "text.npz": b"hello",
    "weights.txt": b"hello",
}


@pytest.mark.parametrize("choice", ["imagenet", "auto"])
@pytest.mark.parametrize("name", [*NAMED, "folder.h5"])
def test_a_named_file_that_is_wrong_is_an_error_and_never_passed_over(
    server: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, choice: str, name: str
) -> None:
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes())  # what is to be had besides is no way out
    path, content = tmp_path / name, NAMED.get(name)
    if content is not None:
        path.write_bytes(content)
    elif name.startswith("folder"):
        path.mkdir()
    monkeypatch.setenv(weights.NST_WEIGHTS, str(path))
    with pytest.raises(InvalidInput, match=r"must be .*\. Received: ") as failure:
        weights.load(choice)
    assert str(path) in str(failure.value)


def test_a_named_file_with_another_hash_is_refused_with_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_weights: Weights
) -> None:
    path = write_h5(tmp_path / "other.h5", small_weights)
    monkeypatch.setenv(weights.NST_WEIGHTS, str(path))
    with pytest.raises(InvalidInput, match=rf"`NST_WEIGHTS` must be .*MD5 {weights.KERAS_MD5}.*other.h5 \(MD5 "):
        weights.load("imagenet")


def test_a_named_npz_is_taken_under_its_own_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_weights: Weights
) -> None:
    monkeypatch.setenv(weights.NST_WEIGHTS, str(write_npz(tmp_path / "mine.npz", small_weights)))
    assert weights.load("imagenet").name == "mine"


def test_imagenet_is_fetched_once_and_then_cached(server: Path, pinned: Path, small_weights: Weights) -> None:
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes())
    lines: list[str] = []
    assert same(weights.load("imagenet", lines.append), small_weights)
    assert any("MB" in line for line in lines)
    (server / weights.KERAS_FILE).unlink()
    assert same(weights.load("imagenet"), small_weights)


def test_a_corrupt_download_is_refused_and_not_kept(server: Path, pinned: Path, tmp_path: Path) -> None:
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsUnavailable, match=rf"{weights.KERAS_URL} \(MD5 [0-9a-f]*\)"):
        weights.load("imagenet")
    assert list((tmp_path / "keras" / "models").iterdir()) == []


@pytest.mark.parametrize("choice", ["imagenet", "auto"])
@pytest.mark.parametrize("damage", [lambda data: data[:-1] + b"!", lambda data: data[:1000], lambda data: b""])
def test_a_damaged_file_in_the_cache_is_fetched_again(
    server: Path, pinned: Path, cached: Path, small_weights: Weights, choice: str, damage: object
) -> None:
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes())
    cached.write_bytes(damage(pinned.read_bytes()))
    lines: list[str] = []
    assert same(weights.load(choice, lines.append), small_weights)
    assert weights.KERAS_URL in lines[0]
    assert cached.read_bytes() == pinned.read_bytes()


def test_a_damaged_file_in_the_cache_stays_until_there_is_a_whole_one(server: Path, pinned: Path, cached: Path) -> None:
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes()[:-1] + b"!")
    cached.write_bytes(pinned.read_bytes()[:1000])
    with pytest.raises(WeightsUnavailable, match=rf"{cached} \(MD5 [0-9a-f]*\), {weights.KERAS_URL} \(MD5 "):
        weights.load("imagenet")
    assert cached.read_bytes() == pinned.read_bytes()[:1000]
    assert weights.load("auto").name == "own"


def test_a_failed_download_says_what_was_tried(server: Path) -> None:
    with pytest.raises(WeightsUnavailable) as failure:
        weights.load("imagenet")
    for words in (weights.NST_WEIGHTS, "models", weights.KERAS_URL, "404", "--weights own"):
        assert words in str(failure.value)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(weights, "KERAS_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/{weights.KERAS_FILE}")
        monkeypatch.setattr(weights, "CONNECT_TIMEOUT_S", 0.2)
        with pytest.raises(WeightsUnavailable, match="no answer within"):
            weights.load("imagenet")


def test_own_weights_reach_the_layers_of_the_default_recipe_and_are_small() -> None:
    own = weights.load("own")
    assert own.name == "own"
    assert {name for name, _ in (*StyleSettings().style_layers, *StyleSettings().content_layers)} <= set(own.layers)
    assert weights.OWN_FILE.stat().st_size < 12_000_000


def as_served(loaded: Weights) -> dict[str, tf.Tensor]:
    """Returns the default preset as a model with these weights reads it."""
    loaded = served_layers(loaded)
    served = ServedModel(VGG19(loaded.arrays), describe(loaded, "float32"))
    return served.parse(tf.constant(""))


def test_presets_follow_the_arrays_whatever_their_file_is_called(tmp_path: Path, small_weights: Weights) -> None:
    plain = StyleSettings()
    for name in ("own", "random", "other"):
        settings = as_served(weights.load(str(write_npz(tmp_path / f"{name}.npz", small_weights))))
        assert settings["total_variation_weight"] == np.float32(plain.total_variation_weight)
        assert settings["content_weight"] == plain.content_weight
    copied = tmp_path / "own_weights.npz"
    shutil.copy(weights.OWN_FILE, copied)
    for choice in ("own", str(copied), str(weights.OWN_FILE)):
        settings = as_served(weights.load(choice))
        assert settings["total_variation_weight"] == np.float32(BY_WEIGHTS["own"]["total_variation_weight"])
    assert weights.load(str(copied)).name == "own_weights"
    assert as_served(weights.load("random"))["content_weight"] == BY_WEIGHTS["random"]["content_weight"]


def test_auto_takes_imagenet_where_it_is_at_hand(monkeypatch: pytest.MonkeyPatch, pinned: Path) -> None:
    monkeypatch.setenv(weights.NST_WEIGHTS, str(pinned))
    assert weights.load("auto").name == "imagenet"


def test_auto_falls_back_to_our_own_and_says_so(server: Path) -> None:
    lines: list[str] = []
    assert weights.load("auto", lines.append).name == "own"
    assert weights.KERAS_URL in lines[-2]
    assert weights.NST_WEIGHTS in lines[-2]
    assert lines[-1] == "Going on with this project's own weights."


def test_auto_falls_back_where_nothing_can_be_kept(
    server: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    lines: list[str] = []
    assert weights.load("auto", lines.append).name == "own"
    assert "Not a directory" in lines[-2]


def test_random_weights_are_the_same_each_time_and_say_so() -> None:
    one, other = weights.load("random"), weights.load("random")
    assert same(one, other)
    assert not same(one, weights.random(seed=1))
    assert one.layers == LAYERS[: LAYERS.index("block5_conv2") + 1]
    assert "random" in one.notice


def test_the_digest_changes_with_any_value(small_weights: Weights) -> None:
    arrays = {key: value.copy() for key, value in small_weights.arrays.items()}
    arrays["block2_conv1/bias"][0] += 1e-3
    assert Weights("small", arrays).digest != small_weights.digest
