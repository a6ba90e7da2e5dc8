"""The small parts: tensors in protos, versions, flags, the run queue."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from model.versions import VersionPath
from serving.errors import Cancelled, DeadlineExceeded, InvalidInput, ModelNotFound, Overloaded, ServingUnavailable
from serving.server import flags, tensor_proto, versions
from serving.server.run_queue import RunQueue
from tests.serving.server.conftest import wait_until
from tests.serving.server.models import IDENTITY_DTYPES


@pytest.mark.parametrize("dtype", IDENTITY_DTYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("shape", [(), (2, 3), (0, 2)])
def test_tensor_survives_both_forms(dtype: tf.DType, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    values = [b"\0", b"a\0", "é".encode(), b"", b"\xff", b"b"] if dtype == tf.string else [0, 1, 1, 0, 1, 0]
    array = np.empty(count, dtype=dtype.as_numpy_dtype)
    array[:] = values[:count]
    array = array.reshape(shape)
    encoded = tensor_pb2.TensorProto()
    tensor_proto.encode(array, encoded)
    assert not encoded.tensor_content  # typed fields, as TensorFlow Serving
    for proto in (encoded, tf.make_tensor_proto(array, dtype=dtype)):
        decoded = tensor_proto.decode(proto, "x")
        assert decoded.dtype == array.dtype
        assert decoded.shape == shape
        assert decoded.tolist() == array.tolist()


def test_one_value_fills_a_tensor() -> None:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[7])
    proto.tensor_shape.dim.add(size=3)
    assert tensor_proto.decode(proto, "x").tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("dtype", "dims", "fields"),
    [
        (types_pb2.DT_FLOAT, [-1], {"tensor_content": b"1234"}),
        (types_pb2.DT_FLOAT, [2], {"float_val": [1, 2, 3]}),
        (types_pb2.DT_FLOAT, [2], {"tensor_content": b"123"}),
        (types_pb2.DT_STRING, [1], {"tensor_content": b"123"}),
        (types_pb2.DT_FLOAT, [2**20, 2**20], {"float_val": [1]}),
        (types_pb2.DT_STRING, [2**20, 2**20], {}),
        (types_pb2.DT_COMPLEX64, [2**20, 2**20], {"scomplex_val": [1, 0]}),
        (types_pb2.DT_INVALID, [], {}),
        (types_pb2.DT_RESOURCE, [], {}),
        (types_pb2.DT_INT8, [1], {"int_val": [300]}),
    ],
)
def test_damaged_tensor_is_refused(dtype: int, dims: list[int], fields: dict) -> None:
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in dims:
        proto.tensor_shape.dim.add(size=size)
    with pytest.raises(InvalidInput, match=r"^tensor parsing error: x$"):
        tensor_proto.decode(proto, "x")


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["1"], "1"),
        (["2", "10", "9"], "10"),
        (["00000123", "7"], "00000123"),
        (["1", "-5", "2x", ".3", "99999999999999999999", "tmp"], "1"),
    ],
)
def test_newest_version_is_found(tmp_path: Path, names: list[str], newest: str) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "500").touch()  # a file is no version
    found = versions.find_wanted(tmp_path, versions.VersionPolicy(), "`--model_base_path`")
    assert found == [VersionPath(int(newest), tmp_path / newest)]


def test_no_version_is_an_error_that_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"--model_base_path.*must hold a version directory"):
        versions.find_wanted(tmp_path, versions.VersionPolicy(), "`--model_base_path`")
    with pytest.raises(ModelNotFound, match=r"--model_base_path.*must be a directory"):
        versions.find_wanted(tmp_path / "missing", versions.VersionPolicy(), "`--model_base_path`")


def test_flags_have_the_names_and_defaults_of_tensorflow_serving() -> None:
    options = flags.parse(["--model_base_path=/m"])
    assert (options.port, options.rest_api_port, options.rest_api_timeout_in_ms) == (8500, 0, 30000)
    assert (options.model_name, options.enable_model_warmup, options.host) == ("default", True, "127.0.0.1")
    options = flags.parse(["--model_base_path", "/m", "--rest_api_port=8501", "--enable_model_warmup=false"])
    assert (options.rest_api_port, options.enable_model_warmup) == (8501, False)
    assert flags.parse(["--model_base_path=/m", "--enable_model_warmup"]).enable_model_warmup


# tensorflow_serving/model_servers/{main.cc,server.h}: flag, default.
OFFICIAL_FLAGS = {
    "port": 8500,
    "rest_api_port": 0,
    "rest_api_timeout_in_ms": 30000,
    "rest_api_enable_cors_support": False,
    "model_name": "default",
    "model_base_path": "",
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "allow_version_labels_for_unavailable_models": False,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60_000_000,
    "file_system_poll_wait_seconds": 1,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "saved_model_tags": "serve",
    "enable_model_warmup": True,
    "num_request_iterations_for_warmup": 1,
    "monitoring_config_file": "",
    "enable_signature_method_name_check": False,
    "enable_grpc_healthcheck_service": False,
    "enable_serialization_as_tensor_content": False,
}


def test_every_flag_is_official_or_says_that_it_is_ours() -> None:
    options = {field.name: field for field in fields(flags.ServerOptions)}
    ours = {name for name, field in options.items() if field.metadata["ours"]}
    assert ours == {"host", "max_concurrent_runs", "max_queued_runs", "max_request_bytes"}
    assert {name: field.default for name, field in options.items() if name not in ours} == OFFICIAL_FLAGS


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], "--model_base_path"),
        (["--model_base_path=/m", "--no_such_flag=1"], "--no_such_flag"),
        (["--model_base_path=/m", "--model_nam=x"], "--model_nam"),
        (["--model_base_path=/m", "--port=x"], "--port"),
        (["--model_base_path=/m", "--port=70000"], "`--port` must be from 0 to 65535. Received: 70000."),
        (["--model_base_path=/m", "--port=1", "--rest_api_port=1"], "they must differ. Received: 1 for both."),
        (["--model_base_path=/m", "--port=0"], "at least one port must be open"),
        (["--model_base_path=/m", "--model_name="], "`--model_name` must not be empty."),
        (["--model_base_path=/m", "--enable_model_warmup=perhaps"], "--enable_model_warmup"),
        (["--model_base_path=/m", "--max_concurrent_runs=0"], "--max_concurrent_runs"),
        (["--model_base_path=/m", "--max_num_load_retries=-1"], "--max_num_load_retries"),
        (["--model_base_path=/m", "--file_system_poll_wait_seconds=1.5"], "--file_system_poll_wait_seconds"),
        (["--model_base_path=/m", "--saved_model_tags="], "`--saved_model_tags` must not be empty."),
        (["--model_base_path=/m", "--enable_batching"], "--enable_batching"),
    ],
)
def test_wrong_flag_is_named(argv: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        flags.parse(argv)
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


class Runs:
    """Runs that last until they are let go."""

    def __init__(self, queue: RunQueue) -> None:
        self.queue, self.go, self.order = queue, threading.Event(), []
        self.pool = ThreadPoolExecutor(8)
        self.begun = threading.Semaphore(0)

    def add(self, number: int, **options):
        admitted = threading.Event()
        future = self.pool.submit(
            self.queue.run, lambda: self._run(number), on_admitted=lambda cancel: admitted.set(), **options
        )
        wait_until(lambda: admitted.is_set() or future.done())
        return future

    def _run(self, number: int) -> int:
        self.begun.release()
        self.go.wait(10)
        self.order.append(number)
        return number


@pytest.fixture
def runs():
    made = Runs(RunQueue(concurrent=1, waiting=2))
    yield made
    made.go.set()
    made.queue.stop()
    made.pool.shutdown()


def test_queue_runs_one_by_one_and_refuses_what_is_too_much(runs: Runs) -> None:
    first, second, third = runs.add(1), runs.add(2), runs.add(3)
    assert runs.begun.acquire(timeout=5)
    assert not runs.begun.acquire(timeout=0.05)  # one at a time
    with pytest.raises(Overloaded, match="runs 1 and holds 2 more"):
        runs.queue.run(lambda: 4)
    with pytest.raises(Overloaded):
        runs.queue.check()
    runs.go.set()
    assert [first.result(5), second.result(5), third.result(5)] == [1, 2, 3]
    assert runs.order == [1, 2, 3]
    assert runs.queue.run(lambda: 5) == 5  # there is room again


def test_queue_gives_up_waiting_at_the_deadline(runs: Runs) -> None:
    runs.add(1)
    assert runs.begun.acquire(timeout=5)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="Timed out waiting for notification"):
        runs.queue.run(lambda: 2, deadline=time.monotonic() + 0.1)
    assert time.monotonic() - started < 2
    runs.go.set()
    assert runs.queue.run(lambda: 3) == 3
    assert runs.order == [1]


def test_error_of_a_run_reaches_its_caller(runs: Runs) -> None:
    def fail() -> None:
        raise TimeoutError("of the run itself")

    with pytest.raises(TimeoutError, match="of the run itself"):
        runs.queue.run(fail, deadline=time.monotonic() + 5)


def test_waiting_run_can_be_taken_out(runs: Runs) -> None:
    runs.add(1)
    cancels = []
    waiting = runs.pool.submit(runs.queue.run, lambda: 2, on_admitted=cancels.append)
    wait_until(lambda: bool(cancels))
    assert cancels[0]()
    with pytest.raises(Cancelled):
        waiting.result(5)


def test_stopped_queue_ends_what_runs_and_drops_the_rest(runs: Runs) -> None:
    running, waiting = runs.add(1), runs.add(2)
    assert runs.begun.acquire(timeout=5)
    stopping = runs.pool.submit(runs.queue.stop)
    with pytest.raises(ServingUnavailable):
        waiting.result(5)
    with pytest.raises(ServingUnavailable):
        runs.queue.run(lambda: 3)
    assert not stopping.done()
    runs.go.set()
    stopping.result(5)
    assert running.result(5) == 1
    assert runs.order == [1]
