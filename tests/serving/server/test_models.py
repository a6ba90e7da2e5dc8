"""Several models, versions and labels over real ports, while they change."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from model.versions import VersionPath
from serving.errors import ServingFailed
from serving.server.app import ServerApp
from serving.server.flags import ServerOptions
from serving.server.servable import Servable
from tests.serving.server import models
from tests.serving.server.conftest import CALL_S, Client, failure, fill_spec, served, wait_until


def entry(name: str, base: Path, more: str = "") -> str:
    return f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }}'


def write(path: Path, *entries: str) -> str:
    draft = path.with_suffix(".draft")
    draft.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    draft.rename(path)
    return str(path)


def answer(client: Client, tail: str = "", name: str | None = None) -> tuple[int, Any]:
    """What a model makes of 0 over REST: half_plus_two 2.0, half_plus_three 3.0."""
    url = client.url.replace(client.name, name or client.name)
    response = requests.post(f"{url}{tail}:predict", json={"instances": [[0]]}, timeout=CALL_S)
    document = response.json()
    return response.status_code, document["predictions"][0][0] if response.ok else document["error"]


def reload(client: Client, *entries: tuple[str, Path | str], **labels: int) -> Any:
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    for name, base in entries:
        config = request.config.model_config_list.config.add(name=name, base_path=str(base))
        config.model_platform = "tensorflow"
        config.model_version_policy.all.SetInParent()
        for label, version in labels.items():
            config.version_labels[label] = version
    return model_service_pb2_grpc.ModelServiceStub(client.channel).HandleReloadConfigRequest(request, timeout=CALL_S)


@pytest.fixture
def growing(tmp_path: Path, model_dir: Path) -> tuple[Path, Callable[[], None]]:
    """A base path with half_plus_two as version 123, and what adds half_plus_three as version 124."""
    base = tmp_path / "growing"
    shutil.copytree(model_dir / "half_plus_two", base)

    def add() -> None:
        shutil.copytree(model_dir / "half_plus_three" / "1", base / ".draft")
        (base / ".draft").rename(base / "124")

    return base, add


def test_new_version_is_served_without_a_failed_request(growing: tuple[Path, Callable[[], None]]) -> None:
    base, add = growing
    with served(base, "m", file_system_poll_wait_seconds=1) as client:
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
        add()
        wait_until(lambda: [state["state"] for state in states(client)] == ["AVAILABLE", "END"])
        so_far = len(answers)
        wait_until(lambda: len(answers) > so_far + 10)
        enough.set()
        for thread in asking:
            thread.join(CALL_S)
        assert set(answers) == {(200, 2.0), (200, 3.0)}
        assert set(answers[-4:]) == {(200, 3.0)}
        assert answer(client, "/versions/123") == (404, "Servable not found for request: Specific(m, 123)")


def states(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get().json()["model_version_status"]
    return found


def test_running_call_keeps_its_version_until_it_ends(tmp_path: Path, model_dir: Path) -> None:
    base = tmp_path / "zoo"
    shutil.copytree(model_dir / "zoo", base)
    with served(base, "m") as client:
        client.wait_until_available()
        answers: list[dict[str, np.ndarray]] = []
        calling = threading.Thread(target=lambda: answers.append(client.run("slow", seconds=np.float32(3))))
        calling.start()
        wait_until(lambda: client.app.queue.counts == (1, 0))
        shutil.copytree(model_dir / "half_plus_three" / "1", base / ".draft")
        (base / ".draft").rename(base / "2")
        wait_until(lambda: [state["state"] for state in states(client)] == ["AVAILABLE", "UNLOADING"])
        calling.join(CALL_S)
        assert answers == [{"y": np.True_}]
        wait_until(lambda: [state["state"] for state in states(client)] == ["AVAILABLE", "END"])


def test_broken_version_shows_its_error_and_the_old_one_serves(growing: tuple[Path, Callable[[], None]]) -> None:
    base, _ = growing
    with served(base, "m", max_num_load_retries=0) as client:
        client.wait_until_available()
        (base / "124").mkdir()
        wait_until(lambda: len(states(client)) == 2 and states(client)[0]["state"] == "END")
        broken, serving = states(client)
        assert broken["version"] == "124"
        assert broken["status"]["error_code"] == "INTERNAL"
        assert "SavedModel file does not exist" in broken["status"]["error_message"]
        assert serving == {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        assert answer(client) == (200, 2.0)


def test_models_versions_and_labels_of_a_config_file(tmp_path: Path, model_dir: Path) -> None:
    base = tmp_path / "both"
    shutil.copytree(model_dir / "half_plus_two", base)
    models.half_plus_three(base, "124")
    policy = "model_version_policy { specific { versions: 123 versions: 124 } }"
    labels = 'version_labels { key: "stable" value: 123 } version_labels { key: "canary 2/é" value: 124 }'
    path = write(
        tmp_path / "models.config",
        entry("both", base, policy + labels),
        entry("a b", model_dir / "half_plus_three"),
    )
    options = {"model_config_file": path, "allow_version_labels_for_unavailable_models": True}
    with served(None, "both", **options) as client:
        wait_until(lambda: client.app.ready)
        assert [state["version"] for state in states(client)] == ["124", "123"]
        assert answer(client) == (200, 3.0)  # the newest
        assert answer(client, "/versions/123") == (200, 2.0)
        assert answer(client, "/labels/stable") == (200, 2.0)
        assert answer(client, "/labels/canary%202%2F%C3%A9") == (200, 3.0)
        assert answer(client, "/labels/none") == (400, "Unrecognized servable version label: none")
        assert answer(client, name="a%20b") == (200, 3.0)
        assert client.get("/labels/stable/metadata").json()["model_spec"]["version"] == "123"
        assert len(client.get("/labels/stable").json()["model_version_status"]) == 2  # a status ignores labels

        request = client.request(x=np.float32([[0]]))
        fill_spec(request, name="both", label="stable")
        response = client.predict(request)
        assert (response.outputs["y"].float_val[0], response.model_spec.version.value) == (2.0, 123)
        fill_spec(request, name="a b", label="stable")
        assert failure(lambda: client.predict(request)) == (
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: stable",
        )


def test_label_at_the_start_needs_its_flag(tmp_path: Path, model_dir: Path) -> None:
    label = 'version_labels { key: "stable" value: 123 }'
    path = write(tmp_path / "models.config", entry("m", model_dir / "half_plus_two", label))
    app = ServerApp(ServerOptions(model_config_file=path), any_free_port=True)
    with pytest.raises(
        ServingFailed, match="Request to assign label to version 123 of model m, which is not currently"
    ):
        app.start()
    app.stop()


def test_config_file_is_read_again(tmp_path: Path, model_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "models.config"
    write(path, entry("two", model_dir / "half_plus_two"))
    with served(None, "two", model_config_file=str(path), model_config_file_poll_wait_seconds=1) as client:
        wait_until(lambda: client.app.ready)
        path.write_text("this is no configuration")
        wait_until(lambda: "The model config file was not taken on" in caplog.text)
        write(path, entry("two", model_dir / "half_plus_two"), entry("three", model_dir / "half_plus_three"))
        wait_until(lambda: answer(client, name="three") == (200, 3.0))
        assert answer(client) == (200, 2.0)


def test_reload_request_changes_models_and_labels(model_dir: Path) -> None:
    with served(model_dir / "half_plus_two", "two") as client:
        client.wait_until_available()
        both = ("two", model_dir / "half_plus_two"), ("three", model_dir / "half_plus_three")
        response = reload(client, *both)
        assert (response.status.error_code, response.status.error_message) == (0, "")
        assert answer(client, name="three") == (200, 3.0)
        reload(client, both[0], stable=123)
        assert answer(client, "/labels/stable") == (200, 2.0)
        assert answer(client, name="three") == (404, "Servable not found for request: Latest(three)")


def test_reload_request_that_is_refused_changes_nothing(tmp_path: Path, model_dir: Path) -> None:
    with served(model_dir / "half_plus_two", "two") as client:
        client.wait_until_available()
        base = model_dir / "half_plus_two"
        code, text = failure(lambda: reload(client, ("two", base), stable=7))
        assert code == "FAILED_PRECONDITION"
        assert text.startswith("Request to assign label to version 7 of model two")
        code, text = failure(lambda: reload(client, ("two", Path("relative"))))
        assert (code, text[:30]) == ("INVALID_ARGUMENT", "Expected model two to have an ")
        empty = model_management_pb2.ReloadConfigRequest()
        stub = model_service_pb2_grpc.ModelServiceStub(client.channel)
        assert failure(lambda: stub.HandleReloadConfigRequest(empty, timeout=CALL_S)) == (
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        )
        code, text = failure(lambda: reload(client, ("two", base), ("gone", tmp_path / "gone")))
        assert (code, text[:38]) == ("UNKNOWN", "1 model(s) did not become available: {")
        assert answer(client) == (200, 2.0)


def test_stop_does_not_wait_for_a_load(
    growing: tuple[Path, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, add = growing
    loading, go, load = threading.Event(), threading.Event(), Servable.load

    def load_when_told(name: str, version: VersionPath, *options: Any) -> Servable:
        if version.number == 124:
            loading.set()
            go.wait(CALL_S)
        return load(name, version, *options)

    monkeypatch.setattr(Servable, "load", load_when_told)
    with served(base, "m") as client:
        client.wait_until_available()
        add()
        assert loading.wait(CALL_S)
        assert answer(client) == (200, 2.0)
        client.app.stop()
        assert client.app.loading
        go.set()
        wait_until(lambda: not client.app.loading)


def test_stopping_server_answers_grpc_until_its_runs_have_ended(model_dir: Path) -> None:
    with served(model_dir / "zoo", "zoo") as client:
        client.wait_until_available()
        answers: list[dict[str, np.ndarray]] = []
        running = threading.Thread(target=lambda: answers.append(client.run("slow", seconds=np.float32(1.5))))
        running.start()
        wait_until(lambda: client.app.queue.counts == (1, 0))
        stopping = threading.Thread(target=client.app.stop)
        stopping.start()
        wait_until(lambda: not client.app.ready)
        assert failure(lambda: client.run("scalar", x=np.float32(1))) == ("UNAVAILABLE", "The server is stopping.")
        assert client.status().model_version_status[0].state == 30  # AVAILABLE: what runs goes on
        for thread in (running, stopping):
            thread.join(CALL_S)
        assert answers == [{"y": np.True_}]
