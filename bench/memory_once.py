"""The memory of many warm keys, in a process of its own, so that it is nobody else's.

`python -m bench.memory_once COUNT` reads a database's address from standard input and writes a `Held` as JSON. The rows
that entries are made of come from PostgreSQL, as the driver decodes them, so that each string is one of its own.
"""

import asyncio
import gc
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import Enum
from typing import Final

import asyncpg
import uvloop

from bench.processes import resident_mb
from events.statement import load
from service.credential import Verification, credential_of, failure_of
from service.verified_cache import Entry, VerifiedCache

ROWS: Final = load("bench", "warm_entries")
AT_ONCE: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a full cache takes."""

    entries: int
    resident_bytes: float
    """More than before it was filled, an entry's share."""
    counted_bytes: float
    """The sizes of its objects as Python tells them, an entry's share of some entries; the cache's own tables apart."""
    found_us: float
    """How long finding one takes, each asked for once."""


async def hold(dsn: str, count: int) -> Held:
    """Fill a cache and look at this process."""
    cache: VerifiedCache[Verification] = VerifiedCache(capacity=count)
    connection = await asyncpg.connect(dsn)
    await fill(connection, VerifiedCache(capacity=AT_ONCE), AT_ONCE)  # what the first rows alone need
    gc.collect()
    before = resident_mb()
    digests = await fill(connection, cache, count)
    await connection.close()
    gc.collect()
    asked = digests[:: max(1, count // 100_000)]
    began = time.perf_counter()
    for digest in asked:
        cache.get(digest)
    found_s = time.perf_counter() - began
    resident = (resident_mb() - before) * 1024 * 1024 - sys.getsizeof(digests)
    sampled = [(digest, cache.get(digest)) for digest in digests[:1000]]
    return Held(
        entries=len(cache),
        resident_bytes=resident / count,
        counted_bytes=sum(sys.getsizeof(each) for each in parts(sampled, set())) / len(sampled),
        found_us=found_s / len(asked) * 1e6,
    )


async def fill(
    connection: "asyncpg.Connection[asyncpg.Record]", cache: VerifiedCache[Verification], count: int
) -> list[bytes]:
    """Remember keys as the verifier does; answers their digests, which are the cache's own keys."""
    digests: list[bytes] = []
    async with connection.transaction():
        cursor = await connection.cursor(ROWS.text, count)
        while rows := await cursor.fetch(AT_ONCE):
            for row in rows:
                deadline_s = math.inf if row["left_s"] is None else time.monotonic() + row["left_s"]
                proved = Verification(failure=failure_of(row), credential=credential_of(row))
                cache.put(row["digest"], Entry(row["id"], proved, deadline_s))
                digests.append(row["digest"])
    return digests


def parts(held: object, seen: set[int]) -> Iterator[object]:
    """List the objects that something is made of, each once; not those that all share."""
    if id(held) in seen or held is None or isinstance(held, Enum | type | bool):
        return
    seen.add(id(held))
    if isinstance(held, list):
        inner: list[object] = held
    else:
        yield held
        inner = []
        if is_dataclass(held):
            inner = [getattr(held, field.name) for field in fields(held)]
        elif isinstance(held, tuple):
            inner = list(held)
    for each in inner:
        yield from parts(each, seen)


def hold_elsewhere(dsn: str, count: int) -> Held:
    """Fill a cache in a process of its own."""
    command = (sys.executable, "-m", "bench.memory_once", str(count))
    ended = subprocess.run(command, input=dsn, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"the cache was not filled:\n{ended.stderr}")
    return Held(**json.loads(ended.stdout))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(hold(sys.stdin.read(), int(sys.argv[1]))))))
