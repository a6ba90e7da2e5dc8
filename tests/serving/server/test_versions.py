"""Versions of real models over real ports: loaded, warmed up, swapped, broken, and let go at the stop."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from model.versions import VersionPath
from serving.errors import ServingFailed
from serving.server.servable import Servable
from tests.serving.server import models
from tests.serving.server.conftest import CALL_S, Client, app_of, failure, served, wait_until


def answer(client: Client, tail: str = "") -> tuple[int, Any]:
    """What the model makes of 0 over REST: half_plus_two 2.0, half_plus_three 3.0."""
    response = client.post({"instances": [[0]]}, f"{tail}:predict")
    document = response.json()
    return response.status_code, document["predictions"][0][0] if response.ok else document["error"]


def put(source: Path, version: Path) -> None:
    """Copies a version in the way that serving/README.md asks for: under another name, then renamed."""
    shutil.copytree(source, version.with_name(".draft"))
    version.with_name(".draft").rename(version)


@pytest.fixture
def base(tmp_path: Path, model_dir: Path) -> Path:
    """A base path with half_plus_two as version 123."""
    return Path(shutil.copytree(model_dir / "half_plus_two", tmp_path / "growing"))


@pytest.fixture
def three(model_dir: Path) -> Path:
    """A version's directory with half_plus_three."""
    return model_dir / "half_plus_three" / "1"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Set when a load begins; and what lets it go on."""
    begun, go, load = threading.Event(), threading.Event(), Servable.load

    def load_when_told(version: VersionPath, *options: Any) -> Servable:
        begun.set()
        go.wait(CALL_S)
        return load(version, *options)

    monkeypatch.setattr(Servable, "load", load_when_told)
    yield begun, go
    go.set()


def test_ports_answer_while_the_model_loads(base: Path, gate: tuple[threading.Event, threading.Event]) -> None:
    begun, go = gate
    with served(base, "m") as client:
        assert begun.wait(CALL_S)
        assert client.states() == {"123": "LOADING"}
        assert client.status().model_version_status[0].state == 20  # LOADING
        loading = "Model m is being loaded; its status says how that goes."
        assert answer(client) == (503, loading)
        assert failure(lambda: client.metadata("signature_def")) == ("UNAVAILABLE", loading)
        assert failure(lambda: client.metadata("signature_def", name="other"))[0] == "NOT_FOUND"
        go.set()
        client.wait_until_available()
        assert answer(client) == (200, 2.0)


def test_new_version_is_served_without_a_failed_request(base: Path, three: Path) -> None:
    with served(base, "m") as client:
        client.wait_until_available()
        answers: list[tuple[int, Any]] = []
        enough = threading.Event()

        def ask() -> None:
            while not enough.is_set():
                answers.append(answer(client))
                answers.append((200, float(client.run(x=np.float32([[0]]))["y"][0, 0])))

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        wait_until(lambda: len(answers) > 10)
        put(three, base / "124")
        wait_until(lambda: client.states() == {"124": "AVAILABLE", "123": "END"})
        so_far = len(answers)
        wait_until(lambda: len(answers) > so_far + 10)
        enough.set()
        for thread in asking:
            thread.join(CALL_S)
        assert set(answers) == {(200, 2.0), (200, 3.0)}
        assert set(answers[-4:]) == {(200, 3.0)}
        assert answer(client, "/versions/123") == (404, "Servable not found for request: Specific(m, 123)")
        assert answer(client, "/versions/124") == (200, 3.0)


def test_running_call_keeps_its_version_until_it_ends(tmp_path: Path, model_dir: Path, three: Path) -> None:
    base = Path(shutil.copytree(model_dir / "zoo", tmp_path / "zoo"))
    with served(base, "m") as client:
        client.wait_until_available()
        running = client.calling("slow", seconds=np.float32(1.5))
        put(three, base / "2")
        wait_until(lambda: client.states() == {"2": "AVAILABLE", "1": "UNLOADING"})
        response = running.result()
        assert (response.outputs["y"].bool_val[0], response.model_spec.version.value) == (True, 1)
        wait_until(lambda: client.states() == {"2": "AVAILABLE", "1": "END"})


def no_protobuf(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"this is no protocol buffer")


def failing_warmup(path: Path) -> None:
    models.zoo(path.parent, path.name)
    models.write_warmup(path, [request("careful", x=np.float32([1])), request("careful", x=np.float32([9]))])


def damaged_warmup(path: Path) -> None:
    models.half_plus_two(path.parent, path.name)
    models.write_warmup(path, [request("", x=np.float32([[1]]))])
    file = path / "assets.extra" / "tf_serving_warmup_requests"
    file.write_bytes(file.read_bytes()[:-6])


def request(signature: str, **inputs: Any) -> Any:
    return Client("any name", app=None, channel=None).request(signature, **inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (Path.mkdir, "Could not load the SavedModel in .*SavedModel file does not exist"),
        (no_protobuf, r"Could not load the SavedModel in .* \(tag `serve`\): .*Cannot parse file"),
        (failing_warmup, r"Warm-up request 1 of .* failed: .*`x` must be below 5"),
        (damaged_warmup, "Warm-up request 0 of .* failed: "),
    ],
)
def test_model_that_cannot_be_served_ends_the_server(
    tmp_path: Path, break_it: Callable[[Path], None], reason: str
) -> None:
    break_it(tmp_path / "1")
    app = app_of(tmp_path, "m", "--max_num_load_retries=0")
    app.start()
    assert app.ended.wait(20)
    app.stop()
    assert isinstance(app.failure, ServingFailed)
    assert re.search(reason, str(app.failure), re.DOTALL)
    assert "Traceback" not in str(app.failure)


def test_version_that_fails_to_load_shows_why_and_may_be_replaced(tmp_path: Path, three: Path) -> None:
    (tmp_path / "1").mkdir()
    with served(tmp_path, "m") as client:  # whose next attempt is a minute away
        wait_until(lambda: "SavedModel file does not exist" in client.get().text)
        assert client.states() == {"1": "LOADING"}
        put(three, tmp_path / "2")
        client.wait_until_available()
        assert answer(client) == (200, 3.0)
        assert client.app.failure is None


def test_warmup_runs_before_the_model_is_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.zoo(tmp_path)
    models.write_warmup(tmp_path / "1", [request("careful", x=np.float32([1])), request("scalar", x=np.float32(2))])
    seen = []
    predict = Servable.predict

    def watch(self: Servable, signature_name: str, inputs: Any, *args: Any) -> Any:
        seen.append((signature_name, inputs["x"].tolist(), client.states()))
        return predict(self, signature_name, inputs, *args)

    monkeypatch.setattr(Servable, "predict", watch)
    with served(tmp_path, "m") as client:
        client.wait_until_available()
        assert seen == [("careful", [1.0], {"1": "LOADING"}), ("scalar", 2.0, {"1": "LOADING"})]
    seen.clear()
    with served(tmp_path, "m", "--enable_model_warmup=false") as client:
        client.wait_until_available()
        assert seen == []


def test_stop_does_not_wait_for_a_load(base: Path, gate: tuple[threading.Event, threading.Event]) -> None:
    begun, go = gate
    with served(base, "m") as client:
        assert begun.wait(CALL_S)
        client.app.stop()
        assert client.app.loading
        go.set()
        wait_until(lambda: not client.app.loading)


def test_stopping_server_ends_what_runs_and_refuses_the_rest(model_dir: Path) -> None:
    with served(model_dir / "zoo", "zoo") as client:
        client.wait_until_available()
        running = client.calling("slow", seconds=np.float32(1))
        waiting = client.calling("slow", seconds=np.float32(0))
        stopping = threading.Thread(target=client.app.stop)
        stopping.start()
        assert failure(waiting.result) == ("UNAVAILABLE", "The server is stopping.")
        assert failure(lambda: client.run("scalar", x=np.float32(1))) == ("UNAVAILABLE", "The server is stopping.")
        assert answer(client) == (503, "The server is stopping.")
        assert client.states() == {"1": "AVAILABLE"}  # status goes on answering
        assert not client.app.manager.ready
        assert running.result().outputs["y"].bool_val[0]
        stopping.join(CALL_S)
        with pytest.raises(requests.ConnectionError):
            client.get()
