"""Logs with whole partitions of usage, and what is done to archive them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg

from events import archiving
from events.archive import ArchivedRange
from events.batch import Append, Appended
from events.envelope import Circumstances
from events.statement import Connection, Pool
from events.token_kinds import TokenKind
from events.tokens import TokenCreated
from events.tree_growth import grow
from events.trees import OPERATOR, tree_size
from events.usage import TokenUsed, stream_of
from events.writer import LogWriter
from projections.read_models import FOLLOWING
from projections.runner import advance_once
from service.archiving import archive
from tests.postgres.conftest import MEMBER, START, Database, History, recorded

SIZE = 1_000
"""Positions in a partition."""
OF = {"tok_1": "org_1", "tok_2": "org_1", "tok_3": "org_2", "tok_4": "org_2"}
"""Tokens and their organizations."""
TOKENS = ("tok_1", "tok_2", "tok_3")


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[History]:
    """Open the log for appending to small partitions."""
    async with LogWriter(lambda: asyncpg.connect(database.service_dsn), partition_size=SIZE) as writer:
        yield History(writer)


async def create_tokens(history: History, tokens: Sequence[str] = TOKENS) -> None:
    """Create organizations and tokens."""
    for token_id in tokens:
        created = TokenCreated(
            token_id=token_id,
            kind=TokenKind.API_TOKEN,
            name=token_id,
            hint="aB3d…x9Zk",
            scopes=(),
            expires_at=None,
            application_id=None,
        )
        await history.token(created, organization=OF[token_id])


async def use_tokens(history: History, events: int, tokens: Sequence[str] = TOKENS) -> None:
    """Append uses, many at once, of one token after the other."""
    for start in range(0, events, 90):
        token_id = tokens[start // 90 % len(tokens)]
        outcome = await history.writer.append(uses(token_id, min(90, events - start), history))
        assert isinstance(outcome, Appended)


def uses(token_id: str, events: int, history: History) -> Append:
    """Make so many uses of a token."""
    found = []
    for number in range(events):
        at = history.now() + timedelta(seconds=number)
        event = TokenUsed(
            token_id=token_id,
            generation=number % 2,
            hint="aB3d…x9Zk",
            count=1 + number % 3,
            first_used_at=START,
            last_used_at=at,
            ip_addresses=("192.0.2.1",),
        )
        when = Circumstances(organization=OF[token_id], actor=MEMBER, at=at)
        found.append(recorded(event, when, (stream_of(event), None)))
    return Append(events=tuple(found), expected=None)


async def settle(pool: Pool) -> None:
    """Let the read models and the trees catch up with the log."""
    for following in FOLLOWING:
        while await advance_once(pool, following, batch=1000):
            pass
    async with asyncio.timeout(20):
        while await tree_size(pool, OPERATOR) < await pool.fetchval("select position from log_head"):
            await grow(pool)


async def archive_before(owner: Connection, directory: Path, before: int) -> list[ArchivedRange]:
    """Archive every partition of usage before a position."""
    return [
        await archive(owner, partition, directory, on_progress=lambda _: None)
        for partition in await archiving.partitions_before(owner, before)
    ]
