"""The warm-up requests that an export carries."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model import contract, warmup
from model.contract import SIGNATURES, Signature, TensorInfo
from tests.conftest import decoded


def written(version: Path) -> list[prediction_log_pb2.PredictionLog]:
    """The requests as the official messages read them."""
    records = tf.compat.v1.io.tf_record_iterator(str(version / warmup.WARMUP_FILE))
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in records]


def test_export_carries_a_request_for_what_our_clients_call(small_model: Path) -> None:
    requests = [log.predict_log.request for log in written(small_model / "1")]
    assert [request.model_spec.signature_name for request in requests] == ["describe", "advance"]
    for request in requests:
        declared = {tensor.name: tensor for tensor in SIGNATURES[request.model_spec.signature_name].inputs}
        assert set(request.inputs) == set(declared)
        for name, proto in request.inputs.items():
            array = tf.make_ndarray(proto)
            assert array.shape == (1,) * len(declared[name].shape)
            assert proto.dtype == tf.as_dtype(declared[name].dtype).as_datatype_enum


def test_every_input_gets_what_it_can_be_run_with(small_model: Path) -> None:
    (advance,) = [
        log.predict_log.request.inputs
        for log in written(small_model / "1")
        if log.predict_log.request.model_spec.signature_name == "advance"
    ]
    for name in ("content_bytes", "style_bytes"):
        assert decoded(advance[name].string_val[0]).shape == (48, 64, 3)
    assert advance["settings"].string_val[0] == warmup.RECIPE.encode()
    assert advance["state_bytes"].string_val[0] == b""
    assert list(advance["take_steps"].int_val) == [1]


def test_any_signature_can_be_warmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = TensorInfo("mask_bytes", "", (None, None))
    start = TensorInfo("start_content_bytes", "")
    weight = TensorInfo("weight", "", dtype="float32")
    inputs = (contract.CONTENT, mask, start, weight, contract.SETTINGS_TEXT)
    monkeypatch.setattr(warmup, "SIGNATURES", {"guided": Signature("guided", inputs, ())})
    monkeypatch.setattr(warmup, "WARMED", ["guided"])
    warmup.write(tmp_path)
    ((log,)) = written(tmp_path)
    inputs = log.predict_log.request.inputs
    assert list(inputs["mask_bytes"].string_val) == [b""]
    assert len(inputs["mask_bytes"].tensor_shape.dim) == 2
    assert inputs["start_content_bytes"].string_val[0].startswith(b"\x89PNG")
    assert list(inputs["weight"].float_val) == [1.0]


def test_same_model_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        warmup.write(tmp_path / name)
    assert (tmp_path / "a" / warmup.WARMUP_FILE).read_bytes() == (tmp_path / "b" / warmup.WARMUP_FILE).read_bytes()
