"""Dashboard, alerts, scrape configuration and scaling speak of metrics that the server has."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from serving.contract import REST_PORT
from tests.docker.files import DOCKER, compose, manifests, pods

METRICS_PATH = "/monitoring/prometheus/metrics"  # unless the monitoring file says otherwise
# Metric: labels; tensorflow_serving/servables/tensorflow/util.cc and model_servers/server_core.cc.
METRICS = {
    ":tensorflow:serving:request_count": {"model_name", "status"},
    ":tensorflow:serving:request_latency": {"model_name", "API", "entrypoint"},
    ":tensorflow:serving:runtime_latency": {"model_name", "API", "runtime"},
}
OBSERVABILITY = DOCKER / "observability"
(DASHBOARD,) = (OBSERVABILITY / "grafana" / "dashboards").glob("*.json")
PANELS = json.loads(DASHBOARD.read_text())["panels"]
(ALERTS,) = yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())["groups"]
((ADAPTED,),) = yaml.safe_load((DOCKER / "kubernetes" / "prometheus-adapter.yaml").read_text())["rules"].values()
EXPRESSIONS = {
    **{panel["title"]: " ; ".join(target["expr"] for target in panel["targets"]) for panel in PANELS},
    **{rule["alert"]: rule["expr"] for rule in ALERTS["rules"]},
    "autoscaling": re.sub("<<.*?>>", "", ADAPTED["metricsQuery"].replace(" by (<<.GroupBy>>)", "")),
}


@pytest.mark.parametrize("title", EXPRESSIONS)
def test_queries_use_metrics_and_labels_that_exist(title: str) -> None:
    expression = EXPRESSIONS[title]
    names = {
        re.sub("latency_(bucket|sum|count)$", "latency", name) for name in re.findall(r":[a-z_]+:[a-z_:]+", expression)
    }
    assert names or "up{" in expression
    assert names <= METRICS.keys()
    labels = set().union({"instance", "job", "le"}, *(METRICS[name] for name in names))
    for group in re.findall(r"by \(([^)]*)\)", expression):
        assert set(group.split(", ")) <= labels
    for matchers in re.findall(r"\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)=~?\"", matchers)) <= labels
    assert expression.count("(") == expression.count(")")


def test_prometheus_looks_where_the_server_has_its_metrics() -> None:
    config = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["metrics_path"] == METRICS_PATH
    assert job["dns_sd_configs"][0].items() >= {"names": ["serving"], "port": REST_PORT}.items()
    assert config["rule_files"] == ["alerts.yml"]
    annotations = pods()["serving"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == METRICS_PATH
    assert annotations["prometheus.io/port"] == str(REST_PORT)


def test_autoscaler_scales_by_the_metric_that_the_adapter_makes() -> None:
    (metric,) = manifests("HorizontalPodAutoscaler")["serving"]["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == ADAPTED["name"]["as"]


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    provisioning = OBSERVABILITY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "files.yml").read_text())["providers"]
    mounts = compose("compose.observability.yaml")["services"]["grafana"]["volumes"]
    assert f"./{DASHBOARD.parent.relative_to(DOCKER)}:{provider['options']['path']}:ro" in mounts
