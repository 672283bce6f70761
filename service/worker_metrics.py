"""The metrics of several workers in one text, each number with the `worker` it is of. Must never add them up.

A worker that is started anew counts from nothing. Prometheus sees that in a series of its own, and would take a sum
that falls for a sum that began anew.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Families:
    """What prometheus-client can write: something that has metrics."""

    metrics: Iterable[Metric]

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self.metrics


def merged(texts: Mapping[int, str], own: Iterable[Metric]) -> str:
    """Write the metrics of each worker, and our own, as one text."""
    families = {metric.name: metric for metric in own}
    for worker, text in texts.items():
        for found in text_string_to_metric_families(text):
            family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            family.samples += [
                sample._replace(labels={**sample.labels, "worker": str(worker)}) for sample in found.samples
            ]
    return generate_latest(Families(families.values())).decode()
