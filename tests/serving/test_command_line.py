"""`python -m serving`, run as a person runs it."""

import io
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.settings import SETTINGS, StyleSettings, format_value
from serving.__main__ import main
from serving.client import StyleTransferClient
from serving.command_line import flags, single
from serving.command_line.flags import given_settings, servers_of
from serving.command_line.single import build_parser
from serving.contract import DEFAULT_SERVER, SERVER_VARIABLE
from serving.files import sha256
from serving.results import PROGRAM, encode_result, origin_of
from serving.run_file import load_run, save_run
from tests.conftest import decoded, encode, smooth_picture
from tests.lines import line
from tests.ports import free_port
from tests.served import ROOT, Served
from tests.serving.fakes import FakeModel
from tests.small_model import DEFAULT_LAYERS


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    for name, shape in (("content", (40, 56)), ("style", (50, 40))):
        (tmp_path / f"{name}.png").write_bytes(encode(smooth_picture(*shape)))
    return [str(tmp_path / "content.png"), str(tmp_path / "style.png")]


def parsed(*flags: str) -> object:
    return build_parser().parse_args(["c", "s", "-o", "o.png", *flags])


@pytest.mark.parametrize(("name", "flags"), [("a.png", []), ("b.jpg", ["--no-metadata"])])
def test_two_pictures_in_one_picture_out_which_names_what_made_it(
    served: Served, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, flags: list[str]
) -> None:
    servers = ["--server", f"http://127.0.0.1:{free_port()},{served.http}", "--server", served.grpc]
    small = ["--size", "56", "--smallest-size", "28", "--steps", "6"]
    assert main([*pair, "-o", str(tmp_path / name), *servers, *small, *flags]) == 0
    captured = capsys.readouterr()
    assert f"{name}: step 6/6" in captured.out
    assert "6/6 steps" in captured.err
    assert {path.name for path in tmp_path.iterdir()} == {"content.png", "style.png", name}
    data = (tmp_path / name).read_bytes()
    assert decoded(data).shape == (40, 56, 3)
    origin = origin_of(data)
    assert (origin is None) == bool(flags)
    if origin:
        assert origin.settings == StyleSettings(size=56, smallest_size=28, steps=6, **DEFAULT_LAYERS)
        assert (origin.content_sha256, origin.step) == (sha256(Path(pair[0]).read_bytes()), 6)
        assert origin.model["weights"]


