"""A SavedModel in the C++ loader that tensorflow_model_server uses too: tensorflow/cc/saved_model/loader.cc.

The library is in TensorFlow's wheel; ctypes reaches it through the C API (tensorflow/c/{c_api,tf_tensor,tf_tstring}.h).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import error_codes_pb2, meta_graph_pb2

STRING_BYTES = 24  # sizeof(TF_TString)

# Parts first: the second needs the symbols of the first.
_LIBRARIES = [
    ctypes.CDLL(str(Path(tf.sysconfig.get_lib()) / name), ctypes.RTLD_GLOBAL)
    for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
]


class Output(ctypes.Structure):
    """TF_Output: a tensor of the graph."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


class Buffer(ctypes.Structure):
    """TF_Buffer."""

    _fields_ = (("data", c_void_p), ("length", c_size_t), ("free", c_void_p))


class Failed(Exception):
    """What the C API refused: the name of the code, and the text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


def call(name: str, result: Any, *arguments: Any) -> Any:
    """Calls a function of the C API."""
    library = next(library for library in reversed(_LIBRARIES) if hasattr(library, name))
    function = getattr(library, name)
    function.restype = result
    return function(*arguments)


class CSession:
    """A loaded SavedModel.

    Attributes:
      signatures: name to SignatureDef, as the loader read them.
    """

    def __init__(self, version: Path) -> None:
        self._status, self._graph = c_void_p(call("TF_NewStatus", c_void_p)), c_void_p(call("TF_NewGraph", c_void_p))
        options, meta_graph = c_void_p(call("TF_NewSessionOptions", c_void_p)), Buffer()
        arguments = options, None, c_char_p(str(version).encode()), (c_char_p * 1)(b"serve"), c_int(1), self._graph
        session = call("TF_LoadSessionFromSavedModel", c_void_p, *arguments, byref(meta_graph), self._status)
        self._session = c_void_p(session)
        call("TF_DeleteSessionOptions", None, options)
        self._check()
        data = ctypes.string_at(meta_graph.data, meta_graph.length)
        self.signatures = dict(meta_graph_pb2.MetaGraphDef.FromString(data).signature_def)

    def close(self) -> None:
        call("TF_DeleteSession", None, self._session, self._status)
        call("TF_DeleteGraph", None, self._graph)
        call("TF_DeleteStatus", None, self._status)

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature by TF_SessionRun; arrays by name, strings as bytes objects."""
        definition = self.signatures[signature]
        values = (c_void_p * len(inputs))(*map(_to_tensor, inputs.values()))
        results = (c_void_p * len(definition.outputs))()
        feeds = self._outputs([definition.inputs[name].name for name in inputs])
        fetches = self._outputs([info.name for info in definition.outputs.values()])
        sides = feeds, values, c_int(len(feeds)), fetches, results, c_int(len(fetches))
        call("TF_SessionRun", None, self._session, None, *sides, None, c_int(0), None, self._status)
        for value in values:
            call("TF_DeleteTensor", None, c_void_p(value))
        self._check()
        return dict(zip(definition.outputs, map(_from_tensor, map(c_void_p, results)), strict=True))

    def _outputs(self, names: Sequence[str]) -> Any:
        parts = [name.partition(":") for name in names]
        found = [call("TF_GraphOperationByName", c_void_p, self._graph, c_char_p(p[0].encode())) for p in parts]
        return (Output * len(names))(*(Output(at, int(p[2] or 0)) for at, p in zip(found, parts, strict=True)))

    def _check(self) -> None:
        code = call("TF_GetCode", c_int, self._status)
        if code:
            message = call("TF_Message", c_char_p, self._status)
            raise Failed(error_codes_pb2.Code.Name(code), message.decode("utf-8", "replace"))


def _to_tensor(array: np.ndarray) -> int:
    dims, strings = (c_int64 * array.ndim)(*array.shape), array.dtype == object
    dtype = (tf.string if strings else tf.as_dtype(array.dtype)).as_datatype_enum
    length = array.size * STRING_BYTES if strings else array.nbytes
    tensor = call("TF_AllocateTensor", c_void_p, c_int(dtype), dims, c_int(array.ndim), c_size_t(length))
    data = call("TF_TensorData", c_void_p, c_void_p(tensor))
    if not strings:
        ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, length)
    for index, value in enumerate(array.reshape(-1).tolist() if strings else ()):
        place = c_void_p(data + index * STRING_BYTES)
        call("TF_StringInit", None, place)
        call("TF_StringCopy", None, place, c_char_p(value), c_size_t(len(value)))
    return tensor


def _from_tensor(tensor: c_void_p) -> np.ndarray:
    shape = [call("TF_Dim", c_int64, tensor, c_int(axis)) for axis in range(call("TF_NumDims", c_int, tensor))]
    dtype, count = tf.as_dtype(call("TF_TensorType", c_int, tensor)), int(np.prod(shape))
    data = call("TF_TensorData", c_void_p, tensor)
    if dtype == tf.string:
        array = np.empty(count, object)
        for index in range(count):
            place = c_void_p(data + index * STRING_BYTES)
            length = call("TF_StringGetSize", c_size_t, place)
            array[index] = ctypes.string_at(call("TF_StringGetDataPointer", c_void_p, place), length)
    else:
        raw = ctypes.string_at(data, call("TF_TensorByteSize", c_size_t, tensor)) if count else b""
        array = np.frombuffer(raw, dtype.as_numpy_dtype, count)
    call("TF_DeleteTensor", None, tensor)
    return array.reshape(shape)
