"""The sample pictures: there, light enough, described, and on their card."""

import pytest
from PIL import Image

from ui.samples import CONTENTS, STYLES

SIZE_PX = 768  # long side
LARGEST_FILE = 250_000  # bytes
CARD = (CONTENTS[0].path.parent / "README.md").read_text()


@pytest.mark.parametrize("read", ["name", "label", "alt"])
def test_a_person_tells_the_samples_apart_by_any_of_these(read):
    samples = CONTENTS + STYLES
    assert len({getattr(sample, read) for sample in samples}) == len(samples)


@pytest.mark.parametrize("sample", CONTENTS + STYLES, ids=lambda sample: sample.name)
def test_each_sample_decodes_and_is_described(sample):
    assert len(sample.label) <= 12  # it stands on a pill
    assert 20 <= len(sample.alt) <= 90
    assert sample.path.stat().st_size <= LARGEST_FILE
    with Image.open(sample.path) as image:
        image.load()
        assert (image.format, image.mode, max(image.size)) == ("JPEG", "RGB", SIZE_PX)
        size = "×".join(map(str, image.size))
    assert f"| `{sample.path.name}` | {sample.alt} | {size}, {sample.path.stat().st_size / 1000:.0f} kB |" in CARD


def test_every_picture_of_the_folder_is_a_sample():
    assert {path.stem for path in CONTENTS[0].path.parent.glob("*.jpg")} == {s.name for s in CONTENTS + STYLES}
