"""Lines to PostgreSQL that are deaf, dead, cut or slow: P4, and half of P7."""

import asyncio
from typing import Final

from tests.chaos.episodes import (
    BLACK_HOLE,
    GENEROUS_S,
    LEASE_S,
    RENEWED,
    circumstance,
    healed,
    hot,
    others,
    revoke,
    revoke_fresh,
)
from tests.chaos.figures import Bound, share
from tests.chaos.fleet import PROXIED, Node, until
from tests.chaos.history import ACCEPTED
from tests.chaos.proxy import Proxy, Weather
from tests.chaos.traffic import Token, Traffic

RECOVERED: Final = Bound(ms=2000, part=1)
TERMINATE: Final = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where usename = 'entri_service' and pid <> pg_backend_pid() and random() < 0.5
"""
OF_READERS: Final = b"plan_cache_mode"
"""In the start-up message of the connections that look up keys."""
ANSWERED_MS: Final = 1000
SLOW_S: Final = 0.15
HOT_FOR_S: Final = 0.8
COLD: Final = 12


def some_line(traffic: Traffic) -> tuple[Node, Proxy, Node]:
    """Choose a process behind a proxy, and another one."""
    node = traffic.fleet.nodes[traffic.rng.choice(PROXIED)]
    assert node.proxy is not None
    return node, node.proxy, traffic.rng.choice(others(traffic.fleet.nodes, node))


async def unlistened(traffic: Traffic) -> None:
    """P4: the subscription of a process ends without a word; the renewal brings what it missed."""
    _, proxy, revoker = some_line(traffic)
    async with circumstance(traffic, "UNLISTEN"):

        async def is_unlistened() -> bool:
            return proxy.unlisten() > 0

        await until(is_unlistened)
        traffic.figures.fault("UNLISTEN *")
        await revoke_fresh(traffic, revoker, "P4 UNLISTEN *", RENEWED)


async def deaf(traffic: Traffic) -> None:
    """P4: notifications to a process are lost, for as long as two revocations take; one of them is its own."""
    node, proxy, revoker = some_line(traffic)
    async with circumstance(traffic, "notifications are lost"):
        proxy.weather.is_deaf = True
        traffic.figures.fault("notifications lost")
        await revoke_fresh(traffic, revoker, "P4 notifications lost", RENEWED)
        await revoke_fresh(traffic, node, "P4 notifications lost, of the revoker")
        proxy.heal()


async def black_hole(traffic: Traffic) -> None:
    """P4: nothing passes any more but answers that were on their way for long; whoever waits for them is waited out."""
    node, proxy, revoker = some_line(traffic)
    async with circumstance(traffic, "a black hole"):
        tokens = [await traffic.stock.get() for _ in range(2)]
        await traffic.warm(tokens[0])
        proxy.weather.down_s = LEASE_S / 5
        traffic.figures.fault("answers slow")
        await asyncio.sleep(traffic.rng.uniform(0.6, 1.1))  # the fault itself: a renewal's answer may be on its way
        proxy.swallow()
        traffic.figures.fault("black hole")
        await revoke(traffic, tokens[0], revoker, "P4 black hole: first revocation", BLACK_HOLE)
        await asyncio.gather(*(traffic.verify(tokens[0], node) for _ in range(4)))
        await revoke(traffic, tokens[1], revoker, "P4 black hole: the next")
        proxy.heal()
        await healed(traffic, node, "P4 black hole: back in memory after healing", RECOVERED)
        proxy.bury()


async def cut(traffic: Traffic) -> None:
    """P4: every connection of a process breaks, and new ones are refused for a moment."""
    node, proxy, revoker = some_line(traffic)
    async with circumstance(traffic, "connections cut"):
        proxy.cut()
        traffic.figures.fault("connections cut")
        revoking = asyncio.create_task(revoke_fresh(traffic, revoker, "P4 connections cut"))
        await asyncio.sleep(traffic.rng.uniform(0.05, 0.6))  # the fault itself
        proxy.heal()
        await healed(traffic, node, "P4 connections cut: back in memory after healing", RECOVERED)
        await revoking


async def terminated(traffic: Traffic) -> None:
    """P4: PostgreSQL ends half of everybody's sessions, among them those that listen."""
    async with circumstance(traffic, "sessions ended"):
        async with traffic.fleet.database("postgres") as database:
            await database.fetchval(TERMINATE)
        traffic.figures.fault("sessions ended by PostgreSQL")
        await revoke_fresh(traffic, traffic.rng.choice(traffic.fleet.nodes), "P4 sessions ended by PostgreSQL")


async def cold(traffic: Traffic, node: Node, name: str) -> None:
    """Present keys that a process does not remember, all at once: each is answered soon, or told to try again."""
    tokens = [await traffic.issue() for _ in range(COLD)]
    answers = await asyncio.gather(*(traffic.present(token, node) for token in tokens))
    for answer in answers:
        traffic.figures.took(name, answer.ms, Bound(ms=ANSWERED_MS, part=1))
        is_told = answer.status == ACCEPTED or (answer.status == 503 and b"\r\nRetry-After: 1" in answer.head)
        is_soon = answer.ms < GENEROUS_S * 1000 / 2
        traffic.figures.must(name, hold=is_soon and is_told, said=(answer.ms, answer.head))


async def slow(traffic: Traffic) -> None:
    """P7: 300 ms are added to each exchange with PostgreSQL; what is remembered does not notice."""
    node, proxy, revoker = some_line(traffic)
    async with circumstance(traffic, "a slow line"):
        token = await traffic.stock.get()
        await traffic.warm(token)
        before = share(await hot(traffic, token, node, HOT_FOR_S), 0.99)
        proxy.weather = Weather(up_s=SLOW_S, down_s=SLOW_S)
        traffic.figures.fault("300 ms more")
        during = share(await hot(traffic, token, node, HOT_FOR_S), 0.99)
        traffic.figures.took("P7 hot p99 before the line is slow", before)
        traffic.figures.took("P7 hot p99 while the line is slow", during)
        await cold(traffic, node, "P7 cold keys on a slow line")
        await revoke_fresh(traffic, revoker, "P7 a slow line")
        proxy.heal()


async def slow_reads(traffic: Traffic) -> None:
    """P7: only look-ups are slow: what they bring was changed meanwhile, which must not be remembered."""
    node, proxy, revoker = some_line(traffic)
    async with circumstance(traffic, "slow look-ups"):
        tokens = [await traffic.issue() for _ in range(3)]
        proxy.weather = Weather(down_s=2 * SLOW_S, only=OF_READERS)
        traffic.figures.fault("look-ups slow")
        await asyncio.gather(*(revoke_while_read(traffic, token, node, revoker) for token in tokens))
        proxy.heal()


async def revoke_while_read(traffic: Traffic, token: Token, node: Node, revoker: Node) -> None:
    """Revoke a token while a process looks it up for the first time; ask again when both are over."""
    reading = asyncio.create_task(traffic.verify(token, node))
    await asyncio.sleep(SLOW_S / 2)  # the fault itself: it has been read, and is on its way
    await traffic.revoke(token, revoker, "P7 revoked while it is looked up")
    await reading
    await asyncio.gather(*(traffic.verify(token, node) for _ in range(3)))
