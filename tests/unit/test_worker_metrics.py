"""The metrics of several workers in one text."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from service.worker_metrics import merged


def text_of(verified: int, waiting: float) -> str:
    """Write what a worker answers."""
    registry = CollectorRegistry()
    Counter("verified", "Keys.", ["outcome"], registry=registry).labels('a "b"\n').inc(verified)
    Gauge("waiting_total", "A gauge that is named like a counter.", registry=registry).set(waiting)
    Histogram("seconds", "Times.", buckets=(1, 2), registry=registry).observe(verified)
    return generate_latest(registry).decode()


def test_each_number_keeps_its_worker() -> None:
    """Every sample is there once for each worker, a family has one heading, and what we count ourselves comes along."""
    texts = {0: text_of(1, 2), 3: text_of(4, 5), 7: ""}
    starts = CounterMetricFamily("starts", "Processes.", labels=["worker"])
    starts.add_metric(["0"], 9)
    text = merged(texts, [starts])
    assert text.count("# TYPE verified_total counter\n") == 1
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["starts_total", ("worker", "0")] == 9
    assert samples["verified_total", ("outcome", 'a "b"\n'), ("worker", "0")] == 1
    assert samples["verified_total", ("outcome", 'a "b"\n'), ("worker", "3")] == 4
    assert samples["waiting_total", ("worker", "3")] == 5
    assert samples["seconds_bucket", ("le", "2.0"), ("worker", "0")] == 1
    assert samples["seconds_bucket", ("le", "2.0"), ("worker", "3")] == 0
    of_each = [sum(("worker", worker) in key for key in samples) for worker in "03"]
    assert of_each == [of_each[1] + 1, sum(not line.startswith("#") for line in texts[3].splitlines())]
