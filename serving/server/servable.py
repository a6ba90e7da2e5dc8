"""One loaded version of a model: a v1 session on the `serve` tag, run by feed and fetch names.

That is how TensorFlow Serving holds a SavedModel. `tf.saved_model.load` would check shapes that TensorFlow Serving does
not, could not prune to the outputs asked for, and could not load a TF1-style SavedModel.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, error_codes_pb2, rewriter_config_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.saved_model import loader_impl

from model.versions import VersionPath
from serving.errors import DeadlineExceeded, InvalidInput, ModelNotFound, ServingFailed, StyleTransferError, from_code
from serving.server import signature_rules
from serving.server.run_queue import TIMED_OUT
from serving.server.tensor_proto import Array

# Memory of a step's tensors stays for the next step; malloc gives it back, and the system makes its pages anew. Where
# TensorFlow computes by oneDNN it does so by itself.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")

SERVE_TAG = "serve"
MAX_STRING_RANK = 32  # TensorFlow's wrapper walks strings by NumPy 1's iterator: beyond this it would end the process


@dataclass(frozen=True)
class SessionOptions:
    """How sessions are made.

    Attributes:
      tags: of the meta graph to load, comma separated.
      intra_op_parallelism: threads that share one operation; 0: as many as there are cores.
      inter_op_parallelism: operations that may run at once; 0: as many as there are cores.
      check_method_names: whether only signatures made for serving may be called.
    """

    tags: str = SERVE_TAG
    intra_op_parallelism: int = 0
    inter_op_parallelism: int = 0
    check_method_names: bool = False


class Servable:
    """A version that can be run, by any number of threads at once.

    Attributes:
      name: the model's name.
      version: its number.
      signatures: name to SignatureDef, all that the SavedModel declares.
    """

    def __init__(
        self,
        name: str,
        version: int,
        session: Any,
        signatures: Mapping[str, signature_rules.Signature],
        check_method_names: bool = False,
    ) -> None:
        """Takes a session that is ready to run; use `load`."""
        self.name = name
        self.version = version
        self.signatures = signatures
        self.check_method_names = check_method_names
        self._session = session

    @classmethod
    def load(cls, name: str, version: VersionPath, options: SessionOptions | None = None) -> Servable:
        """Loads a version directory and runs its initialisers.

        Raises:
          ServingFailed: the directory holds no SavedModel that this TensorFlow can load; the text says why.
        """
        options = options or SessionOptions()
        graph = tf.Graph()
        config = config_pb2.ConfigProto(
            allow_soft_placement=True,
            intra_op_parallelism_threads=options.intra_op_parallelism,
            inter_op_parallelism_threads=options.inter_op_parallelism,
        )
        # The real server takes the whole GPU at its start; this one shares a desktop with other programs.
        config.gpu_options.allow_growth = True
        # TensorFlow rewrites a graph before its first run, twice over by default. For ours once is enough:
        # same speed, same bytes, and without it the first call costs a fifth less (on TensorFlow 2.19.1).
        config.graph_options.rewrite_options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
        session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                # What `tf.compat.v1.saved_model.load` does, without its advice to give up sessions.
                loader = loader_impl.SavedModelLoader(str(version.path))
                meta_graph = loader.load(session, options.tags.split(","))
        except Exception as error:  # the loader raises OSError, RuntimeError, ValueError, OpError, DecodeError and more
            session.close()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ServingFailed(
                f"Could not load the SavedModel in {version.path} (tag `{options.tags}`): {reason}"
            ) from error
        graph.finalize()  # nothing may grow it from here on: `Session::Run` is then safe from many threads
        return cls(name, version.number, session, dict(meta_graph.signature_def), options.check_method_names)

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, Array],
        output_filter: Sequence[str] = (),
        deadline: float | None = None,
    ) -> dict[str, Array]:
        """Runs a signature.

        Args:
          signature_name: empty for `serving_default`.
          inputs: alias to array; strings as object arrays of bytes.
          output_filter: aliases of the outputs to compute; empty for all.
          deadline: when the run must stop, on the clock of `time.monotonic`. None: never.

        Returns:
          Alias to array, in the order of the filter; strings as object arrays of bytes.

        Raises:
          StyleTransferError: with TensorFlow's code and text, whatever fails in the graph included.
        """
        signature = signature_rules.find_signature(self.signatures, signature_name)
        if self.check_method_names:
            signature_rules.check_method(signature)
        feeds = signature_rules.feeds_of(signature, inputs)
        fetches = signature_rules.fetches_of(signature, output_filter)
        return dict(zip(fetches, self.run(feeds, list(fetches.values()), deadline), strict=True))

    def close(self) -> None:
        """Frees the session. No run may be going on, and none may follow. May be called twice."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], deadline: float | None = None) -> list[Array]:
        """Calls `Session::Run` as TensorFlow Serving does, through TensorFlow's own thin wrapper of it.

        Args:
          feeds: tensor name to array; strings as object arrays of bytes.
          fetches: tensor names.
          deadline: as in `predict`.

        Returns:
          An array for each fetch.

        Raises:
          StyleTransferError: as `predict`.
        """
        # `Session.run` would check shapes. `_make_callable_from_options` fixes the timeout when the callable is made,
        # and making one costs 10 ms for a tiny graph; this call takes a timeout per run and costs 0.05 ms (on
        # TensorFlow 2.19.1).
        options = config_pb2.RunOptions()
        if deadline is not None:
            remaining_ms = int((deadline - time.monotonic()) * 1000)
            if remaining_ms <= 0:  # and 0 would mean: no timeout
                raise DeadlineExceeded(TIMED_OUT)
            options.timeout_in_ms = remaining_ms
        for name, array in feeds.items():
            if array.dtype == object and array.ndim > MAX_STRING_RANK:
                raise InvalidInput(
                    f"Tensor {name} must have at most {MAX_STRING_RANK} dimensions, since it is of strings. "
                    f"Received: {array.ndim}"
                )
        handles = {self._handle(name): array for name, array in feeds.items()}
        outputs = [self._handle(name) for name in fetches]
        buffer = pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())
        try:
            return [_as_array(v) for v in self._session._call_tf_sessionrun(buffer, handles, outputs, [], None)]
        except tf.errors.OpError as error:
            raise _translate(error) from None
        except UnicodeDecodeError as error:
            # TensorFlow's wrapper could make no text of an error that quotes bytes of the request: its code is lost.
            raise InvalidInput(error.object.decode("utf-8", "replace")) from None
        finally:
            pywrap_tf_session.TF_DeleteBuffer(buffer)

    def _handle(self, name: str) -> Any:
        try:
            return self._session.graph.get_tensor_by_name(name)._as_tf_output()
        except ValueError:  # an operation without outputs, such as the initialiser's
            raise InvalidInput(
                f"Tried to fetch data for '{name}', which produces no output.  To run to a node but not fetch any "
                f"data, pass '{name}' as an argument to the 'target_node_names' argument of the Session::Run API."
            ) from None
        except KeyError:
            raise ModelNotFound(f"FetchOutputs node {name}: not found") from None


def _translate(error: tf.errors.OpError) -> StyleTransferError:
    """Returns a TensorFlow error as one of ours: same code, same text."""
    return from_code(error_codes_pb2.Code.Name(error.error_code), tf.compat.as_text(error.message))


def _as_array(value: Any) -> Array:
    if isinstance(value, (bytes, str)):  # a scalar string; np.asarray would cut its trailing NULs off
        array = np.empty((), dtype=object)
        array[()] = tf.compat.as_bytes(value)
        return array
    return np.asarray(value)
