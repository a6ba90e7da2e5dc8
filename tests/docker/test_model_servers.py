"""tensorflow_model_server 2.19.1 as Compose, Kubernetes and KServe start it; the embedded server knows a part of it."""

import re
from pathlib import Path

import pytest

from serving.contract import MODEL_NAME
from tests.docker.files import DOCKER, ROOT, compose, manifests, pins, pods

# tensorflow_serving/model_servers/main.cc: those that this deployment sets.
FLAGS = {"model_name", "model_base_path", "model_config_file", "monitoring_config_file", "port", "rest_api_port"}
FLAGS |= {"rest_api_timeout_in_ms", "enable_grpc_healthcheck_service"}
FLAGS |= {"tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"}
SERVICE = compose("compose.yaml")["services"]["serving"]
ON_A_GPU = compose("compose.gpu.yaml")["services"]["serving"]
POD = pods()["serving"]["spec"]["containers"][0]
RUNTIME = manifests("ServingRuntime")["style-transfer"]["spec"]["containers"][0]
README = (DOCKER / "README.md").read_text()


OPTIONS = {
    way: dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    for way, arguments in {"compose": SERVICE["command"], "kubernetes": POD["args"], "kserve": RUNTIME["args"]}.items()
}


@pytest.mark.parametrize("way", OPTIONS)
def test_flags_are_those_of_the_server(way: str) -> None:
    assert OPTIONS[way].keys() <= FLAGS
    assert OPTIONS[way]["rest_api_timeout_in_ms"] == "600000"
    threads = {OPTIONS[way][f"tensorflow_{kind}_op_parallelism"] for kind in ("intra", "inter")}
    assert threads == {SERVICE["deploy"]["resources"]["limits"]["cpus"] if way == "compose" else "$(CPUS)"}


def test_the_first_recipe_is_one_container_with_the_exported_model() -> None:
    first = re.findall(r"```console\n(.*?)```", README, re.DOTALL)[0]
    export, _, command = first.replace("\\\n", " ").partition("docker run ")
    before, after = (part.split() for part in command.split(f"{ON_A_GPU['image']} "))
    assert "--gpus all" in " ".join(before)
    models = f"models/{MODEL_NAME}"
    assert {f"MODEL_NAME={MODEL_NAME}", f'"$PWD/{models}:/{models}:ro"'} <= {*before}
    assert {f"{key}={value}" for key, value in ON_A_GPU["environment"].items() if "CUDA" not in key} <= {*before}
    assert after == ["--rest_api_timeout_in_ms=600000"]
    assert export.split("model.export ")[1].split() == ["--precision=bfloat16", f"--output={models}"]


def test_all_are_of_the_version_of_tensorflow_and_those_on_gpus_compute_without_tf32() -> None:
    image = f"tensorflow/serving:{pins(DOCKER / 'requirements-export.txt')['tensorflow-cpu']}"
    assert SERVICE["image"] == image
    assert {server["image"] for server in (ON_A_GPU, POD, RUNTIME)} == {f"{image}-gpu"}
    for server in (POD, RUNTIME):
        assert {"name": "NVIDIA_TF32_OVERRIDE", "value": "0"} in server["env"]
        assert server["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert ON_A_GPU["environment"]["NVIDIA_TF32_OVERRIDE"] == "0"


def test_models_and_files_of_configuration_are_where_the_flags_say() -> None:
    config, kubernetes = ROOT / "serving" / "config", OPTIONS["kubernetes"]
    assert "../serving/config:/config:ro" in SERVICE["volumes"]
    files = {OPTIONS["compose"]["model_config_file"]}
    files |= {OPTIONS[way]["monitoring_config_file"] for way in ("compose", "kubernetes")}
    assert files == {f"/config/{name}" for name in ("models.config", "monitoring.config")}
    assert all((config / Path(name).name).exists() for name in files)
    assert f'"{kubernetes["model_base_path"]}"]' in (DOCKER / "export.Dockerfile").read_text()  # what ENTRYPOINT writes
    assert kubernetes["model_name"] == MODEL_NAME
