"""The sample pictures: there, light enough, and drawn the same way each time."""

import numpy as np
import pytest
from PIL import Image

from ui.samples import CONTENTS, STYLES
from ui.samples.__main__ import DRAW, LARGEST_FILE, SIZE_PX, main


@pytest.mark.parametrize("sample", CONTENTS + STYLES, ids=lambda sample: sample.name)
def test_each_sample_is_there(sample):
    assert sample.name in DRAW
    assert sample.label
    assert sample.alt
    assert sample.path.stat().st_size <= LARGEST_FILE
    with Image.open(sample.path) as image:
        assert (image.format, image.mode, max(image.size)) == ("JPEG", "RGB", SIZE_PX)


@pytest.mark.parametrize("name", DRAW)
def test_drawing_is_deterministic(name):
    first, second = (np.asarray(DRAW[name](64)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.std() > 20  # a picture, not a flat ground


def test_the_command_writes_a_file_for_each_sample(tmp_path, monkeypatch, capsys):
    drawn = {name: lambda size: Image.new("RGB", (size, size)) for name in DRAW}
    monkeypatch.setattr("ui.samples.__main__.DRAW", drawn)
    main(["--output", str(tmp_path / "new"), "--size", "32"])
    assert {path.stem for path in (tmp_path / "new").iterdir()} == {sample.name for sample in CONTENTS + STYLES}
    assert "waves.jpg" in capsys.readouterr().out
