"""One loaded version of a model: a v1 session on the `serve` tag, run by feed and fetch names.

That is how TensorFlow Serving holds a SavedModel. `tf.saved_model.load` would check shapes that TensorFlow Serving does
not, could not prune to the outputs asked for, and could not load a TF1-style SavedModel.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, error_codes_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.saved_model import loader_impl

from model.versions import VersionPath
from serving.errors import DeadlineExceeded, InvalidInput, ServingFailed, from_code
from serving.server.admission import TIMED_OUT

# TensorFlow's own allocator keeps a step's memory for the next step; malloc would return it to the system
# and take fresh pages each time. With oneDNN this is the default.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")

Array: TypeAlias = npt.NDArray[Any]
"""A tensor. Strings are object arrays of `bytes`: NumPy's own bytes dtype would cut trailing NULs off a picture."""

SERVE_TAG = "serve"
DEFAULT_SIGNATURE = "serving_default"
MAX_STRING_RANK = 32  # TensorFlow's wrapper walks strings by NumPy 1's iterator: beyond this it would end the process


class Servable:
    """A version that can be run, by any number of threads at once.

    Attributes:
      version: its number.
      signatures: name to SignatureDef, all that the SavedModel declares.
    """

    def __init__(self, version: VersionPath, intra_op_threads: int = 0, inter_op_threads: int = 0) -> None:
        """Loads a version directory and runs its initialisers.

        Args:
          version: the directory.
          intra_op_threads: threads that share one operation; 0: as many as there are cores.
          inter_op_threads: operations that may run at once; 0: as many as there are cores.

        Raises:
          ServingFailed: the directory holds no SavedModel that this TensorFlow can load; the text says why.
        """
        graph = tf.Graph()
        config = config_pb2.ConfigProto(
            allow_soft_placement=True,
            intra_op_parallelism_threads=intra_op_threads,
            inter_op_parallelism_threads=inter_op_threads,
        )
        # The real server takes the whole GPU at its start; this one shares a desktop with other programs.
        config.gpu_options.allow_growth = True
        # TensorFlow rewrites a graph before its first run, twice over by default. For ours once is enough:
        # same speed, same bytes, and without it the first call costs a fifth less (on TensorFlow 2.19.1).
        config.graph_options.rewrite_options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
        self._session: Any = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                # What `tf.compat.v1.saved_model.load` does, without its advice to give up sessions.
                meta_graph = loader_impl.SavedModelLoader(str(version.path)).load(self._session, [SERVE_TAG])
        except Exception as error:  # the loader raises OSError, RuntimeError, ValueError, OpError, DecodeError and more
            self.close()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ServingFailed(
                f"Could not load the SavedModel in {version.path} (tag `{SERVE_TAG}`): {reason}"
            ) from error
        graph.finalize()  # nothing may grow it from here on: `Session::Run` is then safe from many threads
        self.version = version.number
        self.signatures: Mapping[str, meta_graph_pb2.SignatureDef] = dict(meta_graph.signature_def)

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, Array],
        output_filter: Sequence[str] = (),
        deadline: float | None = None,
    ) -> dict[str, Array]:
        """Runs a signature, by `Session::Run` as TensorFlow Serving does.

        Args:
          signature_name: empty for `serving_default`.
          inputs: alias to array; strings as object arrays of bytes. Shapes and dtypes are the graph's to check.
          output_filter: aliases of the outputs to compute; empty for all.
          deadline: when the run must stop, on the clock of `time.monotonic`. None: never.

        Returns:
          Alias to array, in the order of the filter; strings as object arrays of bytes.

        Raises:
          StyleTransferError: with TensorFlow's code and text, whatever fails in the graph included.
        """
        signature = self.signatures.get(name := signature_name or DEFAULT_SIGNATURE)
        if signature is None:
            raise ServingFailed(f'Serving signature key "{name}" not found.', "FAILED_PRECONDITION")
        fetches = _fetches(signature, output_filter)
        feeds = {self._handle(name): array for name, array in _feeds(signature, inputs).items()}
        handles = [self._handle(name) for name in fetches.values()]
        # `Session.run` would check shapes. `_make_callable_from_options` fixes the timeout when the callable is made,
        # and making one costs 10 ms for a tiny graph; this call takes a timeout per run and costs 0.05 ms (on
        # TensorFlow 2.19.1).
        options = config_pb2.RunOptions()
        if deadline is not None:
            options.timeout_in_ms = max(0, int((deadline - time.monotonic()) * 1000))
            if options.timeout_in_ms == 0:  # which would mean: no timeout
                raise DeadlineExceeded(TIMED_OUT)
        buffer = pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())
        try:
            outputs = self._session._call_tf_sessionrun(buffer, feeds, handles, [], None)
        except tf.errors.OpError as error:
            code = error_codes_pb2.Code.Name(error.error_code)
            raise from_code(code, tf.compat.as_text(error.message)) from None
        except UnicodeDecodeError as error:
            # TensorFlow's wrapper could make no text of an error that quotes bytes of the request: its code is lost.
            raise InvalidInput(error.object.decode("utf-8", "replace")) from None
        finally:
            pywrap_tf_session.TF_DeleteBuffer(buffer)
        return dict(zip(fetches, map(_as_array, outputs), strict=True))

    def close(self) -> None:
        """Frees the session. No run may be going on, and none may follow. May be called twice."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _handle(self, name: str) -> Any:
        try:
            return self._session.graph.get_tensor_by_name(name)._as_tf_output()
        except ValueError:  # an operation without outputs, such as the initialiser's
            raise InvalidInput(f"Tried to fetch data for '{name}', which produces no output.") from None


def _feeds(signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Returns feed name to array; the rules and words are TensorFlow Serving's."""
    sent, declared = set(inputs), set(signature.inputs)
    if len(sent) != len(declared):
        raise InvalidInput(
            f"input size does not match signature: {len(sent)}!={len(declared)} len({_braces(sent)}) != "
            f"len({_braces(declared)}). Sent extra: {_braces(sent - declared)}. "
            f"Missing but required: {_braces(declared - sent)}."
        )
    for alias in sorted(declared - sent):
        raise InvalidInput(
            f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and no "
            f"default value provided. Inputs expected to be in the request {_braces(sent)}, or default input alias "
            "set: "
        )
    feeds = {signature.inputs[alias].name: array for alias, array in inputs.items()}
    for name, array in feeds.items():
        if array.dtype == object and array.ndim > MAX_STRING_RANK:
            raise InvalidInput(
                f"Tensor {name} must have at most {MAX_STRING_RANK} dimensions, since it is of strings. "
                f"Received: {array.ndim}"
            )
    return feeds


def _fetches(signature: meta_graph_pb2.SignatureDef, output_filter: Sequence[str]) -> dict[str, str]:
    """Returns alias to fetch name; an empty filter means all outputs."""
    fetches: dict[str, str] = {}
    for alias in output_filter or sorted(signature.outputs):
        if alias not in signature.outputs:
            raise InvalidInput(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_braces(signature.outputs)}."
            )
        if alias in fetches:
            raise InvalidInput(f"duplicate output tensor alias: {alias}")
        fetches[alias] = signature.outputs[alias].name
    return fetches


def _braces(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _as_array(value: Any) -> Array:
    if isinstance(value, (bytes, str)):  # a scalar string; np.asarray would cut its trailing NULs off
        array = np.empty((), dtype=object)
        array[()] = tf.compat.as_bytes(value)
        return array
    return np.asarray(value)
