"""What may be loaded, in which states, and what happens when it may not."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from model.versions import VersionPath
from serving.errors import ModelNotFound, ServingFailed
from serving.server.app import ServerApp
from serving.server.config_files import ModelConfig
from serving.server.core import ServerCore
from serving.server.flags import ServerOptions
from serving.server.manager import Retries
from serving.server.run_queue import RunQueue
from serving.server.servable import Servable
from serving.server.states import ModelRef
from tests.serving.server import models
from tests.serving.server.conftest import Client, failure, served, wait_until


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """half_plus_two as version 2, half_plus_three as version 00000010."""
    base = tmp_path_factory.mktemp("padded")
    models.half_plus_two(base, "2")
    models.half_plus_three(base, "00000010")
    return base


def core_of(base: Path, **options: Any) -> ServerCore:
    return ServerCore([ModelConfig("m", base)], RunQueue(), **options)


def test_newest_version_is_served_under_its_number(padded: Path) -> None:
    with served(padded, "m") as client:
        client.wait_until_available()
        assert client.post({"instances": [[0]]}).json() == {"predictions": [[3.0]]}
        assert client.get().json()["model_version_status"][0]["version"] == "10"
        assert client.post({"instances": [[0]]}, "/versions/2:predict").status_code == 404


def test_ports_answer_while_the_model_loads(padded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, load = threading.Event(), Servable.load

    def load_when_told(name: str, version: VersionPath, *options: Any) -> Servable:
        go.wait(20)
        return load(name, version, *options)

    monkeypatch.setattr(Servable, "load", load_when_told)
    with served(padded, "m") as client:
        wait_until(lambda: client.get().json()["model_version_status"][0]["state"] == "LOADING")
        assert client.status().model_version_status[0].state == 20  # LOADING
        response, loading = client.post({"instances": [[0]]}), "Model m is being loaded; its status says how that goes."
        assert (response.status_code, response.json()) == (503, {"error": loading})
        assert failure(lambda: client.metadata("signature_def")) == ("UNAVAILABLE", loading)
        assert failure(lambda: client.metadata("signature_def", name="other")) == (
            "NOT_FOUND",
            "Servable not found for request: Latest(other)",
        )
        go.set()
        client.wait_until_available()
        assert client.post({"instances": [[0]]}).status_code == 200


def test_states_from_start_to_end(padded: Path) -> None:
    core, ref = core_of(padded), ModelRef("m")
    states = [core.status(ref)[0].state]
    core.load()
    states.append(core.status(ref)[0].state)
    core.stop()
    core.close()
    states.append(core.status(ref)[0].state)
    assert states == ["START", "AVAILABLE", "END"]
    with pytest.raises(ModelNotFound), core.find(ref):
        pass


def empty_directory(path: Path) -> None:
    path.mkdir()


def no_protobuf(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"this is no protocol buffer")


def no_variables(path: Path) -> None:
    models.half_plus_two(path.parent, path.name)
    for file in (path / "variables").iterdir():
        file.unlink()


def other_tag(path: Path) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.constant(1)
        builder = tf.compat.v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["train"])
        builder.save()


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
        (empty_directory, "Could not load the SavedModel in .*SavedModel file does not exist"),
        (no_protobuf, "Could not load the SavedModel in .*Cannot parse file"),
        (no_variables, "Could not load the SavedModel in .*variables"),
        (other_tag, r"Could not load the SavedModel in .*\(tag `serve`\)"),
        (failing_warmup, r"Warm-up request 1 of .* failed: .*`x` must be below 5"),
        (damaged_warmup, "Warm-up request 0 of .* failed: "),
    ],
)
def test_model_that_cannot_be_served(tmp_path: Path, break_it: Any, reason: str) -> None:
    break_it(tmp_path / "1")
    options = ServerOptions(model_base_path=str(tmp_path), model_name="m", max_num_load_retries=0)
    app = ServerApp(options, any_free_port=True)
    app.start()
    assert app.ended.wait(20)
    app.stop()
    assert isinstance(app.failure, ServingFailed)
    assert re.search(reason, str(app.failure), re.DOTALL)
    assert "Traceback" not in str(app.failure)


def test_first_load_that_fails_is_tried_again(tmp_path: Path, model_dir: Path) -> None:
    (tmp_path / "1").mkdir()
    with served(tmp_path, "m", load_retry_interval_micros=100_000) as client:
        wait_until(lambda: "does not exist" in status_of(client)["status"]["error_message"])
        assert status_of(client)["state"] == "LOADING"
        assert client.post({"instances": [[0]]}).status_code == 503
        assert failure(lambda: client.run(x=np.float32([[0]])))[0] == "UNAVAILABLE"
        assert not client.app.ready
        shutil.copytree(model_dir / "half_plus_two" / "123", tmp_path / "1", dirs_exist_ok=True)
        client.wait_until_available()
        assert client.post({"instances": [[0]]}).json() == {"predictions": [[2.0]]}
        wait_until(lambda: client.app.ready)
        assert client.app.failure is None


def test_another_version_may_take_the_place_of_one_that_is_broken_at_the_start(tmp_path: Path, model_dir: Path) -> None:
    (tmp_path / "1").mkdir()
    with served(tmp_path, "m") as client:  # whose next attempt is a minute away
        wait_until(lambda: status_of(client)["status"]["error_message"] != "")
        shutil.copytree(model_dir / "half_plus_two" / "123", tmp_path / "2")
        wait_until(lambda: client.app.ready)
        assert client.post({"instances": [[0]]}).json() == {"predictions": [[2.0]]}


def test_first_load_is_given_up_after_its_last_attempt(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with served(tmp_path, "m", max_num_load_retries=2, load_retry_interval_micros=1000) as client:
        assert client.app.ended.wait(20)
        assert isinstance(client.app.failure, ServingFailed)
        assert client.app._core._manager._versions["m"][1].attempts == 3
        assert status_of(client)["state"] == "END"


def test_stop_between_attempts_is_clean(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with served(tmp_path, "m") as client:
        wait_until(lambda: status_of(client)["status"]["error_message"] != "")
    assert (client.app.failure, client.app.loading) == (None, False)


def status_of(client: Client) -> dict[str, Any]:
    newest: dict[str, Any] = client.get().json()["model_version_status"][0]
    return newest


def test_warmup_runs_before_the_model_is_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.zoo(tmp_path)
    models.write_warmup(tmp_path / "1", [request("careful", x=np.float32([1])), request("scalar", x=np.float32(2))])
    seen = []
    predict = Servable.predict

    def watch(self: Servable, signature_name: str, inputs: Any, *args: Any) -> Any:
        seen.append((signature_name, inputs["x"].tolist(), core.status(ModelRef("m"))[0].state))
        return predict(self, signature_name, inputs, *args)

    monkeypatch.setattr(Servable, "predict", watch)
    core = core_of(tmp_path)
    core.load()
    assert seen == [("careful", [1.0], "LOADING"), ("scalar", 2.0, "LOADING")]
    core.close()
    seen.clear()
    core = core_of(tmp_path, warm_up=False)
    core.load()
    assert seen == []
    core.close()


def test_failed_load_shows_in_the_status(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    core = core_of(tmp_path, retries=Retries(0))
    with pytest.raises(ServingFailed):
        core.load()
    (status,) = core.status(ModelRef("m"))
    assert (status.state, status.code) == ("END", "INTERNAL")
    assert "SavedModel file does not exist" in status.message
