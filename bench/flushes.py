"""How long writing the uses of many keys takes, and for how long it holds the event loop. Must never run loaded."""

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from bench.rungs import issue
from bench.server import Server
from bench.verifying import entrances_of
from events.identifiers import new_id
from service.credential import Credential
from service.entrances import Entrances

DATABASE: Final = "flushes"
ADDRESS: Final = "203.0.113.7"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush:
    """One flush of the first uses of keys."""

    ms: float
    held_ms: float
    """For how long nothing else of the process had its turn, at most."""


async def flushes(server: Server, *, keys: int, times: int) -> list[Flush]:
    """Use keys for the first time, and write that, again and again."""
    await server.create_database(DATABASE)
    async with server.core(DATABASE) as core, entrances_of(core) as entrances:
        (secret,) = await issue(core, 1)
        credential = (await entrances.services.verifier.verify(secret)).credential
        if credential is None:
            raise SystemExit("a good key was refused")
        await flush(entrances, others(credential, 1))
        return [await flush(entrances, others(credential, keys)) for _ in range(times)]


def others(credential: Credential, count: int) -> list[Credential]:
    """Make up credentials like one."""
    now = datetime.now(UTC)
    return [replace(credential, token_id=new_id("tok", now, os.urandom)) for _ in range(count)]


async def flush(entrances: Entrances, credentials: Sequence[Credential]) -> Flush:
    """Record a use of each, and write them."""
    usage = entrances.services.usage
    for credential in credentials:
        usage.record(credential, ADDRESS)
    gaps: list[float] = []
    watching = asyncio.create_task(watch(gaps))
    await asyncio.sleep(0)
    began = time.perf_counter()
    await usage.flush()
    ms = (time.perf_counter() - began) * 1000
    await asyncio.sleep(0)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    return Flush(ms=ms, held_ms=max(gaps) * 1000)


async def watch(gaps: list[float]) -> None:
    """Note how long each turn of the event loop takes, until cancelled."""
    before = time.perf_counter()
    while True:
        await asyncio.sleep(0)
        now = time.perf_counter()
        gaps.append(now - before)
        before = now
