"""docker/README.md names files, services and settings that are there."""

from __future__ import annotations

import re

import yaml
from compose_spec import PyCompose

from tests.docker.files import COMPOSE, DOCKER, ROOT, services

TEXT = (DOCKER / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
MADE = {"docker/edge", "docker/.env", "docker/weights/vgg19.h5"}  # by who follows the text


def test_files_in_commands_exist() -> None:
    commands = "".join(block for language, block in BLOCKS if language == "console")
    named = set(re.findall(r"\bdocker/[\w./-]+", commands)) - MADE
    named = {name for name in named if not name.startswith(("docker/dockerfile", "docker/wheels"))}
    assert len(named) > 5
    for name in named:
        assert (ROOT / name).exists(), name


def test_every_compose_file_is_explained() -> None:
    assert {path.name for path in COMPOSE} == set(re.findall(r"^\| \[(compose[\w.]*)\]", TEXT, re.MULTILINE))


def test_the_example_with_several_gpus_is_right() -> None:
    (example,) = [yaml.safe_load(block) for language, block in BLOCKS if language == "yaml"]
    assert PyCompose.from_yaml(yaml.safe_dump(example)).service_names()
    (service,) = example["services"].values()
    assert service["extends"] == {"file": "compose.yaml", "service": "serving"}
    assert "serving" in services()
    assert service["networks"]["inside"]["aliases"] == ["serving"]  # what nginx asks for
    assert service["environment"]["NVIDIA_TF32_OVERRIDE"] == "0"


def test_what_was_not_run_is_said_to_be_so() -> None:
    assert "**Not run by us**" in TEXT
    assert "make verify-deployment" in TEXT.partition("**Not run by us**")[2]
