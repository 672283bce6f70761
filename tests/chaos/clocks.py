"""P8: a wall clock that is wrong by an hour and jumps. The machine's own clock is never touched."""

import asyncio
import email.utils
import time
from typing import Final

from tests.chaos.episodes import QUICK, circumstance, revoke_fresh
from tests.chaos.figures import Bound
from tests.chaos.fleet import SKEWED, Node
from tests.chaos.history import ACCEPTED, now_ns
from tests.chaos.traffic import Token, Traffic

HOUR_S: Final = 3600
LIVES_S: Final = 1.5
ERROR: Final = Bound(ms=100, part=1)
GENEROUS_MS: Final = 1000
DATE: Final = b"\r\nDate: "


async def skewed(traffic: Traffic) -> None:
    """P8: a process's wall clock jumps by an hour; keys end when they should, and revocations hold."""
    node = traffic.fleet.nodes[SKEWED]
    if node.clock is None:
        return
    by_s = traffic.rng.choice((HOUR_S, -HOUR_S))
    async with circumstance(traffic, "a clock is wrong"):
        await jump(traffic, node, by_s)
        traffic.figures.fault(f"clock {by_s / HOUR_S:+.0f} h")
        token = await traffic.stock.get()
        await traffic.warm(token)
        revoker = traffic.rng.choice(traffic.fleet.nodes)
        ends_ns = await traffic.expire(token, traffic.fleet.nodes[0], LIVES_S)
        watching = (expires(traffic, token, one, ends_ns) for one in traffic.fleet.nodes)
        revoking = revoke_fresh(traffic, revoker, "P8 a clock is wrong", *QUICK)
        await asyncio.gather(revoking, revoke_fresh(traffic, node, "P8 a clock is wrong", *QUICK), *watching)
        await jump(traffic, node, 0)
        traffic.figures.fault("clock right again")


async def jump(traffic: Traffic, node: Node, by_s: int) -> None:
    """Put a process's wall clock wrong, and wait until it shows."""
    token = await traffic.stock.get()
    node.skew(by_s)
    async with asyncio.timeout(10):
        while True:
            answer = await traffic.present(token, node)
            date = answer.head.partition(DATE)[2].partition(b"\r\n")[0].decode()
            if date and abs(email.utils.parsedate_to_datetime(date).timestamp() - time.time() - by_s) < HOUR_S / 2:
                return
            await asyncio.sleep(0.02)


async def expires(traffic: Traffic, token: Token, node: Node, ends_ns: int) -> None:
    """Ask a process for a key until some time after its end, and note how far from that it stopped being accepted."""
    accepted_ns = 0
    while now_ns() < ends_ns + 0.2e9:
        answer = await traffic.present(token, node)
        if answer.status == ACCEPTED:
            accepted_ns = answer.begin_ns
        await asyncio.sleep(0.003)
    error_ms = abs(ends_ns - accepted_ns) / 1e6
    traffic.figures.took(
        "P8 expiry, at the process with the wrong clock" if node.clock else "P8 expiry", error_ms, ERROR
    )
    traffic.figures.must("P8 a key lives until its end", hold=error_ms < GENEROUS_MS, said=error_ms)
