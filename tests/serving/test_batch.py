"""Many pictures: what is made, what is skipped, and what one bad file or a dead server does to the rest."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from model.settings import StyleSettings
from serving.__main__ import main
from serving.batch import MANIFEST, PARTIAL, Batch, Ending, pictures_in, plan
from serving.client import StyleTransferClient
from serving.endpoints import RetryPolicy
from serving.errors import InvalidInput, ServingUnavailable
from serving.results import settings_of
from serving.run_file import load_run
from tests.conftest import decoded, encode, smooth_picture
from tests.ports import free_port
from tests.served import ROOT, Served
from tests.serving.fakes import IMAGE, chunk
from tests.small_model import DEFAULT_LAYERS

SMALL = ["--size", "56", "--smallest-size", "28", "--steps", "6", "--quiet"]
SETTINGS = StyleSettings(size=56, smallest_size=28, steps=8)
MODEL = {"digest": "abc", "weights": {"name": "fake"}}


class Fake:
    """A transport that takes two steps of eight in every call, and does what a test says before each."""

    def __init__(self, before: Any = lambda call: None) -> None:
        self.before, self.calls = before, 0

    def predict(self, signature: str, inputs: Any, *, outputs: Any = (), timeout_s: float) -> dict[str, Any]:
        self.calls += 1
        self.before(self.calls)
        step, take = int(inputs["state_bytes"][0] or b"0"), inputs["take_steps"][0]
        end = min(8, step + take)
        return chunk(str(end).encode(), end, 8, IMAGE if end == 8 or not take else b"")

    def close(self) -> None:
        pass


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for folder, names in (("contents", ("a", "b")), ("styles", ("x", "y"))):
        (tmp_path / folder).mkdir()
        for seed, name in enumerate(names):
            (tmp_path / folder / f"{name}.png").write_bytes(encode(smooth_picture(40, 56, seed)))
    return tmp_path


def tasks(folders: Path) -> Any:
    contents, styles = (pictures_in(folders / name, name) for name in ("contents", "styles"))
    return plan(contents, styles, folders / "out", ".png")


def run(folders: Path, *fakes: Fake, **options: Any) -> dict[str, Ending]:
    batch = Batch(tasks(folders), [StyleTransferClient(fake) for fake in fakes], SETTINGS, MODEL, **options)
    batch.start()
    return {outcome.task.output.stem: outcome.ending for outcome in batch.outcomes() if outcome}


def test_every_content_in_every_style(served: Served, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folders / "out"
    arguments = ["batch", str(folders / "contents"), str(folders / "styles"), "-o", str(out), *SMALL]
    assert main([*arguments, "--server", f"{served.grpc},{served.http}"]) == 0
    assert capsys.readouterr().out == f"{out}: 4 done\n"
    assert {path.name for path in out.iterdir()} == {"a_x.png", "a_y.png", "b_x.png", "b_y.png", MANIFEST}
    assert decoded((out / "b_y.png").read_bytes()).shape == (40, 56, 3)
    assert settings_of((out / "a_x.png").read_bytes()) == StyleSettings(
        size=56, smallest_size=28, steps=6, **DEFAULT_LAYERS
    )
    # Again: nothing is left to do. Then what has changed is made anew, and that alone.
    assert main([*arguments, "--server", served.grpc]) == 0
    assert capsys.readouterr().out == f"{out}: 4 skipped\n"
    (folders / "contents" / "a.png").write_bytes(encode(smooth_picture(40, 56, 9)))
    (out / "b_x.png").unlink()
    assert main([*arguments, "--server", served.grpc]) == 0
    assert capsys.readouterr().out == f"{out}: 3 done, 1 skipped\n"
    assert main([*arguments, "--server", served.grpc, "--seed", "1"]) == 0
    assert capsys.readouterr().out == f"{out}: 4 done\n"


def test_one_bad_file_does_not_stop_the_rest(served: Served, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "contents" / "a.png").write_bytes(b"hello")
    arguments = ["batch", str(folders / "contents"), str(folders / "styles"), "-o", str(folders / "out"), *SMALL]
    assert main([*arguments, "--server", served.grpc]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{folders / 'out'}: 2 done, 2 failed\n"
    assert "a_x.png: `content` must be a picture. Received: 5 bytes that are none" in captured.err


def test_a_killed_batch_goes_on_where_it_was(served: Served, folders: Path) -> None:
    arguments = ["batch", str(folders / "contents" / "a.png"), str(folders / "styles" / "x.png"), "--quiet"]
    arguments += ["--server", served.grpc, "--size", "56", "--smallest-size", "28", "--steps", "600"]
    assert main([*arguments, "-o", str(folders / "undisturbed")]) == 0
    partial = folders / "out" / PARTIAL / "a_x.png.run"
    process = subprocess.Popen([sys.executable, "-m", "serving", *arguments, "-o", str(folders / "out")], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while not partial.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert 0 < load_run(partial).step < 600
    assert main([*arguments, "-o", str(folders / "out")]) == 0
    assert (folders / "out" / "a_x.png").read_bytes() == (folders / "undisturbed" / "a_x.png").read_bytes()
    assert not partial.parent.exists()


def test_as_many_are_at_work_at_once_as_there_are_clients(folders: Path) -> None:
    together = threading.Barrier(3, timeout=60)
    fakes = [Fake(lambda call: together.wait() if call == 1 else None) for _ in range(3)]
    assert run(folders, *fakes) == dict.fromkeys(("a_x", "a_y", "b_x", "b_y"), Ending.DONE)


def test_a_stopped_batch_keeps_what_is_under_way_and_goes_on_from_there(folders: Path) -> None:
    cancelled = threading.Event()
    first = Fake(lambda call: cancelled.set() if call == 2 else None)
    assert run(folders, first, cancelled=cancelled) == dict.fromkeys(("a_x", "a_y", "b_x", "b_y"), Ending.STOPPED)
    assert load_run(folders / "out" / PARTIAL / "a_x.png.run").step == 5
    assert not (folders / "out" / "a_x.png").exists()
    whole, rest = Fake(), Fake()
    run_again = run(folders, rest)
    assert set(run_again.values()) == {Ending.DONE}
    for path in (folders / "out").iterdir():
        path.unlink()
    run(folders, whole)
    assert rest.calls < whole.calls
    assert not (folders / "out" / PARTIAL).exists()


def test_what_is_under_way_for_other_settings_is_begun_anew(folders: Path) -> None:
    cancelled = threading.Event()
    run(folders, Fake(lambda call: cancelled.set() if call == 2 else None), cancelled=cancelled)
    states: list[bytes] = []
    fake = Fake()
    predict = fake.predict
    fake.predict = lambda *a, **k: states.append(a[1]["state_bytes"][0]) or predict(*a, **k)  # type: ignore[method-assign, func-returns-value]
    batch = Batch(tasks(folders), [StyleTransferClient(fake)], SETTINGS.replace(seed=1), MODEL)
    batch.start()
    list(batch.outcomes())
    assert states[0] == b""


def test_when_no_server_is_left_the_rest_is_not_tried(folders: Path) -> None:
    def gone(call: int) -> None:
        if call > 3:
            raise ServingUnavailable("No server answers.")

    batch = Batch(tasks(folders), [StyleTransferClient(Fake(gone), retry_policy=RetryPolicy(0))], SETTINGS, MODEL)
    batch.start()
    outcomes = [outcome for outcome in batch.outcomes() if outcome]
    assert [outcome.ending for outcome in outcomes] == [Ending.DONE, Ending.FAILED, Ending.STOPPED, Ending.STOPPED]
    assert outcomes[1].problem == "No server answers."


@pytest.mark.parametrize("text", ["", "[]", "{", '{"results": 3}', '{"results": {"a_x.png": 3}}'])
def test_a_damaged_manifest_costs_work_and_nothing_else(folders: Path, text: str) -> None:
    run(folders, Fake())
    (folders / "out" / MANIFEST).write_text(text)
    assert set(run(folders, Fake()).values()) == {Ending.DONE}
    assert set(run(folders, Fake()).values()) == {Ending.SKIPPED}


def test_a_result_that_somebody_changed_is_made_anew(folders: Path) -> None:
    run(folders, Fake())
    with (folders / "out" / "a_x.png").open("ab") as file:
        file.write(b"x")
    assert run(folders, Fake())["a_x"] is Ending.DONE
    manifest = json.loads((folders / "out" / MANIFEST).read_text())
    assert manifest["results"]["a_x.png"]["made_from"]["model"] == "abc"


def test_a_result_is_made_anew_without_what_it_says_of_itself(folders: Path) -> None:
    run(folders, Fake())
    assert run(folders, Fake(), metadata=False)["a_x"] is Ending.DONE
    assert settings_of((folders / "out" / "a_x.png").read_bytes()) is None


def test_a_directory_is_read_for_pictures_by_name(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.heic", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in pictures_in(tmp_path, "CONTENTS")] == ["a.png", "b.JPG", "c.heic"]
    assert pictures_in(tmp_path / "notes.txt", "CONTENTS") == [tmp_path / "notes.txt"]
    with pytest.raises(InvalidInput, match=r"`CONTENTS` must be a readable directory. Received: .*\(No such file"):
        pictures_in(tmp_path / "nosuch", "CONTENTS")
    with pytest.raises(InvalidInput, match="`STYLES` must be a directory with pictures"):
        pictures_in(tmp_path / "folder.png", "STYLES")


def test_files_of_one_stem_keep_their_suffixes(tmp_path: Path) -> None:
    planned = plan([Path("a.png"), Path("a.jpg"), Path("b.jpg")], [Path("x.png")], tmp_path, ".jpg")
    assert [task.output.name for task in planned] == ["a.png_x.jpg", "a.jpg_x.jpg", "b_x.jpg"]
    with pytest.raises(InvalidInput, match=r"different names. Received: a_b_c.png twice"):
        plan([Path("a.png"), Path("a_b.png")], [Path("c.png"), Path("b_c.png")], tmp_path, ".png")


def test_a_server_that_is_away_does_not_keep_the_batch_from_beginning(
    served: Served, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["batch", str(folders / "contents"), str(folders / "styles"), "-o", str(folders / "out"), *SMALL]
    away = f"http://127.0.0.1:{free_port()}"
    assert main([*arguments, "--server", away, "--server", served.http]) == 0
    captured = capsys.readouterr()
    assert f"No server answers at {away}." in captured.err
    assert "4 done" in captured.out


def test_mistakes_are_one_sentence(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "file").touch()
    pair = [str(folders / "contents"), str(folders / "styles")]
    server = f"http://127.0.0.1:{free_port()}"
    for arguments, sentence in (
        ([*pair, "-o", "out", "--size", "9"], "error: `size` must be an integer from 16 to 4096. Received: 9"),
        (["/nosuch", pair[1], "-o", "out"], "error: `CONTENTS` must be a readable directory. Received: /nosuch"),
        ([*pair, "-o", "out", "--server", server], f"error: No server answers at {server}."),
    ):
        assert main(["batch", *arguments]) == 1
        assert capsys.readouterr().err.startswith(sentence)
