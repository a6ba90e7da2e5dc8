"""The training run: pictures, then layer after layer, with a checkpoint after every round."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.training import dictionary
from model.training.dictionary import Array
from model.training.pictures import Picture, crop, paint, photographs

# Layer, channels.
LAYERS = (
    ("block1_conv1", 64),
    ("block1_conv2", 64),
    ("block2_conv1", 128),
    ("block2_conv2", 128),
    ("block3_conv1", 256),
)
POOLED = ("block2_conv1", "block3_conv1")  # layers that take the pooled output of the layer before
BGR_MEAN = np.array([103.939, 116.779, 123.68], np.float32)  # ImageNet's, as in model.vgg19
SILENT = 0.25  # share of positions at which a channel is silent
MEAN = 0.3  # mean activation of every layer
FLOOR = 0.1  # of the first layer's whitening (see `dictionary.fit_whitening`)
OUTSTANDING = 0.75  # share of patches that k-means learns from
SCIKIT_PHOTOGRAPHS, NO_PHOTOGRAPHS = "packages", "none"
STATE = "state.npz"  # the checkpoint's only file
_BATCH = 16  # pictures convolved at once

Arrays = dict[str, Array]
Keep = Callable[[Array, str, int], None]
"""Takes a layer's basis after a round, what the round says of the fit, and the number of rounds."""


