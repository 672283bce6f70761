"""One row, one `INSERT`, one commit: what any durable write costs on this machine."""

import os
import time
from collections.abc import Sequence
from typing import Final

from bench.callers import Contender, call_for
from events.statement import Connection, load

INSERT: Final = load("bench.peers", "bare_row")


async def bare_insert(connections: Sequence[Connection], *, entry_bytes: int) -> Contender:
    """Write to a table with nothing but a number and an entry."""
    entry, callers = os.urandom(entry_bytes), len(connections)
    await connections[0].execute(
        "create table if not exists bare (id bigint generated always as identity primary key, entry bytea not null)"
    )

    async def write(number: int) -> float:
        began = time.perf_counter()
        await connections[number].execute(INSERT.text, entry)
        return time.perf_counter() - began

    name = f"one bare row, {callers} connection{'s' * (callers > 1)}"
    return Contender(name, lambda seconds: call_for(seconds, write, callers=callers))
