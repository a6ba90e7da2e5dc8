"""A SavedModel in the C++ loader that tensorflow_model_server uses too: tensorflow/cc/saved_model/loader.cc.

The library is in TensorFlow's wheel; ctypes reaches it through the C API (tensorflow/c/{c_api,tf_tensor,tf_tstring}.h).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import error_codes_pb2, meta_graph_pb2

STRING_BYTES = 24  # sizeof(TF_TString)
DT_STRING = tf.string.as_datatype_enum

# Parts first: the second needs the symbols of the first.
_LIBRARIES = [
    ctypes.CDLL(str(Path(tf.sysconfig.get_lib()) / name), ctypes.RTLD_GLOBAL)
    for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
]


class Output(ctypes.Structure):
    """TF_Output: a tensor of the graph."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class Buffer(ctypes.Structure):
    """TF_Buffer."""

    _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("free", ctypes.c_void_p))


class Failed(Exception):
    """What the C API refused: the name of the code, and the text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


def call(name: str, result: Any, *arguments: Any) -> Any:
    """Calls a function of the C API."""
    for library in reversed(_LIBRARIES):
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype = result
            return function(*arguments)
    raise AttributeError(name)


pointer, size_t, c_int, c_char_p = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p


class CSession:
    """A loaded SavedModel.

    Attributes:
      signatures: name to SignatureDef, as the loader read them.
    """

    def __init__(self, version: Path) -> None:
        self._status = pointer(call("TF_NewStatus", pointer))
        self._graph = pointer(call("TF_NewGraph", pointer))
        options = pointer(call("TF_NewSessionOptions", pointer))
        meta_graph = Buffer()
        tags = (c_char_p * 1)(b"serve")
        path = c_char_p(str(version).encode())
        self._session = pointer(
            call(
                "TF_LoadSessionFromSavedModel", pointer, options, None, path, tags, c_int(1), self._graph,
                ctypes.byref(meta_graph), self._status,
            )
        )  # fmt: skip
        call("TF_DeleteSessionOptions", None, options)
        self._check()
        data = ctypes.string_at(meta_graph.data, meta_graph.length)
        self.signatures = dict(meta_graph_pb2.MetaGraphDef.FromString(data).signature_def)

    def __enter__(self) -> CSession:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        call("TF_DeleteSession", None, self._session, self._status)
        call("TF_DeleteGraph", None, self._graph)
        call("TF_DeleteStatus", None, self._status)

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Calls TF_SessionRun: arrays by tensor name in, an array for each fetch out; strings are bytes objects."""
        inputs = (Output * len(feeds))(*map(self._output, feeds))
        values = (pointer * len(feeds))(*map(_to_tensor, feeds.values()))
        outputs = (Output * len(fetches))(*map(self._output, fetches))
        results = (pointer * len(fetches))()
        call(
            "TF_SessionRun", None, self._session, None, inputs, values, c_int(len(feeds)),
            outputs, results, c_int(len(fetches)), None, c_int(0), None, self._status,
        )  # fmt: skip
        for value in values:
            call("TF_DeleteTensor", None, pointer(value))
        self._check()
        return [_from_tensor(pointer(result)) for result in results]

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature by the names of its inputs and outputs."""
        definition = self.signatures[signature]
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetches = {name: info.name for name, info in definition.outputs.items()}
        return dict(zip(fetches, self.run(feeds, list(fetches.values())), strict=True))

    def _output(self, name: str) -> Output:
        operation, _, index = name.partition(":")
        found = call("TF_GraphOperationByName", pointer, self._graph, c_char_p(operation.encode()))
        return Output(found, int(index or 0))

    def _check(self) -> None:
        code = call("TF_GetCode", c_int, self._status)
        if code:
            message = call("TF_Message", c_char_p, self._status)
            raise Failed(error_codes_pb2.Code.Name(code), message.decode("utf-8", "replace"))


def _to_tensor(array: np.ndarray) -> int:
    dims = (ctypes.c_int64 * array.ndim)(*array.shape)
    strings = array.dtype == object
    dtype = DT_STRING if strings else tf.as_dtype(array.dtype).as_datatype_enum
    length = array.size * STRING_BYTES if strings else array.nbytes
    tensor = call("TF_AllocateTensor", pointer, c_int(dtype), dims, c_int(array.ndim), size_t(length))
    data = call("TF_TensorData", pointer, pointer(tensor))
    if not strings:
        ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, length)
        return tensor
    for index, value in enumerate(array.reshape(-1).tolist()):
        place = pointer(data + index * STRING_BYTES)
        call("TF_StringInit", None, place)
        call("TF_StringCopy", None, place, c_char_p(value), size_t(len(value)))
    return tensor


def _from_tensor(tensor: ctypes.c_void_p) -> np.ndarray:
    rank = call("TF_NumDims", c_int, tensor)
    shape = [call("TF_Dim", ctypes.c_int64, tensor, c_int(axis)) for axis in range(rank)]
    dtype = call("TF_TensorType", c_int, tensor)
    data = call("TF_TensorData", pointer, tensor)
    count = int(np.prod(shape))
    if dtype == DT_STRING:
        array = np.empty(count, object)
        for index in range(count):
            place = pointer(data + index * STRING_BYTES)
            length = call("TF_StringGetSize", size_t, place)
            array[index] = ctypes.string_at(call("TF_StringGetDataPointer", pointer, place), length)
    else:
        raw = ctypes.string_at(data, call("TF_TensorByteSize", size_t, tensor)) if count else b""
        array = np.frombuffer(raw, tf.as_dtype(dtype).as_numpy_dtype, count)
    call("TF_DeleteTensor", None, tensor)
    return array.reshape(shape)
