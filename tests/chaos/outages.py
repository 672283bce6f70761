"""PostgreSQL that goes away or blocks: P5 and the other half of P7."""

import asyncio
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from service.lease_keeper import BROKEN
from tests.chaos import graph
from tests.chaos.episodes import LEASE_S, circumstance, hot, revoke_fresh, until_accepted
from tests.chaos.figures import Bound, share
from tests.chaos.fleet import Fleet, Node, until
from tests.chaos.history import ACCEPTED, now_ns
from tests.chaos.lines import HOT_FOR_S, cold
from tests.chaos.traffic import Token, Traffic

AWAY_S: Final = 4.0
LOOK_EVERY_S: Final = 0.005
BACK: Final = Bound(ms=500, part=1)
QUERIES: Final = 24
LOCK: Final = "lock table tokens, vault_secrets in access exclusive mode"


@contextmanager
def nobody_starts(fleet: Fleet) -> Iterator[None]:
    """Keep everybody from starting PostgreSQL."""
    lock = os.open(fleet.directory / "postgresql.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


async def stop_at_once(fleet: Fleet) -> int:
    """End PostgreSQL as `pg_ctl stop -m immediate` does, and return when it was gone."""
    pid = fleet.postmaster()
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)

    async def is_gone() -> bool:
        return fleet.postmaster() != pid

    await until(is_gone)
    return now_ns()


async def start_again(fleet: Fleet) -> int:
    """Start PostgreSQL unless somebody was faster, and return when it answered."""
    await asyncio.to_thread(fleet.postgres.ensure_running)
    while True:
        with suppress(*BROKEN):
            async with fleet.database() as database:
                await database.fetchval("select 1")
                return now_ns()


async def restarted(traffic: Traffic) -> None:
    """P5: PostgreSQL is gone for two leases; memory answers for at most one, then nobody is let in; all come back."""
    async with circumstance(traffic, "PostgreSQL is away"):
        tokens = [await traffic.stock.get() for _ in traffic.fleet.nodes]
        for token in tokens:
            await traffic.warm(token)
        with nobody_starts(traffic.fleet):
            gone_ns = await stop_at_once(traffic.fleet)
            traffic.figures.fault("PostgreSQL gone for 4 s")
            watching = (outlast(traffic, *pair, gone_ns) for pair in zip(tokens, traffic.fleet.nodes, strict=True))
            await asyncio.gather(*watching)
        back_ns = await start_again(traffic.fleet)
        asking = (until_accepted(traffic, *pair) for pair in zip(tokens, traffic.fleet.nodes, strict=True))
        for accepted_ns in await asyncio.gather(*asking):
            traffic.figures.took("P5 back after PostgreSQL", max(0.0, (accepted_ns - back_ns) / 1e6), BACK)
        await revoke_fresh(traffic, traffic.rng.choice(traffic.fleet.nodes), "P5 first revocation after PostgreSQL")


async def outlast(traffic: Traffic, token: Token, node: Node, gone_ns: int) -> None:
    """Ask a process for a key it remembers until PostgreSQL has been away long enough."""
    accepted_ns = 0
    while now_ns() < gone_ns + AWAY_S * 1e9:
        answer = await traffic.present(token, node)
        if answer.status == ACCEPTED:
            accepted_ns = answer.begin_ns
        await asyncio.sleep(LOOK_EVERY_S)
    served_ms = max(0.0, (accepted_ns - gone_ns) / 1e6)
    traffic.figures.took("P5 memory answers without PostgreSQL", served_ms, Bound(ms=LEASE_S * 1000, part=1))
    traffic.figures.must("P5 memory answers no longer than a lease", hold=served_ms <= LEASE_S * 1000, said=served_ms)
    answer = await traffic.present(token, node)
    is_told = answer.status == 503 and b"\r\nRetry-After: 1" in answer.head
    traffic.figures.must("P5 then 503 with Retry-After", hold=is_told, said=(answer.status, answer.head))


async def bounced(traffic: Traffic) -> None:
    """P5: PostgreSQL ends at once and is started right away, while tokens are revoked."""
    async with circumstance(traffic, "PostgreSQL restarts"):
        revoker = traffic.rng.choice(traffic.fleet.nodes)
        revoking = asyncio.create_task(revoke_fresh(traffic, revoker, "P5 while PostgreSQL restarts"))
        await stop_at_once(traffic.fleet)
        traffic.figures.fault("PostgreSQL restarted")
        await start_again(traffic.fleet)
        await revoking


async def blocked(traffic: Traffic) -> None:
    """P7: tables are locked, the pool is exhausted; memory answers as ever, the rest says so soon, nothing is left."""
    node = traffic.rng.choice(traffic.fleet.nodes)
    async with circumstance(traffic, "tables are locked"):
        token = await traffic.stock.get()
        await traffic.warm(token)
        before = share(await hot(traffic, token, node, HOT_FOR_S), 0.99)
        fresh = [await traffic.issue() for _ in range(8)]
        async with traffic.fleet.database() as database:
            async with database.transaction():
                await database.execute(LOCK)
                traffic.figures.fault("tables locked, the pool exhausted")
                queries = [asyncio.create_task(list_tokens(traffic, node)) for _ in range(QUERIES)]
                during, _ = await asyncio.gather(hot(traffic, token, node, HOT_FOR_S), unknown(traffic, fresh, node))
            traffic.figures.took("P7 hot p99 before tables are locked", before)
            traffic.figures.took("P7 hot p99 while tables are locked", share(during, 0.99))
            traffic.figures.must("P7 memory answers while tables are locked", hold=len(during) > 10, said=len(during))
        begin_ns = now_ns()
        await asyncio.gather(*queries)
        traffic.figures.took("P7 what waited is answered after the lock", (now_ns() - begin_ns) / 1e6)
        await cold(traffic, node, "P7 cold keys after the lock")


async def list_tokens(traffic: Traffic, node: Node) -> None:
    """Ask for what needs the pool."""
    await node.client.ask(graph.request(traffic.fleet.key, graph.LIST, {}))


async def unknown(traffic: Traffic, tokens: list[Token], node: Node) -> None:
    """Present keys that cannot be looked up now."""
    for answer in await asyncio.gather(*(traffic.present(token, node) for token in tokens)):
        traffic.figures.took("P7 cold keys while tables are locked", answer.ms, Bound(ms=1000, part=1))
        is_told = answer.status == 503 and b"\r\nRetry-After: 1" in answer.head
        traffic.figures.must("P7 cold keys while tables are locked", hold=is_told, said=(answer.status, answer.head))
