"""The evaluation: its measures against known cases, and that the program writes what it says."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.layers import LAYERS
from model.presets import PRESETS
from model.settings import StyleSettings
from model.vgg19 import VGG19
from model.weights import Weights, random
from tests.benchmarks.evaluate import measures
from tests.benchmarks.evaluate.__main__ import main, pairs_of
from tests.benchmarks.evaluate.measures import MEASURES, SCALES, Judge, hellinger, histogram
from tests.conftest import smooth_picture

SIZE = 64


@pytest.fixture(scope="module")
def content() -> Image.Image:
    return Image.fromarray(smooth_picture(48, SIZE, seed=1))


@pytest.fixture(scope="module")
def style() -> Image.Image:
    return Image.fromarray(smooth_picture(SIZE, 56, seed=2))


@pytest.fixture
def usual(small_weights: Weights, content: Image.Image, style: Image.Image, tmp_path: Path) -> list[str]:
    """Arguments of the program, which writes to the folder `out`."""
    np.savez(tmp_path / "small.npz", **small_weights.arrays)
    for folder, name, picture in (("contents", "photo", content), ("styles", "painting", style)):
        (tmp_path / folder).mkdir()
        picture.save(tmp_path / folder / f"{name}.png")
    named = {"contents": "contents", "styles": "styles", "weights": "small.npz", "output": "out"}
    paths = [word for flag, name in named.items() for word in (f"--{flag}", str(tmp_path / name))]
    return [*paths, "--size", str(SIZE), "--precision", "float32"]


@pytest.fixture(scope="module")
def judge(small_weights: Weights, content: Image.Image, style: Image.Image) -> Judge:
    return Judge(VGG19(small_weights.arrays), SIZE, content, style)


def test_the_untouched_photograph_has_no_content_error_and_a_style_distance_of_one(
    judge: Judge, content: Image.Image
) -> None:
    scores = judge.scores(content)
    for scale in SCALES:
        assert scores["content"][scale] == 0
        assert scores["gram"][scale] == pytest.approx(1)
    assert scores["emd"] == {"full": 1, "half": 1}
    assert scores["similarity"] == {"full": 0, "half": 0}


def test_the_painting_itself_has_no_style_distance(small_weights: Weights, style: Image.Image) -> None:
    photograph = Image.fromarray(smooth_picture(style.height, style.width, seed=1))
    scores = Judge(VGG19(small_weights.arrays), SIZE, photograph, style).scores(style)
    for scale in SCALES:
        assert scores["gram"][scale] == scores["colour"][scale] == 0
        assert scores["variation"][scale] == 1
        assert scores["content"][scale] > 0.1
    for scale in ("full", "half"):
        assert scores["emd"][scale] == pytest.approx(0, abs=1e-4)
        assert scores["similarity"][scale] > 0.1


def test_a_photograph_that_is_its_own_style_is_scored_too(small_weights: Weights, content: Image.Image) -> None:
    scores = Judge(VGG19(small_weights.arrays), SIZE, content, content).scores(content)
    for name in ("gram", "emd", "similarity", "content", "colour"):
        assert list(scores[name].values()) == pytest.approx([0] * len(scores[name]), abs=0.01)


def test_no_preset_lowers_what_is_judged() -> None:
    for preset in PRESETS:
        settings = StyleSettings(preset)
        used = {layer.name for layer in (*settings.style_layers, *settings.content_layers)}
        assert not used & {*measures.STYLE_LAYERS, measures.CONTENT_LAYER}


def test_the_whole_network_is_judged_as_deep_as_block5(content: Image.Image) -> None:
    judge = Judge(VGG19(random(last=LAYERS[-1]).arrays), 2 * SIZE, content, content)
    assert (judge.style_layers, judge.similarity_layer) == (measures.STYLE_LAYERS, "block4_conv1")


def test_cosine_distances_by_hand() -> None:
    found = measures.cosine_distances(rows([1, 0], [2, 2], [0, 0]), rows([3, 0], [0, 1], [-1, 0], [0, 0]))
    near, far = 1 - np.sqrt(0.5), 1 + np.sqrt(0.5)
    np.testing.assert_allclose(found, [[0, 1, 2, 0.5], [near, near, far, 0.5], [0.5, 0.5, 0.5, 0]], atol=1e-6)


def test_the_relaxed_distance_is_that_of_the_dearer_way() -> None:
    # Each row has its like in column 0; column 1 is 3 and 4 from the rows.
    assert measures.relaxed_emd(rows([0, 3], [0, 4])) == 1.5
    assert measures.relaxed_emd(rows([0, 0], [3, 4])) == 1.5


def test_no_layer_counts_more_for_its_scale(
    judge: Judge, small_weights: Weights, content: Image.Image, style: Image.Image
) -> None:
    louder = {
        name: 100 * array if name.startswith("block2_conv2") else array for name, array in small_weights.arrays.items()
    }
    result = Image.blend(content, style.resize(content.size), 0.5)
    expected = judge.scores(result)["emd"]
    assert Judge(VGG19(louder), SIZE, content, style).scores(result)["emd"] == pytest.approx(expected, rel=1e-4)


def test_self_similarity_counts_proportions_alone() -> None:
    distances = rows([0, 1, 3], [1, 0, 1], [3, 1, 0])
    assert measures.self_similarity_distance(7 * distances, distances) == pytest.approx(0, abs=1e-6)
    # Columns 0 and 2 change from (0, 1, 3) / 4 to (0, 1, 1) / 2: by 1/4 in two of three; times 3, over 9.
    even = rows([0, 1, 1], [1, 0, 1], [1, 1, 0])
    assert measures.self_similarity_distance(even, distances) == pytest.approx(2 * 0.5 * 3 / 9)


def test_features_between_positions() -> None:
    ramp = np.arange(4, dtype=np.float32)[:, np.newaxis] + 10 * np.arange(3, dtype=np.float32)
    y, x = np.array([0, 1, 2, 7]), np.array([0, 4, 2, 1])
    found = measures.sampled(ramp[:, :, np.newaxis], y, x, pixels_per_position=2)[:, 0]
    # Position i of a layer is over pixels 2i and 2i + 1, so pixel p is at (p - 1/2) / 2.
    np.testing.assert_allclose(found, [0, 0.25 + 17.5, 0.75 + 7.5, 3 + 2.5])


def test_places_are_the_same_each_time_and_none_twice() -> None:
    chosen = measures.places(1000, 50)
    assert len(set(chosen.tolist())) == 50
    np.testing.assert_array_equal(chosen, measures.places(1000, 50))
    assert sorted(measures.places(7, 50)) == list(range(7))


def rows(*values: list[float]) -> measures.Pixels:
    return np.array(values, np.float32)


def flat(*colour: int) -> measures.Pixels:
    return np.full((8, 8, 3), colour, np.float32)


def test_disjoint_colours_are_one_apart() -> None:
    for other in ((0, 0, 255), (0, 255, 0), (128, 128, 128), (255, 255, 0)):
        assert hellinger(histogram(flat(255, 0, 0)), histogram(flat(*other))) > 0.95


def test_equal_colours_are_nothing_apart_wherever_they_are() -> None:
    picture = smooth_picture(16, 24).astype(np.float32)
    shuffled = np.random.default_rng(0).permutation(picture.reshape(-1, 3)).reshape(24, 16, 3)
    assert hellinger(histogram(picture), histogram(shuffled)) == pytest.approx(0, abs=1e-7)


def test_half_the_colours_in_common() -> None:
    both = np.concatenate([flat(255, 0, 0), flat(0, 0, 255)])
    # Hellinger's distance of (1, 0) and (1/2, 1/2).
    expected = np.sqrt(1 - np.sqrt(0.5))
    assert hellinger(histogram(flat(255, 0, 0)), histogram(both)) == pytest.approx(expected, abs=0.03)


def test_variation_by_hand() -> None:
    stripes = np.zeros((4, 6, 3), np.float32)
    stripes[:, ::2] = 10  # every neighbour in a row differs by 10, none in a column
    assert measures.variation(stripes) == 5


def test_pairs() -> None:
    a, b, x, y = (Path(f"{name}.png") for name in "abxy")
    assert list(pairs_of([a, b], [x, y], one_to_one=False)) == ["a+x", "a+y", "b+x", "b+y"]
    assert list(pairs_of([a, b], [x, y], one_to_one=True)) == ["a+x", "b+y"]


def test_the_program_writes_its_files(usual: list[str], content: Image.Image, tmp_path: Path) -> None:
    peer, output = tmp_path / "peer", tmp_path / "out"
    peer.mkdir()
    content.resize((32, 24)).save(peer / "photo+painting.png")
    recipes = ["a=preset=quick,steps=3", "b=size=32,steps=3", "classic=preset=classic,steps=2"]
    recipes += ["a/b: judged=style_layers=block1_conv2,steps=1"]
    assert main([*usual, "--results", f"peer={peer}", "--settings", *recipes]) == 0

    records = json.loads((output / "evaluation.json").read_text())
    labels = [candidate["label"] for candidate in records["candidates"]]
    assert labels == ["a = b", "classic", "a/b: judged"]  # at one size and as many steps, two of them are the same
    found = {one["candidate"]: one for one in records["runs"]}
    assert list(found) == [*labels, "peer"]
    assert [one["steps"] for one in found.values()] == [3, 2, 1, None]
    for label, one in found.items():
        assert set(one["scores"]) == set(MEASURES)
        assert all(np.isfinite(list(values.values())).all() for values in one["scores"].values())
        assert label == "peer" or one["cpu_seconds"] > 0
    assert found["peer"]["seconds"] is found["peer"]["cpu_seconds"] is None

    table = (output / "evaluation.md").read_text()
    assert "style_layers block1_conv1, block2_conv1, block3_conv1, block4_conv1, block5_conv1 -> block1_conv1" in table
    assert "content_layers block4_conv2 -> block3_conv1" in table
    assert "| a/b: judged \\* |" in table
    assert "| peer | - | - | - |" in table
    assert "photo+painting" in table
    assert "``" not in table  # the peer has no recipe to list

    with Image.open(output / "sheet.png") as sheet:
        assert sheet.width > 6 * SIZE  # content, style, three candidates, the peer
    results = output / "results"
    assert sorted(folder.name for folder in results.iterdir()) == ["a_=_b", "a_b__judged", "classic", "peer"]
    with Image.open(results / "classic" / "photo+painting.png") as result:
        assert result.size == (SIZE, 48)

    # What it wrote is what --results takes: the same scores, and what it took.
    assert main([*usual, "--results", f"before={results / 'classic'}"]) == 0
    (one,) = json.loads((output / "evaluation.json").read_text())["runs"]
    same = {"steps": 2, "scores": found["classic"]["scores"], "cpu_seconds": found["classic"]["cpu_seconds"]}
    assert {name: one[name] for name in same} == same


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--contents", "nowhere.png"], "`contents` must be pictures"),
        (["--presets", "nicest"], "`preset` must be one of"),
        (["--settings", "colourless=saturation=0"], "`settings` must be name=value pairs"),
        (["--settings", "deep=style_layers=block5_conv1"], "`style_layers` must be different layers of the model"),
        (["--settings", "statistics"], "`settings` must be LABEL=TEXT"),
        (["--settings", "one=steps=1", "one=steps=2"], "must have labels that differ. Received: one, one"),
        (["--results", "nowhere"], "`results` must be LABEL=DIR"),
        (["--results", "peer=nowhere"], "Received: no nowhere/photo+painting.png"),
        (["--precision", "float8"], "`precision` must be one of"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str], named: str, usual: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*usual, *arguments]) == 1
    assert named in capsys.readouterr().err
