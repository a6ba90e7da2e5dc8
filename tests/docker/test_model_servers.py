"""tensorflow_model_server 2.19.1 as Compose, Kubernetes and KServe start it; the embedded server knows a part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.contract import MODEL_NAME
from tests.docker.files import DOCKER, ROOT, compose, manifests, pins, pods

# tensorflow_serving/model_servers/main.cc: those that a deployment is likely to set.
FLAGS = {
    *("port", "rest_api_port", "rest_api_timeout_in_ms", "rest_api_num_threads", "rest_api_enable_cors_support"),
    *("model_name", "model_base_path", "model_config_file", "model_config_file_poll_wait_seconds"),
    *("allow_version_labels_for_unavailable_models", "file_system_poll_wait_seconds", "max_num_load_retries"),
    *("load_retry_interval_micros", "saved_model_tags", "enable_model_warmup", "num_request_iterations_for_warmup"),
    *("monitoring_config_file", "enable_grpc_healthcheck_service", "enable_signature_method_name_check"),
    *("enable_serialization_as_tensor_content", "grpc_channel_arguments", "grpc_max_threads", "ssl_config_file"),
    *("tensorflow_session_parallelism", "tensorflow_session_config_file", "per_process_gpu_memory_fraction"),
    *("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism", "enable_batching"),
    *("xla_cpu_compilation_enabled", "xla_gpu_compilation_enabled"),
}
SERVICE = compose("compose.yaml")["services"]["serving"]
ON_A_GPU = compose("compose.gpu.yaml")["services"]["serving"]
POD = pods()["serving"]["spec"]["containers"][0]
RUNTIME = manifests("ServingRuntime")["style-transfer"]["spec"]["containers"][0]
ARGUMENTS = {"compose": SERVICE["command"], "kubernetes": POD["args"], "kserve": RUNTIME["args"]}


def options(way: str) -> dict[str, str]:
    return dict(argument.removeprefix("--").split("=", 1) for argument in ARGUMENTS[way])


@pytest.mark.parametrize("way", ARGUMENTS)
def test_flags_are_those_of_the_server(way: str) -> None:
    assert options(way).keys() <= FLAGS
    assert options(way)["rest_api_timeout_in_ms"] == "600000"


def test_all_are_of_the_version_of_tensorflow_and_those_on_gpus_compute_without_tf32() -> None:
    image = f"tensorflow/serving:{pins(ROOT / 'requirements.txt')['tensorflow']}"
    assert SERVICE["image"] == image
    assert {server["image"] for server in (ON_A_GPU, POD, RUNTIME)} == {f"{image}-gpu"}
    for server in (POD, RUNTIME):
        assert {"name": "NVIDIA_TF32_OVERRIDE", "value": "0"} in server["env"]
        assert server["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert ON_A_GPU["environment"]["NVIDIA_TF32_OVERRIDE"] == "0"


def test_models_and_files_of_configuration_are_where_the_flags_say() -> None:
    config, kubernetes = ROOT / "serving" / "config", options("kubernetes")
    assert "../serving/config:/config:ro" in SERVICE["volumes"]
    for name in ("model_config_file", "monitoring_config_file"):
        assert (config / Path(options("compose")[name]).relative_to("/config")).exists()
    assert f'"{kubernetes["model_base_path"]}"]' in (DOCKER / "export.Dockerfile").read_text()  # what ENTRYPOINT writes
    assert kubernetes["model_name"] == MODEL_NAME
    monitoring = DOCKER / "kubernetes" / Path(kubernetes["monitoring_config_file"]).relative_to("/config")
    assert monitoring.read_text() == (config / "monitoring.config").read_text()
