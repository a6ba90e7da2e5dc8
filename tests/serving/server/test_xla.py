"""A model that XLA has to compile runs where a flag lets it, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import requests
import tensorflow as tf

from serving.contract import MODEL_NAME
from tests import served
from tests.ports import free_port

CALL_S = 30


def test_a_server_without_the_flag_refuses(tmp_path: Path) -> None:
    double = tf.function(lambda x: 2 * x, jit_compile=True, autograph=False)
    signature = tf.function(lambda x: {"y": double(x)}, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"), signatures=signature)
    grpc, rest = free_port(), free_port()
    with served.serving(tmp_path, grpc, rest):
        url = f"http://127.0.0.1:{rest}/v1/models/{MODEL_NAME}:predict"
        answer = requests.post(url, json={"instances": [1.5]}, timeout=CALL_S)
    assert answer.status_code == 500
    assert "XLA compilation disabled" in answer.json()["error"]
