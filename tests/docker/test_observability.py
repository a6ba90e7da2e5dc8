"""Dashboard, alerts, scrape configuration and scaling speak of metrics that the server has."""

import json
import re

import pytest
import yaml

from tests.docker.files import DOCKER, manifests

HISTOGRAM = ("bucket", "sum", "count")
# Series: labels; tensorflow_serving/servables/tensorflow/util.cc and model_servers/server_core.cc.
SERIES = {
    ":tensorflow:serving:request_count": {"model_name", "status"},
    **{f":tensorflow:serving:request_latency_{part}": {"model_name", "API", "entrypoint"} for part in HISTOGRAM},
    **{f":tensorflow:serving:runtime_latency_{part}": {"model_name", "API", "runtime"} for part in HISTOGRAM},
}
OBSERVABILITY = DOCKER / "observability"
PANELS = json.loads((OBSERVABILITY / "grafana" / "dashboards" / "style_transfer.json").read_text())["panels"]
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
    names = set(re.findall(":[a-z_:]+", expression))
    assert names or "up{" in expression
    assert names <= SERIES.keys()
    groups = [label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(", ")]
    used = {*groups, *re.findall(r'(\w+)=~?"', expression)}
    assert used <= {"instance", "job", "le"}.union(*(SERIES[name] for name in names))
    assert expression.count("(") == expression.count(")")


def test_autoscaler_scales_by_the_metric_that_the_adapter_makes() -> None:
    (metric,) = manifests("HorizontalPodAutoscaler")["serving"]["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == ADAPTED["name"]["as"]
