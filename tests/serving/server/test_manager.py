"""Versions come and go: what is loaded, what is served meanwhile, what is let go, and when."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from model.versions import VersionPath
from serving.errors import InvalidInput, ModelNotFound, ServingFailed
from serving.server.config_files import ModelConfig
from serving.server.manager import ModelManager, Retries
from serving.server.states import ModelRef
from serving.server.versions import VersionPolicy
from tests.serving.server.conftest import wait_until

NAME = "m"


class FakeServable:
    """Stands in for a loaded model."""

    def __init__(self, version: int) -> None:
        self.version, self.closed = version, False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Disk:
    """A base path, and a manager whose loads are fakes."""

    def __init__(self, base: Path, **options: Any) -> None:
        self.base, self.broken, self.loaded = base, set[int](), list[FakeServable]()
        self.manager = ModelManager(self._load, **{"retries": Retries(0, 0.0), **options})

    def _load(self, name: str, source: VersionPath) -> Any:
        if source.number in self.broken:
            raise ServingFailed(f"version {source.number} is broken", "DATA_LOSS")
        self.loaded.append(FakeServable(source.number))
        return self.loaded[-1]

    def add(self, *versions: int) -> None:
        for version in versions:
            (self.base / str(version)).mkdir()

    def remove(self, version: int) -> None:
        (self.base / str(version)).rmdir()

    def configure(self, policy: VersionPolicy | None = None, **labels: int) -> None:
        self.manager.configure([ModelConfig(NAME, self.base, policy or VersionPolicy(), labels)])

    def serve(self, policy: VersionPolicy | None = None, **labels: int) -> None:
        self.configure(policy, **labels)
        self.manager.step()

    @property
    def states(self) -> dict[int, str]:
        return {status.version: status.state for status in self.manager.status(ModelRef(NAME))}

    def served(self, version: int | None = None, label: str | None = None) -> int:
        with self.manager.lease(ModelRef(NAME, version, label)) as servable:
            return servable.version


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.manager.close()
    assert all(servable.closed for servable in made.loaded)


def test_new_version_takes_the_place_of_the_old(disk: Disk) -> None:
    disk.add(1)
    disk.serve()
    assert (disk.served(), disk.states) == (1, {1: "AVAILABLE"})
    disk.add(2)
    disk.manager.step()
    assert (disk.served(), disk.states) == (2, {2: "AVAILABLE", 1: "END"})
    assert [servable.closed for servable in disk.loaded] == [True, False]


def test_old_version_serves_until_the_new_one_can(disk: Disk) -> None:
    disk.add(1)
    disk.serve()
    disk.add(2)
    load, seen = disk._load, []

    def watched(name: str, source: VersionPath) -> Any:
        seen.append((disk.served(), disk.states))
        return load(name, source)

    disk.manager._load_version = watched
    disk.manager.step()
    assert seen == [(1, {2: "LOADING", 1: "AVAILABLE"})]


def test_old_version_is_drained_before_it_is_unloaded(disk: Disk) -> None:
    disk.add(1)
    disk.serve()
    disk.add(2)
    with disk.manager.lease(ModelRef(NAME)) as held:
        disk.manager.step()
        assert (disk.served(), disk.states) == (2, {2: "AVAILABLE", 1: "UNLOADING"})
        with pytest.raises(ModelNotFound, match=r"Servable not found for request: Specific\(m, 1\)"):
            disk.served(1)
        assert not held.closed  # type: ignore[attr-defined]
    disk.manager.step()
    assert disk.states == {2: "AVAILABLE", 1: "END"}
    assert held.closed  # type: ignore[attr-defined]


def test_broken_version_leaves_the_old_one_serving(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    disk.add(1)
    disk.serve()
    disk.broken = {2}
    disk.add(2)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            disk.manager.step()
    assert (disk.served(), disk.states) == (1, {2: "END", 1: "AVAILABLE"})
    (failed,) = disk.manager.status(ModelRef(NAME, 2))
    assert (failed.code, failed.message) == ("DATA_LOSS", "version 2 is broken")
    assert len(caplog.records) == 1  # it is tried once, and not at every look
    disk.add(3)
    disk.manager.step()
    assert (disk.served(), disk.states) == (3, {3: "AVAILABLE", 2: "END", 1: "END"})


def test_load_is_tried_again(tmp_path: Path) -> None:
    disk = Disk(tmp_path, retries=Retries(2, 0.0))
    disk.broken = {1}
    disk.add(1)
    disk.serve()
    assert disk.states == {1: "LOADING"}
    disk.manager.step()
    assert disk.states == {1: "LOADING"}
    disk.manager.step()
    assert disk.states == {1: "END"}
    disk.broken = set()
    disk.manager.step()
    assert disk.states == {1: "END"}  # two retries are two


def test_retry_waits_for_its_time_and_may_succeed(tmp_path: Path) -> None:
    disk = Disk(tmp_path, retries=Retries(5, 3600.0))
    disk.broken = {1}
    disk.add(1)
    disk.serve()
    disk.broken = set()
    disk.manager.step()
    assert disk.states == {1: "LOADING"}
    disk.manager._versions[NAME][1].due = 0.0  # an hour later
    disk.manager.step()
    assert (disk.served(), disk.states) == (1, {1: "AVAILABLE"})
    disk.manager.close()


def test_version_that_is_replaced_after_a_failure_is_tried_anew(disk: Disk) -> None:
    disk.broken = {1}
    disk.add(1)
    disk.serve()
    disk.remove(1)
    disk.manager.step()
    disk.broken = set()
    disk.add(1)
    disk.manager.step()
    assert disk.served() == 1


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        (VersionPolicy(), {3}),
        (VersionPolicy(newest=2), {2, 3}),
        (VersionPolicy(newest=9), {1, 2, 3}),
        (VersionPolicy(newest=None), {1, 2, 3}),
        (VersionPolicy(numbers=frozenset({1, 3, 7})), {1, 3}),
    ],
)
def test_policy_chooses_the_versions(disk: Disk, policy: VersionPolicy, served: set[int]) -> None:
    disk.add(1, 2, 3)
    disk.serve(policy)
    assert disk.states == dict.fromkeys(sorted(served, reverse=True), "AVAILABLE")
    assert list(disk.states) == sorted(served, reverse=True)  # the newest first, as TensorFlow Serving lists them
    assert [servable.version for servable in disk.loaded] == sorted(served, reverse=True)
    assert disk.served() == 3
    for version in served:
        assert disk.served(version) == version


def test_deleted_version_is_unloaded_and_the_one_before_serves_again(disk: Disk) -> None:
    disk.add(1, 2)
    disk.serve()
    disk.remove(2)
    disk.manager.step()
    assert (disk.served(), disk.states) == (1, {2: "END", 1: "AVAILABLE"})


def test_base_path_that_is_away_changes_nothing(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    disk.add(1)
    disk.serve()
    away = disk.base.with_name("away")
    disk.base.rename(away)
    for _ in range(3):
        disk.manager.step()
    assert disk.served() == 1
    assert caplog.text.count("cannot be read") == 1  # said once, and not every second
    away.rename(disk.base)
    disk.add(2)
    disk.manager.step()
    assert disk.served() == 2


def test_base_path_that_cannot_be_read_changes_nothing(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.add(1)
    disk.serve()

    def forbidden(base: Path) -> list[VersionPath]:
        raise PermissionError(13, "Permission denied", str(base))

    monkeypatch.setattr("serving.server.manager.find_versions", forbidden)
    disk.manager.step()
    assert disk.served() == 1


def test_label_names_a_version(disk: Disk) -> None:
    disk.add(1, 2)
    everything = VersionPolicy(newest=None)
    disk.serve(everything)
    disk.serve(everything, stable=1, canary=2)
    assert (disk.served(label="stable"), disk.served(label="canary")) == (1, 2)
    for label in ("other", ""):
        with pytest.raises(InvalidInput, match=f"Unrecognized servable version label: {label}"):
            disk.served(label=label)
    disk.serve(everything, stable=2)
    assert disk.served(label="stable") == 2
    with pytest.raises(InvalidInput, match="Unrecognized servable version label: canary"):
        disk.served(label="canary")


def test_label_of_a_version_that_is_not_available_is_refused(disk: Disk) -> None:
    disk.add(1)
    refusal = "Request to assign label to version {} of model m, which is not currently available for inference"
    with pytest.raises(ServingFailed, match=refusal.format(1)) as caught:
        disk.serve(stable=1)
    assert caught.value.code == "FAILED_PRECONDITION"
    disk.serve()
    disk.serve(stable=1)
    with pytest.raises(ServingFailed, match=refusal.format(2)):
        disk.serve(stable=2)
    assert disk.served(label="stable") == 1


def test_new_label_may_name_what_is_not_available_if_that_is_allowed(tmp_path: Path) -> None:
    disk = Disk(tmp_path, labels_for_unavailable=True)
    disk.add(1)
    disk.serve(stable=1, canary=2)
    assert disk.served(label="stable") == 1
    with pytest.raises(ModelNotFound, match=r"Servable not found for request: Specific\(m, 2\)"):
        disk.served(label="canary")
    with pytest.raises(ServingFailed, match="Request to assign label to version 3"):
        disk.serve(stable=3)  # a label that is in use never moves to what is not available
    disk.manager.close()


def test_reload_adds_and_removes_models(disk: Disk, tmp_path: Path) -> None:
    disk.add(1)
    disk.serve()
    (tmp_path / "other" / "5").mkdir(parents=True)
    disk.manager.reload([ModelConfig("other", tmp_path / "other")])
    with disk.manager.lease(ModelRef("other")) as servable:
        assert servable.version == 5
    assert disk.states == {1: "END"}
    with pytest.raises(ModelNotFound):
        disk.served()


def test_reload_says_which_model_did_not_load(disk: Disk, tmp_path: Path) -> None:
    disk.broken = {1}
    disk.add(1)
    with pytest.raises(ServingFailed) as caught:
        disk.manager.reload([ModelConfig(NAME, disk.base), ModelConfig("gone", tmp_path / "gone")])
    assert caught.value.code == "UNKNOWN"
    text = str(caught.value)
    assert text.startswith("2 model(s) did not become available: {")
    assert "{name: m} due to error: DATA_LOSS: version 1 is broken}" in text
    assert "{name: gone} due to error: NOT_FOUND:" in text


def test_watch_finds_versions_and_frees_what_a_call_let_go(disk: Disk) -> None:
    disk.add(1)
    disk.serve()
    watching = threading.Thread(target=disk.manager.watch, args=(0.02,))
    watching.start()
    with ExitStack() as call:
        call.enter_context(disk.manager.lease(ModelRef(NAME)))
        disk.add(2)
        wait_until(lambda: disk.states == {2: "AVAILABLE", 1: "UNLOADING"})
    wait_until(lambda: disk.states == {2: "AVAILABLE", 1: "END"})
    disk.manager.stop()
    watching.join(10)
    assert not watching.is_alive()


def test_watch_without_polling_still_retries_and_frees(tmp_path: Path) -> None:
    disk = Disk(tmp_path, retries=Retries(1, 0.02))
    disk.broken = {1}
    disk.add(1)
    disk.serve()
    disk.broken = set()
    watching = threading.Thread(target=disk.manager.watch, args=(0.0,))
    watching.start()
    wait_until(lambda: disk.states == {1: "AVAILABLE"})
    disk.add(2)
    disk.manager.stop()
    watching.join(10)
    assert disk.states == {1: "AVAILABLE"}  # nobody looked
    disk.manager.close()


def test_fault_while_loading_is_shown_and_survived(disk: Disk) -> None:
    disk.add(1)
    disk.manager._load_version = lambda name, source: 1 / 0  # type: ignore[assignment, return-value]
    disk.serve()
    (status,) = disk.manager.status(ModelRef(NAME))
    assert (status.state, status.code) == ("END", "INTERNAL")
    assert status.message.startswith("Internal error while loading: ZeroDivisionError")
