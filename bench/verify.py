"""`/verify`, a request at a time and a few: of keys seen for the first time, and of one that comes again and again."""

import json
import urllib.request
from dataclasses import replace
from statistics import median
from typing import Final

from bench import report
from bench.client import Load, request_text
from bench.create import MUTATION, Loaded, put, rates, table
from bench.plan import Plan
from bench.report import Section
from bench.server import Server
from bench.serving import Service, serving

CONCURRENCIES: Final = (1, 16)
METHOD: Final = """\
What a request waits for, client and all; for full rate see *wrk*. A key that was verified before is answered from
memory; one that was not costs a look at its row and an Argon2 hash. Cold keys are each sent once, over one connection,
so their latency is that of a request alone."""


async def run(server: Server, plan: Plan) -> list[Section]:
    """Measure warm keys, then cold ones."""
    with serving(server.directory.parent) as service:
        warm_load = Load(
            host=service.host,
            port=service.port,
            connections=1,
            requests=(verification(service, service.key),),
            mark="",
            seconds=plan.http_s,
        )
        warm = rates(service, warm_load, CONCURRENCIES, repetitions=plan.repetitions)
        cold = [cold_keys(service, warm_load, plan.cold_keys) for _ in range(plan.repetitions)]
    summary = (
        f"Cold, one connection: p50 {report.spread([one.latency_ms(0.5) for one in cold])} ms, "
        f"p99 {report.spread([one.latency_ms(0.99) for one in cold])} ms, "
        f"{report.number(median(one.ms(one.service_cpu_s) for one in cold))} ms of the service's processor time."
    )
    return [Section("/verify", (METHOD, table("connections, warm", warm), summary))]


def cold_keys(service: Service, load: Load, count: int) -> Loaded:
    """Verify keys that the service has only just issued."""
    requests = [verification(service, issue_key(service)) for _ in range(count)]
    return put(service, replace(load, requests=requests, seconds=None))


def verification(service: Service, key: str) -> str:
    """Write the request that verifies a key."""
    return request_text(service, "/verify", {"X-API-Key": key})


def issue_key(service: Service) -> str:
    """Issue a token over the API and return its secret."""
    variables = {"input": {"name": "gateway", "scopes": ["projects:read"]}}
    request = urllib.request.Request(
        f"http://{service.host}:{service.port}/graphql",
        data=json.dumps({"query": MUTATION, "variables": variables}).encode(),
        headers={"X-API-Key": service.key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["data"]["createToken"]["secret"])
