"""The evaluation: its measures against known cases, and that the program writes what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.vgg19 import VGG19
from model.weights import Weights
from tests.benchmarks.evaluate import measures
from tests.benchmarks.evaluate.__main__ import main, pairs_of
from tests.benchmarks.evaluate.measures import MEASURES, SCALES, Judge, hellinger, histogram
from tests.benchmarks.evaluate.runs import Cost
from tests.conftest import smooth_picture

SIZE = 64


@pytest.fixture(autouse=True)
def no_true_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NST_WEIGHTS", raising=False)  # the small network is its own judge


@pytest.fixture(scope="module")
def judge(small_weights: Weights) -> Judge:
    return Judge(VGG19(small_weights.arrays), SIZE)


@pytest.fixture(scope="module")
def content() -> Image.Image:
    return Image.fromarray(smooth_picture(48, SIZE, seed=1))


@pytest.fixture(scope="module")
def style() -> Image.Image:
    return Image.fromarray(smooth_picture(SIZE, 56, seed=2))


@pytest.fixture(scope="module")
def weights_file(small_weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.npz"
    np.savez(path, **small_weights.arrays)
    return path


@pytest.fixture(scope="module")
def folders(content: Image.Image, style: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    contents, styles = tmp_path_factory.mktemp("contents"), tmp_path_factory.mktemp("styles")
    content.save(contents / "photo.png")
    style.save(styles / "painting.png")
    return contents, styles


def test_the_painting_itself_has_no_style_distance(judge: Judge, content: Image.Image, style: Image.Image) -> None:
    scores = judge.scores(style, content, style)
    for scale in SCALES:
        assert scores["gram"][scale] == scores["moments"][scale] == 0
        assert scores["colour"][scale] == 0
        assert scores["variation"][scale] == 1
        assert scores["content"][scale] > 0.1


def test_the_untouched_photograph_has_no_content_error_and_a_style_distance_of_one(
    judge: Judge, content: Image.Image, style: Image.Image
) -> None:
    scores = judge.scores(content, content, style)
    for scale in SCALES:
        assert scores["content"][scale] == 0
        assert scores["gram"][scale] == pytest.approx(1)
        assert scores["moments"][scale] == pytest.approx(1)


def test_a_photograph_that_is_its_own_style_is_scored_too(judge: Judge, content: Image.Image) -> None:
    scores = judge.scores(content, content, content)
    assert {scores[name][scale] for name in ("gram", "moments", "content", "colour") for scale in SCALES} == {0.0}


def test_a_constant_shift_is_all_of_the_mean_and_none_of_the_covariance() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    mean, covariance = measures._moments(rows)
    moved, same = measures._moments(rows + np.float32(3))
    np.testing.assert_allclose(moved, mean + 3, rtol=1e-5)
    np.testing.assert_allclose(same, covariance, atol=1e-4)
    np.testing.assert_allclose(covariance, np.cov(rows.T, bias=True), atol=1e-5)


def flat(*colour: int) -> measures.Pixels:
    return np.full((8, 8, 3), colour, np.float32)


@pytest.mark.parametrize("other", [(0, 0, 255), (0, 255, 0), (128, 128, 128), (255, 255, 0)])
def test_disjoint_colours_are_one_apart(other: tuple[int, int, int]) -> None:
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


def test_a_budget_buys_steps_after_what_is_fixed() -> None:
    assert Cost(fixed=2, per_step=0.5).steps(seconds=12) == 20
    assert Cost(fixed=2, per_step=0.5).scaled(2).steps(seconds=12) == 8
    assert Cost(fixed=20, per_step=0.5).steps(seconds=12) == 1


def test_pairs() -> None:
    a, b, x, y = (Path(f"{name}.png") for name in "abxy")
    assert list(pairs_of([a, b], [x, y], one_to_one=False)) == ["a + x", "a + y", "b + x", "b + y"]
    assert list(pairs_of([a, b], [x, y], one_to_one=True)) == ["a + x", "b + y"]


def test_the_program_writes_its_files(weights_file: Path, folders: tuple[Path, Path], tmp_path: Path) -> None:
    contents, styles = folders
    arguments = f"--contents {contents} --styles {styles} --weights {weights_file} --output {tmp_path}".split()
    arguments += f"--seconds 0.2 --size {SIZE} --precision float32 --presets quick balanced classic".split()
    arguments += ["--settings", "a/b: judged=style_layers=block1_conv2"]
    assert main(arguments) == 0

    records = json.loads((tmp_path / "evaluation.json").read_text())
    labels = [candidate["label"] for candidate in records["candidates"]]
    assert labels == ["quick = balanced", "classic", "a/b: judged"]  # at one size and budget, two of them are the same
    assert len(records["runs"]) == 3
    for one in records["runs"]:
        assert one["steps"] >= 1
        assert set(one["scores"]) == set(MEASURES)
        assert all(np.isfinite(list(values.values())).all() for values in one["scores"].values())

    table = (tmp_path / "evaluation.md").read_text()
    assert "style_layers block1_conv1, block2_conv1, block3_conv1, block4_conv1, block5_conv1 -> block1_conv1" in table
    assert "content_layers block4_conv2 -> block3_conv1" in table
    assert "| a/b: judged \\* |" in table
    assert "photo + painting" in table

    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 5 * SIZE  # content, style, three candidates
    results = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert len(results) == 3
    with Image.open(tmp_path / "results" / results[0]) as result:
        assert result.size == (SIZE, 48)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--contents", "nowhere.png"], "`contents` must be pictures"),
        (["--presets", "nicest"], "`preset` must be one of"),
        (["--settings", "colourless=saturation=0"], "`settings` must be name=value pairs"),
        (["--settings", "deep=style_layers=block5_conv1"], "`style_layers` must be layers of the model"),
        (["--settings", "statistics"], "`settings` must be LABEL=TEXT"),
        (["--precision", "float8"], "`precision` must be one of"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str],
    named: str,
    weights_file: Path,
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    contents, styles = folders
    usual = ["--contents", str(contents), "--styles", str(styles), "--weights", str(weights_file)]
    assert main([*usual, "--output", str(tmp_path), *arguments]) == 1
    assert named in capsys.readouterr().err
