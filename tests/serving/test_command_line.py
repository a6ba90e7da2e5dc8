"""`python -m serving`, run as a person runs it."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.settings import SETTINGS, StyleSettings
from serving.__main__ import main
from serving.command_line.flags import servers_of, settings_from
from serving.command_line.single import build_parser
from serving.contract import DEFAULT_SERVER, SERVER_VARIABLE
from serving.results import origin_of, settings_of
from serving.run_file import load_run, save_run
from tests.conftest import decoded, encode, smooth_picture
from tests.faulty import faulty
from tests.ports import free_port
from tests.served import ROOT, Served
from tests.small_model import DEFAULT_LAYERS


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    for name, shape in (("content", (40, 56)), ("style", (50, 40))):
        (tmp_path / f"{name}.png").write_bytes(encode(smooth_picture(*shape)))
    return [str(tmp_path / "content.png"), str(tmp_path / "style.png")]


SMALL = ["--size", "56", "--smallest-size", "28", "--steps", "6"]


@pytest.mark.parametrize("way", ["grpc", "http", "path"])
def test_two_pictures_in_one_picture_out(served: Served, pair: list[str], tmp_path: Path, way: str) -> None:
    output = tmp_path / f"{way}.png"
    where = ["--local" if way == "path" else "--server", served.address(way)]
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
        smallest_size=33, learning_rate=1.5, averaging=0.25, style_size=77, blend_weights=(1, 0.5),
        normalisation="target", content_loss="sum", total_variation="nine_point", pooling="average", padding="zero",
        optimizer="adam", learning_rate_decay=0.5, beta_1=0.5, beta_2=0.6, epsilon=0.25, history=3,
        result="average",
    )  # fmt: skip
    assert all(value != SETTINGS[name].default for name, value in other.items())
    flags = [part for pair in str(other).split(",") for part in pair.split("=", 1)]
    flags = [f"--{part.replace('_', '-')}" if index % 2 == 0 else part for index, part in enumerate(flags)]
    assert settings_from(build_parser().parse_args(["c", "s", "-o", "o.png", *flags])) == other


def test_a_preset_is_where_the_other_flags_start_from() -> None:
    options = build_parser().parse_args(["c", "s", "-o", "o.png", "--preset", "fine", "--steps", "7"])
    assert settings_from(options) == StyleSettings("fine", steps=7)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--timeout", "0"], "error: `timeout_s` must be above 0 seconds. Received: 0.0"),
        (["--size", "9"], "error: `size` must be an integer from 16 to 4096. Received: 9"),
        (["--style-layers", "nosuch"], "error: `style_layers` must be layers of the model"),
        (["-o", "picture.gif"], "error: `output` must end in .png, .jpg, .jpeg or .webp. Received: picture.gif"),
        (["--background", "nosuch"], "error: `background` must be a colour, by name or as #RRGGBB. Received: nosuch"),
        (["--resume", "a.run"], "error: `--resume` takes pictures and settings from the file. Received beside it: /"),
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


def test_a_result_names_what_made_it_unless_told_not_to(served: Served, pair: list[str], tmp_path: Path) -> None:
    for name, flags in (("a.png", []), ("b.jpg", []), ("c.webp", ["--no-metadata"])):
        assert main([*pair, "-o", str(tmp_path / name), "--server", served.grpc, "--quiet", *SMALL, *flags]) == 0
    wanted = StyleSettings(size=56, smallest_size=28, steps=6, **DEFAULT_LAYERS)
    assert settings_of((tmp_path / "a.png").read_bytes()) == settings_of((tmp_path / "b.jpg").read_bytes()) == wanted
    origin = origin_of((tmp_path / "a.png").read_bytes())
    assert origin is not None
    assert origin.content_sha256 == hashlib.sha256(Path(pair[0]).read_bytes()).hexdigest()
    assert origin.step == 6
    assert origin.model["weights"]
    assert settings_of((tmp_path / "c.webp").read_bytes()) is None


def test_transparency_shows_the_background_that_is_asked_for(served: Served, pair: list[str], tmp_path: Path) -> None:
    (tmp_path / "clear.png").write_bytes(encode(Image.new("RGBA", (56, 40), (0, 0, 0, 0))))
    output = tmp_path / "out.png"
    flags = ["--background", "#00ff00", "--style-weight", "0", "--server", served.grpc, "--quiet", *SMALL]
    assert main([str(tmp_path / "clear.png"), pair[1], "-o", str(output), *flags]) == 0
    np.testing.assert_allclose(decoded(output.read_bytes()).mean((0, 1)), [0, 255, 0], atol=20)


def test_a_killed_client_resumes_from_its_checkpoint(served: Served, pair: list[str], tmp_path: Path) -> None:
    settings = ["--size", "56", "--smallest-size", "28", "--steps", "600", "--optimizer", "adam"]  # none ends early
    checkpoint, undisturbed, resumed = tmp_path / "a.run", tmp_path / "undisturbed.png", tmp_path / "resumed.png"
    assert main([*pair, "-o", str(undisturbed), "--server", served.grpc, "--quiet", *settings]) == 0
    command = [*pair, "-o", str(tmp_path / "out.png"), "--server", served.grpc, "--checkpoint", str(checkpoint)]
    process = subprocess.Popen([sys.executable, "-m", "serving", *command, "--quiet", *settings], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait(30)
    assert 0 < load_run(checkpoint).step < 600
    for path in pair:
        Path(path).unlink()
    assert main(["--resume", str(checkpoint), "-o", str(resumed), "--server", served.http, "--quiet"]) == 0
    assert resumed.read_bytes() == undisturbed.read_bytes()
    assert load_run(checkpoint).step == 600


def test_a_damaged_checkpoint_and_one_of_another_model_are_one_sentence(
    served: Served, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, output = tmp_path / "a.run", tmp_path / "out.png"
    begun = [*pair, "-o", str(output), "--checkpoint", str(checkpoint), "--server", served.grpc, "--quiet", *SMALL]
    assert main(begun) == 0
    output.unlink()
    resume = ["--resume", str(checkpoint), "-o", str(output), "--server", served.grpc, "--quiet"]
    save_run(checkpoint, replace(load_run(checkpoint), model_digest="another"))
    assert main(resume) == 1
    assert "error: `resume` must be a run of the model that is served" in capsys.readouterr().err
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert main(resume) == 1
    assert "error: `resume` must be an undamaged file" in capsys.readouterr().err
    assert not output.exists()


def test_a_run_that_fails_is_kept_and_says_how_to_go_on(
    served: Served, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, kept = tmp_path / "out.png", tmp_path / "out.png.run"
    flags = ["-o", str(output), "--quiet", "--size", "56", "--steps", "60", "--optimizer", "adam", "--patience", "0"]
    with faulty(served.http, "cut", 200_000) as proxy:
        assert main([*pair, *flags, "--server", proxy.address]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2] == f"{kept}: the run at step {load_run(kept).step}/60; --resume {kept} goes on with it"
    assert lines[-1].startswith("error: The connection to http://127.0.0.1:")
    assert not output.exists()
    assert main(["--resume", str(kept), "-o", str(output), "--server", served.http, "--quiet"]) == 0
    assert decoded(output.read_bytes()).shape == (40, 56, 3)


@pytest.mark.parametrize("flag", ["--timeout", "--patience"])
@pytest.mark.parametrize("value", ["x", "-1", "nan", "inf"])
def test_times_are_checked(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["c", "s", "-o", "o.png", f"{flag}={value}"])
    assert f"argument {flag}: must be a number from 0 to 1e+09. Received: {value}" in capsys.readouterr().err


def test_several_servers_stand_in_for_one_another(served: Served, pair: list[str], tmp_path: Path) -> None:
    servers = ["--server", f"http://127.0.0.1:{free_port()},{served.http}", "--server", served.grpc]
    assert main([*pair, "-o", str(tmp_path / "out.png"), "--quiet", *servers, *SMALL]) == 0


def test_servers_come_from_the_flag_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def servers(*flags: str) -> list[str]:
        return servers_of(build_parser().parse_args(["c", "s", "-o", "o.png", *flags]))

    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    assert servers() == [DEFAULT_SERVER]
    monkeypatch.setenv(SERVER_VARIABLE, "grpc://a:1,http://b:2")
    assert servers() == ["grpc://a:1", "http://b:2"]
    assert servers("--server", "grpc://c:3", "--server", "http://d:4") == ["grpc://c:3", "http://d:4"]


def test_no_server_is_said_at_once(pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = f"grpc://127.0.0.1:{free_port()}"
    assert main([*pair, "-o", str(tmp_path / "out.png"), "--server", server, "--patience", "1e6"]) == 1
    assert capsys.readouterr().err == f"error: No server answers at {server}.\n"


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
