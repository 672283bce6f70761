"""The metrics: what is counted, in Prometheus' terms. Must never have a label that a client chooses.

Requests and verifications are counted in plain numbers, since one event loop counts them and a key that is remembered
is verified in less time than a counter with locks takes; they become metrics when they are asked for.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.credential import Failure, Verification

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BOUNDS = (*map(str, SECONDS), "+Inf")


class Series:
    """How long the requests of one route and status took."""

    def __init__(self) -> None:
        self.counts = [0] * len(BOUNDS)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count a request."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum_s += seconds


class RequestTimes(Collector):
    """How long requests took, by route and status: a histogram."""

    def __init__(self) -> None:
        self._series: defaultdict[tuple[str, int], Series] = defaultdict(Series)

    def of(self, route: str, status: int) -> Series:
        """Give what one route and status are counted in."""
        return self._series[route, status]

    def collect(self) -> Iterator[Metric]:
        """Give the counts as a metric."""
        family = HistogramMetricFamily(
            "entri_request_seconds", "Requests by route and status.", labels=("route", "status")
        )
        for (route, status), series in self._series.items():
            buckets = list(zip(BOUNDS, accumulate(series.counts), strict=True))
            family.add_metric((route, str(status)), buckets, series.sum_s)
        yield family


class VerificationCounts(Collector):
    """How many keys were verified, by outcome."""

    def __init__(self) -> None:
        self._counts: dict[Failure | None, int] = dict.fromkeys((None, *Failure), 0)

    def count(self, verification: Verification) -> None:
        """Count a verification by how it ended."""
        self._counts[verification.failure] += 1

    def collect(self) -> Iterator[Metric]:
        """Give the counts as a metric."""
        family = CounterMetricFamily("entri_verifications", "Keys verified, by outcome.", labels=("outcome",))
        for failure, number in self._counts.items():
            family.add_metric(("VALID" if failure is None else failure.value,), number)
        yield family


@unique
class SignIn(StrEnum):
    """How a try to sign in or to re-authenticate ended."""

    SUCCEEDED = "SUCCEEDED"
    UNKNOWN_ADDRESS = "UNKNOWN_ADDRESS"
    WRONG_PASSWORD = "WRONG_PASSWORD"  # noqa: S105 -- an outcome, not a password
    OUTDATED = "OUTDATED"
    """The password was right and has expired, or was replaced meanwhile."""
    THROTTLED = "THROTTLED"
    UNAVAILABLE = "UNAVAILABLE"


class SignInCounts(Collector):
    """How many tries to sign in there were, by outcome."""

    def __init__(self) -> None:
        self._counts: dict[SignIn, int] = dict.fromkeys(SignIn, 0)

    def count(self, outcome: SignIn) -> None:
        """Count a try by how it ended."""
        self._counts[outcome] += 1

    def collect(self) -> Iterator[Metric]:
        """Give the counts as a metric."""
        family = CounterMetricFamily("entri_sign_ins", "Tries to sign in, by outcome.", labels=("outcome",))
        for outcome, number in self._counts.items():
            family.add_metric((outcome.value,), number)
        yield family


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What this process counts; gauges are read when they are asked for."""

    registry: CollectorRegistry
    requests: RequestTimes
    verifications: VerificationCounts
    read_model_lag: Gauge


def new_metrics() -> Metrics:
    """Make a registry of our own, so that two services in one process do not share counts."""
    registry = CollectorRegistry()
    requests, verifications = RequestTimes(), VerificationCounts()
    registry.register(requests)
    registry.register(verifications)
    lag = Gauge(
        "entri_read_model_lag_events", "Events that a read model is behind the log.", ["read_model"], registry=registry
    )
    return Metrics(registry=registry, requests=requests, verifications=verifications, read_model_lag=lag)


def gauge(metrics: Metrics, name: str, meaning: str, read: Callable[[], float]) -> None:
    """Add a number that is read when the metrics are."""
    Gauge(name, meaning, registry=metrics.registry).set_function(read)
