"""The README says what is true: its tables come from the code, its commands run.

`python -m tests.test_readme` writes the tables anew.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from model.contract import SIGNATURES, TensorInfo
from model.presets import OUR_OWN, PRESETS
from model.settings import GROUPS, PRESET, SETTINGS, format_value
from serving.__main__ import main as command_line
from serving.server import flags
from tests.conftest import decoded, encode, smooth_picture
from tests.served import Served

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def settings_table() -> str:
    rows = []
    for group in GROUPS:
        rows += [f"| {group} | default | expected | meaning |", "|---|---|---|---|"]
        for setting in (PRESET, *SETTINGS.values()):
            if setting.group == group:
                default = format_value(setting.default)
                unit = f", {setting.unit}" if setting.unit else ""
                expected = "layers, with weights" if setting.kind == "layers" else setting.expected + unit
                rows.append(f"| `{setting.name}` | {default} | {expected} | {setting.help} |")
        rows.append("")
    own = [
        f"`{name}`: {', '.join(f'{key} {value}' for key, value in PRESETS[name].items()) or 'the defaults above'}"
        for name in OUR_OWN
    ]
    others = [f"`{name}`" for name in PRESETS if name not in OUR_OWN]
    return "\n".join(rows) + (
        f"\nPresets: {'; '.join(own)}. {', '.join(others)} reproduce other systems, whose formulas and conversions are "
        "in [model/presets.py](model/presets.py)."
    )


def signatures_table() -> str:
    def side(tensors: tuple[TensorInfo, ...]) -> str:
        return ", ".join(f"`{tensor.name}`" for tensor in tensors)

    rows = ["| signature | takes | returns |", "|---|---|---|"]
    rows += [f"| `{s.name}` | {side(s.inputs)} | {side(s.outputs)} |" for s in SIGNATURES.values()]
    rows += ["", "| tensor | type | shape | meaning |", "|---|---|---|---|"]
    tensors = {t.name: t for s in SIGNATURES.values() for t in (*s.inputs, *s.outputs)}
    letters = dict.fromkeys(("style_bytes", "content_mask_bytes", "style_mask_bytes"), "[B, S]")
    letters["losses"] = "[B, N, 4]"
    rows += [f"| `{t.name}` | {t.dtype} | {letters.get(t.name, '[B]')} | {t.meaning} |" for t in tensors.values()]
    return "\n".join(rows)


def flags_table() -> str:
    rows = ["| flag | default | meaning |", "|---|---|---|"]
    for action in flags.build_parser()._actions:
        if action.dest != "help":
            default = "" if action.default == argparse.SUPPRESS else str(action.default)
            default = default.lower() if isinstance(action.default, bool) else default
            rows.append(f"| `--{action.dest}` | {default} | {action.help} |")
    return "\n".join(rows)


TABLES = {"settings": settings_table, "signatures": signatures_table, "flags": flags_table}


def with_tables(text: str) -> str:
    for name, table in TABLES.items():
        before, begin, rest = text.partition(f"<!-- {name}: written by `python -m tests.test_readme` -->")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        text = f"{before}{begin}\n{table()}\n{end}{after}"
    return text


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_tables_are_those_of_the_code() -> None:
    assert README.read_text() == with_tables(README.read_text())


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.fixture
def desk(tmp_path: Path, served: Served) -> Path:
    """A directory with two pictures, the exported model and the environment where the README's commands expect them."""
    (tmp_path / "photo.jpg").write_bytes(encode(smooth_picture(40, 56), "JPEG"))
    (tmp_path / "painting.jpg").write_bytes(encode(smooth_picture(50, 40), "JPEG"))
    for name in ("photo", "painting"):
        (tmp_path / f"{name}s").mkdir()
        (tmp_path / f"{name}s" / f"{name}.jpg").write_bytes((tmp_path / f"{name}.jpg").read_bytes())
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "style_transfer").symlink_to(served.path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    for package in ("model", "serving"):
        (tmp_path / package).symlink_to(ROOT / package)
    return tmp_path


def here(text: str, served: Served) -> str:
    """The text with this server's addresses, and with small pictures."""
    text = text.replace("grpc://localhost:8500", served.grpc).replace("http://localhost:8501", served.http)
    return text.replace("size=512", "size=64").replace("--size 512", "--size 64").replace("--preset quick", "--size 64")


FEATURES = re.findall(r"^\| [^|]+ \| `(photo\.jpg [^`]+)` \|$", README.read_text(), re.MULTILINE)


@pytest.mark.parametrize("words", FEATURES)
def test_every_feature_has_a_command_that_runs(
    words: str, desk: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    for name in ("second.jpg", "start.jpg", "sky.png", "ground.png", "part.png"):
        (desk / name).write_bytes(encode(smooth_picture(24, 24, 5), "PNG" if name.endswith("png") else "JPEG"))
    small = ["--size", "48", "--steps", "4", "-o", "out.png", "--server", served.grpc, "--quiet"]
    assert command_line([*words.split(), *small]) == 0
    assert decoded((desk / "out.png").read_bytes()).shape == (34, 48, 3)


def test_the_features_table_names_every_setting() -> None:
    flags = {f"--{name.replace('_', '-')}" for name in SETTINGS}
    shown = {word for words in FEATURES for word in words.split()}
    assert flags <= shown | {"--size", "--steps", "--seed"}


COMMANDS = [block for block in blocks("bash") if not block.startswith("make ")]


@pytest.mark.parametrize("command", COMMANDS, ids=[block.split("\n")[0][:60].strip() for block in COMMANDS])
def test_commands_run(command: str, desk: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NST_SERVING_URL", served.grpc)
    monkeypatch.setenv("PYTHONPATH", str(desk))
    if "model.export" in command:  # what it writes is tested elsewhere; here, that these are its flags
        command = command.replace("--weights imagenet", "--weights random").replace("models/style_transfer", "exported")
    done = subprocess.run(["bash", "-ec", here(command, served)], cwd=desk, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = {"out.png": desk / "out.png", "results/": desk / "results" / "photo_painting.png"}
    made = [path for name, path in result.items() if name in command]
    if made:
        height, width, _ = decoded(made[0].read_bytes()).shape
        assert (height, width) in {(46, 64), (366, 512)}
    else:
        assert (desk / "exported" / "1" / "saved_model.pb").exists()


def test_python_runs(desk: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(desk))
    (code,) = blocks("python")
    subprocess.run([sys.executable, "-c", here(code, served)], cwd=desk, check=True, capture_output=True)
    assert decoded((desk / "out.png").read_bytes()).shape == (46, 64, 3)


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
