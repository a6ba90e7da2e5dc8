"""The manifests: right by Kubernetes' schemas, and right with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from serving.command_line import batch
from serving.contract import GRPC_PORT, REST_PORT, SERVER_VARIABLE
from tests.docker.files import DOCKER, MANIFESTS, manifests, pods

VERSIONS = ("1.30", "1.37")
PODS = pods()


def check(text: str, version: str) -> None:
    for document in yaml.safe_load_all(text):
        if "serving.kserve.io" not in document["apiVersion"]:  # Kubernetes has no schema for these
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_right_by_the_schemas(path: Path, version: str) -> None:
    check(path.read_text(), version)


def test_kustomization_puts_them_together() -> None:
    listed = yaml.safe_load((DOCKER / "kustomization.yaml").read_text())
    left_out = {path.name for path in MANIFESTS} - {Path(name).name for name in listed["resources"]}
    assert left_out == {"batch.yaml", "kserve.yaml"}
    for name in (*listed["resources"], *(file for one in listed["configMapGenerator"] for file in one["files"])):
        assert (DOCKER / name).exists(), name
    if shutil.which("kubectl"):
        done = subprocess.run(["kubectl", "kustomize", str(DOCKER)], capture_output=True, text=True, check=True)
        check(done.stdout, VERSIONS[-1])


@pytest.mark.parametrize("name", PODS)
def test_pods_pass_the_restricted_standard(name: str) -> None:
    pod = PODS[name]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    locked = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        assert container["securityContext"] == locked
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}


def test_names_and_ports_agree() -> None:
    services = {name: service["spec"] for name, service in manifests("Service").items()}
    for name, service in services.items():
        assert service["selector"].items() <= PODS[name]["metadata"]["labels"].items()
        open_ports = {p["name"]: p["containerPort"] for c in PODS[name]["spec"]["containers"] for p in c["ports"]}
        assert all(open_ports[port["targetPort"]] == port["port"] for port in service["ports"])
    assert {port["port"] for port in services["serving"]["ports"]} == {GRPC_PORT, REST_PORT}
    assert services["serving"]["clusterIP"] == "None"  # nginx asks for the address of each pod
    page = PODS["ui"]["spec"]["containers"][0]
    assert {"name": SERVER_VARIABLE, "value": f"grpc://balancer:{GRPC_PORT}"} in page["env"]
    assert manifests("HorizontalPodAutoscaler")["serving"]["spec"]["scaleTargetRef"]["name"] in PODS


def test_upstreams_are_those_of_compose_under_other_names() -> None:
    ours, of_compose = ((DOCKER / place / "upstreams.conf").read_text() for place in ("kubernetes", "nginx"))
    renamed = ours.replace("server serving.style-transfer.svc.cluster.local:", "server serving:")
    assert re.findall("(?m)^ .*$", renamed) == re.findall("(?m)^ .*$", of_compose)


def test_selectors_mean_pods_that_exist() -> None:
    text = "".join(path.read_text() for path in MANIFESTS)
    lists = re.findall(r"\{key: app, operator: In, values: \[(.*?)\]", text)
    selected = {*re.findall(r"\{app: (\w+)\}", text), *(name for names in lists for name in names.split(", "))}
    assert selected <= {pod["metadata"]["labels"]["app"] for pod in PODS.values()}


def test_batch_is_a_command_line_that_exists() -> None:
    (container,) = PODS["batch"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "serving", "batch"]
    options = batch.build_parser().parse_args(container["args"])
    assert options.server == [f"grpc://balancer:{GRPC_PORT}"]
