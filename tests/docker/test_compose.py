"""The compose files: right by the Compose specification, and as tight and as patient as they say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from serving.contract import MODEL_NAME
from tests import served as servers
from tests.docker.files import COMPOSE, DOCKER, ROOT, compose, pins, services, variables
from tests.docker.model_server import options_of
from tests.ports import free_port
from tests.served import Served

BASE = compose(DOCKER / "compose.yaml")
# What the image puts before the given flags: tensorflow_serving/tools/docker/Dockerfile, 2.19.1.
ENTRYPOINT = ["--port=8500", "--rest_api_port=8501", "--model_name=model", "--model_base_path=/models/model"]
SECRETS = {"GRAFANA_PASSWORD", "GRAFANA_PORT", "EDGE_ADDRESS", "EDGE_PORT"}
SERVICES = services()
LASTING = {name: service for name, service in SERVICES.items() if name != "export"}


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_files_are_right_by_the_specification(path: Path) -> None:
    document = compose(path)
    for service in document["services"].values():
        service.setdefault("image", "of-another-file")  # an overlay leaves out what it does not change
    document.pop("x-hardened", None)
    names = PyCompose.from_yaml(yaml.safe_dump(document)).service_names()
    assert set(names) == set(document["services"])


@pytest.mark.parametrize("fault", [{"imag": "x"}, {"restart": "sometimes"}, {"depends_on": {"a": {"condition": "ok"}}}])
def test_that_check_finds_mistakes(fault: dict[str, Any]) -> None:
    text = yaml.safe_dump({"services": {"serving": {"image": "x", **fault}}})
    with pytest.raises(ValueError, match="serving"):
        PyCompose.from_yaml(text)


@pytest.mark.parametrize("overlays", [[], ["gpu"], ["ports"], ["edge"], ["observability"], ["gpu", "ports"]], ids=str)
def test_docker_compose_takes_them(overlays: list[str]) -> None:
    command = ["docker", "compose"]
    if not shutil.which("docker") or subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no docker compose")
    files = ["compose.yaml", *(f"compose.{name}.yaml" for name in overlays)]
    flagged = [word for name in files for word in ("-f", str(DOCKER / name))]
    done = subprocess.run([*command, *flagged, "config", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_start_is_in_the_order_of_health() -> None:
    conditions = {
        (name, other): dependency["condition"]
        for name, service in SERVICES.items()
        for other, dependency in service.get("depends_on", {}).items()
    }
    assert conditions[("serving", "export")] == "service_completed_successfully"
    assert conditions[("balancer", "serving")] == conditions[("ui", "balancer")] == "service_healthy"
    assert all("healthcheck" in SERVICES[other] for (_, other), when in conditions.items() if when == "service_healthy")


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_watched_and_started_again(name: str) -> None:
    assert LASTING[name]["restart"] == "unless-stopped"
    assert LASTING[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_services_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - a container's
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service["user"].startswith(("0", "root"))
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}


@pytest.mark.parametrize("name", SERVICES)
def test_images_have_a_version_and_a_place_for_a_digest(name: str) -> None:
    image = SERVICES[name]["image"]
    _, _, tag = image.partition(":")
    assert tag[:1].isdigit() or tag[:2] in ("v3",), image
    if "build" not in SERVICES[name]:
        (text,) = {line.strip() for line in _lines() if line.strip().startswith(f"image: {image}$")}
        assert "_DIGEST:-}" in text
        variable = text.partition("${")[2].partition(":-")[0]
        digest = f"@sha256:{'0' * 64}"
        images = {s.get("image") for path in COMPOSE for s in compose(path, **{variable: digest})["services"].values()}
        assert image + digest in images


def _lines() -> list[str]:
    return [line for path in COMPOSE for line in path.read_text().splitlines()]


def test_model_servers_are_of_the_version_of_tensorflow() -> None:
    version = pins(ROOT / "requirements.txt")["tensorflow"]
    assert BASE["services"]["serving"]["image"] == f"tensorflow/serving:{version}"
    assert compose(DOCKER / "compose.gpu.yaml")["services"]["serving"]["image"] == f"tensorflow/serving:{version}-gpu"


def test_flags_are_those_of_tensorflow_model_server() -> None:
    given = BASE["services"]["serving"]["command"]
    options = options_of([*ENTRYPOINT, *given])
    assert options["rest_api_timeout_in_ms"] == "600000"
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in BASE["services"]["serving"]["volumes"]}
    for path in (options["model_config_file"], options["monitoring_config_file"]):
        assert (DOCKER / mounted["/config"] / Path(path).name).exists()


def test_model_servers_have_no_way_out_and_no_port_outside_unless_asked() -> None:
    assert BASE["networks"]["inside"]["internal"] is True
    assert BASE["services"]["serving"]["networks"] == BASE["services"]["balancer"]["networks"] == ["inside"]
    published = {name for name, service in BASE["services"].items() if "ports" in service}
    assert published == {"ui"}
    for path in COMPOSE:
        assert "ports" not in compose(path)["services"].get("serving", {}), path.name
    ports = [port for path in COMPOSE for s in compose(path)["services"].values() for port in s.get("ports", [])]
    assert {port.split(":")[0] for port in ports} == {"127.0.0.1", "0.0.0.0"}  # noqa: S104 - the latter is the edge's
    assert [port for port in ports if port.startswith("0.0.0.0")] == ["0.0.0.0:8443:8443"]  # noqa: S104


def test_gpu_overlay_computes_without_tf32() -> None:
    assert compose(DOCKER / "compose.gpu.yaml")["services"]["serving"]["environment"]["NVIDIA_TF32_OVERRIDE"] == "0"


def test_gpu_overlay_grows_memory_and_keeps_compiled_kernels() -> None:
    overlay = compose(DOCKER / "compose.gpu.yaml")
    serving = overlay["services"]["serving"]
    assert serving["environment"]["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    cache = serving["environment"]["CUDA_CACHE_PATH"]
    assert f"cuda_cache:{cache}" in serving["volumes"]
    assert f"cuda_cache:{cache}" in overlay["services"]["export"]["volumes"]
    assert f" {cache}" in (DOCKER / "export.Dockerfile").read_text()  # made there, with its owner
    (device,) = serving["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_mounted_files_exist() -> None:
    for path in COMPOSE:
        for service in compose(path)["services"].values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith(".") and source != "./edge":  # the edge's secrets are the user's to make
                    assert (DOCKER / source).exists(), volume


def test_example_names_every_variable_with_its_default() -> None:
    lines = (DOCKER / "env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    used = {name: default for path in COMPOSE for name, default in variables(path).items() if "gpu" not in path.name}
    used |= {"SERVING_GPU_DIGEST": "", "SERVING_GPU": "0"}
    assert example == {name: default for name, default in used.items() if name not in SECRETS}


def test_health_check_of_the_model_server_sees_whether_the_model_is_there(served: Served) -> None:
    port = served.address("http").rsplit(":", 1)[1]
    assert _health(port) == 0
    assert _health(str(free_port())) != 0


def test_health_check_waits_for_a_model_that_is_not_there_yet(tmp_path: Path) -> None:
    grpc, rest = free_port(), free_port()
    process = servers.start(tmp_path / "nothing", grpc, rest)
    try:
        assert _health(str(rest)) != 0
    finally:
        servers.stop(process)


def _health(port: str) -> int:
    _, *command = BASE["services"]["serving"]["healthcheck"]["test"]
    assert MODEL_NAME in command[-1]
    command[-1] = command[-1].replace("127.0.0.1/8501", f"127.0.0.1/{port}")
    return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode
