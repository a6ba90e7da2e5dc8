"""A client's machine has no TensorFlow: library and command line work without it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import decoded, encode, smooth_picture
from tests.served import ROOT, Served

NEEDED = ("numpy", "pillow", "requests", "grpcio", "protobuf", "tqdm")  # what serving/README.md says a client needs
MODULES = [f"serving.{path.stem}" for path in (ROOT / "serving").glob("*.py") if path.stem != "__init__"]

# None in sys.modules makes an import fail as if there were no such package.
BLOCKED = """
import importlib, json, sys
for name in ("tensorflow", "tensorflow_serving", "keras", "h5py", "streamlit"):
    sys.modules[name] = None
modules, *commands = map(json.loads, sys.argv[1:])
for module in modules:
    importlib.import_module(module)
print([sys.modules["serving.__main__"].main(command) for command in commands])
"""


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    (tmp_path / "photo.png").write_bytes(encode(smooth_picture(40, 56)))
    return [str(tmp_path / "photo.png")] * 2 + ["--size", "56", "--smallest-size", "28", "--steps", "4", "--quiet"]


def test_all_but_the_local_way_works_where_tensorflow_is_blocked(
    served: Served, flags: list[str], tmp_path: Path
) -> None:
    output, resumed, checkpoint = (str(tmp_path / name) for name in ("out.png", "resumed.png", "a.run"))
    commands = [
        [*flags, "-o", output, "--checkpoint", checkpoint, "--server", served.grpc],
        ["--resume", checkpoint, "-o", resumed, "--server", served.http, "--quiet"],
        [*flags, "-o", output, "--local", "/models"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *map(json.dumps, [MODULES, *commands])],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[0, 0, 1]"
    assert done.stderr.startswith("error: `local` needs TensorFlow to run the model in this process")
    assert Path(resumed).read_bytes() == Path(output).read_bytes()


@pytest.mark.slow
def test_a_fresh_environment_with_a_few_packages_is_enough(served: Served, flags: list[str], tmp_path: Path) -> None:
    pins = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    wanted = [pin for pin in pins if pin.split("==")[0] in NEEDED]
    assert len(wanted) == len(NEEDED)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
    output = tmp_path / "out.png"
    command = [str(python), "-m", "serving", *flags, "-o", str(output), "--server", served.grpc]
    subprocess.run(command, cwd=ROOT, check=True)
    assert decoded(output.read_bytes()).shape == (40, 56, 3)
