"""The files of docker/, read."""

import functools
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = sorted((path.name for path in DOCKER.glob("compose*.yaml")), key=len)  # that which others change first
OTHERS = {"prometheus-adapter", "kustomization"}  # read by other programs than the cluster
MANIFESTS = sorted(path for path in (DOCKER / "kubernetes").rglob("*.yaml") if path.stem not in OTHERS)
# For visitors of the page.
LIMITS = {name for path in ROOT.glob("ui/*.py") for name in re.findall(r'"(NST_(?:MAX|RUNS)_\w+)"', path.read_text())}
VARIABLE = re.compile(r"\$\{(\w+):[-?]([^}]*)\}")  # ?: it has no default, and the text says what to do


def compose(name: str) -> dict[str, Any]:
    """Returns a Compose file as Docker reads it while no variable is set."""
    return dict(yaml.safe_load(VARIABLE.sub(r"\2", (DOCKER / name).read_text())))


@functools.cache
def manifests(kind: str) -> dict[str, dict[str, Any]]:
    """Returns the cluster's objects of a kind by name."""
    objects = [document for path in MANIFESTS for document in yaml.load_all(path.read_text(), yaml.CSafeLoader)]
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    """Returns the templates of all pods by their owner's name."""
    owners = {**manifests("Deployment"), **manifests("Job")}
    return {name: owner["spec"]["template"] for name, owner in owners.items()}


def pins(path: Path) -> dict[str, str]:
    """Returns the versions in a file of requirements by package."""
    return dict(re.findall(r"(?m)^([\w.-]+)==([\w.]+)", path.read_text()))
