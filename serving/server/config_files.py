"""The files that tensorflow_model_server reads, in protobuf's text format: which models to serve, and monitoring.

The fields are those of tensorflow_serving/config/{model_server_config,file_system_storage_path_source,
monitoring_config}.proto. A field that this server does not act on (`logging_config`, say) is an error that names it,
since a setting that is silently left out is worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving import protos
from serving.errors import InvalidInput
from serving.server.versions import VersionPolicy

PLATFORM = "tensorflow"
METRICS_PATH = "/monitoring/prometheus/metrics"  # unless the monitoring file says otherwise

_MESSAGES = protos.build_messages(
    "style_transfer.config",
    {
        "Latest": {"num_versions": (1, "UINT32")},
        "All": {},
        "Specific": {"versions": (1, "INT64[]")},
        "VersionPolicy": {"latest": (100, "Latest"), "all": (101, "All"), "specific": (102, "Specific")},
        "ModelConfig": {
            "name": (1, "STRING"),
            "base_path": (2, "STRING"),
            "model_platform": (4, "STRING"),
            "model_version_policy": (7, "VersionPolicy"),
            "version_labels": (8, "INT64{}"),
        },
        "ModelConfigList": {"config": (1, "ModelConfig[]")},
        "ModelServerConfig": {"model_config_list": (1, "ModelConfigList")},
        "PrometheusConfig": {"enable": (1, "BOOL"), "path": (2, "STRING")},
        "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
    },
)


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve.

    Attributes:
      name: what clients call it.
      base_path: holds one integer-named directory per version.
      policy: which of the versions to serve.
      labels: names for versions; a request may ask for a label in place of a number.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    labels: Mapping[str, int] = field(default_factory=dict)


def read_models(path: Path) -> tuple[ModelConfig, ...]:
    """Returns the models of a `--model_config_file`.

    Raises:
      InvalidInput: there is no such file, it is no ModelServerConfig, or what it asks for is contradictory.
    """
    return _models_of(_read("model_config_file", path, "ModelServerConfig"))


def decode_models(data: bytes) -> tuple[ModelConfig, ...]:
    """Returns the models of a serialised ModelServerConfig, as HandleReloadConfigRequest brings it.

    Raises:
      InvalidInput: as `read_models`.
    """
    return _models_of(_MESSAGES["ModelServerConfig"].FromString(data))


def read_metrics_path(path: Path) -> str | None:
    """Returns where a `--monitoring_config_file` wants the Prometheus metrics; None: nowhere.

    Raises:
      InvalidInput: there is no such file, it is no MonitoringConfig, or its path is none of a URL.
    """
    config = _read("monitoring_config_file", path, "MonitoringConfig").prometheus_config
    if not config.enable:
        return None
    metrics_path = config.path or METRICS_PATH
    if not metrics_path.startswith("/"):
        raise InvalidInput(f"`prometheus_config.path` must begin with a slash. Received: {metrics_path}.")
    return str(metrics_path)


def _read(flag: str, path: Path, kind: str) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"`--{flag}` must be a file that can be read. Received: {path} ({reason}).") from None
    try:
        return text_format.Parse(text, _MESSAGES[kind]())
    except text_format.ParseError as error:
        raise InvalidInput(
            f"`--{flag}` must hold a {kind} in protobuf's text format. Received: {path} ({error})."
        ) from None


def _models_of(config: Any) -> tuple[ModelConfig, ...]:
    """Returns the models; what makes them wrong, and in which words, is server_core.cc's ValidateModelConfigList."""
    models: dict[str, ModelConfig] = {}
    for entry in config.model_config_list.config:
        if not entry.name:
            raise InvalidInput("`name` of a model must not be empty.")
        if entry.name in models:
            raise InvalidInput(f"Illegal to list model {entry.name} multiple times in config list")
        if not entry.model_platform:
            raise InvalidInput(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform."
            )
        if entry.model_platform != PLATFORM:
            raise InvalidInput(f"Model {entry.name} requests unsupported platform {entry.model_platform}")
        if not Path(entry.base_path).is_absolute():
            raise InvalidInput(
                f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}"
            )
        models[entry.name] = ModelConfig(
            entry.name, Path(entry.base_path), _policy_of(entry), dict(sorted(entry.version_labels.items()))
        )
    return tuple(models.values())


def _policy_of(entry: Any) -> VersionPolicy:
    policy = entry.model_version_policy
    given: Sequence[str] = [name for name in ("latest", "all", "specific") if policy.HasField(name)]
    if len(given) > 1:
        raise InvalidInput(
            f"`model_version_policy` of model {entry.name} must be one of latest, all and specific. "
            f"Received: {' and '.join(given)}."
        )
    if given == ["all"]:
        return VersionPolicy(newest=None)
    if given == ["specific"]:
        if not policy.specific.versions:
            raise InvalidInput(f"`specific` of model {entry.name} must name at least one of its `versions`.")
        return VersionPolicy(numbers=frozenset(policy.specific.versions))
    return VersionPolicy(newest=policy.latest.num_versions or 1)
