"""The files of docker/, read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = sorted(DOCKER.glob("compose*.yaml"))
MANIFESTS = sorted(path for path in (DOCKER / "kubernetes").glob("*.yaml") if path.stem != "prometheus-adapter")
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))

_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def substituted(text: str, **values: str) -> str:
    """Replaces ${NAME:-default} as Docker Compose does when no more than `values` is set."""
    text = _VARIABLE.sub(lambda match: values.get(match[1]) or match[2], text)
    assert "${" not in text, "a variable without a default"
    return text


def variables(path: Path) -> dict[str, str]:
    """Returns a file's variables and their defaults."""
    return dict(_VARIABLE.findall(path.read_text()))


def compose(path: Path, **values: str) -> dict[str, Any]:
    return dict(yaml.safe_load(substituted(path.read_text(), **values)))


def services() -> dict[str, dict[str, Any]]:
    """Returns every service by its name, as the file describes it that does not build on another's."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(COMPOSE, key=lambda path: path.name != "compose.yaml"):
        for name, service in compose(path)["services"].items():
            found.setdefault(name, service)
    return found


def manifests() -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text()) if document]


def pod_specs() -> dict[str, dict[str, Any]]:
    """Returns the pods' specifications by their owner's name."""
    owners = [manifest for manifest in manifests() if "template" in manifest.get("spec", {})]
    return {owner["metadata"]["name"]: owner["spec"]["template"]["spec"] for owner in owners}


def pins(path: Path) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    return dict(line.split("==") for line in lines if line)
