"""The configuration files for TensorFlow Serving, read by our own server."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from serving.contract import MODEL_NAME
from serving.server import config_files
from serving.server.config_files import METRICS_PATH
from serving.server.versions import VersionPolicy
from tests.serving.server.conftest import CALL_S, model_dir, served, wait_until  # noqa: F401 - model_dir is a fixture

CONFIG = Path(config_files.__file__).parents[1] / "config"


def test_models_config_names_the_model_where_the_image_has_it() -> None:
    (config,) = config_files.read_models(CONFIG / "models.config")
    assert (config.name, config.base_path) == (MODEL_NAME, Path("/models") / MODEL_NAME)
    assert config.policy == VersionPolicy(newest=2)


def test_commented_labels_are_right_too(tmp_path: Path) -> None:
    text = (CONFIG / "models.config").read_text().replace("# version_labels", "version_labels")
    (tmp_path / "models.config").write_text(text)
    (config,) = config_files.read_models(tmp_path / "models.config")
    assert config.labels == {"stable": 1, "canary": 2}


@pytest.mark.parametrize("name", ["models.config", "monitoring.config"])
def test_note_names_the_files(name: str) -> None:
    assert f"[{name}]({name})" in (CONFIG / "README.md").read_text()


def test_server_runs_with_both(tmp_path: Path, model_dir: Path) -> None:  # noqa: F811
    (tmp_path / MODEL_NAME).symlink_to(model_dir / "half_plus_two")
    models = tmp_path / "models.config"
    models.write_text((CONFIG / "models.config").read_text().replace('"/models/', f'"{tmp_path}/'))
    monitoring = str(CONFIG / "monitoring.config")
    with served(None, MODEL_NAME, model_config_file=str(models), monitoring_config_file=monitoring) as client:
        wait_until(lambda: client.app.ready)
        assert client.post({"instances": [[0]]}).json() == {"predictions": [[2.0]]}
        page = requests.get(f"http://127.0.0.1:{client.app.rest_port}{METRICS_PATH}", timeout=CALL_S).text
        assert f':tensorflow:serving:request_count{{model_name="{MODEL_NAME}",status="OK"}} 1' in page
