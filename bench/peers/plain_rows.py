"""The same rows without the log: each command one statement, one transaction, on one of many connections.

It gives up what the log is for: its positions have gaps and commit out of order, it checks no actor, and it answers no
second attempt. So it says what the server can do with these rows when nothing holds it back.
"""

import time
from collections.abc import Sequence
from typing import Final

from bench.callers import Call, Contender, call_for
from bench.issuing import Issuance, issue
from events.statement import Connection, load
from projections.token_row import TOKENS
from service.authorization import Principal

INSERT: Final = load("bench.peers", "plain_rows")


async def plain_rows(connections: Sequence[Connection], principals: Sequence[Principal]) -> Contender:
    """Write as the tables' owner, an organization a connection, so that no two share a row."""
    await connections[0].execute("create sequence plain_position start 1000")
    call = writing(connections, principals)
    callers = len(connections)
    return Contender(f"plain rows, {callers} connections", lambda seconds: call_for(seconds, call, callers=callers))


def writing(connections: Sequence[Connection], principals: Sequence[Principal]) -> Call:
    """Write one token's rows, on a connection of each caller's own."""

    async def write(number: int) -> float:
        row = arguments(issue(principals[number]))
        began = time.perf_counter()
        await connections[number].execute(INSERT.text, *row)
        return time.perf_counter() - began

    return write


def arguments(issuance: Issuance) -> tuple[object, ...]:
    """Lay a token out as the statement's arguments."""
    event, secret = issuance.event, issuance.secret
    return (
        event.organization,
        event.occurred_at,
        event.type,
        event.subject,
        event.actor,
        event.entry,
        event.event_id,
        event.stream,
        event.version,
        *TOKENS.row(issuance.state)[2:],
        bytes.fromhex(secret["digest_prefix"].removeprefix("\\x")),
        secret["pepper_id"],
        secret["verifier"],
    )
