"""Files are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.errors import InvalidInput
from serving.files import atomic_write, read_file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a", b"one")
    atomic_write(tmp_path / "a", b"two")
    assert read_file(tmp_path / "a", "`a`") == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    atomic_write(tmp_path / "a", b"one")
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], full)
    with pytest.raises(InvalidInput, match=r"a file must be writable. Received: .*a \(No space left on device\)"):
        atomic_write(tmp_path / "a", b"two")
    assert read_file(tmp_path / "a", "`a`") == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"`a` must be a readable file. Received: .*nosuch \(No such file"):
        read_file(tmp_path / "nosuch", "`a`")
