"""What every episode shares: the times that are meant to be kept, and what happened around a fault."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from service.lease import longest_wait_s
from service.settings import load
from tests.chaos.figures import Bound
from tests.chaos.fleet import Node, until
from tests.chaos.history import ACCEPTED, now_ns
from tests.chaos.traffic import Token, Traffic

LEASE_S: Final = load({}, {}).lease_s
"""The default, which the processes run with."""
LONGEST_S: Final = longest_wait_s([LEASE_S])
QUICK: Final = (Bound(ms=10, part=0.5), Bound(ms=50, part=0.99))
ONCE: Final = Bound(ms=LEASE_S * 1020 + 70, part=1)
RENEWED: Final = Bound(ms=LEASE_S * 1000 / 4 + 50, part=1)
BLACK_HOLE: Final = Bound(ms=LONGEST_S * 1000 + 50, part=1)
GENEROUS_S: Final = 10.0
"""What a restriction must not take on any machine."""


@asynccontextmanager
async def circumstance(traffic: Traffic, name: str) -> AsyncIterator[None]:
    """Say what is going on until left; then wait until all is well again."""
    traffic.circumstance = name
    try:
        yield
        await traffic.fleet.well()
    finally:
        traffic.circumstance = "nothing wrong"


async def revoke_fresh(traffic: Traffic, node: Node, name: str, *bounds: Bound) -> Token:
    """Revoke a token that every process remembers, and note the time."""
    token = await traffic.stock.get()
    await revoke(traffic, token, node, name, *bounds)
    return token


async def revoke(traffic: Traffic, token: Token, node: Node, name: str, *bounds: Bound) -> None:
    """Revoke a token, and note the time."""
    restricted = await traffic.revoke(token, node)
    traffic.figures.took(name, restricted.ms, *bounds)
    traffic.figures.must(f"{name} ends", hold=restricted.ms < GENEROUS_S * 1000, said=restricted)


async def until_accepted(traffic: Traffic, token: Token, node: Node) -> int:
    """Ask until a key is accepted, and return when that was. Raises TimeoutError."""

    async def is_accepted() -> bool:
        return (await traffic.present(token, node)).status == ACCEPTED

    await until(is_accepted)
    return now_ns()


async def healed(traffic: Traffic, node: Node, name: str, *bounds: Bound) -> None:
    """Note how long it takes from now until a process accepts from memory again."""
    begin_ns = now_ns()
    await traffic.fleet.well([node])
    traffic.figures.took(name, (now_ns() - begin_ns) / 1e6, *bounds)


async def hot(traffic: Traffic, token: Token, node: Node, seconds: float) -> list[float]:
    """Verify a key that is remembered over and over, and return how long each time took, in milliseconds."""
    times: list[float] = []
    end_at = time.monotonic() + seconds
    while time.monotonic() < end_at:
        answer = await traffic.present(token, node)
        if answer.status == ACCEPTED:
            times.append(answer.ms)
        await asyncio.sleep(0.003)
    return times


def others(nodes: Sequence[Node], *without: Node) -> list[Node]:
    """Leave some processes out."""
    return [node for node in nodes if node not in without]
