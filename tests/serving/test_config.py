"""The configuration file for TensorFlow Serving, held against its messages."""

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.contract import MODEL_NAME
from tests.served import ROOT

CONFIG = ROOT / "serving" / "config"


def test_models_config_names_the_model_where_the_image_has_it() -> None:
    text = (CONFIG / "models.config").read_text().replace("# version_labels", "version_labels")
    parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (config,) = parsed.model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == (MODEL_NAME, f"/models/{MODEL_NAME}", "tensorflow")
    assert config.model_version_policy.latest.num_versions == 2
    assert config.version_labels == {"stable": 1, "canary": 2}  # commented out in the file
