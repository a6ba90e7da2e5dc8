"""A client's machine has a few packages and no TensorFlow: library and command line work without the rest."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from tests.conftest import encode, smooth_picture
from tests.served import ROOT, Served

# What serving/README.md says a client needs, by their names in Python; and what these require.
NEEDED = {"numpy", "PIL", "requests", "pybase64", "grpc", "google", "tqdm"}
REQUIRED = {"certifi", "charset_normalizer", "idna", "typing_extensions", "urllib3"}
BLOCKED = sorted(set(metadata.packages_distributions()) - NEEDED - REQUIRED - {"model", "serving"})
MODULES = [f"serving.{path.stem}" for path in (ROOT / "serving").glob("*.py") if path.stem != "__init__"]

# None in sys.modules makes an import fail as if there were no such package.
SCRIPT = """
import importlib, json, sys
blocked, modules, *commands = map(json.loads, sys.argv[1:])
sys.modules.update(dict.fromkeys(blocked))
import serving
assert "grpc" not in sys.modules  # nor anything else that takes long: of Ctrl-C before `main`, Python makes a traceback
for module in modules:
    importlib.import_module(module)
print([sys.modules["serving.__main__"].main(command) for command in commands])
"""


def test_all_but_the_local_way_works_without_tensorflow_and_most_packages(served: Served, tmp_path: Path) -> None:
    photo, output, resumed, checkpoint = (str(tmp_path / name) for name in ("photo.png", "out.png", "again.png", "run"))
    Path(photo).write_bytes(encode(smooth_picture(40, 56)))
    begin = [photo, photo, "-o", output, "--size", "56", "--smallest-size", "28", "--steps", "4", "--quiet"]
    commands = [
        [*begin, "--checkpoint", checkpoint, "--server", served.grpc],
        ["--resume", checkpoint, "-o", resumed, "--quiet", "--server", served.http],
        [*begin, "--local", "/models"],
    ]
    assert "tensorflow" in BLOCKED
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(json.dumps, [BLOCKED, MODULES, *commands])],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["[0, 0, 1]"], done.stderr
    assert done.stderr.startswith("error: `local` needs TensorFlow to run the model in this process")
    assert Path(resumed).read_bytes() == Path(output).read_bytes()
