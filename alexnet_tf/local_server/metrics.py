"""What Prometheus reads: how many requests there were and how they ended, how long they took, what is in use now.

The first two metrics have the names, units and labels that TensorFlow Serving gives them, and labels more, so that its
dashboards work here; the others begin with `alexnet_`, or are the process's own (`process_...`).
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

METRICS_PATH = "/monitoring/prometheus/metrics"
LATENCIES = [10 * 1.8**power for power in range(33)]
"""Microseconds, up to 24 minutes: TensorFlow Serving's own bounds."""
BATCHES = [2**power for power in range(11)]


@dataclass
class Ending:
    """How a request ends; to be filled in before it does."""

    model: str = ""
    """The model's name once it is known that the request asks for it."""
    method: str = ""
    status: str = "CANCELLED"
    """By gRPC's names."""


class Metrics:
    """Counts what happens. Only the batches are counted on another thread than the server's."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests: Counter[tuple[str, ...]] = Counter()
        self._latencies = Histogram(
            ":tensorflow:serving:request_latency", "Microseconds that answered requests took.",
            ["model_name", "API", "entrypoint"], buckets=LATENCIES, registry=self._registry,
        )  # fmt: skip
        self._batches = Histogram(
            "alexnet_batch_pictures", "Pictures that ran together.", buckets=BATCHES, registry=self._registry
        )
        ProcessCollector(registry=self._registry)

    @contextlib.contextmanager
    def request(self, entrypoint: str) -> Iterator[Ending]:
        """Counts a request at its end, and its time if it is answered.

        Args:
          entrypoint: "REST" or "GRPC".
        """
        ending, start = Ending(), time.perf_counter()
        try:
            yield ending
        finally:
            self._requests[ending.model, ending.method, entrypoint, ending.status] += 1
            if ending.status == "OK":
                taken = 1e6 * (time.perf_counter() - start)
                self._latencies.labels(ending.model, ending.method, entrypoint).observe(taken)

    def count_batch(self, pictures: int) -> None:
        """Counts a batch that is about to run."""
        self._batches.observe(pictures)

    def page(self, now: dict[str, tuple[str, float]]) -> bytes:
        """All of it as Prometheus's text.

        Args:
          now: what is in use at this moment: by the metric's name a text of what it is, and its value.
        """
        registry = _Snapshot(self._requests, now)
        return generate_latest(self._registry) + generate_latest(registry)


@dataclass
class _Snapshot(Collector):
    requests: Counter[tuple[str, ...]]
    now: dict[str, tuple[str, float]]

    def collect(self) -> Iterable[Metric]:
        # A counter's name would have to end in _total, which TensorFlow Serving's does not.
        labels = ["model_name", "API", "entrypoint", "status"]
        counted = UnknownMetricFamily(":tensorflow:serving:request_count", "Requests that have ended.", labels=labels)
        for values, count in sorted(self.requests.items()):
            counted.add_metric(values, count)
        yield counted
        for name, (text, value) in self.now.items():
            yield GaugeMetricFamily(name, text, value)
