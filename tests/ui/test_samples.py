"""The sample pictures: there, light enough, described, and on their card."""

import pytest
from PIL import Image

from ui.samples import CONTENTS, STYLES

SAMPLES = CONTENTS + STYLES
CARD = (CONTENTS[0].path.parent / "README.md").read_text()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_each_sample_decodes_and_is_described(sample):
    assert len(sample.label) <= 12  # it stands on a pill
    assert sample.path.stat().st_size <= 250_000
    with Image.open(sample.path) as image:
        image.load()
        assert (image.format, image.mode, max(image.size)) == ("JPEG", "RGB", 768)
        size = "×".join(map(str, image.size))
    assert f"| `{sample.path.name}` | {sample.alt} | {size}, {sample.path.stat().st_size / 1000:.0f} kB |" in CARD


def test_every_picture_of_the_folder_is_a_sample_once():
    names = [path.stem for path in CONTENTS[0].path.parent.glob("*.jpg")]
    assert sorted(names) == sorted(sample.name for sample in SAMPLES)
