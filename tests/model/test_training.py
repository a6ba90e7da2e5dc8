"""The training of our own weights: its pictures, its rounds, and that a run cut off ends as one that was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.training import dictionary, pictures
from model.training.__main__ import main
from model.training.train import LAYERS, Settings, train
from model.weights import from_file

SMALLEST = Settings(steps=2, turns=2, patches=1500, paintings=3, size=48, photographs="none")


class CutOff(Exception):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dictionary.Array]]:
    """The checkpoint and the weights of a run in one go."""
    checkpoint = tmp_path_factory.mktemp("whole")
    return checkpoint, train(SMALLEST, checkpoint, lambda _: None)


def test_paintings_follow_from_their_seed():
    first, again, other = (pictures.paint(seed, 48) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize("index", range(len(pictures.PAINTERS)))
def test_every_painter_paints_something(index):
    painter, _ = pictures.PAINTERS[index]
    picture = painter(np.random.default_rng(3), 64, [pictures.paint(1, 64)])
    assert picture.shape == (64, 64, 3)
    assert np.isfinite(picture).all()
    assert np.clip(picture, 0, 1).std() > 0.01


def test_whitening_levels_strong_directions_and_leaves_weak_ones():
    deviations = np.array([10.0, 1.0, 0.01], np.float32)
    patches = (np.random.default_rng(0).normal(size=(20_000, 3)) * deviations).astype(np.float32)
    mean_variance = np.mean(deviations**2)
    whitening = dictionary.fit_whitening(patches, floor=0.1)
    expected = deviations / np.sqrt(deviations**2 + 0.1 * mean_variance)
    np.testing.assert_allclose(((patches - whitening.mean) @ whitening.matrix).std(0), expected, rtol=0.02)


def test_a_round_of_kmeans_by_hand():
    points = np.array([[1, 0], [0.6, 0.8], [0, -1]], np.float32)
    centroids = np.array([[1, 0], [0, -1]], np.float32)
    moved, cosine = dictionary.kmeans_step(points, centroids, np.random.default_rng(0))
    first = np.array([1 + 0.6 * 0.6, 0.6 * 0.8])
    np.testing.assert_allclose(moved, [first / np.linalg.norm(first), [0, -1]], rtol=1e-6)
    assert cosine == pytest.approx((1 + 0.6 + 1) / 3)


def test_a_centroid_that_is_nearest_to_none_becomes_a_point():
    points = np.array([[1, 0], [0.6, 0.8]], np.float32)
    moved, _ = dictionary.kmeans_step(points, np.array([[1, 0], [-1, 0]], np.float32), np.random.default_rng(0))
    assert any(np.allclose(moved[1], point) for point in points)


def test_components_are_uncorrelated_and_the_strongest():
    generator = np.random.default_rng(0)
    deviations = np.array([5.0, 0.1, 3.0, 1.0])
    patches = (generator.normal(size=(20_000, 4)) * deviations).astype(np.float32)
    components = dictionary.fit_components(patches, 2)
    points = (patches - components.mean) @ components.matrix
    np.testing.assert_allclose(np.cov(points.T), np.eye(2), atol=0.01)
    np.testing.assert_allclose(np.abs(components.matrix[[0, 2], [0, 1]]), [1 / 5, 1 / 3], rtol=0.02)


def test_independent_sources_are_found_again():
    generator = np.random.default_rng(0)
    sources = generator.laplace(size=(20_000, 3)) / np.sqrt(2)
    mixing = dictionary.first_rotation(3, generator)
    rotation = dictionary.first_rotation(3, generator)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-6)
    for _ in range(20):
        rotation, _ = dictionary.independence_step((sources @ mixing).astype(np.float32), rotation)
    found = np.abs(mixing @ rotation)  # 1 where a direction is a source's, up to its sign
    np.testing.assert_allclose(np.sort(found.ravel())[-3:], 1, atol=0.01)
    np.testing.assert_allclose(found.max(0), found.max(1), atol=0.01)


def test_filters_are_silent_as_often_as_asked_and_alike_in_strength():
    generator = np.random.default_rng(0)
    patches = (generator.normal(size=(4000, 6)) @ generator.normal(size=(6, 6))).astype(np.float32)
    whitening = dictionary.fit_whitening(patches, floor=0.1)
    filters, bias = dictionary.to_filters(patches, whitening.matrix, silent=0.4, mean=0.3)
    active = np.maximum(patches @ filters + bias, 0)
    np.testing.assert_allclose((active <= 1e-6).mean(0), 0.4, atol=0.01)
    np.testing.assert_allclose(active.std(0), active.std(0).mean(), rtol=1e-3)
    assert active.mean() == pytest.approx(0.3, rel=1e-3)


def test_two_steps_give_weights_that_the_project_reads(tmp_path: Path, whole):
    output = tmp_path / "weights.npz"
    flags = [f"--{name}={value}" for name, value in vars(SMALLEST).items()]
    main(["--output", str(output), "--checkpoint", str(whole[0]), *flags])
    weights = from_file(output)
    assert weights.layers == tuple(name for name, _ in LAYERS)
    channels_in = 3
    for name, channels in LAYERS:
        kernel, bias = weights.arrays[f"{name}/kernel"], weights.arrays[f"{name}/bias"]
        assert kernel.shape == (3, 3, channels_in, channels)
        assert bias.shape == (channels,)
        assert np.isfinite(kernel).all()
        assert np.isfinite(bias).all()
        assert kernel.std() > 0
        channels_in = channels
    assert output.stat().st_size < 12e6
    with np.load(output) as stored:
        assert {stored[key].dtype for key in stored.files} == {np.dtype(np.float16)}


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path: Path, whole):
    def cut_off(line: str) -> None:
        if line.startswith("block2_conv1  step 1/2"):
            raise CutOff

    with pytest.raises(CutOff):
        train(SMALLEST, tmp_path, cut_off)
    lines: list[str] = []
    resumed = train(SMALLEST, tmp_path, lines.append)
    assert lines[1].startswith("block2_conv1  step 2/2")
    assert resumed.keys() == whole[1].keys()
    for key, array in whole[1].items():
        np.testing.assert_allclose(resumed[key], array, rtol=1e-4, atol=1e-6, err_msg=key)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path):
    def cut_off(line: str) -> None:
        if "step" in line:
            raise CutOff

    with pytest.raises(CutOff):
        train(SMALLEST, tmp_path, cut_off)
    other = Settings(**{**vars(SMALLEST), "seed": 1})
    with pytest.raises(ValueError, match="`checkpoint` must"):
        train(other, tmp_path)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"turns": 0}, {"size": 8}, {"photographs": "mine"}])
def test_bad_settings_are_named(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must .* Received"):
        Settings(**wrong)
