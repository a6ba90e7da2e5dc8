"""Fixtures: a model that is built once, servers of it in this process on free ports of 127.0.0.1."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest
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
from tests.serving.server.models import request

CALL_S = 30  # no call of a test may hang
manager.POLL_S = 0.05  # for all servers of the tests


def rest(url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Returns the status and the document of an answer: always JSON, never for web pages. Sends the path as it is."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=CALL_S)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "application/json"
        assert not [name for name in response.headers if name.startswith("Access-Control")]
        return response.status, json.loads(response.read())


@dataclass
class Client:
    """Talks to a server under test as any TensorFlow Serving client would."""

    app: ServerApp
    channel: grpc.Channel
    url: str  # of its REST API, without a path
    grpc_port: int

    def post(self, body: Any, route: str = ":predict", **headers: str) -> tuple[int, Any]:
        sent = body if isinstance(body, (bytes, str, Iterator)) else json.dumps(body)
        return rest(self.url, "POST", f"/v1/models/zoo{route}", sent, **headers)

    def get(self, route: str = "", **headers: str) -> tuple[int, Any]:
        return rest(self.url, "GET", f"/v1/models/zoo{route}", **headers)

    def connection(self, sent: bytes = b"", protocol: str = "rest") -> socket.socket:
        """Returns a bare connection, on which some bytes have been sent."""
        port = urlsplit(self.url).port if protocol == "rest" else self.grpc_port
        connection = socket.create_connection(("127.0.0.1", port), CALL_S)
        connection.sendall(sent)
        return connection

    def states(self) -> dict[str, str]:
        """State by version, the newest first."""
        return {entry["version"]: entry["state"] for entry in self.get()[1]["model_version_status"]}

    def predict(self, message: predict_pb2.PredictRequest, timeout: float | None = CALL_S) -> Any:
        return PredictionServiceStub(self.channel).Predict(message, timeout=timeout)

    def run(self, signature: str = "", **inputs: Any) -> dict[str, np.ndarray]:
        response = self.predict(request(signature, **inputs))
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

    def calling(self, signature: str, **inputs: Any) -> grpc.Future:
        """Starts a call; returns when it runs or waits."""
        admitted = len(self.app.admission._queue)
        call = PredictionServiceStub(self.channel).Predict.future(request(signature, **inputs), timeout=CALL_S)
        wait_until(lambda: len(self.app.admission._queue) > admitted)
        return call

    def status(self, spec: dict[str, Any] | None) -> get_model_status_pb2.GetModelStatusResponse:
        message = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return ModelServiceStub(self.channel).GetModelStatus(message, timeout=CALL_S)

    def metadata(self, spec: dict[str, Any] | None, *fields: str) -> get_model_metadata_pb2.GetModelMetadataResponse:
        message = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=fields)
        return PredictionServiceStub(self.channel).GetModelMetadata(message, timeout=CALL_S)


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
def started(base: Path, *more: str, loaded: bool = True) -> Iterator[Client]:
    """A server in this process, with further flags; whose model may still load, if it need not be loaded."""
    grpc_port, rest_port = free_port(), free_port()
    ports = f"--port={grpc_port}", f"--rest_api_port={rest_port}"
    app = ServerApp(flags.parse([f"--model_base_path={base}", "--model_name=zoo", *ports, *more]), threading.Event())
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}", options=GRPC_OPTIONS) as channel:
        app.start()
        try:
            wait_until(lambda: app.manager.ready or not loaded)
            yield Client(app, channel, f"http://127.0.0.1:{rest_port}", grpc_port)
        finally:
            app.stop()


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
def zoo_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's base path, with version 1."""
    base = tmp_path_factory.mktemp("zoo")
    models.zoo(base / "1")
    return base


@pytest.fixture(scope="session")
def zoo(zoo_dir: Path) -> Iterator[Client]:
    """A server of the model with many signatures."""
    with started(zoo_dir) as client:
        yield client
