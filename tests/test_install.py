"""The wheel, installed in an empty environment of each Python but the one of these tests: it paints a picture.

A Python that is not on this machine is skipped; one that pyenv has counts.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.child_server import GRPC
from tests.small_model import DEFAULT_LAYERS, small_network
from tests.ui.launched import Launched

ROOT = Path(__file__).parents[1]
PYTHONS = [version for version in ("3.11", "3.12", "3.13") if not sys.version.startswith(version)]
UV = str(Path(sys.executable).with_name("uv"))


def found(version: str) -> str:
    """Returns the path of a Python that runs, or skips the test."""
    of_pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for path in (shutil.which(f"python{version}"), *map(str, of_pyenv)):
        if path and subprocess.run([path, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0:
            return path
    return pytest.skip(f"there is no Python {version} on this machine")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    (path,) = folder.glob("*.whl")
    return path


class Environment:
    """An environment with the wheel and some of its extras, in the locked versions."""

    def __init__(self, folder: Path, python: str, wheel: str) -> None:
        self._folder = folder
        subprocess.run([UV, "venv", "--quiet", "--python", python, str(folder)], check=True)
        packages = [wheel, "--constraints", str(ROOT / "requirements.txt")]
        subprocess.run([UV, "pip", "install", "--quiet", "--python", self.command("python"), *packages], check=True)

    def command(self, name: str) -> str:
        return str(self._folder / "bin" / name)

    def run(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs one of its commands outside of this checkout."""
        command = [self.command(name), *map(str, arguments)]
        return subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_exports_serves_and_paints(version: str, wheel: Path, tmp_path: Path) -> None:
    python = found(version)
    weights, models, out = tmp_path / "small.npz", tmp_path / "models", tmp_path / "out.png"
    np.savez(weights, **small_network().arrays)
    everything = Environment(tmp_path / "everything", python, f"{wheel}[server,page]")
    client = Environment(tmp_path / "client", python, str(wheel))
    assert client.run("python", "-c", "import tensorflow").returncode != 0

    exported = everything.run("style-transfer-export", "--weights", weights, "--output", models)
    assert exported.returncode == 0, exported.stderr
    refused = everything.run("style-transfer-server", f"--model_base_path={tmp_path / 'nothing'}")
    assert (refused.returncode, "must hold a version directory" in refused.stderr) == (1, True)
    page = everything.command("style-transfer-page")
    with Launched(models, tmp_path / "log", [page], cwd=tmp_path) as launched:
        assert "The page is at" in launched.wait_for("The page is at")
        settings = [f"--{name.replace('_', '-')}={'/'.join(layers)}" for name, layers in DEFAULT_LAYERS.items()]
        pictures = [ROOT / "ui/samples/cat.jpg", ROOT / "ui/samples/eddies.jpg", "-o", out, "--size=64", "--steps=2"]
        server = f"grpc://127.0.0.1:{launched.ports[GRPC.variable]}"
        painted = client.run("style-transfer", *pictures, *settings, "--server", server)
        assert painted.returncode == 0, painted.stderr
    with Image.open(out) as picture:
        assert picture.size == (64, 51)
