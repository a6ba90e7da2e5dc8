"""The text files that name models and monitoring."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorflow_serving.config import model_server_config_pb2

from serving.errors import InvalidInput
from serving.server import config_files
from serving.server.config_files import ModelConfig
from serving.server.versions import VersionPolicy

ENTRY = 'name: "m" base_path: "/m" model_platform: "tensorflow"'


def models(tmp_path: Path, text: str) -> tuple[ModelConfig, ...]:
    path = tmp_path / "models.config"
    path.write_text(text)
    return config_files.read_models(path)


def test_models_are_read(tmp_path: Path) -> None:
    text = """
        # A comment, and the forms that protobuf's text format allows.
        model_config_list: {
          config { name: "a" base_path: "/models/a" model_platform: "tensorflow" }
          config: {
            name: 'b', base_path: '/models/b'; model_platform: "tensorflow"
            model_version_policy { specific { versions: 42 versions: 43 } }
            version_labels { key: "stable" value: 42 }
            version_labels { key: "canary" value: 43 }
          }
        }
    """
    assert models(tmp_path, text) == (
        ModelConfig("a", Path("/models/a"), VersionPolicy(newest=1), {}),
        ModelConfig("b", Path("/models/b"), VersionPolicy(numbers=frozenset({42, 43})), {"stable": 42, "canary": 43}),
    )


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", VersionPolicy(newest=1)),
        ("model_version_policy {}", VersionPolicy(newest=1)),
        ("model_version_policy { latest {} }", VersionPolicy(newest=1)),
        ("model_version_policy { latest { num_versions: 3 } }", VersionPolicy(newest=3)),
        ("model_version_policy { all {} }", VersionPolicy(newest=None)),
        ("model_version_policy { specific { versions: [7, 5] } }", VersionPolicy(numbers=frozenset({5, 7}))),
    ],
)
def test_policies(tmp_path: Path, text: str, policy: VersionPolicy) -> None:
    (config,) = models(tmp_path, f"model_config_list {{ config {{ {ENTRY} {text} }} }}")
    assert config.policy == policy


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([ENTRY, ENTRY], "Illegal to list model m multiple times in config list"),
        (['name: "m" base_path: "/m"'], "Illegal setting neither ModelServerConfig::model_type"),
        (['name: "m" base_path: "/m" model_platform: "caffe"'], "Model m requests unsupported platform caffe"),
        (
            ['name: "m" base_path: "m" model_platform: "tensorflow"'],
            r"Expected model m to have an absolute path or URI; got base_path\(\)=m",
        ),
        (['base_path: "/m" model_platform: "tensorflow"'], "`name` of a model must not be empty"),
        ([ENTRY + " model_version_policy { all {} latest {} }"], "must be one of .* Received: latest and all"),
        ([ENTRY + " model_version_policy { specific {} }"], "must name at least one of its `versions`"),
        ([ENTRY + " logging_config {}"], r"`--model_config_file` must hold a ModelServerConfig .*logging_config"),
        ([ENTRY + " nonsense: 1"], "must hold a ModelServerConfig .*nonsense"),
        ([ENTRY + " {"], "must hold a ModelServerConfig"),
    ],
)
def test_models_that_are_wrong(tmp_path: Path, entries: list[str], message: str) -> None:
    listed = " ".join(f"config {{ {entry} }}" for entry in entries)
    with pytest.raises(InvalidInput, match=message):
        models(tmp_path, f"model_config_list {{ {listed} }}")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "models.config"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=f"`--model_config_file` must be a file that can be read. Received: {path}"):
        config_files.read_models(path)


def test_official_message_is_understood() -> None:
    official = model_server_config_pb2.ModelServerConfig()
    config = official.model_config_list.config.add(name="m", base_path="/m", model_platform="tensorflow")
    config.model_version_policy.latest.num_versions = 2
    config.version_labels["stable"] = 7
    expected = ModelConfig("m", Path("/m"), VersionPolicy(newest=2), {"stable": 7})
    assert config_files.decode_models(official.SerializeToString()) == (expected,)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ("prometheus_config { enable: false }", None),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
    ],
)
def test_monitoring(tmp_path: Path, text: str, path: str | None) -> None:
    (tmp_path / "monitoring.config").write_text(text)
    assert config_files.read_metrics_path(tmp_path / "monitoring.config") == path


def test_monitoring_path_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "monitoring.config").write_text('prometheus_config { enable: true path: "metrics" }')
    with pytest.raises(InvalidInput, match=r"`prometheus_config.path` must begin with a slash. Received: metrics"):
        config_files.read_metrics_path(tmp_path / "monitoring.config")
