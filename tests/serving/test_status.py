"""Which version a server has ready, asked over both of its protocols."""

import pytest

from serving.errors import ServingUnavailable
from serving.status import served_versions
from tests.ports import free_port


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_a_server_tells_which_versions_are_ready(served, way):
    assert served_versions(served.address(way)) == [1]


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_what_gives_no_status_is_unavailable(served, way):
    with pytest.raises(ServingUnavailable, match="gave no status of the model"):
        served_versions(served.address(way), "another_model")
    with pytest.raises(ServingUnavailable, match="gave no status of the model"):
        served_versions(f"{way}://127.0.0.1:{free_port()}", timeout_s=5)
