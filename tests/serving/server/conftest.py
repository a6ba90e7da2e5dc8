"""Fixtures: models built once, servers in this process on free ports of 127.0.0.1."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from serving.contract import GRPC_OPTIONS
from serving.server import flags, manager
from serving.server.app import ServerApp
from serving.server.servable import Servable
from tests.ports import free_port
from tests.serving.server import models

CALL_S = 30  # no call of a test may hang
manager.POLL_S = 0.05  # for all servers of the tests


@dataclass
class Client:
    """Talks to a server under test as any TensorFlow Serving client would."""

    name: str
    app: ServerApp
    channel: grpc.Channel
    url: str  # of its REST API, without a path

    def rest(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, self.url + path, timeout=CALL_S, **options)

    def post(self, body: Any, route: str = ":predict") -> requests.Response:
        options = {"data": body} if isinstance(body, (bytes, str)) else {"json": body}
        return self.rest("POST", f"/v1/models/{self.name}{route}", **options)

    def get(self, route: str = "") -> requests.Response:
        return self.rest("GET", f"/v1/models/{self.name}{route}")

    def states(self) -> dict[str, str]:
        """State by version, the newest first."""
        return {entry["version"]: entry["state"] for entry in self.get().json()["model_version_status"]}

    def request(self, signature: str = "", outputs: tuple[str, ...] = (), **inputs: Any) -> predict_pb2.PredictRequest:
        return models.request(self.name, signature, outputs, **inputs)

    def predict(self, request: predict_pb2.PredictRequest, timeout: float | None = CALL_S) -> Any:
        return PredictionServiceStub(self.channel).Predict(request, timeout=timeout)

    def run(self, signature: str = "", **inputs: Any) -> dict[str, np.ndarray]:
        response = self.predict(self.request(signature, **inputs))
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

    def calling(self, signature: str, **inputs: Any) -> grpc.Future:
        """Starts a call; returns when it runs or waits."""
        admitted = self.app.admission.admitted
        request = self.request(signature, **inputs)
        call = PredictionServiceStub(self.channel).Predict.future(request, timeout=CALL_S)
        wait_until(lambda: self.app.admission.admitted > admitted)
        return call

    def status(self, spec: dict[str, Any] | None) -> get_model_status_pb2.GetModelStatusResponse:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return ModelServiceStub(self.channel).GetModelStatus(request, timeout=CALL_S)

    def metadata(self, spec: dict[str, Any] | None, *fields: str) -> get_model_metadata_pb2.GetModelMetadataResponse:
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=fields)
        return PredictionServiceStub(self.channel).GetModelMetadata(request, timeout=CALL_S)


def failure(call: Callable[[], Any]) -> tuple[str, str]:
    """Returns the code and text that a gRPC call fails with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Returns when the condition holds; fails if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@contextmanager
def started(base: Path, name: str, *more: str) -> Iterator[Client]:
    """A server in this process; its ports are open but the model may still load. `more`: further flags."""
    grpc_port, rest_port = free_port(), free_port()
    ports = f"--port={grpc_port}", f"--rest_api_port={rest_port}"
    app = ServerApp(flags.parse([f"--model_base_path={base}", f"--model_name={name}", *ports, *more]))
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}", options=GRPC_OPTIONS) as channel:
        app.start()
        try:
            yield Client(name, app, channel, f"http://127.0.0.1:{rest_port}")
        finally:
            app.stop()


@contextmanager
def available(base: Path, name: str, *more: str) -> Iterator[Client]:
    """A server in this process whose model is loaded."""
    with started(base, name, *more) as client:
        wait_until(lambda: client.app.manager.ready)
        yield client


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Runs of the servers in this process wait until it is set."""
    go, predict = threading.Event(), Servable.predict

    def predict_when_told(*arguments: Any, **options: Any) -> Any:
        go.wait(CALL_S)
        return predict(*arguments, **options)

    monkeypatch.setattr(Servable, "predict", predict_when_told)
    yield go
    go.set()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both models, one directory each."""
    base = tmp_path_factory.mktemp("models")
    models.half_plus_two(base / "half_plus_two")
    models.zoo(base / "zoo")
    return base


@pytest.fixture(scope="session")
def half_plus_two(model_dir: Path) -> Iterator[Client]:
    """A server of half_plus_two, version 123."""
    with available(model_dir / "half_plus_two", "half_plus_two") as client:
        yield client


@pytest.fixture(scope="session")
def zoo(model_dir: Path) -> Iterator[Client]:
    """A server of the model with many signatures."""
    with available(model_dir / "zoo", "zoo") as client:
        yield client
