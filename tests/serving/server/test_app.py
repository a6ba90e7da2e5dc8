"""The server as a whole: flags, exit codes, signals and ports; versions that are loaded, warmed up, swapped, let go."""

import asyncio
import json
import re
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model.warmup import WARMUP_FILE
from serving.contract import MODEL_NAME
from serving.errors import ServingUnavailable
from serving.server import app, flags
from serving.server.__main__ import main
from serving.server.app import ServerApp
from serving.server.servable import Servable
from tests.ports import free_port
from tests.served import serving
from tests.serving.server.conftest import CALL_S, failure, rest, started, wait_until
from tests.serving.server.models import request


def test_values_are_taken_in_each_form() -> None:
    options = flags.parse(["--model_base_path", "/m", "--rest_api_port=8501", "--enable_model_warmup=false"])
    assert (options.rest_api_port, options.enable_model_warmup) == (8501, False)
    assert flags.parse(["--model_base_path=/m", "--enable_model_warmup"]).enable_model_warmup


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], "--model_base_path"),
        (["--model_config_file=/m"], "--model_config_file"),
        (["--model_nam=x"], "--model_nam"),
        (["--port=x"], "--port: expected a number from 0 to 65535, received 'x'"),
        (["--port=70000"], "received '70000'"),
        (["--port=1", "--rest_api_port=1"], "they must differ. Received: 1 for both."),
        (["--port=0"], "at least one port must be open"),
        (["--model_name="], "`--model_name` must not be empty."),
        (["--enable_model_warmup=perhaps"], "--enable_model_warmup: expected true or false, received 'perhaps'"),
    ],
)
def test_wrong_flag_is_named(argv: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        flags.parse(["--model_base_path=/m", *argv] if argv else [])
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_nothing_to_serve_is_one_sentence(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main([f"--model_base_path={tmp_path / name}"]) == 1
    assert capsys.readouterr().err == (
        "serving.server: error: `--model_base_path` must hold a version directory named by an integer, such as "
        f"{tmp_path / name / '1'}. Received: {tmp_path / name}\n"
    )


def test_port_is_held_alone_from_the_moment_it_is_opened() -> None:
    number = free_port()
    with app.open_socket("127.0.0.1", number, "rest_api_port") as opened:
        assert opened.proto == socket.IPPROTO_TCP  # asyncio's condition for TCP_NODELAY
        with pytest.raises(ServingUnavailable, match=f"Port {number} .* --rest_api_port"):
            app.open_socket("127.0.0.1", number, "rest_api_port")

    async def hold_grpc_port() -> None:
        server = await app.open_grpc_server("127.0.0.1", number)
        await server.start()
        with pytest.raises(ServingUnavailable, match=f"Port {number} on 127.0.0.1 cannot be opened .* --port"):
            await app.open_grpc_server("127.0.0.1", number)
        sharing = grpc.server(ThreadPoolExecutor(1))  # gRPC's default: share the port if the other one agrees
        with pytest.raises(RuntimeError):
            sharing.add_insecure_port(f"127.0.0.1:{number}")
        await server.stop(0)

    asyncio.run(hold_grpc_port())


@pytest.mark.parametrize("retries", [0, 1])
def test_broken_model_is_given_up_after_its_last_attempt_or_by_ctrl_c(
    retries: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "1").mkdir()
    handlers: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)

    def press_ctrl_c() -> None:
        wait_until(lambda: "Version 1 could not be loaded (retry in 60 s)" in caplog.text)
        handlers[signal.SIGINT](signal.SIGINT, None)

    if retries:
        threading.Thread(target=press_ctrl_c).start()
    code = main([f"--model_base_path={tmp_path}", f"--port={free_port()}", f"--max_num_load_retries={retries}"])
    failed = f"serving.server: error: Could not load the SavedModel in {tmp_path / '1'}" in capsys.readouterr().err
    assert (code, failed) == ((0, False) if retries else (1, True))


def test_sigterm_in_mid_run_ends_cleanly(zoo_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def predict(**body: object) -> tuple[int, object]:
        return rest(server.http, "POST", f"/v1/models/{MODEL_NAME}:predict", json.dumps(body))

    with serving(zoo_dir, "--max_queued_runs=0") as server, ThreadPoolExecutor() as pool:
        running = pool.submit(predict, signature_name="slow", inputs=1.5)
        wait_until(lambda: predict()[0] == 429)  # the run has begun, and none may wait
        server.process.terminate()
        wait_until(lambda: predict() == (503, {"error": "The server is stopping."}))
        assert running.result(30) == (200, {"outputs": True})
        assert server.process.wait(20) == 0
    log = capfd.readouterr().err
    assert "Traceback" not in log
    assert "REST POST /v1/models/style_transfer:predict 200" in log


SCALAR = {"signature_name": "scalar", "inputs": 1}


@pytest.fixture
def base(tmp_path: Path, zoo_dir: Path) -> Path:
    """A base path of its own."""
    return Path(shutil.copytree(zoo_dir, tmp_path / "zoo"))


def test_ports_answer_while_the_model_loads_and_stop_does_not_wait_for_it(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, load = threading.Event(), threading.Event(), ServerApp._load

    def load_when_told(*arguments: Any) -> Servable:
        begun.set()
        go.wait(CALL_S)
        return load(*arguments)

    monkeypatch.setattr(ServerApp, "_load", load_when_told)
    with started(base, loaded=False) as client:
        assert begun.wait(CALL_S)
        assert client.states() == {"1": "LOADING"}
        assert client.status({"name": "zoo"}).model_version_status[0].state == 20  # LOADING
        error = "Model zoo is being loaded. Its status shows the progress."
        assert client.post(SCALAR) == (503, {"error": error})
        assert failure(lambda: client.metadata({"name": "zoo"}, "signature_def"))[0] == "UNAVAILABLE"
        assert not client.app.stop()
        go.set()


def test_new_version_takes_over_while_no_request_fails(base: Path, gate: threading.Event) -> None:
    def old_is_going() -> bool:
        assert client.get("/metadata")[0] == 200
        return client.states() == {"2": "AVAILABLE", "1": "UNLOADING"}

    with started(base) as client:
        running = client.calling("scalar", x=1.0)
        # As serving/README.md asks for: written under another name, then renamed.
        shutil.copytree(base / "1", base / ".draft").rename(base / "2")
        wait_until(old_is_going)
        gate.set()
        assert running.result().model_spec.version.value == 1
        wait_until(lambda: client.states() == {"2": "AVAILABLE", "1": "END"})
        assert client.post(SCALAR) == client.post(SCALAR, "/versions/2:predict") == (200, {"outputs": 2.0})
        error = "Servable not found for request: Specific(zoo, 1)"
        assert client.post(SCALAR, "/versions/1:predict") == (404, {"error": error})


def write_warmup(version: Path, *texts: str) -> None:
    path = version / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for text in texts:
            log = {"request": request("careful", x=[text])}
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-6])


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("saved_model.pb", cut, r"Could not load the SavedModel in .* \(tag `serve`\): .*Cannot parse file"),
        (WARMUP_FILE, Path.touch, r"Warm-up request 1 of .* failed: .*`x` must be short"),
        (WARMUP_FILE, cut, "Warm-up request 1 of .* failed: "),
    ],
)
def test_model_that_cannot_be_served_ends_the_server(
    base: Path, file: str, damage: Callable[[Path], None], reason: str
) -> None:
    write_warmup(base / "1", "", "not short")
    damage(base / "1" / file)
    with started(base, "--max_num_load_retries=0", loaded=False) as client:
        assert client.app.ended.wait(20)
    assert re.search(reason, str(client.app.failure), re.DOTALL)


@pytest.mark.parametrize("flag", ["true", "false"])
def test_warmup_runs_before_the_model_is_available(flag: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_warmup(base / "1", "")
    seen = []

    def watch(_: Servable, signature_name: str, inputs: Any, *__: Any) -> None:
        seen.append((signature_name, inputs["x"].tolist(), client.states()))

    monkeypatch.setattr(Servable, "predict", watch)
    with started(base, f"--enable_model_warmup={flag}", loaded=False) as client:
        wait_until(lambda: client.app.manager.ready)
    assert seen == ([("careful", [b""], {"1": "LOADING"})] if flag == "true" else [])


def test_stop_waits_for_no_long_run(zoo_dir: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "DRAIN_S", 0.1)
    monkeypatch.setattr(app, "GRACE_S", 0)
    with started(zoo_dir) as client:
        running = client.calling("scalar", x=1.0)
        assert not client.app.stop()
        assert failure(running.result)[0] in {"CANCELLED", "UNAVAILABLE"}
        gate.set()
