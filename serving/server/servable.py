"""One loaded version of a model: a v1 session on the `serve` tag, run by feed and fetch names.

TensorFlow Serving does the same. `tf.saved_model.load` would check shapes, which TensorFlow Serving does not. It cannot
prune the graph to the outputs asked for, and cannot load a TF1-style SavedModel.
"""

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

# TensorFlow's BFC allocator keeps a step's memory for the next step; malloc would return it to the system and take
# fresh pages each time. With oneDNN it is the default.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")

Array: TypeAlias = npt.NDArray[Any]
"""A tensor. Strings are object arrays of `bytes`: NumPy's bytes dtype would cut off a picture's trailing NULs."""

SERVE_TAG = "serve"
DEFAULT_SIGNATURE = "serving_default"
MAX_STRING_RANK = 32  # TensorFlow's wrapper uses NumPy 1's iterator for strings: beyond this the process crashes


class Servable:
    """A loaded version, which any number of threads may run at once; `signatures` are its SignatureDefs by name."""

    def __init__(self, version: VersionPath, intra_op_threads: int = 0, inter_op_threads: int = 0) -> None:
        """Loads a version directory and runs its initialisers, or raises ServingFailed, whose text says why it cannot.

        Up to `intra_op_threads` share one operation, and `inter_op_threads` operations run at once; 0: all cores.
        """
        graph = tf.Graph()
        config = config_pb2.ConfigProto(
            allow_soft_placement=True,
            intra_op_parallelism_threads=intra_op_threads,
            inter_op_parallelism_threads=inter_op_threads,
        )
        # tensorflow_model_server takes the whole GPU at its start; this server shares a desktop with other programs.
        config.gpu_options.allow_growth = True
        # By default TensorFlow optimises a graph twice before its first run. Once is enough for ours: the speed and the
        # results are the same, and the first call takes a fifth less time (on TensorFlow 2.19.1).
        rewriting = config.graph_options.rewrite_options
        rewriting.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
        if not tf.config.list_physical_devices("GPU"):
            # On a CPU no step is faster for these two, and the first call takes a seventh less time without.
            rewriting.constant_folding = rewriter_config_pb2.RewriterConfig.OFF
            rewriting.memory_optimization = rewriter_config_pb2.RewriterConfig.NO_MEM_OPT
        self._session: Any = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                # As `tf.compat.v1.saved_model.load`, without its deprecation warning.
                meta_graph = loader_impl.SavedModelLoader(str(version.path)).load(self._session, [SERVE_TAG])
        except Exception as error:  # the loader raises OSError, RuntimeError, ValueError, OpError, DecodeError and more
            self.close()
            reason = " ".join(str(error).split()) or type(error).__name__
            what = f"Could not load the SavedModel in {version.path} (tag `{SERVE_TAG}`)"
            raise ServingFailed(f"{what}: {reason}") from error
        graph.finalize()  # a graph that cannot grow may be run by many threads
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
          inputs: arrays by alias; strings as object arrays of bytes. The graph must check shapes and dtypes.
          output_filter: aliases of the outputs to compute; empty for all.
          deadline: when the run must stop, on the clock of `time.monotonic`. None: never.

        Returns:
          Arrays by alias, in the order of the filter; strings as object arrays of bytes.

        Raises:
          StyleTransferError: with TensorFlow's code and text, also for failures in the graph.
        """
        signature = self.signatures.get(name := signature_name or DEFAULT_SIGNATURE)
        if signature is None:
            raise ServingFailed(f'Serving signature key "{name}" not found.', "FAILED_PRECONDITION")
        fetches = _fetches(signature, output_filter)
        feeds = {self._handle(name): array for name, array in _feeds(signature, inputs).items()}
        handles = [self._handle(name) for name in fetches.values()]
        # `Session.run` would check shapes. `_make_callable_from_options` would need a callable for each timeout, which
        # takes 10 ms to make for a tiny graph. This call takes a timeout per run and costs 0.05 ms (TensorFlow 2.19.1).
        options = config_pb2.RunOptions()
        if deadline is not None:
            options.timeout_in_ms = max(0, int((deadline - time.monotonic()) * 1000))
            if options.timeout_in_ms == 0:  # 0 would mean no timeout
                raise DeadlineExceeded(TIMED_OUT)
        buffer = pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())
        try:
            outputs = self._session._call_tf_sessionrun(buffer, feeds, handles, [], None)
        except tf.errors.OpError as error:
            code = error_codes_pb2.Code.Name(error.error_code)
            raise from_code(code, tf.compat.as_text(error.message)) from None
        except UnicodeDecodeError as error:
            # TensorFlow's wrapper failed to decode an error that quotes bytes of the request; the code is lost.
            raise InvalidInput(error.object.decode("utf-8", "replace")) from None
        finally:
            pywrap_tf_session.TF_DeleteBuffer(buffer)
        return dict(zip(fetches, map(_as_array, outputs), strict=True))

    def close(self) -> None:
        """Frees the session. No run may be in progress or follow. May be called twice."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _handle(self, name: str) -> Any:
        try:
            return self._session.graph.get_tensor_by_name(name)._as_tf_output()
        except ValueError:  # an operation without outputs, such as the initialiser's
            raise InvalidInput(f"Tried to fetch data for '{name}', which produces no output.") from None


def _feeds(signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Returns arrays by feed name; checks and error texts are TensorFlow Serving's."""
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
            expected = f"at most {MAX_STRING_RANK} dimensions to hold strings"
            raise InvalidInput(f"Tensor {name} must have {expected}. Received: {array.ndim}")
    return feeds


def _fetches(signature: meta_graph_pb2.SignatureDef, output_filter: Sequence[str]) -> dict[str, str]:
    """Returns fetch names by alias; an empty filter means all outputs."""
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
    if isinstance(value, (bytes, str)):  # a scalar string; np.asarray would cut off its trailing NULs
        array = np.empty((), dtype=object)
        array[()] = tf.compat.as_bytes(value)
        return array
    return np.asarray(value)