@dataclass(frozen=True)
class Settings:
    """What a run's result depends on.

    Attributes:
      seed: of everything that is drawn.
      steps: rounds of k-means in the first layer.
      turns: rounds of independent component analysis in each later layer.
      patches: 3x3 patches that each layer learns from.
      paintings: number of painted pictures.
      crops: number of pieces of photographs.
      size: side of every picture, in pixels.
      photographs: `packages`, those within scikit-image and scikit-learn; or `none`.
    """

    seed: int = 0
    steps: int = 12
    turns: int = 60
    patches: int = 80_000
    paintings: int = 300
    crops: int = 150
    size: int = 128
    photographs: str = SCIKIT_PHOTOGRAPHS

    def __post_init__(self) -> None:
        for name in ("steps", "turns", "patches", "paintings"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={getattr(self, name)}")
        if self.size < 32:
            raise ValueError(f"`size` must be at least 32. Received: size={self.size}")
        if self.photographs not in (SCIKIT_PHOTOGRAPHS, NO_PHOTOGRAPHS):
            raise ValueError(f"`photographs` must be packages or none. Received: photographs={self.photographs}")


@dataclass
class State:
    """Where a run stands.

    Attributes:
      weights: kernels and biases of the layers that are done.
      basis: of the layer in work: the centroids of k-means, or the rotation of the components; float32.
      step: rounds taken in it.
    """

    weights: Arrays = field(default_factory=dict)
    basis: Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    step: int = 0


def train(settings: Settings, checkpoint: Path, report: Callable[[str], None] = print) -> Arrays:
    """Learns all layers, or goes on where the checkpoint stands.

    Args:
      settings: of the run; a checkpoint of other settings is refused.
      checkpoint: folder for the state of the run; made if need be.
      report: takes lines of progress.

    Returns:
      float32 arrays by `LAYER/kernel` `[3, 3, in, out]` and `LAYER/bias` `[out]`.

    Raises:
      ValueError: the checkpoint belongs to a run with other settings.
    """
    checkpoint.mkdir(parents=True, exist_ok=True)
    state = _restore(checkpoint / STATE, settings)
    start = time.monotonic()
    pictures = training_pictures(settings)
    report(f"{len(pictures)} pictures of {settings.size} pixels  {time.monotonic() - start:.0f} s")
    for index, (name, channels) in enumerate(LAYERS):
        if f"{name}/kernel" in state.weights:
            continue
        patches = sample_patches(
            pictures, state.weights, index, settings.patches, np.random.default_rng([settings.seed, index])
        )

        def keep(basis: Array, fit: str, steps: int, name: str = name) -> None:
            state.basis = basis
            state.step += 1
            _store(checkpoint / STATE, settings, state)
            report(f"{name}  step {state.step}/{steps}  {fit}  {time.monotonic() - start:.0f} s")

        learn = _learn_centroids if index == 0 else _learn_components
        directions = learn(patches, channels, settings, state, index, keep)
        filters, bias = dictionary.to_filters(patches, directions, SILENT, MEAN)
        state.weights[f"{name}/kernel"] = filters.reshape(3, 3, -1, channels)
        state.weights[f"{name}/bias"] = bias
        state.step = 0
        _store(checkpoint / STATE, settings, state)
    return state.weights


def _learn_centroids(patches: Array, channels: int, settings: Settings, state: State, index: int, keep: Keep) -> Array:
    """Returns the first layer's directions `[D, channels]`: centroids of the whitened patches, by k-means."""
    whitening = dictionary.fit_whitening(patches, FLOOR)
    points = dictionary.outstanding(patches, whitening, OUTSTANDING)
    while state.step < settings.steps:
        rng = np.random.default_rng([settings.seed, index, state.step])
        centroids = state.basis if state.step else dictionary.first_centroids(points, channels, rng)
        centroids, cosine = dictionary.kmeans_step(points, centroids, rng)
        keep(centroids, f"mean cosine {cosine:.4f}", settings.steps)
    return whitening.matrix @ state.basis.T


def _learn_components(patches: Array, channels: int, settings: Settings, state: State, index: int, keep: Keep) -> Array:
    """Returns a later layer's directions `[D, channels]`: independent components, each with its opposite."""
    whitening = dictionary.fit_components(patches, channels // 2)
    points = (patches - whitening.mean) @ whitening.matrix
    while state.step < settings.turns:
        rng = np.random.default_rng([settings.seed, index])
        rotation = state.basis if state.step else dictionary.first_rotation(channels // 2, rng)
        rotation, bent = dictionary.independence_step(points, rotation)
        keep(rotation, f"mean square of tanh {bent:.4f}", settings.turns)
    components = whitening.matrix @ state.basis
    return np.concatenate([components, -components], axis=1)


def training_pictures(settings: Settings) -> Picture:
    """Paints and cuts the pictures of a run.

    Returns:
      uint8 RGB `[N, size, size, 3]`.
    """
    sources = photographs() if settings.photographs == SCIKIT_PHOTOGRAPHS else []
    rng = np.random.default_rng(settings.seed)
    pieces = [crop(rng, sources[i % len(sources)], settings.size) for i in range(settings.crops if sources else 0)]
    seeds = rng.integers(2**32, size=settings.paintings)
    pieces += [paint(int(seed), settings.size, sources) for seed in seeds]
    return np.stack(pieces)


def sample_patches(pictures: Picture, weights: Arrays, index: int, count: int, rng: np.random.Generator) -> Array:
    """Cuts 3x3 patches at random places out of what a layer gets to see.

    Args:
      pictures: uint8 RGB `[N, H, W, 3]`.
      weights: of the layers before.
      index: of the layer.
      count: number of patches.
      rng: chooses the places.

    Returns:
      float32 `[count, 9 * C]`, each in the order of a kernel's rows; as many of each picture as of any other.
    """
    patches = []
    places = rng.permutation(np.arange(count) % len(pictures))
    for start in range(0, len(pictures), _BATCH):
        x = layer_input(pictures[start : start + _BATCH], weights, index)  # [B, h, w, C]
        picture = places[(places >= start) & (places < start + len(x))] - start
        row, column = (rng.integers(1, side - 1, len(picture)) for side in x.shape[1:3])
        parts = [x[picture, row + i, column + j] for i in (-1, 0, 1) for j in (-1, 0, 1)]  # each [n, C]
        patches.append(np.concatenate(parts, axis=1))
    return np.concatenate(patches)


def layer_input(pictures: Picture, weights: Arrays, index: int) -> Array:
    """Returns what the layer of an index gets to see of some pictures, float32 `[N, h, w, C]`."""
    x = tf.constant(pictures[..., ::-1].astype(np.float32) - BGR_MEAN)
    for before in range(index):
        (name, _), (following, _) = LAYERS[before : before + 2]
        x = tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "SYMMETRIC")  # repeats the border
        x = tf.nn.relu(tf.nn.conv2d(x, weights[f"{name}/kernel"], 1, "VALID") + weights[f"{name}/bias"])
        x = tf.nn.max_pool2d(x, 2, 2, "VALID") if following in POOLED else x
    return x.numpy()


def save(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes an .npz file in one piece: it is either the old one or the new one."""
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)
    os.replace(partial, path)


def _store(path: Path, settings: Settings, state: State) -> None:
    header = json.dumps(asdict(settings))
    save(
        path,
        {**state.weights, "settings": np.array(header), "basis": state.basis, "step": np.array(state.step)},
    )


def _restore(path: Path, settings: Settings) -> State:
    if not path.exists():
        return State()
    with np.load(path) as stored:
        arrays = dict(stored)
    found = json.loads(str(arrays.pop("settings")))
    if found != asdict(settings):
        raise ValueError(f"`checkpoint` must hold a run of {asdict(settings)}. Received: {path} of {found}")
    return State(basis=arrays.pop("basis"), step=int(arrays.pop("step")), weights=arrays)
