"""A client's machine has no TensorFlow: library and command line work without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import decoded, encode, smooth_picture
from tests.served import ROOT, Served

NEEDED = ("numpy", "pillow", "requests", "grpcio", "protobuf", "tqdm")  # what serving/README.md says a client needs

# None in sys.modules makes an import fail as if there were no such package.
BLOCKED = """
import sys
for name in ("tensorflow", "tensorflow_serving", "keras", "h5py", "streamlit"):
    sys.modules[name] = None
from serving.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    (tmp_path / "photo.png").write_bytes(encode(smooth_picture(40, 56)))
    return [str(tmp_path / "photo.png")] * 2 + ["--size", "56", "--smallest-size", "28", "--steps", "4", "--quiet"]


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_pictures_are_made_where_tensorflow_is_blocked(
    served: Served, flags: list[str], tmp_path: Path, way: str
) -> None:
    output, checkpoint = tmp_path / "out.jpg", tmp_path / "a.run"
    run = [*flags, "-o", str(output), "--checkpoint", str(checkpoint), "--server", served.address(way)]
    subprocess.run([sys.executable, "-c", BLOCKED, *run], cwd=ROOT, check=True)
    assert decoded(output.read_bytes()).shape == (40, 56, 3)
    resume = ["--resume", str(checkpoint), "-o", str(output), "--server", served.address(way), "--quiet"]
    subprocess.run([sys.executable, "-c", BLOCKED, *resume], cwd=ROOT, check=True)


def test_the_local_way_alone_needs_it_and_says_so(flags: list[str], tmp_path: Path) -> None:
    local = [*flags, "-o", str(tmp_path / "out.png"), "--local", "/models"]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *local], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: `local` needs TensorFlow to run the model in this process")


def test_no_module_of_the_client_imports_it_by_the_way() -> None:
    names = [path.stem for path in (ROOT / "serving").glob("*.py") if path.stem != "__init__"]
    code = f"import sys, {', '.join(f'serving.{name}' for name in names)}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


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
