"""The metrics: what is counted, in Prometheus' terms. Must never have a label that a client chooses."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.verify import Failure, Verification

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What this process counts; gauges are read when they are asked for."""

    registry: CollectorRegistry
    requests: Histogram
    verifications: Counter
    read_model_lag: Gauge

    def count(self, verification: Verification) -> None:
        """Count a verification by how it ended."""
        self.verifications.labels("VALID" if verification.failure is None else verification.failure.value).inc()


def new_metrics() -> Metrics:
    """Make a registry of our own, so that two services in one process do not share counts."""
    registry = CollectorRegistry()
    verifications = Counter("entri_verifications", "Keys verified, by outcome.", ["outcome"], registry=registry)
    for outcome in ("VALID", *(failure.value for failure in Failure)):
        verifications.labels(outcome)
    return Metrics(
        registry=registry,
        requests=Histogram(
            "entri_request_seconds",
            "Requests by route and status.",
            ["route", "status"],
            buckets=SECONDS,
            registry=registry,
        ),
        verifications=verifications,
        read_model_lag=Gauge(
            "entri_read_model_lag_events",
            "Events that a read model is behind the log.",
            ["read_model"],
            registry=registry,
        ),
    )


def gauge(metrics: Metrics, name: str, meaning: str, read: Callable[[], float]) -> None:
    """Add a number that is read when the metrics are."""
    Gauge(name, meaning, registry=metrics.registry).set_function(read)
