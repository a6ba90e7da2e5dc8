"""The Compose files: right by the specification, in agreement with each other, and closed to the outside."""

import re

import pytest
import yaml
from compose_spec import PyCompose

from tests.docker.files import COMPOSE, DOCKER, LIMITS, VARIABLE, compose

FILES = {name: compose(name)["services"] for name in COMPOSE}
TEXT = "".join((DOCKER / name).read_text() for name in COMPOSE)
# Each service as the file describes it that begins with it.
SERVICES = {name: service for services in reversed(FILES.values()) for name, service in services.items()}
HARDENED = {"read_only": True, "tmpfs": ["/tmp"], "cap_drop": ["ALL"], "init": True}  # noqa: S108 - a container's
HARDENED["security_opt"] = ["no-new-privileges:true"]


@pytest.mark.parametrize("name", COMPOSE)
def test_files_are_right_by_the_specification(name: str) -> None:
    document = compose(name)
    for service in document["services"].values():
        service.setdefault("image", "of-another-file")  # an overlay leaves out what it does not change
    document.pop("x-hardened", None)
    PyCompose.from_yaml(yaml.safe_dump(document))


@pytest.mark.parametrize("name", SERVICES)
def test_services_may_do_little_and_are_watched(name: str) -> None:
    service = SERVICES[name]
    assert HARDENED.items() <= service.items()
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory"}
    assert limits["cpus"] in ("0", "1")  # none, or one: Docker refuses more than the machine has
    if "build" not in service:  # our images have a user and a health check of their own
        assert not service["user"].startswith(("0", "root"))
        assert service["healthcheck"]["test"][0] == "CMD"
    assert service.get("restart") == (None if name == "export" else "unless-stopped")


def test_no_port_is_open_to_other_machines_but_the_edges_and_none_of_a_model_server() -> None:
    ports = {name: one["ports"] for services in FILES.values() for name, one in services.items() if "ports" in one}
    assert ports.keys() == {"ui", "balancer", "grafana", "edge"}
    assert [name for name in ports if not ports[name][0].startswith("127.0.0.1:")] == ["edge"]


def test_who_reaches_the_model_servers() -> None:
    networks = {name: made for file in COMPOSE for name, made in compose(file).get("networks", {}).items()}
    assert [name for name, made in networks.items() if made != {"internal": True}] == ["outside"]  # the one way out
    within = [(name, {*one.get("networks", ())}) for services in FILES.values() for name, one in services.items()]
    assert SERVICES["serving"]["networks"] == ["back"]
    assert {name for name, those in within if "back" in those} == {"serving", "balancer", "prometheus"}
    assert {name for name, those in within if "front" in those} == {"balancer", "ui", "edge"}


def test_the_page_gets_every_limit_for_visitors_that_is_set() -> None:
    assert set(re.findall(r"(?m)^      (\w+): \$\{\1:-\}$", TEXT)) == LIMITS
    assert {name for name, value in SERVICES["ui"]["environment"].items() if value is None} == LIMITS


def test_mounted_files_exist() -> None:
    for source in re.findall(r"- (\.\S+?):", TEXT):
        assert source == "./edge" or (DOCKER / source).exists(), source  # the edge's secrets are the user's to make


def test_example_names_every_variable_with_its_default() -> None:
    lines = (DOCKER / "env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    found = [(name, default) for name, default in VARIABLE.findall(TEXT) if name != "GRAFANA_PASSWORD"]  # has none
    assert example.keys() == dict(found).keys()
    for name, value in example.items():  # empty: the default of each file, as that of a precision on a CPU and a GPU
        assert {default for other, default in found if other == name} == {value} or not value, name
