"""`python -m serving`, run as a person runs it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from model.settings import SETTINGS, StyleSettings
from serving.__main__ import _settings, build_parser, main
from tests.conftest import decoded, encode, smooth_picture
from tests.served import ROOT, Served


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    for name, shape in (("content", (40, 56)), ("style", (50, 40))):
        (tmp_path / f"{name}.png").write_bytes(encode(smooth_picture(*shape)))
    return [str(tmp_path / "content.png"), str(tmp_path / "style.png")]


SMALL = ["--size", "56", "--smallest-size", "28", "--steps", "6"]


@pytest.mark.parametrize("way", ["grpc", "http", "path"])
def test_two_pictures_in_one_picture_out(served: Served, pair: list[str], tmp_path: Path, way: str) -> None:
    output = tmp_path / f"{way}.png"
    where = ["--local", served.path] if way == "path" else ["--server", getattr(served, way)]
    assert main([*pair, "-o", str(output), "--quiet", *where, *SMALL]) == 0
    assert decoded(output.read_bytes()).shape == (40, 56, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"content.png", "style.png", output.name}


def test_it_says_what_it_did(
    served: Served, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*pair, "-o", str(tmp_path / "out.png"), "--server", served.grpc, *SMALL]) == 0
    captured = capsys.readouterr()
    assert "out.png: step 6/6" in captured.out
    assert "6/6 steps" in captured.err


def test_every_setting_is_a_flag_and_reaches_the_settings() -> None:
    other = StyleSettings(
        size=99, steps=7, style_weight=3, content_weight=2, total_variation_weight=0.5, statistics="gram",
        style_layers=(("block1_conv2", 2.0),), content_layers=(("block2_conv2", 1.0),), start="noise",
        colours="matched", style_scale=0.5, seed=4,
        smallest_size=33, learning_rate=1.5, averaging=0.25,
    )  # fmt: skip
    assert all(value != SETTINGS[name].default for name, value in other.items())
    flags = [part for pair in str(other).split(",") for part in pair.split("=", 1)]
    flags = [f"--{part.replace('_', '-')}" if index % 2 == 0 else part for index, part in enumerate(flags)]
    assert _settings(build_parser().parse_args(["c", "s", "-o", "o.png", *flags])) == other


def test_a_preset_is_where_the_other_flags_start_from() -> None:
    options = build_parser().parse_args(["c", "s", "-o", "o.png", "--preset", "fine", "--steps", "7"])
    assert _settings(options) == StyleSettings.of("fine", steps=7)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--size", "9"], "error: `size` must be an integer from 16 to 4096. Received: 9"),
        (["--style-layers", "nosuch"], "error: `style_layers` must be layers of the model"),
        (["-o", "picture.jpg"], "error: `output` must end in .png. Received: picture.jpg"),
        (["-o", "/nosuch/out.png"], "error: `output` must be in a directory that exists"),
        (["--local", "/nosuch"], "error: `local` must be the path of a SavedModel. Received: /nosuch"),
    ],
)
def test_mistakes_are_one_sentence(
    pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], sentence: str
) -> None:
    assert main([*pair, "-o", str(tmp_path / "out.png"), "--local", str(tmp_path), *change]) == 1
    assert capsys.readouterr().err.strip().startswith(sentence)
    assert not (tmp_path / "out.png").exists()


def test_a_file_that_is_no_picture_is_one_sentence(
    served: Served, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("hello")
    arguments = [pair[0], str(tmp_path / "text.png"), "-o", str(tmp_path / "out.png"), "--server", served.grpc]
    assert main([*arguments, "--quiet"]) == 1
    assert capsys.readouterr().err.strip() == "error: `style` must be a picture. Received: 5 bytes that are none"
    assert main([str(tmp_path / "nosuch"), *arguments[1:]]) == 1
    assert "nosuch (No such file or directory)" in capsys.readouterr().err


def test_ctrl_c_keeps_the_picture_as_it_stands(served: Served, pair: list[str], tmp_path: Path) -> None:
    output = tmp_path / "stopped.png"
    long_run = [*pair, "-o", str(output), "--server", served.grpc, "--size", "56", "--steps", "10000"]
    process = subprocess.Popen([sys.executable, "-m", "serving", *long_run], cwd=ROOT, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        seen = b""
        deadline = time.monotonic() + 60
        while b"steps/s" not in seen and time.monotonic() < deadline:
            seen += process.stderr.read1()  # type: ignore[attr-defined]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.stderr.close()
    assert np.ptp(decoded(output.read_bytes())) > 0
