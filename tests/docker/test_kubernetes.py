"""The manifests: right by Kubernetes' schemas, and right with each other."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from serving.command_line import batch
from serving.contract import GRPC_PORT, REST_PORT, SERVER_VARIABLE
from tests.docker.files import DOCKER, LIMITS, MANIFESTS, ROOT, manifests, pods

VERSIONS = ("1.30", "1.37")
PODS = pods()
TEXT = "".join(path.read_text() for path in MANIFESTS)
CONFIG = ROOT / "serving" / "config"


def check(text: str, version: str) -> None:
    for document in yaml.safe_load_all(text):
        if not re.match(r"serving\.kserve\.io|monitoring\.coreos\.com", document["apiVersion"]):  # has no schema there
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_right_by_the_schemas(path: Path, version: str) -> None:
    check(path.read_text(), version)


def test_kustomizations_list_what_exists_and_is_used() -> None:
    parts = {folder: yaml.safe_load((folder / "kustomization.yaml").read_text()) for folder in (DOCKER, CONFIG)}
    resources = parts[DOCKER]["resources"]
    left_out = {path.name for path in MANIFESTS} - {Path(name).name for name in resources}
    assert left_out == {"batch.yaml", "kserve.yaml", "ingress.yaml", "podmonitor.yaml"}
    made = [(folder, one) for folder, part in parts.items() for one in part["configMapGenerator"]]
    assert {one["name"] for _, one in made} == {*re.findall(r"configMap: \{name: (\w+)\}", TEXT)}
    for path in (
        *(DOCKER / name for name in resources),
        *(folder / file for folder, one in made for file in one["files"]),
    ):
        assert path.exists(), path


@pytest.mark.skipif(not shutil.which("kubectl"), reason="there is no kubectl")
@pytest.mark.parametrize("part", [".", "kubernetes/batch", "kubernetes/kserve"])
def test_our_images_come_from_the_registry_that_is_named_once(part: str, tmp_path: Path) -> None:
    folder = shutil.copytree(DOCKER, tmp_path / "docker", ignore=shutil.ignore_patterns("wheels", "weights"))
    names = folder / "kubernetes" / "images" / "kustomization.yaml"
    names.write_text(names.read_text().replace("newName: ", "newName: registry.example.com/"))
    shutil.copytree(CONFIG, tmp_path / "serving" / "config")
    done = subprocess.run(["kubectl", "kustomize", folder / part], capture_output=True, text=True, check=True)
    check(done.stdout, VERSIONS[-1])
    ours = re.findall("image: (.*style-transfer.*)", done.stdout)
    assert ours
    assert all(re.fullmatch(r"registry\.example\.com/style-transfer-(ui|export):[\d.]+", image) for image in ours)


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
    assert {one["name"] for one in page["env"] if one["value"] == ""} == LIMITS
    assert manifests("HorizontalPodAutoscaler")["serving"]["spec"]["scaleTargetRef"]["name"] in PODS
    ((path,),) = manifests("Ingress")["ui"]["spec"]["rules"][0]["http"].values()
    name, port = path["backend"]["service"].values()
    assert port["name"] in {one["name"] for one in services[name]["ports"]}
    (endpoint,) = manifests("PodMonitor")["serving"]["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in services["serving"]["ports"]}
    assert endpoint["path"] == PODS["serving"]["metadata"]["annotations"]["prometheus.io/path"]


@pytest.mark.parametrize(("address", "resolver"), [("10.96.0.10", "10.96.0.10"), ("fd00::a", "[fd00::a]")])
def test_nginx_asks_the_clusters_name_server_by_the_clusters_names(
    address: str, resolver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "resolv.conf").write_text(f"search art.svc.example.org svc.example.org\nnameserver {address}\n")
    script = (DOCKER / "kubernetes" / "balancer.sh").read_text()
    for place, here in (("/tmp/", "./"), ("/etc/balancer", DOCKER / "nginx"), ("/etc", tmp_path)):  # noqa: S108
        script = script.replace(place, str(here))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "nginx").write_text("#!/bin/sh\n")
    (tmp_path / "nginx").chmod(0o755)
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True)
    made, of_compose = (tmp_path / "upstreams.conf").read_text(), (DOCKER / "nginx" / "upstreams.conf").read_text()
    assert made.count(f"\nresolver {resolver} ") == 1
    assert len(re.findall(r"server serving\.art\.svc\.example\.org:850[01] resolve ", made)) == 2
    assert made.count("\n") == of_compose.count("\n")
    assert (tmp_path / "nginx.conf").exists()


def test_selectors_mean_pods_that_exist() -> None:
    lists = re.findall(r"\{key: app, operator: In, values: \[(.*?)\]", TEXT)
    selected = {*re.findall(r"\{app: (\w+)\}", TEXT), *(name for names in lists for name in names.split(", "))}
    assert selected <= {pod["metadata"]["labels"]["app"] for pod in PODS.values()}


def test_batch_is_a_command_line_that_exists() -> None:
    (container,) = PODS["batch"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "serving", "batch"]
    options = batch.build_parser().parse_args(container["args"])
    assert options.server == [f"grpc://balancer:{GRPC_PORT}"]
