"""Versions of real models over real ports: loaded, warmed up, swapped, broken, and let go at the stop."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.warmup import WARMUP_FILE
from serving.errors import ServingFailed
from serving.server import app
from serving.server.app import ServerApp
from serving.server.servable import Servable
from tests.serving.server import models
from tests.serving.server.conftest import CALL_S, Client, available, failure, started, wait_until


def answer(client: Client, tail: str = "") -> tuple[int, Any]:
    """What the model makes of 0 over REST: its offset."""
    response = client.post({"instances": [[0]]}, f"{tail}:predict")
    document = response.json()
    return response.status_code, document["predictions"][0][0] if response.ok else document["error"]


def put_half_plus_three(version: Path) -> None:
    """Writes a version in the way that serving/README.md asks for: under another name, then renamed."""
    models.half_plus_two(version.parent, ".draft", offset=3.0)
    version.with_name(".draft").rename(version)


@pytest.fixture
def base(tmp_path: Path, model_dir: Path) -> Path:
    """A base path of its own, with the zoo as version 1."""
    return Path(shutil.copytree(model_dir / "zoo", tmp_path / "m"))


def test_ports_answer_while_the_model_loads_and_stop_does_not_wait_for_it(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, load = threading.Event(), threading.Event(), ServerApp._load

    def load_when_told(*arguments: Any) -> Servable:
        begun.set()
        go.wait(CALL_S)
        return load(*arguments)

    monkeypatch.setattr(ServerApp, "_load", load_when_told)
    with started(base, "m") as client:
        assert begun.wait(CALL_S)
        assert client.states() == {"1": "LOADING"}
        assert client.status({"name": "m"}).model_version_status[0].state == 20  # LOADING
        assert answer(client) == (503, "Model m is being loaded; its status says how that goes.")
        assert failure(lambda: client.metadata({"name": "m"}, "signature_def"))[0] == "UNAVAILABLE"
        assert not client.app.stop()
        go.set()


def test_new_version_is_served_without_a_failed_request(tmp_path: Path) -> None:
    models.half_plus_two(tmp_path)
    with available(tmp_path, "m") as client:
        assert answer(client) == (200, 2.0)
        put_half_plus_three(tmp_path / "124")
        answers = []
        while client.states() != {"124": "AVAILABLE", "123": "END"}:
            answers.append(answer(client))
        assert set(answers) <= {(200, 2.0), (200, 3.0)}
        assert answer(client) == answer(client, "/versions/124") == (200, 3.0)
        assert answer(client, "/versions/123") == (404, "Servable not found for request: Specific(m, 123)")


def test_running_call_keeps_its_version_until_it_ends(base: Path, gate: threading.Event) -> None:
    with available(base, "m") as client:
        running = client.calling("scalar", x=1.0)
        put_half_plus_three(base / "2")
        wait_until(lambda: client.states() == {"2": "AVAILABLE", "1": "UNLOADING"})
        gate.set()
        assert running.result().model_spec.version.value == 1
        wait_until(lambda: client.states() == {"2": "AVAILABLE", "1": "END"})


CAREFUL = [models.request("any name", "careful", x=[text]) for text in ("", "not short")]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-6])


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("saved_model.pb", Path.unlink, "Could not load the SavedModel in .*SavedModel file does not exist"),
        ("saved_model.pb", cut, r"Could not load the SavedModel in .* \(tag `serve`\): .*Cannot parse file"),
        (WARMUP_FILE, Path.touch, r"Warm-up request 1 of .* failed: .*`x` must be short"),
        (WARMUP_FILE, cut, "Warm-up request 1 of .* failed: "),
    ],
)
def test_model_that_cannot_be_served_ends_the_server(
    base: Path, file: str, damage: Callable[[Path], None], reason: str
) -> None:
    models.write_warmup(base / "1", CAREFUL)
    damage(base / "1" / file)
    with started(base, "m", "--max_num_load_retries=0") as client:
        assert client.app.ended.wait(20)
    assert isinstance(client.app.failure, ServingFailed)
    assert re.search(reason, str(client.app.failure), re.DOTALL)
    assert "Traceback" not in str(client.app.failure)


@pytest.mark.parametrize("flag", ["true", "false"])
def test_warmup_runs_before_the_model_is_available(flag: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.write_warmup(base / "1", CAREFUL[:1])
    seen = []
    predict = Servable.predict

    def watch(self: Servable, signature_name: str, inputs: Any, *args: Any) -> Any:
        seen.append((signature_name, inputs["x"].tolist(), client.states()))
        return predict(self, signature_name, inputs, *args)

    monkeypatch.setattr(Servable, "predict", watch)
    with started(base, "m", f"--enable_model_warmup={flag}") as client:
        wait_until(lambda: client.app.manager.ready)
    assert seen == ([("careful", [b""], {"1": "LOADING"})] if flag == "true" else [])


def test_stop_does_not_wait_for_a_long_run(
    model_dir: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "DRAIN_S", 0.1)
    monkeypatch.setattr(app, "GRACE_S", 0)
    with available(model_dir / "zoo", "zoo") as client:
        running = client.calling("scalar", x=1.0)
        assert not client.app.stop()
        assert failure(running.result)[0] in {"CANCELLED", "UNAVAILABLE"}
        gate.set()
