"""What the tests share: small pictures, small networks, and the real ones where they are at hand.

True VGG19 features come from where `--weights imagenet` finds them; NST_WEIGHTS may name a file (an .npz to
block3_conv1 is enough). NST_TEST_IMAGES may name a directory with tubingen.jpg, golden_gate.jpg, starry_night.jpg and
the_scream.jpg. Tests that need what is not to be had skip.
"""

import fcntl
import io
import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before anything imports TensorFlow

from model.errors import WeightsUnavailable
from model.weights import Weights, imagenet_file
from tests.served import served  # noqa: F401 - a fixture for all
from tests.small_model import CHANNELS as CHANNELS
from tests.small_model import small_network

# The same cases every time, however slow the machine is; longer runs look for new ones (tests marked `soak`).
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")


def smooth_picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Returns uint8 [height, width, 3]: waves of a few directions and colours, unlike noise at any scale."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [
        np.sin(2 * np.pi * (fx * x + fy * y)[..., np.newaxis] + generator.uniform(0, 6, 3))
        for fx, fy in generator.uniform(-6, 6, (5, 2))
    ]
    return (127.5 + 25 * np.sum(waves, 0)).clip(0, 255).astype(np.uint8)


def encode(picture: npt.NDArray[np.uint8] | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Returns an encoded picture."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def decoded(data: bytes) -> npt.NDArray[np.uint8]:
    """Returns uint8 [H, W, 3] of an encoded picture."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="session")
def true_features() -> Path:
    """Path of true VGG19 features."""
    try:
        return imagenet_file()
    except WeightsUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def images() -> Path:
    """Directory of the photographs and paintings."""
    path = os.environ.get("NST_TEST_IMAGES")
    if not path:
        pytest.skip("NST_TEST_IMAGES names no directory of pictures")
    return Path(path)


@pytest.fixture(scope="session")
def small_weights() -> Weights:
    """Five layers of a few channels each: a network that every test can afford."""
    return small_network()


def made_once(name: str, make: Callable[[Path], object], factory: pytest.TempPathFactory) -> Path:
    """Returns a path that one worker of this run makes and all use; who asks meanwhile waits. It is to be read only."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which the workers of a run share
    path, draft = folder / name, folder / f"{name}.draft"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(draft)
            draft.rename(path)
    return path


@pytest.fixture(scope="session")
def small_model(small_weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base path of the small network's SavedModel, in float32; the model is version 1 there."""
    from model.export import export

    return made_once("style_transfer", lambda base: export(small_weights, base, "float32"), tmp_path_factory)
