"""gRPC's health protocol: asked once, listed, and watched while a server loads, loses its model and stops."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2

from serving.server import health
from serving.server.health import NOT_SERVING, SERVICE_UNKNOWN, SERVICES, SERVING
from serving.server.servable import Servable
from tests.serving.server.conftest import CALL_S, Client, failure, served, wait_until


def check(client: Client, service: str = "") -> int:
    method = client.channel.unary_unary(
        health.CHECK,
        request_serializer=health.Request.SerializeToString,
        response_deserializer=health.Response.FromString,
    )
    return int(method(health.Request(service=service), timeout=CALL_S).status)


def listed(client: Client) -> dict[str, int]:
    method = client.channel.unary_unary(
        health.LIST,
        request_serializer=empty_pb2.Empty.SerializeToString,
        response_deserializer=health.ListResponse.FromString,
    )
    answer = method(empty_pb2.Empty(), timeout=CALL_S)
    return {service: int(answer.statuses[service].status) for service in answer.statuses}


class Watch:
    """What a watcher has been told so far."""

    def __init__(self, client: Client, service: str = "", timeout: float = CALL_S) -> None:
        method = client.channel.unary_stream(
            health.WATCH,
            request_serializer=health.Request.SerializeToString,
            response_deserializer=health.Response.FromString,
        )
        self.call = method(health.Request(service=service), timeout=timeout)
        self.told: list[int] = []
        self.end = ""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        try:
            for message in self.call:
                self.told.append(int(message.status))
            self.end = "OK"
        except grpc.RpcError as error:
            self.end = error.code().name

    def wait_for(self, *told: int) -> None:
        wait_until(lambda: len(self.told) >= len(told))
        assert self.told == list(told)


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Loads wait for it."""
    event, load = threading.Event(), Servable.load

    def load_when_told(*arguments: Any) -> Servable:
        event.wait(CALL_S)
        return load(*arguments)

    monkeypatch.setattr(Servable, "load", load_when_told)
    yield event
    event.set()


def test_health_is_off_without_its_flag(half_plus_two: Client) -> None:
    assert failure(lambda: check(half_plus_two))[0] == "UNIMPLEMENTED"


def test_health_from_the_first_load_to_the_stop(model_dir: Path, tmp_path: Path, go: threading.Event) -> None:
    base = tmp_path / "m"
    shutil.copytree(model_dir / "half_plus_two", base)
    with served(base, "m", enable_grpc_healthcheck_service=True) as client:
        watches = [Watch(client, service) for service in SERVICES]
        unknown = Watch(client, "other")
        for watch in watches:
            watch.wait_for(NOT_SERVING)
        assert check(client) == NOT_SERVING
        go.set()
        for watch in watches:
            watch.wait_for(NOT_SERVING, SERVING)
        assert listed(client) == dict.fromkeys(SERVICES, SERVING)
        for service in SERVICES:
            assert check(client, service) == SERVING
        assert failure(lambda: check(client, "other")) == ("NOT_FOUND", "service name unknown")

        shutil.rmtree(base / "123")  # nothing is left to serve: it is unloaded
        watches[0].wait_for(NOT_SERVING, SERVING, NOT_SERVING)
        assert listed(client) == dict.fromkeys(SERVICES, NOT_SERVING)
        shutil.copytree(model_dir / "half_plus_three" / "1", base / "1")
        watches[0].wait_for(NOT_SERVING, SERVING, NOT_SERVING, SERVING)

        client.app.stop()
        wait_until(lambda: all(watch.end for watch in (*watches, unknown)))
        for watch in watches:
            assert (watch.told[-1], watch.end) == (NOT_SERVING, "OK")
        assert (unknown.told, unknown.end) == ([SERVICE_UNKNOWN], "OK")


def test_stopping_server_says_so_while_its_runs_end(model_dir: Path) -> None:
    with served(model_dir / "zoo", "zoo", enable_grpc_healthcheck_service=True) as client:
        watch = Watch(client)
        wait_until(lambda: watch.told[-1:] == [SERVING])
        running = threading.Thread(target=client.run, args=("slow",), kwargs={"seconds": 0.7})
        running.start()
        wait_until(lambda: client.app.queue.counts == (1, 0))
        stopping = threading.Thread(target=client.app.stop)
        stopping.start()
        wait_until(lambda: watch.told[-1:] == [NOT_SERVING])
        assert client.app.queue.counts == (1, 0)  # before its run has ended
        assert check(client) == NOT_SERVING
        for thread in (running, stopping):
            thread.join(CALL_S)


def test_watching_holds_no_thread_and_ends_with_its_caller(model_dir: Path) -> None:
    with served(model_dir / "half_plus_two", "m", enable_grpc_healthcheck_service=True) as client:
        wait_until(lambda: client.app.ready)
        watches = [Watch(client) for _ in range(40)]  # more than there are threads to answer calls
        for watch in watches:
            watch.wait_for(SERVING)
        assert check(client) == SERVING
        kept, *gone = watches
        for watch in gone:
            watch.call.cancel()
        wait_until(lambda: len(client.app._health._watchers) == 1)  # type: ignore[union-attr]
        client.app.stop()
        wait_until(lambda: bool(kept.end))
        assert kept.told == [SERVING, NOT_SERVING]
