"""Versions come and go: what is loaded, what is served meanwhile, what is let go, and when."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.versions import VersionPath
from serving.errors import ModelNotFound, ServingFailed, ServingUnavailable
from serving.server.manager import ModelManager, ModelRef
from tests.serving.server.conftest import wait_until

NAME = "m"


class FakeServable:
    """Stands in for a loaded version."""

    def __init__(self, version: int) -> None:
        self.version, self.closed = version, False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Disk:
    """A base path, and a manager whose loads are fakes."""

    def __init__(self, base: Path, *versions: int, **options: Any) -> None:
        self.base, self.broken, self.loaded = base, set[int](), list[FakeServable]()
        self.add(*versions)
        self.manager = ModelManager(NAME, base, self.load, **{"retries": 0, **options})

    def load(self, source: VersionPath) -> Any:
        if source.number in self.broken:
            raise ServingFailed(f"version {source.number} is broken", "DATA_LOSS")
        self.loaded.append(FakeServable(source.number))
        return self.loaded[-1]

    def add(self, *versions: int) -> None:
        for version in versions:
            (self.base / str(version)).mkdir()

    def remove(self, version: int) -> None:
        (self.base / str(version)).rmdir()

    def breaks(self, version: int) -> None:
        self.broken ^= {version}

    def step(self) -> dict[int, str]:
        self.manager.step()
        return self.states

    @property
    def states(self) -> dict[int, str]:
        return {status.version: status.state for status in self.manager.status(ModelRef(NAME))}

    def served(self, version: int | None = None) -> int:
        with self.manager.lease(ModelRef(NAME, version)) as servable:
            return servable.version


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Version 1 is served."""
    made = Disk(tmp_path, 1)
    assert made.states == {1: "START"}
    assert made.step() == {1: "AVAILABLE"}
    made.manager._check_start()
    yield made
    made.manager.close()
    assert all(servable.closed for servable in made.loaded)


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["2", "10", "9"], 10),
        (["00000123", "7"], 123),
        (["1", "-5", "2x", ".3", "99999999999999999999", "tmp"], 1),
    ],
)
def test_newest_version_is_served(names: list[str], newest: int, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "500").touch()  # a file is no version
    assert Disk(tmp_path).step() == {newest: "AVAILABLE"}


def test_nothing_to_serve_is_an_error_that_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"--model_base_path.*must hold a version directory"):
        Disk(tmp_path)
    with pytest.raises(ModelNotFound, match=r"--model_base_path.*must be a directory"):
        Disk(tmp_path / "missing")


