"""Many pictures: what is made, what is skipped, and what one bad file or a dead server does to the rest."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from model.settings import StyleSettings
from serving.__main__ import main
from serving.batch import MANIFEST, PARTIAL, Batch, Ending, Outcome, pictures_in, plan
from serving.client import StyleTransferClient
from serving.endpoints import RetryPolicy
from serving.errors import InvalidInput, ServingUnavailable
from serving.files import atomic_write
from serving.responses import Description, WeightsInfo
from serving.results import settings_of
from serving.run_file import load_run
from tests.conftest import encode, smooth_picture
from tests.ports import free_port
from tests.served import Served
from tests.serving.fakes import FakeModel
from tests.small_model import DEFAULT_LAYERS

SETTINGS = StyleSettings(size=56, smallest_size=28, steps=8)
DONE, SKIPPED, STOPPED = ([ending] * 4 for ending in (Ending.DONE, Ending.SKIPPED, Ending.STOPPED))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for folder, names in (("contents", ("a", "b")), ("styles", ("x", "y"))):
        (tmp_path / folder).mkdir()
        for seed, name in enumerate(names):
            (tmp_path / folder / f"{name}.png").write_bytes(encode(smooth_picture(40, 56, seed)))
    return tmp_path


def outcomes(
    folders: Path, *models: FakeModel, settings: StyleSettings = SETTINGS, out: str = "out", **options: Any
) -> list[Outcome]:
    contents, styles = (pictures_in(folders / name, name, folders / out) for name in ("contents", "styles"))
    tasks = plan(contents, styles, folders / out, ".png")
    clients = [StyleTransferClient(model, retry_policy=RetryPolicy(0)) for model in models]
    model = Description("abc", WeightsInfo("fake"), settings=settings)
    return [outcome for outcome in Batch(tasks, clients, model, **options).outcomes() if outcome]


def endings(folders: Path, *models: FakeModel, **options: Any) -> list[Ending]:
    return [outcome.ending for outcome in outcomes(folders, *models, **options)]


def test_every_content_in_every_style(served: Served, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, places = folders / "out", [str(folders / name) for name in ("contents", "styles")]
    command = ["batch", *places, "-o", str(out), "--quiet", "--size=56", "--smallest-size=28", "--steps=8", "--server"]
    assert main([*command, f"{served.grpc},{served.http}"]) == 0
    assert capsys.readouterr().out == f"{out}: 4 done\n"
    assert {path.name for path in out.iterdir()} == {"a_x.png", "a_y.png", "b_x.png", "b_y.png", MANIFEST}
    assert settings_of((out / "a_x.png").read_bytes()) == SETTINGS.replace(**DEFAULT_LAYERS)
    # Again: what is missing, has changed or cannot be read is made anew, and that alone.
    (out / "b_x.png").unlink()
    (folders / "contents" / "a.png").write_bytes(b"hello")
    away = f"http://127.0.0.1:{free_port()}"
    assert main([*command, away, "--server", served.http]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{out}: 1 done, 1 skipped, 2 failed\n"
    assert f"No server answers at {away}." in captured.err
    assert "a_x.png: `content` must be a picture. Received: 5 bytes that are not one" in captured.err


def test_as_many_are_at_work_at_once_as_there_are_clients(folders: Path) -> None:
    together = threading.Barrier(3, timeout=60)
    models = [FakeModel(before=lambda call: together.wait() if call == 1 else None) for _ in range(3)]
    assert endings(folders, *models) == DONE


def test_a_stopped_batch_keeps_what_is_under_way_and_goes_on_from_there(folders: Path) -> None:
    out, cancelled = folders / "out", threading.Event()
    stopped = FakeModel(before=lambda call: cancelled.set() if call == 2 else None)
    assert endings(folders, stopped, cancelled=cancelled) == STOPPED
    checkpoint = out / PARTIAL / "a_x.png.run"
    assert not (out / "a_x.png").exists()
    kept, reached = checkpoint.read_bytes(), load_run(checkpoint).state
    assert 2 <= int(reached) < SETTINGS.steps
    for data, change, state in ((kept, {}, reached), (kept, {"seed": 1}, b""), (b"x", {}, b"")):
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.write_bytes(data)
        (out / MANIFEST).unlink(missing_ok=True)
        model = FakeModel()
        assert endings(folders, model, settings=SETTINGS.replace(**change)) == DONE
        assert model.sent[0][1]["state_bytes"] == [state]
        assert not (out / PARTIAL).exists()


def test_when_no_server_is_left_the_rest_is_not_tried(folders: Path) -> None:
    def gone(call: int) -> None:
        if call > 1 and not model.sent[-1][1]["state_bytes"][0]:  # at the start of the second picture
            raise ServingUnavailable("No server answers.")

    model = FakeModel(before=gone)
    first, second, *rest = outcomes(folders, model)
    assert (first.ending, second.ending, second.problem) == (Ending.DONE, Ending.FAILED, "No server answers.")
    assert [outcome.ending for outcome in rest] == STOPPED[:2]


def test_another_batch_may_end_in_the_same_directory(folders: Path) -> None:
    def end(_: int) -> None:
        with contextlib.suppress(OSError):
            (folders / "out" / PARTIAL).rmdir()

    assert endings(folders, FakeModel(before=end)) == DONE


def test_what_is_done_is_skipped_and_what_has_changed_is_made_anew(folders: Path) -> None:
    out = folders / "out"
    assert endings(folders, FakeModel()) == DONE
    assert endings(folders, FakeModel()) == SKIPPED
    with (out / "a_x.png").open("ab") as result:
        result.write(b"x")
    assert endings(folders, FakeModel()) == [Ending.DONE, *SKIPPED[:3]]
    os.replace(folders / "styles" / "x.png", folders / "styles" / "y.png")
    assert endings(folders, FakeModel()) == DONE[:2]
    assert endings(folders, FakeModel(), settings=SETTINGS.replace(seed=1)) == DONE[:2]
    assert endings(folders, FakeModel(), background="red") == DONE[:2]
    assert endings(folders, FakeModel(), metadata=False) == DONE[:2]
    assert settings_of((out / "a_y.png").read_bytes()) is None


@pytest.mark.parametrize("damage", [b"", b"\xff\n\0", b"0" * 64 + b"  a_x.png\n"])
def test_a_damaged_manifest_costs_work_and_nothing_else(folders: Path, damage: bytes) -> None:
    endings(folders, FakeModel())
    (folders / "out" / MANIFEST).write_bytes(damage)
    assert endings(folders, FakeModel()) == DONE
    assert endings(folders, FakeModel()) == SKIPPED


def test_a_directory_is_read_for_pictures_by_name(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.heic", ".hidden.png", "notes.txt", "d.pdf"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in pictures_in(tmp_path, "CONTENTS", tmp_path)] == ["a.png", "b.JPG", "c.heic"]
    assert pictures_in(tmp_path / "notes.txt", "CONTENTS", tmp_path) == [tmp_path / "notes.txt"]
    with pytest.raises(InvalidInput, match="`STYLES` must be a directory with pictures"):
        pictures_in(tmp_path / "folder.png", "STYLES", tmp_path)


def test_files_of_one_stem_keep_their_suffixes(tmp_path: Path) -> None:
    planned = plan([Path("a.png"), Path("A.jpg"), Path("b.jpg")], [Path("x.png")], tmp_path, ".jpg")
    assert [task.output.name for task in planned] == ["a.png_x.jpg", "A.jpg_x.jpg", "b_x.jpg"]
    with pytest.raises(InvalidInput, match=r"differ in their names. Received: a_b_c.png twice"):
        plan([Path("a.png"), Path("a_b.png")], [Path("c.png"), Path("b_c.png")], tmp_path, ".png")


def test_names_that_are_too_long_are_cut_and_stay_different(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    contents = [tmp_path / f"{'ы' * 120}{end}.png" for end in "ab"]
    tasks = plan(contents, [tmp_path / f"{'ж' * 120}.png"], tmp_path, ".webp")
    assert len({task.output for task in tasks}) == 2
    assert [record.args[1] for record in caplog.records] == [task.output.stem for task in tasks]
    for task in tasks:
        atomic_write(task.output.with_name(f"{task.output.name}.run"), b"")


def test_among_the_pictures_results_are_known_and_never_take_a_pictures_place(folders: Path) -> None:
    assert endings(folders, FakeModel(), out="contents") == DONE
    assert endings(folders, FakeModel(), out="contents") == SKIPPED
    (folders / "contents" / "a_x.png").write_bytes(encode(smooth_picture(40, 56)))
    with pytest.raises(InvalidInput, match=r"differ in their names. Received: a_x.png twice"):
        endings(folders, FakeModel(), out="contents")


def test_a_place_that_is_taken_costs_no_steps(folders: Path) -> None:
    (folders / "out" / "a_x.png").mkdir(parents=True)
    model = FakeModel()
    assert endings(folders, model) == [Ending.FAILED, *DONE[:3]]
    assert len([state for _, inputs in model.sent if not (state := inputs["state_bytes"][0])]) == 3


def test_mistakes_are_one_sentence(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", "/nosuch", "/nosuch", "-o", "out"]) == 1
    assert capsys.readouterr().err.startswith("error: `CONTENTS` must be a readable directory. Received: /nosuch")
    (folders / "out").touch()
    with pytest.raises(InvalidInput, match=r"`output` must be a directory that can be written. Received: "):
        endings(folders, FakeModel())
