"""Processes that are stopped or die: P2, P3, P6, and an eviction that meets a renewal."""

import asyncio
from typing import Final

from tests.chaos import graph
from tests.chaos.episodes import LEASE_S, ONCE, QUICK, circumstance, others, revoke_fresh
from tests.chaos.fleet import PROXIED, Node, until
from tests.chaos.history import now_ns
from tests.chaos.proxy import Weather
from tests.chaos.traffic import Token, Traffic

CLOSING: Final = b'"waited_out":'
"""In the message by which a revoker evicts whom it has waited for."""
COMMITTED: Final = "select revoked_at is not null from tokens where id = $1"
RENEWALS: Final = "select renewals from auth_node where node_name = $1 order by started_at desc limit 1"


async def stopped(traffic: Traffic) -> None:
    """P2: a process is stopped; two tokens are revoked; keys sent to it meanwhile are answered when it goes on."""
    node, revoker = traffic.rng.sample(traffic.fleet.nodes, 2)
    async with circumstance(traffic, "a process is stopped"):
        node.pause()
        traffic.figures.fault("SIGSTOP")
        try:
            first = await revoke_fresh(traffic, revoker, "P2 a process stopped: first revocation", ONCE)
            second = await revoke_fresh(traffic, revoker, "P2 a process stopped: the next", *QUICK)
            for token in (first, second):
                traffic.probe(token)
        finally:
            node.resume()


async def paused(traffic: Traffic) -> None:
    """P2: a process is stopped for less than a lease, over and over, while tokens are revoked."""
    node, revoker = traffic.rng.sample(traffic.fleet.nodes, 2)
    async with circumstance(traffic, "a process is stopped for moments"):
        for _ in range(3):
            node.pause()
            traffic.figures.fault("SIGSTOP, briefly")
            revoking = asyncio.create_task(revoke_fresh(traffic, revoker, "P2 a process stopped for moments", ONCE))
            await asyncio.sleep(traffic.rng.uniform(0.02, 0.6))  # the fault itself
            node.resume()
            await revoking


async def killed(traffic: Traffic) -> None:
    """P3: a process dies; two tokens are revoked before it is started again."""
    node, revoker = traffic.rng.sample(traffic.fleet.nodes, 2)
    async with circumstance(traffic, "a process is dead"):
        await node.kill()
        traffic.figures.fault("kill -9")
        await revoke_fresh(traffic, revoker, "P3 a process killed: first revocation", ONCE)
        await revoke_fresh(traffic, revoker, "P3 a process killed: the next", *QUICK)
        await node.start()


async def revoker_killed(traffic: Traffic) -> None:
    """P6: a revoker dies between commit and barrier; the retry at another waits for a third that knows nothing."""
    third = traffic.fleet.nodes[traffic.rng.choice(PROXIED)]
    revoker, another = traffic.rng.sample(others(traffic.fleet.nodes, third), 2)
    assert third.proxy is not None
    async with circumstance(traffic, "a revoker dies before its answer"):
        token = await traffic.stock.get()
        await traffic.fleet.well([third])
        await traffic.warm(token)
        third.proxy.weather.is_deaf = True  # so that it does not wake up to the message
        third.pause()
        traffic.figures.fault("SIGSTOP")
        try:
            await killed_after_commit(traffic, token, revoker)
            began_ns = now_ns()
            retried = await traffic.restrict(token, another)
            took_s = (now_ns() - began_ns) / 1e9
            traffic.figures.took("P6 the retry, while a third is stopped", took_s * 1000, ONCE)
            traffic.figures.must("P6 the retry waits", hold=retried.waited_out > 0, said=(took_s, retried.payload))
            traffic.probe(token)
        finally:
            third.resume()
            await asyncio.gather(*(traffic.verify(token, third) for _ in range(4)))
            third.proxy.heal()
        await revoker.start()


async def killed_after_commit(traffic: Traffic, token: Token, revoker: Node) -> None:
    """Have a process revoke a token, and kill it as soon as that is committed; it waits for one that is stopped."""
    for claim in token.claims.values():
        traffic.history.restricting(claim, now_ns())
    asking = asyncio.create_task(graph.run(revoker, traffic.fleet.key, graph.REVOKE, id=token.token_id))
    async with traffic.fleet.database() as database:
        await until(lambda: database.fetchval(COMMITTED, token.token_id))
    await revoker.kill()
    traffic.figures.fault("kill -9 of a revoker")
    _, payload = await asking
    traffic.figures.must("P6 nothing was answered before the barrier", hold=payload is None, said=payload)


async def late_renewal(traffic: Traffic) -> None:
    """P2: a process that is waited out renews just before it is evicted: it must stay, and be waited for again."""
    slow, late = (traffic.fleet.nodes[number] for number in PROXIED)
    if traffic.rng.random() < 0.5:
        slow, late = late, slow
    assert slow.proxy is not None
    assert late.proxy is not None
    async with circumstance(traffic, "an eviction meets a renewal"):
        first, second = await traffic.stock.get(), await traffic.stock.get()
        await traffic.warm(second)
        late.pause()
        slow.proxy.weather = Weather(catch=CLOSING, is_deaf=True)
        traffic.figures.fault("SIGSTOP")
        traffic.figures.fault("an eviction kept back")
        revoking = asyncio.create_task(traffic.revoke(first, slow))
        try:
            async with asyncio.timeout(3 * LEASE_S):
                await slow.proxy.caught.wait()
            late.proxy.weather.is_deaf = True
            late.resume()
            await renewed(traffic, late)
        finally:
            late.resume()
            slow.proxy.heal()
        await revoking
        await traffic.revoke(second, traffic.fleet.nodes[0], "an eviction meets a renewal: the next revocation")
        await traffic.verify(second, late)
        late.proxy.heal()


async def renewed(traffic: Traffic, node: Node) -> None:
    """Wait until a process has renewed its lease."""
    async with traffic.fleet.database() as database:
        name = f"node {node.number}"
        before = await database.fetchval(RENEWALS, name)

        async def has_renewed() -> bool:
            return bool(await database.fetchval(RENEWALS, name) != before)

        await until(has_renewed)
