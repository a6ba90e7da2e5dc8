"""Counts and latencies under TensorFlow Serving's names, in Prometheus' text format.

Not prometheus_client: it appends `_total` to a counter's name, so `:tensorflow:serving:request_count` could not be had.
Names, labels and buckets: tensorflow_serving/servables/tensorflow/util.cc; the text: util/prometheus_exporter.cc.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

REQUEST_COUNT = ":tensorflow:serving:request_count"
REQUEST_LATENCY = ":tensorflow:serving:request_latency"
RUNTIME_LATENCY = ":tensorflow:serving:runtime_latency"
OWN_PREFIX = ":style_transfer:serving:"  # for what tensorflow_model_server does not have

BUCKETS_US = tuple(10 * 1.8**power for power in range(33))  # microseconds; the last is about 20 minutes

Labels = tuple[tuple[str, str], ...]


@dataclass
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_US) + 1))
    total: float = 0.0


class Metrics:
    """What has been counted since the start. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[Labels, int] = {}
        self._latencies: dict[str, dict[Labels, _Histogram]] = {REQUEST_LATENCY: {}, RUNTIME_LATENCY: {}}

    def record_request(self, model: str, api: str, entrypoint: str, code: str, seconds: float) -> None:
        """Counts a call, and how long it took if it went well.

        Args:
          model: a model that is served: names that callers make up would grow this without end.
          api: what was called.
          entrypoint: GRPC or REST.
          code: the name of the gRPC status code.
          seconds: from its arrival to its answer.
        """
        with self._lock:
            labels = (("model_name", model), ("status", code))
            self._requests[labels] = self._requests.get(labels, 0) + 1
        if code == "OK":
            self._observe(REQUEST_LATENCY, model, api, ("entrypoint", entrypoint), seconds)

    def record_run(self, model: str, api: str, seconds: float) -> None:
        """Notes how long a run took in TensorFlow."""
        self._observe(RUNTIME_LATENCY, model, api, ("runtime", "TF1"), seconds)

    def page(self, gauges: Mapping[str, int]) -> str:
        """Returns all metrics.

        Args:
          gauges: what is to be shown beside them, under our own prefix.
        """
        with self._lock:
            return "\n".join(self._lines(gauges)) + "\n"

    def _observe(self, name: str, model: str, api: str, last: tuple[str, str], seconds: float) -> None:
        labels = (("model_name", model), ("API", api), last)
        microseconds = seconds * 1e6
        with self._lock:
            histogram = self._latencies[name].setdefault(labels, _Histogram())
            histogram.counts[bisect_left(BUCKETS_US, microseconds)] += 1
            histogram.total += microseconds

    def _lines(self, gauges: Mapping[str, int]) -> Iterator[str]:
        for name, value in sorted(gauges.items()):
            yield f"# TYPE {OWN_PREFIX}{name} gauge"
            yield f"{OWN_PREFIX}{name}{{}} {value}"
        yield f"# TYPE {REQUEST_COUNT} counter"
        for labels, count in sorted(self._requests.items()):
            yield f"{REQUEST_COUNT}{{{_text(labels)}}} {count}"
        for name, histograms in self._latencies.items():
            yield f"# TYPE {name} histogram"
            for labels, histogram in sorted(histograms.items()):
                text, cumulative = _text(labels), 0
                limits = [*(f"{limit:g}" for limit in BUCKETS_US), "+Inf"]
                for limit, count in zip(limits, histogram.counts, strict=True):
                    cumulative += count
                    yield f'{name}_bucket{{{text},le="{limit}"}} {cumulative}'
                yield f"{name}_sum{{{text}}} {histogram.total:g}"
                yield f"{name}_count{{{text}}} {cumulative}"


def _text(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
