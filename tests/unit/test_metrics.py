"""The metrics as Prometheus reads them: what our plain numbers say is what its own counters would."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.credential import Failure, Verification
from service.metrics import SECONDS, SignIn, SignInCounts, gauge, new_metrics

Sample = tuple[str, tuple[tuple[str, str], ...], float]

OBSERVATIONS = st.lists(
    st.tuples(
        st.sampled_from(["/verify", "/graphql", "unknown"]),
        st.sampled_from([200, 401, 503]),
        st.sampled_from(SECONDS) | st.floats(0, 20, allow_nan=False),
    )
)


def samples(registry: CollectorRegistry) -> list[Sample]:
    """Read a registry as Prometheus does; bounds that are the same number are the same."""
    return sorted(
        (sample.name, tuple(sorted(canonical(*label) for label in sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    )


def canonical(name: str, value: str) -> tuple[str, str]:
    """Write a bucket's bound in one way."""
    return (name, str(float(value)) if name == "le" else value)


@settings(max_examples=30)
@given(OBSERVATIONS)
def test_requests_are_a_histogram(observed: Sequence[tuple[str, int, float]]) -> None:
    """Buckets, sums and counts are those of Prometheus' own histogram, a time on a bound included."""
    metrics, registry = new_metrics(), CollectorRegistry()
    histogram = Histogram("entri_request_seconds", "Its own.", ["route", "status"], buckets=SECONDS, registry=registry)
    for route, status, seconds in observed:
        metrics.requests.of(route, status).observe(seconds)
        histogram.labels(route, str(status)).observe(seconds)
    ours = [sample for sample in samples(metrics.registry) if sample[0].startswith("entri_request")]
    assert ours == samples(registry)


def test_verifications_are_counted_by_outcome() -> None:
    """Every outcome is there from the start, and each verification counts for one."""
    metrics = new_metrics()
    outcomes: dict[str, float] = {"VALID": 0, **dict.fromkeys(Failure, 0.0)}
    for failure in (None, None, Failure.REVOKED):
        counted = [sample for sample in samples(metrics.registry) if sample[0] == "entri_verifications_total"]
        assert counted == sorted(
            ("entri_verifications_total", (("outcome", str(outcome)),), number) for outcome, number in outcomes.items()
        )
        metrics.verifications.count(Verification(failure=failure))
        outcomes["VALID" if failure is None else failure] += 1


def test_a_gauge_is_read_when_it_is_asked_for() -> None:
    """It says what is so now, and two services in one process say each their own."""
    held = [True]
    metrics, other = new_metrics(), new_metrics()
    gauge(metrics, "entri_lease_held", "1 while keys are accepted from memory.", lambda: held[0])
    assert ("entri_lease_held", (), 1.0) in samples(metrics.registry)
    held[0] = False
    assert ("entri_lease_held", (), 0.0) in samples(metrics.registry)
    assert "entri_lease_held" not in {name for name, *_ in samples(other.registry)}


def test_the_text_is_prometheus_own() -> None:
    """The form that scrapers rely on, to the letter."""
    metrics = new_metrics()
    metrics.requests.of("/verify", 200).observe(0.002)
    lines = generate_latest(metrics.registry).decode().splitlines()
    assert lines[:6] == [
        "# HELP entri_request_seconds Requests by route and status.",
        "# TYPE entri_request_seconds histogram",
        'entri_request_seconds_bucket{le="0.0005",route="/verify",status="200"} 0.0',
        'entri_request_seconds_bucket{le="0.001",route="/verify",status="200"} 0.0',
        'entri_request_seconds_bucket{le="0.0025",route="/verify",status="200"} 1.0',
        'entri_request_seconds_bucket{le="0.005",route="/verify",status="200"} 1.0',
    ]
    assert 'entri_request_seconds_bucket{le="+Inf",route="/verify",status="200"} 1.0' in lines
    assert 'entri_request_seconds_sum{route="/verify",status="200"} 0.002' in lines


def test_sign_ins_are_counted_by_outcome() -> None:
    """Each outcome is there from the start, and counts what ended in it."""
    counts, registry = SignInCounts(), CollectorRegistry()
    registry.register(counts)
    for outcome in (SignIn.SUCCEEDED, SignIn.UNKNOWN_ADDRESS, SignIn.UNKNOWN_ADDRESS):
        counts.count(outcome)
    expected = {outcome.value: 0.0 for outcome in SignIn} | {"SUCCEEDED": 1.0, "UNKNOWN_ADDRESS": 2.0}
    assert samples(registry) == sorted(
        ("entri_sign_ins_total", (("outcome", name),), number) for name, number in expected.items()
    )