def test_every_setting_is_a_flag_and_reaches_the_settings() -> None:
    for name, setting in SETTINGS.items():
        flag = f"--{name.replace('_', '-')}={format_value(setting.default)}"
        assert StyleSettings(**given_settings(parsed(flag))).given == (name,)
    assert given_settings(parsed("--preset", "fine", "--steps", "7")) == {"preset": "fine", "steps": "7"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--timeout", "0"], "`timeout_s` must be a number of seconds above 0. Received: 0.0"),
        (["--size", "9"], "`size` must be an integer from 16 to 4096. Received: 9"),
        (["-o", "picture.gif"], "`output` must end in .png, .jpg, .jpeg or .webp. Received: picture.gif"),
        (["-o", "/nosuch/out.png"], "a file must be writable. Received: /nosuch/out.png (No such file or directory)"),
        (["-o", "{folder}"], "a file must be writable. Received: {folder} (Is a directory)"),
        (["-o", "{content}"], "a file that is written must be none of the others. Received: {content}"),
        (["--checkpoint", "{content}"], "a file that is written must be none of the others. Received: {content}"),
        (["--checkpoint", "/"], "a file must be writable. Received: / (Is a directory)"),
        (["--checkpoint", "{folder}"], "a file must be writable. Received: {folder} (Is a directory)"),
        (["--server", "localhost:8500"], "`server` must be grpc://HOST:PORT, http://HOST:PORT or the path of a SavedM"),
        (["--background", "nosuch"], "`background` must be a colour, by name or as #RRGGBB. Received: nosuch"),
        (["--initial", "/nosuch"], "`initial` must be a readable file. Received: /nosuch (No such file or directory)"),
        (["--style-mask", __file__], "`style_masks` must be a picture. Received: "),
        (["--content-mask=-"] * 2, "`content_masks` must be one for each of the 1 styles, or none. Received: 2"),
        (["--resume", "a.run"], "`--resume` takes pictures and settings from the file. Received beside it: /"),
        (["--local", "/nosuch"], "`local` must be the path of a SavedModel. Received: /nosuch"),
        (["--server", "{nobody}", "--patience", "1e6"], "No server answers at {nobody}.\n"),
    ],
)
def test_mistakes_are_one_sentence(
    pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], sentence: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    names = {"nobody": f"grpc://127.0.0.1:{free_port()}", "folder": tmp_path / "folder.png", "content": pair[0]}
    where = [] if {"--server", "--local"} & set(change) else ["--server", names["nobody"]]
    arguments = [*pair, "-o", str(tmp_path / "out.png"), *where, *(text.format(**names) for text in change)]
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith(f"error: {sentence.format(**names)}")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("flag", "answer"),
    [
        ("--version", f"{PROGRAM}\n"),
        *[(f"--patience={x}", f"a number from 0 to 1e+09. Received: {x}\n") for x in ("x", "-1", "nan", "inf")],
    ],
)
def test_version_and_wrong_times_are_told_at_once(flag: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([flag])
    assert "".join(capsys.readouterr()).endswith(answer)


def test_servers_come_from_the_flags_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    assert servers_of(parsed()) == [DEFAULT_SERVER]
    monkeypatch.setenv(SERVER_VARIABLE, "grpc://a:1,http://b:2")
    assert servers_of(parsed()) == ["grpc://a:1", "http://b:2"]
    assert servers_of(parsed("--server", "grpc://c:3", "--server", "http://d:4")) == ["grpc://c:3", "http://d:4"]
    assert servers_of(parsed("--local", "models/a,b")) == ["models/a,b"]


@contextmanager
def running(arguments: list[str], checkpoint: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command line in a process of its own, from its first checkpoint on."""
    command = [sys.executable, "-m", "serving", *arguments, "--checkpoint", str(checkpoint), "--quiet"]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            while not checkpoint.exists():
                assert process.poll() is None
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def test_a_killed_client_resumes_from_its_checkpoint(served: Served, pair: list[str], tmp_path: Path) -> None:
    settings = ["--size", "56", "--smallest-size", "28", "--steps", "300", "--optimizer", "adam"]  # none ends early
    checkpoint, undisturbed, resumed = tmp_path / "a.run", tmp_path / "undisturbed.png", tmp_path / "resumed.png"
    assert main([*pair, "-o", str(undisturbed), "--server", served.grpc, "--quiet", *settings]) == 0
    command = [*pair, "-o", str(tmp_path / "out.png"), "--server", served.grpc, *settings]
    with running(command, checkpoint) as process:
        process.kill()
    assert 0 < load_run(checkpoint).step < 300
    assert main(["--resume", str(checkpoint), "-o", str(resumed), "--server", served.http, "--quiet"]) == 0
    assert resumed.read_bytes() == undisturbed.read_bytes()
    assert load_run(checkpoint).step == 300


def test_a_run_that_fails_is_kept_for_the_same_model_and_says_how_to_go_on(
    served: Served, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, kept = tmp_path / "out.png", tmp_path / "out.png.run"
    flags = ["-o", str(output), "--quiet", "--size", "56", "--steps", "60", "--optimizer", "adam", "--patience", "0"]
    with line(served.http, fault="cut", after_bytes=200_000) as broken:
        assert main([*pair, *flags, "--server", broken.address]) == 1
    lines = capsys.readouterr().err.splitlines()
    run = load_run(kept)
    assert lines[-2] == f"{kept}: the run at step {run.step}/60; --resume {kept} goes on with it"
    assert lines[-1].startswith("error: The connection to http://127.0.0.1:")
    assert not output.exists()
    save_run(kept, replace(run, model_digest="another"))
    assert main(["--resume", str(kept), "-o", str(output), "--server", served.http]) == 1
    assert "error: `resume` must be a run of the model that is served" in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["out.png", "a.run"])
def test_what_can_no_longer_be_written_costs_no_result(
    monkeypatch: pytest.MonkeyPatch, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    def take_the_place(call: int) -> None:
        (tmp_path / lost).unlink(missing_ok=True)
        (tmp_path / lost).mkdir()

    client = StyleTransferClient(FakeModel(before=lambda call: call == 2 and take_the_place(call)))
    monkeypatch.setattr(flags, "open_client", lambda *_: client)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command = [*pair, "-o", str(tmp_path / "out.png"), "--checkpoint", str(tmp_path / "a.run"), "--quiet"]
    assert main(command) == (lost == "out.png")
    said = capsys.readouterr().err.splitlines()[-1]
    kept = Path(said.partition("; it is kept as ")[2].partition(". The run goes on, and is no longer saved.")[0])
    if lost == "a.run":
        assert load_run(kept).step < 8
    picture = kept if lost == "out.png" else tmp_path / "out.png"
    assert decoded(picture.read_bytes()).shape == (4, 4, 3)


def test_neither_ctrl_c_at_the_end_nor_a_name_that_the_terminal_cannot_show_costs_the_picture(
    monkeypatch: pytest.MonkeyPatch, pair: list[str], tmp_path: Path
) -> None:
    def interrupted(*arguments: object) -> bytes:
        signal.raise_signal(signal.SIGINT)
        return encode_result(*arguments)

    shown, output = io.BytesIO(), tmp_path / "ü.png"
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii", write_through=True))
    monkeypatch.setattr(flags, "open_client", lambda *_: StyleTransferClient(FakeModel()))
    monkeypatch.setattr(single, "encode_result", interrupted)
    assert main([*pair, "-o", str(output), "--quiet"]) == 0
    assert origin_of(output.read_bytes()).step == 8
    assert b"\\xfc.png: step 8/8" in shown.getvalue()


def test_ctrl_c_keeps_the_picture_as_it_stands(served: Served, pair: list[str], tmp_path: Path) -> None:
    output = tmp_path / "stopped.png"
    long_run = [*pair, "-o", str(output), "--server", served.grpc, "--size", "56", "--steps", "10000"]
    with running(long_run, tmp_path / "a.run") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert np.ptp(decoded(output.read_bytes())) > 0
