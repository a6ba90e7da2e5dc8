"""Dashboard, alerts and scrape configuration speak of metrics that the server has."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from serving.contract import REST_PORT
from tests.docker.files import DOCKER, compose, pod_specs
from tests.docker.model_server import METRICS, METRICS_PATH

OBSERVABILITY = DOCKER / "observability"
(DASHBOARD,) = (OBSERVABILITY / "grafana" / "dashboards").glob("*.json")
BOARD = json.loads(DASHBOARD.read_text())
EXPRESSIONS = {
    **{panel["title"]: " ; ".join(t["expr"] for t in panel["targets"]) for panel in BOARD["panels"]},
    **{
        rule["alert"]: rule["expr"]
        for group in yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    },
}


@pytest.mark.parametrize("title", EXPRESSIONS)
def test_queries_use_metrics_and_labels_that_exist(title: str) -> None:
    expression = EXPRESSIONS[title]
    names = set(re.findall(r":[a-z_]+(?::[a-z_]+)+", expression))
    assert names or "up{" in expression
    assert names <= set(METRICS)
    labels = set().union({"instance", "job", "le"}, *(METRICS[name] for name in names))
    for group in re.findall(r"by \(([^)]*)\)", expression):
        assert set(group.split(", ")) <= labels
    for matchers in re.findall(r"\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)=~?\"", matchers)) <= labels
    assert expression.count("(") == expression.count(")")


def test_panels_say_what_they_mean_and_do_not_overlap() -> None:
    places = set()
    for panel in BOARD["panels"]:
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == "prometheus"
        places.add((panel["gridPos"]["x"], panel["gridPos"]["y"]))
    assert len(places) == len(BOARD["panels"]) == len({panel["id"] for panel in BOARD["panels"]})


def test_prometheus_looks_where_the_server_has_its_metrics() -> None:
    config = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["metrics_path"] == METRICS_PATH
    (names,) = job["dns_sd_configs"]
    assert (names["names"], names["port"]) == (["serving"], REST_PORT)
    assert [(OBSERVABILITY / file).exists() for file in config["rule_files"]] == [True]
    assert "inside" in compose(DOCKER / "compose.observability.yaml")["services"]["prometheus"]["networks"]
    annotations = (DOCKER / "kubernetes" / "serving.yaml").read_text()
    assert f"prometheus.io/path: {METRICS_PATH}" in annotations
    assert pod_specs()["serving"]["containers"][0]["ports"][1]["containerPort"] == REST_PORT


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    provisioning = OBSERVABILITY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["uid"] == "prometheus"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "files.yml").read_text())["providers"]
    mounts = compose(DOCKER / "compose.observability.yaml")["services"]["grafana"]["volumes"]
    folder = next(m.split(":")[0] for m in mounts if m.split(":")[1] == provider["options"]["path"])
    assert (DOCKER / folder).resolve() == DASHBOARD.parent


def test_readme_explains_every_metric() -> None:
    text = (DOCKER / "README.md").read_text()
    for name in METRICS:
        assert f"`{re.sub('_(bucket|sum|count)$', '', name) if 'latency' in name else name}`" in text
