"""The manifests: right by Kubernetes' schemas, and right with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from serving.command_line import batch
from serving.contract import GRPC_PORT, MODEL_NAME, REST_PORT, SERVER_VARIABLE
from tests.docker.files import DOCKER, MANIFESTS, ROOT, compose, manifests, pod_specs
from tests.docker.model_server import RUNTIME_LATENCY, options_of

VERSIONS = ("1.30", "1.37")
FOREIGN = "serving.kserve.io"  # kinds that Kubernetes has no schema for
PODS = pod_specs()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_right_by_the_schemas(path: Path, version: str) -> None:
    checked = 0
    for document in yaml.safe_load_all(path.read_text()):
        if FOREIGN not in document["apiVersion"]:
            kubernetes_validate.validate(document, version, strict=True)
            checked += 1
    assert checked


def test_that_check_finds_mistakes() -> None:
    document = next(m for m in manifests() if m["kind"] == "Deployment")
    document["spec"]["template"]["spec"]["containers"][0]["imag"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


def test_kustomization_puts_them_together() -> None:
    listed = yaml.safe_load((DOCKER / "kustomization.yaml").read_text())
    for name in (*listed["resources"], *(f for g in listed["configMapGenerator"] for f in g["files"])):
        assert (DOCKER / name).exists(), name
    left_out = {path.name for path in MANIFESTS} - {Path(name).name for name in listed["resources"]}
    assert left_out == {"batch.yaml", "kserve.yaml"}
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl")
    text = subprocess.run(["kubectl", "kustomize", str(DOCKER)], capture_output=True, text=True, check=True).stdout
    for document in yaml.safe_load_all(text):
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "style-transfer"


@pytest.mark.parametrize("name", PODS)
def test_pods_pass_the_restricted_standard(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in pod["volumes"]}


def model_servers() -> list[tuple[list[str], dict[str, Any]]]:
    runtime = next(m for m in manifests() if m["kind"] == "ServingRuntime")["spec"]["containers"][0]
    container = PODS["serving"]["containers"][0]
    return [(["--port=8500", "--rest_api_port=8501"], container), ([], runtime)]


@pytest.mark.parametrize(("before", "container"), model_servers(), ids=["plain", "kserve"])
def test_flags_are_those_of_tensorflow_model_server(before: list[str], container: dict[str, Any]) -> None:
    options = options_of([*before, *container["args"]])
    assert options["rest_api_timeout_in_ms"] == "600000"
    assert options["port"] != options["rest_api_port"]
    assert container["image"] == compose(DOCKER / "compose.gpu.yaml")["services"]["serving"]["image"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.parametrize("container", [container for _, container in model_servers()], ids=["plain", "kserve"])
def test_gpus_compute_without_tf32(container: dict[str, Any]) -> None:
    assert {"name": "NVIDIA_TF32_OVERRIDE", "value": "0"} in container["env"]


def test_plain_server_has_the_model_where_the_export_puts_it() -> None:
    options = options_of(PODS["serving"]["containers"][0]["args"])
    entrypoint = (DOCKER / "export.Dockerfile").read_text()
    assert f'"{options["model_base_path"]}"]' in entrypoint
    assert options["model_name"] == MODEL_NAME
    (monitoring,) = [DOCKER / "kubernetes" / Path(options["monitoring_config_file"]).name]
    assert monitoring.read_text() == (ROOT / "serving" / "config" / "monitoring.config").read_text()


def test_names_and_ports_agree() -> None:
    services = {m["metadata"]["name"]: m["spec"] for m in manifests() if m["kind"] == "Service"}
    pods = {m["metadata"]["name"]: m["spec"]["template"] for m in manifests() if m["kind"] == "Deployment"}
    for name, service in services.items():
        assert service["selector"].items() <= pods[name]["metadata"]["labels"].items()
        ports = {p["name"]: p["containerPort"] for c in pods[name]["spec"]["containers"] for p in c["ports"]}
        assert all(ports[port["targetPort"]] == port["port"] for port in service["ports"])
    assert {port["port"] for port in services["serving"]["ports"]} == {GRPC_PORT, REST_PORT}
    assert services["serving"]["clusterIP"] == "None"
    (url,) = [e["value"] for e in PODS["ui"]["containers"][0]["env"] if e["name"] == SERVER_VARIABLE]
    assert url == f"grpc://balancer:{GRPC_PORT}"
    upstreams = (DOCKER / "kubernetes" / "upstreams.conf").read_text()
    hosts = set(re.findall(r"server (\S+?):(\d+) resolve", upstreams))
    assert hosts == {("serving.style-transfer.svc.cluster.local", str(port)) for port in (GRPC_PORT, REST_PORT)}
    # Beyond whom they name, both files of upstreams say the same.
    compose_upstreams = (DOCKER / "nginx" / "upstreams.conf").read_text().replace("server serving:", "server X:")
    assert re.findall("(?m)^ +(.*)$", upstreams.replace("serving.style-transfer.svc.cluster.local", "X")) == re.findall(
        "(?m)^ +(.*)$", compose_upstreams
    )


def test_budgets_scaling_and_policies_mean_pods_that_exist() -> None:
    owners = [manifest for manifest in manifests() if "template" in manifest.get("spec", {})]
    labels = {owner["spec"]["template"]["metadata"]["labels"]["app"] for owner in owners}
    for manifest in manifests():
        if manifest["kind"] == "PodDisruptionBudget":
            assert manifest["spec"]["selector"]["matchLabels"]["app"] in labels
        if manifest["kind"] == "HorizontalPodAutoscaler":
            assert manifest["spec"]["scaleTargetRef"]["name"] == "serving"
        if manifest["kind"] == "NetworkPolicy":
            text = yaml.safe_dump(manifest["spec"]["podSelector"])
            assert set(re.findall(r"app: (\w+)", text)) <= labels
    policies = {m["metadata"]["name"]: m["spec"] for m in manifests() if m["kind"] == "NetworkPolicy"}
    assert policies["nobody"]["podSelector"] == {}
    callers = [c["podSelector"]["matchLabels"] for rule in policies["serving"]["ingress"] for c in rule["from"]]
    assert {"app": "balancer"} in callers
    assert {"app": "ui"} not in callers  # the page has to go through the load balancer


def test_autoscaler_scales_by_a_metric_that_the_server_has() -> None:
    (scaler,) = [m["spec"] for m in manifests() if m["kind"] == "HorizontalPodAutoscaler"]
    (rule,) = yaml.safe_load((DOCKER / "kubernetes" / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert scaler["metrics"][0]["pods"]["metric"]["name"] == rule["name"]["as"]
    assert f"{RUNTIME_LATENCY}_sum" in rule["metricsQuery"]
    assert f"{RUNTIME_LATENCY}_sum" in rule["seriesQuery"]


def test_batch_is_a_command_line_that_exists() -> None:
    (container,) = PODS["batch"]["containers"]
    assert container["command"] == ["python", "-m", "serving", "batch"]
    options = batch.build_parser().parse_args(container["args"])
    assert options.server == [f"grpc://balancer:{GRPC_PORT}"]
