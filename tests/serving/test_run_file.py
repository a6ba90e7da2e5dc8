"""A run goes into a file and comes out the same, or not at all; and a file is whole, or as it was before."""

import io
import json
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from model.settings import StyleSettings
from serving.errors import InvalidInput
from serving.files import atomic_write
from serving.request import Request
from serving.run_file import SavedRun, load_run, save_run

SETTINGS = StyleSettings(size=20, smallest_size=20, style_weight=0.125, style_layers=(("block1_conv2", 0.5),))
DIGESTS = dict.fromkeys(("styles", "content_masks", "style_masks"), ("aa", "bb"))
DIGESTS |= {"content": ("cc",), "initial": ("dd",)}
REQUEST = Request(b"\0content", (b"1", b"2"), SETTINGS, (b"", b"mask"), (b"other", b""), b"start", sha256=DIGESTS)
RUN = SavedRun(REQUEST, "abc-float32", bytes(range(256)), 7, 500)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.run"


def test_what_is_saved_is_loaded_and_the_same_run_gives_the_same_file(path: Path) -> None:
    save_run(path, RUN)
    again = load_run(path)
    assert again == RUN
    assert again.request.sha256 == DIGESTS
    data = path.read_bytes()
    save_run(path, again)
    assert path.read_bytes() == data
    assert [file.name for file in path.parent.iterdir()] == ["a.run"]
    about = json.loads(zipfile.ZipFile(path).read("run.json"))  # any tool can look into it
    assert f"steps={StyleSettings().steps}" in about["settings"]  # a default, which may change in a later version


def test_every_flipped_byte_and_every_truncation_is_refused_or_does_no_harm(path: Path) -> None:
    save_run(path, RUN)
    whole = path.read_bytes()
    refused = 0
    for index in range(len(whole)):
        flipped = io.BytesIO(whole[:index] + bytes([whole[index] ^ 0xFF]) + whole[index + 1 :])
        try:
            assert load_run(SimpleNamespace(read_bytes=flipped.read)) == RUN  # two thousand files would take long
        except InvalidInput:
            refused += 1
        with pytest.raises(InvalidInput, match="undamaged run file"):
            load_run(SimpleNamespace(read_bytes=io.BytesIO(whole[:index]).read))
    assert refused > len(whole) / 2  # the rest is what zip says twice or nobody reads, such as times


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "other of version 1"),
        ({"version": 2}, "style-transfer-run of version 2"),
        ({"settings": "nosuch=1"}, "nosuch=1"),
        ({"pictures": {"content": ["aa", "dd"]}}, "pictures/content/1"),
        ({"pictures": {}}, "content"),
        ({}, "run.json is compressed"),  # it might be a bomb
    ],
)
def test_what_is_no_run_is_refused_in_one_sentence(path: Path, change: Any, words: str) -> None:
    save_run(path, RUN)
    source = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if change else zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            data = source.read(name)
            archive.writestr(name, json.dumps(json.loads(data) | change) if name == "run.json" else data)
    with pytest.raises(InvalidInput, match=rf"^`resume` must be an undamaged run file of version 1. .*{words}.*"):
        load_run(path)


def test_two_who_write_a_file_at_once_leave_one_of_theirs(path: Path) -> None:
    files = [bytes([number]) * 1_000_000 for number in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda data: [atomic_write(path, data) for _ in range(20)], files))
    assert path.read_bytes() in files
    assert [file.name for file in path.parent.iterdir()] == ["a.run"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    save_run(path, RUN)
    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], full)
    with pytest.raises(InvalidInput, match=r"a file must be writable. Received: .*a.run \(No space left on device\)"):
        save_run(path, replace(RUN, step=8))
    assert load_run(path) == RUN
    assert [file.name for file in path.parent.iterdir()] == ["a.run"]
