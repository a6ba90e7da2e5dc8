"""Our export in the C++ loader that tensorflow_model_server uses, against the embedded server."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc

from model.contract import SIGNATURES
from model.signatures import DEVICES
from model.warmup import RECIPE, WARMED, WARMUP_FILE, request_of
from serving.contract import MODEL_NAME
from tests.model.c_session import CSession, Failed
from tests.served import Served
from tests.serving.server import models


@pytest.fixture(scope="module")
def session(small_model: Path) -> Iterator[CSession]:
    """The small network, loaded by C++."""
    with contextlib.closing(CSession(small_model / "1")) as loaded:
        yield loaded


def warmup_requests(base: Path) -> dict[str, predict_pb2.PredictRequest]:
    """The requests that the export carries, by signature."""
    records = tf.compat.v1.io.tf_record_iterator(str(base / "1" / WARMUP_FILE))
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    return {request.model_spec.signature_name: request for request in requests}


def test_loader_finds_every_signature(session: CSession) -> None:
    assert set(SIGNATURES) < set(session.signatures)
    for signature in SIGNATURES.values():
        loaded = session.signatures[signature.name]
        assert sorted(loaded.inputs) == sorted(tensor.name for tensor in signature.inputs)
        assert sorted(loaded.outputs) == sorted(tensor.name for tensor in signature.outputs)


@pytest.mark.parametrize("name", WARMED)
def test_warmup_request_runs_and_equals_the_embedded_server(
    name: str, session: CSession, small_model: Path, served: Served
) -> None:
    request = warmup_requests(small_model)[name]
    outputs = session.predict(name, {alias: tf.make_ndarray(proto) for alias, proto in request.inputs.items()})
    request.model_spec.name = MODEL_NAME
    options = [("grpc.max_receive_message_length", -1)]  # a state is more than gRPC takes by default
    with grpc.insecure_channel(served.grpc.removeprefix("grpc://"), options) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
    assert set(outputs) == set(answer.outputs)
    for alias, array in outputs.items():
        np.testing.assert_array_equal(array, tf.make_ndarray(answer.outputs[alias]))


def test_run_paints(session: CSession) -> None:
    log = prediction_log_pb2.PredictionLog.FromString(request_of(SIGNATURES["advance"]))
    inputs = {alias: tf.make_ndarray(proto) for alias, proto in log.predict_log.request.inputs.items()}
    outputs = session.predict("advance", inputs | {"take_steps": np.int32([2])})  # all there are
    assert Image.open(io.BytesIO(outputs["image_bytes"][0])).size == (512, 384)
    assert outputs["losses"].shape == (1, 2, 4)
    assert np.isfinite(outputs["losses"]).all()


def test_describe_knows_the_recipe(session: CSession) -> None:
    settings = np.array([RECIPE.encode()], object)
    (description,) = session.predict("describe", {"settings": settings})["description"]
    assert json.loads(description)["settings"]["size"] == 512
    assert json.loads(description)["device"] in DEVICES


def test_mistake_is_the_graphs_own_sentence(session: CSession) -> None:
    with pytest.raises(Failed) as caught:
        session.predict("describe", {"settings": np.array([b"size=nine"], object)})
    assert caught.value.code == "INVALID_ARGUMENT"
    assert "`size`" in caught.value.message


def test_shapes_are_not_checked_against_the_signature(tmp_path: Path) -> None:
    models.half_plus_two(tmp_path)
    with contextlib.closing(CSession(tmp_path / "123")) as session:
        assert session.predict("serving_default", {"x": np.float32(1)})["y"] == 2.5


def test_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        CSession(tmp_path)
    assert caught.value.code == "NOT_FOUND"
