"""A run goes into a file and comes out the same, or not at all."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from model.settings import StyleSettings
from serving.errors import InvalidInput
from serving.request import Request
from serving.run_file import SavedRun, load_run, pack_run, save_run, unpack_run
from tests.conftest import encode, smooth_picture

RUN = SavedRun(
    Request(
        b"\x00content",
        (b"one", b"two"),
        StyleSettings(size=99, style_weight=0.125, style_layers=(("block1_conv2", 0.5), ("block3_conv1", 1.0))),
        sha256={"content": ("aa",), "styles": ("bb", "cc")},
    ),
    model_digest="abc-float32",
    state=bytes(range(256)),
    step=7,
    steps=500,
)


def test_a_run_keeps_all_its_pictures_and_the_digests_of_those_that_were_brought() -> None:
    large = encode(smooth_picture(30, 40), "TIFF")
    guides = {"content_masks": [b"", large], "style_masks": [large, b""], "initial": large}
    run = SavedRun(Request(large, [large, large], StyleSettings(size=20, smallest_size=20), **guides).prepared(), "abc")
    again = unpack_run(pack_run(run))
    assert again == run
    assert again.request.sha256 == run.request.sha256


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_run(tmp_path / "a.run", RUN)
    assert load_run(tmp_path / "a.run") == RUN
    assert [path.name for path in tmp_path.iterdir()] == ["a.run"]


def test_a_later_chunk_takes_the_place_of_an_earlier(tmp_path: Path) -> None:
    save_run(tmp_path / "a.run", RUN)
    later = replace(RUN, step=8, state=b"later")
    save_run(tmp_path / "a.run", later)
    assert load_run(tmp_path / "a.run") == later


def test_the_same_run_gives_the_same_file() -> None:
    assert pack_run(RUN) == pack_run(RUN)


def test_any_tool_can_look_into_it() -> None:
    with zipfile.ZipFile(io.BytesIO(pack_run(RUN))) as archive:
        assert archive.testzip() is None
        about = json.loads(archive.read("run.json"))
    assert (about["format"], about["version"], about["step"]) == ("style-transfer-run", 1, 7)
    assert "style_weight=0.125" in about["settings"]
    assert f"steps={StyleSettings().steps}" in about["settings"]  # a default: it may be another one later


def test_every_flipped_byte_is_refused_or_does_no_harm() -> None:
    data = bytearray(pack_run(RUN))
    refused = 0
    for index in range(len(data)):
        data[index] ^= 0xFF
        try:
            assert unpack_run(bytes(data)) == RUN
        except InvalidInput:
            refused += 1
        data[index] ^= 0xFF
    assert refused > len(data) / 2  # the rest is what zip says twice or nobody reads, such as times


def test_every_truncation_is_refused() -> None:
    data = pack_run(RUN)
    for length in range(len(data)):
        with pytest.raises(InvalidInput, match=r"undamaged file that a run was saved to. Received: here"):
            unpack_run(data[:length], "here")


def rewritten(change: dict[str, object], kind: int = zipfile.ZIP_STORED) -> bytes:
    source = zipfile.ZipFile(io.BytesIO(pack_run(RUN)))
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", kind) as archive:
        for name in source.namelist():
            data = source.read(name)
            archive.writestr(name, json.dumps(json.loads(data) | change) if name == "run.json" else data)
    return output.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a zip file"),
        (b"hello", "not a zip file"),
        (rewritten({"format": "other"}), "(other)"),
        (rewritten({"version": 2}), "a run file of version 1. Received: here, of version 2"),
        (rewritten({"settings": "nosuch=1"}), "nosuch=1"),
        (rewritten({"pictures": {"content": ["aa", "dd"]}}), "pictures/content/1"),
        (rewritten({"members": {}}), "undamaged"),
        (rewritten({"pictures": 3}), "undamaged"),
        (rewritten({"pictures": {}}), "undamaged"),
        (rewritten({}, zipfile.ZIP_DEFLATED), "run.json is compressed"),
    ],
)
def test_what_is_no_run_is_refused_in_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        unpack_run(data, "here")
    assert words in str(failure.value)
    assert str(failure.value).startswith("`resume` must be")


def test_a_run_of_another_model_is_refused() -> None:
    RUN.check_model("abc-float32")
    with pytest.raises(InvalidInput, match=r"the model that is served \(xyz\). Received: a run of another one \(abc"):
        RUN.check_model("xyz")


def test_runs_are_the_same_wherever_they_stand() -> None:
    assert RUN.same_run(replace(RUN, state=b"", step=0))
    assert RUN.same_run(replace(RUN, request=replace(RUN.request, sha256={})))
    assert not RUN.same_run(replace(RUN, request=replace(RUN.request, settings=StyleSettings())))
    assert not RUN.same_run(replace(RUN, request=replace(RUN.request, content=b"other")))


def test_a_file_that_cannot_be_read_or_written_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"`resume` must be a readable file. Received: .*nosuch \(No such file"):
        load_run(tmp_path / "nosuch")
    with pytest.raises(InvalidInput, match=r"must be writable. Received: .*nosuch"):
        save_run(tmp_path / "nosuch" / "a.run", RUN)
