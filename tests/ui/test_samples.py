"""The sample pictures: there, light enough, and what the generator draws."""

from functools import cache

import numpy as np
import pytest
from PIL import Image

from ui.samples import CONTENTS, STYLES
from ui.samples.__main__ import DRAW, LARGEST_FILE, SIZE_PX, main

SMALL_PX = 48


def small(image):
    """A picture as a few flat patches, zero mean and unit deviation by channel: what does not change with size."""
    patches = np.asarray(image.convert("RGB").resize((12, 12), Image.Resampling.BOX), np.float32)
    return (patches - patches.mean((0, 1))) / patches.std((0, 1))


def likeness(first, second):
    """1 for the same picture, about 0 for two that have nothing to do with each other."""
    return float((small(first) * small(second)).mean())


@cache
def kept(sample):
    with Image.open(sample.path) as image:
        return image.convert("RGB").reduce(8)


def test_there_are_several_of_each_kind_and_all_are_drawn_here():
    samples = CONTENTS + STYLES
    assert len(CONTENTS) >= 4
    assert len(STYLES) >= 6
    assert [sample.name for sample in samples] == list(DRAW)
    for read in ("name", "label", "alt"):  # a person tells them apart by any of these
        assert len({getattr(sample, read) for sample in samples}) == len(samples)


@pytest.mark.parametrize("sample", CONTENTS + STYLES, ids=lambda sample: sample.name)
def test_each_sample_is_there_and_is_described(sample):
    assert len(sample.label) <= 12  # it stands on a pill
    assert 20 <= len(sample.alt) <= 90
    assert sample.path.stat().st_size <= LARGEST_FILE
    with Image.open(sample.path) as image:
        assert (image.format, image.mode, max(image.size)) == ("JPEG", "RGB", SIZE_PX)


@pytest.mark.parametrize("sample", CONTENTS + STYLES, ids=lambda sample: sample.name)
def test_each_file_is_what_its_function_draws(sample, monkeypatch):
    generator = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: generator(int(seed)))  # no chance without a seed
    drawn = DRAW[sample.name](SMALL_PX)
    likenesses = {other.name: likeness(kept(other), drawn) for other in CONTENTS + STYLES}
    assert max(likenesses, key=likenesses.get) == sample.name
    assert likenesses[sample.name] > 0.7


@pytest.fixture
def plain(monkeypatch):
    """Draws every sample as a black square."""
    drawn = {name: lambda size: Image.new("RGB", (size, size)) for name in DRAW}
    monkeypatch.setattr("ui.samples.__main__.DRAW", drawn)


@pytest.mark.usefixtures("plain")
def test_the_command_writes_a_file_for_each_sample(tmp_path, capsys):
    main(["--output", str(tmp_path / "new"), "--size", "32"])
    assert {path.stem for path in (tmp_path / "new").iterdir()} == {sample.name for sample in CONTENTS + STYLES}
    assert "waves.jpg" in capsys.readouterr().out


@pytest.mark.usefixtures("plain")
def test_the_command_draws_what_is_named(tmp_path, capsys):
    main(["cat", "--output", str(tmp_path), "--size", "32"])
    assert [path.name for path in tmp_path.iterdir()] == ["cat.jpg"]
    with pytest.raises(SystemExit):
        main(["dog", "--output", str(tmp_path)])
    assert "Received: dog" in capsys.readouterr().err
