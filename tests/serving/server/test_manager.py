"""Versions come and go: what is loaded, what is served meanwhile, what is let go, and when."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from model.versions import VersionPath
from serving.errors import ServingFailed
from serving.server import manager
from serving.server.manager import ModelManager, ModelRef
from tests.serving.server.conftest import wait_until

LATEST = ModelRef("m")


class Disk:
    """A base path, and a manager whose loads are fakes."""

    def __init__(self, base: Path, retries: int = 0, broken: int = 0) -> None:
        self.base, self.broken, self.loaded = base, {broken}, list[Mock]()
        self.add(1)
        self.manager = ModelManager("m", base, self.load, retries)

    def load(self, source: VersionPath) -> Any:
        if source.number in self.broken:
            raise ServingFailed(f"version {source.number} is broken", "DATA_LOSS")
        self.loaded.append(Mock(version=source.number))
        return self.loaded[-1]

    def add(self, version: int) -> None:
        (self.base / str(version)).mkdir()

    def remove(self, version: int) -> None:
        (self.base / str(version)).rmdir()

    def breaks(self, version: int) -> None:  # or, the second time, mends
        self.broken ^= {version}

    def step(self) -> dict[int, str]:
        self.manager._step()
        return self.states

    @property
    def states(self) -> dict[int, str]:
        return {version.number: version.state for version in self.manager.status(LATEST)}

    def served(self, version: int | None = None) -> int:
        with self.manager.lease(ModelRef("m", version)) as servable:
            return servable.version


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # 0.6 s where TensorFlow is loaded
    monkeypatch.setattr(manager, "RETRY_INTERVAL_S", 0.0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Version 1 is served."""
    made = Disk(tmp_path)
    assert made.states == {1: "START"}
    assert made.step() == {1: "AVAILABLE"}
    made.manager._check_start()
    yield made
    made.manager.close()
    assert all(servable.close.call_count == 1 for servable in made.loaded)


# What happens on the disk, and how the versions stand after the next look, the newest first.
STORIES = {
    "a new version takes the place of the old, by number": [
        ("add", 9, {9: "AVAILABLE", 1: "END"}),
        ("add", 10, {10: "AVAILABLE", 9: "END", 1: "END"}),
    ],
    "a broken version leaves the old one serving, is not tried at every look, but anew when it is replaced": [
        ("breaks", 2, {1: "AVAILABLE"}),
        ("add", 2, {2: "END", 1: "AVAILABLE"}),
        ("breaks", 2, {2: "END", 1: "AVAILABLE"}),
        ("remove", 2, {2: "END", 1: "AVAILABLE"}),
        ("add", 2, {2: "AVAILABLE", 1: "END"}),
    ],
    "where the newest is deleted the one before it serves again": [
        ("add", 2, {2: "AVAILABLE", 1: "END"}),
        ("remove", 2, {2: "END", 1: "AVAILABLE"}),
    ],
    "where all are deleted none is served": [("remove", 1, {1: "END"})],
}


@pytest.mark.parametrize("story", STORIES)
def test_disk_decides_what_is_served(story: str, disk: Disk) -> None:
    for what, version, states in STORIES[story]:
        getattr(disk, what)(version)
        assert disk.step() == states
    serving = [version for version, state in states.items() if state == "AVAILABLE"]
    assert disk.manager.ready == bool(serving)
    assert [servable.version for servable in disk.loaded if not servable.close.called] == serving
    for version in serving:
        assert disk.served() == disk.served(version) == version


def test_old_version_is_drained_before_it_is_unloaded_and_may_come_back(disk: Disk) -> None:
    disk.add(2)
    with disk.manager.lease(LATEST) as held:
        assert disk.step() == {2: "AVAILABLE", 1: "UNLOADING"}
        assert disk.served() == 2
        disk.remove(2)
        assert disk.step() == {2: "AVAILABLE", 1: "UNLOADING"}
        assert not held.close.called  # type: ignore[attr-defined]
    disk.step()
    assert held.close.called  # type: ignore[attr-defined]
    assert disk.step() == {2: "END", 1: "AVAILABLE"}


@pytest.mark.parametrize("mended", [False, True])
def test_load_is_tried_again_when_its_time_has_come(
    mended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "RETRY_INTERVAL_S", 3600.0)
    disk = Disk(tmp_path, retries=1, broken=1)
    assert disk.step() == disk.step() == {1: "LOADING"}  # the second comes too early
    assert str(disk.manager.status(LATEST)[0].error) == "version 1 is broken"
    disk.broken = set() if mended else {1}
    disk.manager._versions[1].due = 0.0  # an hour later
    assert disk.step() == {1: "AVAILABLE" if mended else "END"}
    assert (disk.manager.status(LATEST)[0].error is None) == mended


def test_base_path_that_cannot_be_read_changes_nothing(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    away = disk.base.rename(disk.base.with_name("away"))
    for _ in range(3):
        assert disk.step() == {1: "AVAILABLE"}
    assert caplog.text.count("cannot be read") == 1  # said once, and not every second
    away.rename(disk.base)
    disk.add(2)
    assert disk.step() == {2: "AVAILABLE", 1: "END"}


def test_run_follows_the_directory_until_it_is_stopped(tmp_path: Path) -> None:
    disk = Disk(tmp_path, retries=10**9, broken=1)
    running = threading.Thread(target=disk.manager.run, daemon=True)
    running.start()
    wait_until(lambda: disk.manager._versions[1].attempts > 1)
    disk.add(2)
    wait_until(lambda: disk.states == {2: "AVAILABLE", 1: "END"})
    disk.manager.stop()
    running.join(10)
    assert not running.is_alive()
    assert not disk.manager.ready


def test_fault_of_the_program_in_a_load_is_a_load_that_failed(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.broken = None  # type: ignore[assignment]  # TypeError
    with pytest.raises(ServingFailed, match="Internal error while loading: TypeError"):
        disk.manager.run()
