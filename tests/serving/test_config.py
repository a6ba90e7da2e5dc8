"""The configuration files for TensorFlow Serving, held against its messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import protos
from serving.contract import MODEL_NAME

CONFIG = Path(protos.__file__).parent / "config"


def model_config(text: str) -> Any:
    parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (config,) = parsed.model_config_list.config
    return config


def test_models_config_names_the_model_where_the_image_has_it() -> None:
    config = model_config((CONFIG / "models.config").read_text())
    assert (config.name, config.base_path, config.model_platform) == (MODEL_NAME, f"/models/{MODEL_NAME}", "tensorflow")
    assert config.model_version_policy.latest.num_versions == 2


def test_commented_labels_are_right_too() -> None:
    config = model_config((CONFIG / "models.config").read_text().replace("# version_labels", "version_labels"))
    assert config.version_labels == {"stable": 1, "canary": 2}


def test_monitoring_config_switches_the_metrics_on() -> None:
    messages = protos.build_messages(  # tensorflow_serving/config/monitoring_config.proto, which the wheel lacks
        "style_transfer.monitoring",
        {
            "PrometheusConfig": {"enable": (1, "BOOL"), "path": (2, "STRING")},
            "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
        },
    )
    text = (CONFIG / "monitoring.config").read_text()
    config = text_format.Parse(text, messages["MonitoringConfig"]()).prometheus_config
    assert (config.enable, config.path) == (True, "/monitoring/prometheus/metrics")


@pytest.mark.parametrize("name", ["models.config", "monitoring.config"])
def test_note_names_the_files(name: str) -> None:
    assert f"[{name}]({name})" in (CONFIG / "README.md").read_text()