# What happens on the disk, and how the versions stand after the next look, the newest first.
STORIES = {
    "a new version takes the place of the old": [("add", 2, {2: "AVAILABLE", 1: "END"})],
    "a broken version leaves the old one serving, and is not tried at every look": [
        ("breaks", 2, {1: "AVAILABLE"}),
        ("add", 2, {2: "END", 1: "AVAILABLE"}),
        ("breaks", 2, {2: "END", 1: "AVAILABLE"}),
        ("add", 3, {3: "AVAILABLE", 2: "END", 1: "END"}),
    ],
    "a broken version that is replaced is tried anew": [
        ("breaks", 2, {1: "AVAILABLE"}),
        ("add", 2, {2: "END", 1: "AVAILABLE"}),
        ("remove", 2, {2: "END", 1: "AVAILABLE"}),
        ("breaks", 2, {2: "END", 1: "AVAILABLE"}),
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
    available = [version for version, state in states.items() if state == "AVAILABLE"]
    assert disk.manager.ready == bool(available)
    assert [servable.version for servable in disk.loaded if not servable.closed] == available
    for version in available:
        assert disk.served() == disk.served(version) == version


def test_old_version_serves_until_the_new_one_can(disk: Disk) -> None:
    seen = []

    def watched(source: VersionPath) -> Any:
        seen.append((disk.served(), disk.states))
        return disk.load(source)

    disk.manager._load_version = watched
    disk.add(2)
    disk.step()
    assert seen == [(1, {2: "LOADING", 1: "AVAILABLE"})]


def test_old_version_is_drained_before_it_is_unloaded_and_may_come_back(disk: Disk) -> None:
    disk.add(2)
    with disk.manager.lease(ModelRef(NAME)) as held:
        assert disk.step() == {2: "AVAILABLE", 1: "UNLOADING"}
        assert disk.served() == 2
        with pytest.raises(ModelNotFound, match=r"Servable not found for request: Specific\(m, 1\)"):
            disk.served(1)
        disk.remove(2)
        assert disk.step() == {2: "AVAILABLE", 1: "UNLOADING"}
        assert not held.closed  # type: ignore[attr-defined]
    disk.step()
    assert held.closed  # type: ignore[attr-defined]
    assert disk.step() == {2: "END", 1: "AVAILABLE"}


@pytest.mark.parametrize(
    ("fault", "code", "text"), [(False, "DATA_LOSS", "version 2 is broken"), (True, "INTERNAL", "Int")]
)
def test_failed_load_shows_in_the_status_and_once_in_the_log(
    fault: bool, code: str, text: str, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    if fault:
        disk.manager._load_version = lambda source: 1 / 0  # type: ignore[assignment, return-value]
    disk.broken = {2}
    disk.add(2)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            disk.step()
    (status,) = disk.manager.status(ModelRef(NAME, 2))
    assert (status.state, status.code) == ("END", code)
    assert status.message.startswith(text)
    assert caplog.text.count("could not be loaded (given up)") == 1


def test_load_is_tried_again_so_many_times(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 1, retries=2, retry_interval_s=0.0)
    disk.broken = {1}
    states = [disk.step()[1] for _ in range(3)]
    disk.broken = set()
    assert [*states, disk.step()[1]] == ["LOADING", "LOADING", "END", "END"]


def test_retry_waits_for_its_time_and_may_succeed(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 1, retries=5, retry_interval_s=3600.0)
    disk.broken = {1}
    disk.step()
    disk.broken = set()
    assert disk.step() == {1: "LOADING"}
    disk.manager._versions[1].due = 0.0  # an hour later
    assert disk.step() == {1: "AVAILABLE"}


def test_base_path_that_cannot_be_read_changes_nothing(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    away = disk.base.rename(disk.base.with_name("away"))
    for _ in range(3):
        assert disk.step() == {1: "AVAILABLE"}
    assert caplog.text.count("cannot be read") == 1  # said once, and not every second
    away.rename(disk.base)
    disk.add(2)
    assert disk.step() == {2: "AVAILABLE", 1: "END"}


def test_run_follows_the_directory_until_it_is_stopped(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 1, retries=1, retry_interval_s=0.0)
    disk.broken = {1}
    with pytest.raises(ServingUnavailable, match="Model m is being loaded; its status says how that goes"):
        disk.served()
    running = threading.Thread(target=disk.manager.run, args=(0.02,), daemon=True)
    running.start()
    wait_until(lambda: disk.manager._versions[1].attempts == 1)
    disk.broken = set()
    wait_until(lambda: disk.manager.ready)
    disk.add(2)
    wait_until(lambda: disk.states == {2: "AVAILABLE", 1: "END"})
    disk.manager.stop()
    running.join(10)
    assert not running.is_alive()
    assert not disk.manager.ready


def test_end_of_the_last_call_wakes_who_unloads(disk: Disk) -> None:
    running = threading.Thread(target=disk.manager.run, args=(3600.0,), daemon=True)
    with disk.manager.lease(ModelRef(NAME)):
        disk.add(2)
        running.start()
        wait_until(lambda: disk.states == {2: "AVAILABLE", 1: "UNLOADING"})
    wait_until(lambda: disk.states == {2: "AVAILABLE", 1: "END"})
    disk.manager.stop()
    running.join(10)


@pytest.mark.parametrize(
    ("gone", "text"), [(False, "version 1 is broken"), (True, "holds no version to serve any more")]
)
def test_run_ends_if_nothing_can_be_loaded_to_begin_with(gone: bool, text: str, tmp_path: Path) -> None:
    disk = Disk(tmp_path, 1)
    disk.broken = {1}
    if gone:
        disk.remove(1)
    with pytest.raises((ModelNotFound, ServingFailed), match=text):
        disk.manager.run(0.02)
