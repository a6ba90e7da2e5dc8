"""A run goes into a file and comes out the same, or not at all; and a file is whole, or as it was before."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.settings import StyleSettings
from serving import run_file
from serving.errors import InvalidInput
from serving.request import Request
from serving.run_file import SavedRun, load_run, save_run
from tests.conftest import encode, smooth_picture

LARGE = encode(smooth_picture(30, 40), "TIFF")
GUIDES = {"content_masks": [b"", LARGE], "style_masks": [LARGE, b""], "initial": LARGE}
SETTINGS = StyleSettings(size=20, smallest_size=20, style_weight=0.125, style_layers=(("block1_conv2", 0.5),))
GUIDED = SavedRun(Request(LARGE, [LARGE, LARGE], SETTINGS, **GUIDES).prepared(), "abc-float32", b"state", 7, 500)
RUN = SavedRun(
    Request(b"\0content", (b"one", b"two"), SETTINGS, sha256={"content": ("aa",), "styles": ("bb", "cc")}),
    model_digest="abc-float32",
    state=bytes(range(256)),
    step=7,
    steps=500,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.run"


def test_what_is_saved_is_loaded_and_the_same_run_gives_the_same_file(path: Path) -> None:
    save_run(path, RUN)
    save_run(path, GUIDED)
    again = load_run(path)
    assert again == GUIDED
    assert again.request.sha256 == GUIDED.request.sha256
    data = path.read_bytes()
    save_run(path, again)
    assert path.read_bytes() == data
    assert [file.name for file in path.parent.iterdir()] == ["a.run"]


def test_any_tool_can_look_into_it(path: Path) -> None:
    save_run(path, RUN)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        about = json.loads(archive.read("run.json"))
    assert (about["format"], about["version"], about["step"]) == ("style-transfer-run", 1, 7)
    assert "style_weight=0.125" in about["settings"]
    assert f"steps={StyleSettings().steps}" in about["settings"]  # a default, which may change in a later version


def test_every_flipped_byte_and_every_truncation_is_refused_or_does_no_harm(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_run(path, RUN)
    whole = path.read_bytes()
    read: list[bytes] = [b""]
    monkeypatch.setattr(run_file, "read_file", lambda *_: read[0])
    refused = 0
    for index in range(len(whole)):
        read[0] = whole[:index] + bytes([whole[index] ^ 0xFF]) + whole[index + 1 :]
        try:
            assert load_run(path) == RUN
        except InvalidInput:
            refused += 1
        read[0] = whole[:index]
        with pytest.raises(InvalidInput, match="undamaged run file"):
            load_run(path)
    assert refused > len(whole) / 2  # the rest is what zip says twice or nobody reads, such as times


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"format": "other"}, zipfile.ZIP_STORED, "other of version 1"),
        ({"version": 2}, zipfile.ZIP_STORED, "style-transfer-run of version 2"),
        ({"settings": "nosuch=1"}, zipfile.ZIP_STORED, "nosuch=1"),
        ({"pictures": {"content": ["aa", "dd"]}}, zipfile.ZIP_STORED, "pictures/content/1"),
        ({"pictures": {}}, zipfile.ZIP_STORED, "content"),
        ({}, zipfile.ZIP_DEFLATED, "run.json is compressed"),  # it might be a bomb
    ],
)
def test_what_is_no_run_is_refused_in_one_sentence(path: Path, change: Any, kind: int, words: str) -> None:
    save_run(path, RUN)
    source = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name in source.namelist():
            data = source.read(name)
            archive.writestr(name, json.dumps(json.loads(data) | change) if name == "run.json" else data)
    with pytest.raises(InvalidInput, match=rf"^`resume` must be an undamaged run file of version 1. .*{words}.*"):
        load_run(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    save_run(path, RUN)
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], full)
    with pytest.raises(InvalidInput, match=r"a file must be writable. Received: .*a.run \(No space left on device\)"):
        save_run(path, replace(RUN, step=8))
    assert load_run(path) == RUN
    assert [file.name for file in path.parent.iterdir()] == ["a.run"]


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"`resume` must be a readable file. Received: .*a.run \(No such file"):
        load_run(path)
