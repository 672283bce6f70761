"""`createToken` end to end: HTTP, the key that was presented, GraphQL, Argon2, the append, the answer."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from bench import breakdown, report
from bench.callers import percentile
from bench.client import Load, Report, request_text, send_from_another_process
from bench.parts import METHOD as METHOD_OF_PARTS
from bench.parts import lone_parts
from bench.parts import table as parts_table
from bench.plan import Plan
from bench.processes import resident_mb
from bench.report import Section, Table
from bench.server import Server
from bench.serving import Service, serving

CONCURRENCIES: Final = (1, 16, 64)
PROFILED: Final = 16
MUTATION: Final = """\
mutation Create($input: CreateTokenInput!) {
  createToken(input: $input) { token { id name hint createdAt } secret position userErrors { code message } }
}"""
MARK: Final = '"userErrors":[]'
METHOD: Final = """\
`entri serve` in a process of its own with its own PostgreSQL; a client in another process keeps that many connections
busy and reads every answer. Processor time is a request's, of the service, of PostgreSQL and of the client."""
METHOD_OF_BREAKDOWN: Final = """\
Where the service's own processor time goes, by samples of all its threads while {connections} connections are busy
(a run apart from those above). PostgreSQL's is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a load got, and what it cost both sides."""

    report: Report
    service_cpu_s: float
    postgres_cpu_s: float

    def ms(self, cpu_s: float) -> float:
        """How much of some processor time one request took."""
        return cpu_s / len(self.report.latencies_s) * 1000

    def latency_ms(self, share: float) -> float:
        """How long the given share of requests took at most."""
        return percentile(self.report.latencies_s, share) * 1000


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure rates and latencies, then where the time goes."""
    with serving(server.directory.parent) as service:
        load = Load(
            host=service.host,
            port=service.port,
            connections=1,
            requests=(creation(service),),
            mark=MARK,
            seconds=plan.http_s,
        )
        loaded = rates(service, load, CONCURRENCIES, repetitions=plan.repetitions)
        sampled = sample(service, load, plan.profile_s)
        memory = f"The service's memory after all that: {report.number(resident_mb(service.pid))} MB."
    lone = await lone_parts(server, samples=plan.lone_samples)
    whole_ms = median(one.latency_ms(0.5) for one in loaded[1])
    waits = (METHOD_OF_PARTS.format(samples=plan.lone_samples), parts_table(lone, whole_ms))
    parts = [METHOD, table("connections", loaded), *waits, *costs(sampled, loaded[PROFILED]), memory]
    return [Section("createToken over HTTP", parts)]


def creation(service: Service) -> str:
    """Write the request that creates a token."""
    variables = {"input": {"name": "deploy from ci", "scopes": ["projects:read"]}}
    body = json.dumps({"query": MUTATION, "variables": variables})
    return request_text(service, "/graphql", {"X-API-Key": service.key}, body)


def rates(
    service: Service, load: Load, concurrencies: Sequence[int], *, repetitions: int
) -> Mapping[int, Sequence[Loaded]]:
    """Send a load over so many connections at once, taking turns."""
    put(service, replace(load, seconds=0.5, connections=max(concurrencies)))
    loaded: dict[int, list[Loaded]] = {connections: [] for connections in concurrencies}
    for _ in range(repetitions):
        for connections in concurrencies:
            loaded[connections].append(put(service, replace(load, connections=connections)))
    return loaded


def put(service: Service, load: Load) -> Loaded:
    """Send a load and read what it cost."""
    served, stored = service.cpu_s(), service.postgres_cpu_s()
    answered = send_from_another_process(load)
    return Loaded(
        report=answered, service_cpu_s=service.cpu_s() - served, postgres_cpu_s=service.postgres_cpu_s() - stored
    )


def sample(service: Service, load: Load, seconds: int) -> Counter[str] | None:
    """Sample the service while it is loaded."""
    with ThreadPoolExecutor(1) as background:
        loading = background.submit(
            send_from_another_process, replace(load, connections=PROFILED, seconds=float(seconds + 1))
        )
        sampled = breakdown.sample(service.pid, seconds)
        loading.result()
    return sampled


def table(what: str, loaded: Mapping[int, Sequence[Loaded]]) -> Table:
    """Lay loads out as a table."""
    headers = (what, "a second", "p50 ms", "p99 ms", "service ms", "PostgreSQL ms", "client ms")
    return Table(headers, [[str(connections), *figures(repeated)] for connections, repeated in loaded.items()])


def figures(repeated: Sequence[Loaded]) -> list[str]:
    """Write what repeated loads came to."""
    return [
        report.spread([one.report.rate for one in repeated]),
        report.spread([one.latency_ms(0.5) for one in repeated]),
        report.spread([one.latency_ms(0.99) for one in repeated]),
        report.number(median(one.ms(one.service_cpu_s) for one in repeated)),
        report.number(median(one.ms(one.postgres_cpu_s) for one in repeated)),
        report.number(median(one.ms(one.report.cpu_s) for one in repeated)),
    ]


def costs(sampled: Counter[str] | None, loaded: Sequence[Loaded]) -> list[str | Table]:
    """Lay out what the service's processor time went to."""
    if sampled is None:
        return ["(No breakdown: py-spy is not installed or may not look at processes here.)"]
    whole = median(one.ms(one.service_cpu_s) for one in loaded)
    rows = [
        [purpose, f"{samples / sampled.total():.0%}", report.number(whole * samples / sampled.total())]
        for purpose, samples in sampled.most_common()
    ]
    return [METHOD_OF_BREAKDOWN.format(connections=PROFILED), Table(("purpose", "share", "ms a request"), rows)]
