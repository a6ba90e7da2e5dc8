"""Where VGG19's weights come from: ImageNet's by Keras, our own, a file, or random ones."""

from __future__ import annotations

import hashlib
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import requests

from model.errors import InvalidInput, WeightsUnavailable
from model.layers import LAYERS, WIDTHS, block_of
from model.presets import DEEPEST_LAYER

NST_WEIGHTS = "NST_WEIGHTS"
"""Environment variable: a file to take in place of the Keras cache and the download."""

# keras.applications.vgg19: the file without the classifier, and the MD5 that Keras checks.
KERAS_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
KERAS_MD5 = "253f8cb515780f3b799900260a226db6"
KERAS_FILE = KERAS_URL.rsplit("/", 1)[1]

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
RANDOM_SEED = 0
OWN_FILE = Path(__file__).with_name("own_weights.npz")
OWN_DIGEST = "84637c324d7532b4"
_CHUNK_BYTES = 1 << 20

Arrays = Mapping[str, npt.NDArray[np.float32]]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Weights:
    """Kernels and biases by `LAYER/kernel` [3, 3, in, out] and `LAYER/bias` [out], float32.

    Attributes:
      name: what these weights are called wherever they are shown.
      arrays: for a leading run of VGG19's layers.
      notice: a sentence for people who should know that these are not the weights they expect, or "".
      kind: `own`, `random` or "" for all others: what the presets go by (`BY_WEIGHTS` in model/presets.py). It follows
        the arrays; a name may be any file's.
    """

    name: str
    arrays: Arrays
    notice: str = ""
    kind: str = ""

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
      choice: `auto`, `imagenet`, `own`, `random`, or a path to an .h5 or .npz file.
      report: called with a line of text for what takes time.

    Raises:
      WeightsUnavailable: `imagenet` is not to be had; the text says what was tried.
      InvalidInput: the file is missing, unreadable, or holds no VGG19 weights.
    """
    if choice == "auto":
        return auto(report)
    if choice == "imagenet":
        return imagenet(report)
    if choice == "own":
        return own()
    if choice == "random":
        return random()
    return from_file(Path(choice))


def auto(report: Report = lambda _: None) -> Weights:
    """Returns ImageNet's weights where they are at hand or can be fetched, else our own, and reports which and why."""
    try:
        return imagenet(report)
    except WeightsUnavailable as error:
        report(str(error))
        report("Going on with this project's own weights.")
        return own()


def own() -> Weights:
    """Returns the weights that this project trained itself; model/own_weights.md says how and how good they are."""
    return replace(from_file(OWN_FILE), name="own")


def imagenet(report: Report = lambda _: None) -> Weights:
    """Returns Keras's ImageNet weights: from NST_WEIGHTS, Keras's cache, or its download.

    NST_WEIGHTS is the user's word, and whatever is wrong with that file is an error: an .h5 file must be Keras's, by
    its hash; an .npz file is taken for what it is and keeps its own name. Keras's cache is ours to mend: what is not
    whole there is fetched again.
    """
    named = os.environ.get(NST_WEIGHTS)
    if named and named.endswith(".npz"):
        return from_file(Path(named))
    cached = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models" / KERAS_FILE
    path = Path(named or cached)
    fault = _fault(path)
    if fault and named:
        expected = f"an .npz file, or Keras's {KERAS_FILE} with MD5 {KERAS_MD5}"
        raise InvalidInput(f"`{NST_WEIGHTS}` must be {expected}. Received: {path} ({fault})")
    if fault:
        _download(KERAS_URL, path, fault, report)
    return Weights("imagenet", _read_h5(path))


def _fault(path: Path) -> str:
    """Says what keeps a file from being the one that Keras publishes, or ""."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        return error.strerror or str(error)
    return "" if found == KERAS_MD5 else f"MD5 {found}"


def _download(url: str, path: Path, fault: str, report: Report) -> None:
    """Fetches what `path` should be to a temporary folder beside it, and moves it there once its hash is right."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        report(f"Fetching {url}")
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            with _open(url) as answer, part.open("wb") as file:
                answer.raise_for_status()
                expected, received = int(answer.headers.get("Content-Length", 0)), 0
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                    received += len(chunk)
                    if expected:
                        report(f"{received / 1e6:.0f} of {expected / 1e6:.0f} MB")
            if wrong := _fault(part):
                raise OSError(wrong)
            part.replace(path)
    except OSError as error:  # what requests raises is one too
        # What requests says of an unreachable host fills several lines, and means just that.
        unreachable = isinstance(error, requests.ConnectionError) and not isinstance(error, requests.Timeout)
        reason = "cannot be reached" if unreachable else error
        raise WeightsUnavailable(
            f"ImageNet's weights were not found. Tried: {NST_WEIGHTS} (not set), {path} ({fault}), {url} ({reason}). "
            f"Fetch that file on another machine and set {NST_WEIGHTS} to it, or export with --weights own."
        ) from error


def _open(url: str) -> requests.Response:
    """Begins a download, or gives up after CONNECT_TIMEOUT_S, the look-up of the name included."""
    answers: queue.SimpleQueue[requests.Response | requests.RequestException] = queue.SimpleQueue()

    def get() -> None:
        try:
            answers.put(requests.get(url, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)))
        except requests.RequestException as error:
            answers.put(error)

    # requests cannot bound the look-up of a name, which may hang far longer than a connection.
    threading.Thread(target=get, daemon=True).start()
    try:
        answer = answers.get(timeout=CONNECT_TIMEOUT_S)
    except queue.Empty:
        raise requests.ConnectTimeout(f"no answer within {CONNECT_TIMEOUT_S:.0f} s") from None
    if isinstance(answer, requests.RequestException):
        raise answer
    return answer


def from_file(path: Path) -> Weights:
    """Reads an .npz file with `LAYER/kernel` and `LAYER/bias`, or an .h5 file as Keras writes it.

    The file may end at any layer; what comes after a missing layer is not used.
    """
    if not path.is_file():
        raise InvalidInput(
            "`weights` must be auto, imagenet, own, random, or the path of an .h5 or .npz file. "
            f"Received: {path}, which does not exist"
        )
    try:
        if path.suffix == ".npz":
            with path.open("rb") as opened, np.load(opened) as file:
                arrays = {key: np.asarray(file[key], np.float32) for key in file.files}
        elif path.suffix in (".h5", ".hdf5"):
            arrays = dict(_read_h5(path))
        else:
            raise InvalidInput(f"`weights` must be an .h5 or .npz file. Received: {path}")
    except InvalidInput:
        raise
    except Exception as error:  # the readers raise almost anything on a damaged file
        raise InvalidInput(f"`weights` must be a readable .h5 or .npz file. Received: {path} ({error})") from error
    weights = Weights(path.stem, _leading_layers(arrays, path))
    return replace(weights, kind="own" if weights.digest == OWN_DIGEST else "")


def _read_h5(path: Path) -> Arrays:
    """Reads Keras's layout: a group for each layer that holds, at any depth, a kernel and a bias."""
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    with h5py.File(path) as file:
        groups = file.get("model_weights", file)
        for layer in LAYERS:
            if layer not in groups:
                continue

            def take(_: str, item: object, layer: str = layer) -> None:
                if isinstance(item, h5py.Dataset):
                    arrays[f"{layer}/{'kernel' if item.ndim == 4 else 'bias'}"] = np.asarray(item, np.float32)

            groups[layer].visititems(take)
    return arrays


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
        kind="random",
    )
