"""The warm-up requests that an export carries."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model import warmup
from model.contract import SIGNATURES
from tests.conftest import decoded


def test_export_carries_a_request_for_what_our_clients_call(small_model: Path) -> None:
    """As the official messages read them."""
    records = tf.compat.v1.io.tf_record_iterator(str(small_model / "1" / warmup.WARMUP_FILE))
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert [request.model_spec.signature_name for request in requests] == ["describe", "advance"]
    for request in requests:
        declared = {tensor.name: tensor for tensor in SIGNATURES[request.model_spec.signature_name].inputs}
        assert set(request.inputs) == set(declared)
        for name, proto in request.inputs.items():
            assert tf.make_ndarray(proto).shape == (1,) * len(declared[name].shape)
            assert proto.dtype == tf.as_dtype(declared[name].dtype).as_datatype_enum
    advance = requests[1].inputs
    for name in ("content_bytes", "style_bytes"):
        assert decoded(advance[name].string_val[0]).shape == (48, 64, 3)
    assert advance["settings"].string_val[0] == warmup.RECIPE.encode()
    assert advance["state_bytes"].string_val[0] == b""
    assert list(advance["take_steps"].int_val) == [1]
