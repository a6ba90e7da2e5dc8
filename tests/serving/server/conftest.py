"""Fixtures: models built once, servers in this process on free ports of 127.0.0.1."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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

from serving import contract
from serving.server import flags
from serving.server.app import ServerApp
from tests.serving.server import models

CALL_S = 30  # no call of a test may hang


@dataclass
class Client:
    """Talks to a server under test as any TensorFlow Serving client would."""

    name: str
    app: ServerApp
    channel: grpc.Channel

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.app.rest_port}/v1/models/{self.name}"

    def post(self, body: Any, suffix: str = ":predict") -> requests.Response:
        data = body if isinstance(body, (bytes, str)) else None
        return requests.post(self.url + suffix, data=data, json=None if data is not None else body, timeout=CALL_S)

    def get(self, suffix: str = "") -> requests.Response:
        return requests.get(self.url + suffix, timeout=CALL_S)

    def request(self, signature: str = "", outputs: tuple[str, ...] = (), **inputs: Any) -> predict_pb2.PredictRequest:
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name = self.name
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        return request

    def predict(self, request: predict_pb2.PredictRequest, timeout: float | None = CALL_S) -> Any:
        return PredictionServiceStub(self.channel).Predict(request, timeout=timeout)

    def run(self, signature: str = "", **inputs: Any) -> dict[str, np.ndarray]:
        response = self.predict(self.request(signature, **inputs))
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

    def status(self, **spec: Any) -> get_model_status_pb2.GetModelStatusResponse:
        request = get_model_status_pb2.GetModelStatusRequest()
        fill_spec(request, **{"name": self.name, **spec})
        return ModelServiceStub(self.channel).GetModelStatus(request, timeout=CALL_S)

    def metadata(self, *fields: str, **spec: Any) -> get_model_metadata_pb2.GetModelMetadataResponse:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        fill_spec(request, **{"name": self.name, **spec})
        return PredictionServiceStub(self.channel).GetModelMetadata(request, timeout=CALL_S)

    def states(self) -> dict[str, str]:
        """State by version, the newest first."""
        return {entry["version"]: entry["state"] for entry in self.get().json()["model_version_status"]}

    def wait_until_available(self) -> None:
        wait_until(lambda: self.app.manager.ready)

    def calling(self, signature: str, **inputs: Any) -> grpc.Future:
        """Starts a call; returns when it runs or waits."""
        admitted = self.app.admission.admitted
        request = self.request(signature, **inputs)
        call = PredictionServiceStub(self.channel).Predict.future(request, timeout=CALL_S)
        wait_until(lambda: self.app.admission.admitted > admitted)
        return call


def failure(call: Callable[[], Any]) -> tuple[str, str]:
    """Returns the code and text that a gRPC call fails with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def fill_spec(request: Any, *, name: str | None, version: int | None = None) -> None:
    """Fills a request's model_spec; name None leaves it out."""
    if name is not None:
        request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Returns when the condition holds; fails if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def app_of(base: Path, name: str, *more: str) -> ServerApp:
    """A server on two free ports that looks for versions often; `more`: further flags."""
    options = flags.parse([f"--model_base_path={base}", f"--model_name={name}", *more])
    return ServerApp(options, any_free_port=True, poll_s=0.05)


@contextmanager
def served(base: Path, name: str, *more: str) -> Iterator[Client]:
    """Serves a model in this process; the ports are open but the model may still load. Arguments: as `app_of`."""
    app = app_of(base, name, *more)
    with grpc.insecure_channel(f"127.0.0.1:{app.grpc_port}", options=contract.GRPC_OPTIONS) as channel:
        app.start()
        try:
            yield Client(name, app, channel)
        finally:
            app.stop()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all models, one directory each."""
    base = tmp_path_factory.mktemp("models")
    models.half_plus_two(base / "half_plus_two")
    models.half_plus_three(base / "half_plus_three")
    models.zoo(base / "zoo")
    return base


@pytest.fixture(scope="session")
def _servers(model_dir: Path) -> Iterator[dict[str, Client]]:
    with ExitStack() as stack:
        clients = {name: stack.enter_context(served(model_dir / name, name)) for name in ("half_plus_two", "zoo")}
        for client in clients.values():
            client.wait_until_available()
        yield clients


@pytest.fixture
def half_plus_two(_servers: dict[str, Client]) -> Client:
    """A server of half_plus_two, version 123."""
    return _servers["half_plus_two"]


@pytest.fixture
def zoo(_servers: dict[str, Client]) -> Client:
    """A server of the model with many signatures."""
    return _servers["zoo"]
