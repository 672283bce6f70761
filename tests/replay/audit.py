"""Holds what clients were told against the log, and everything that follows from the log against the log."""

from collections import Counter
from collections.abc import Sequence

import asyncpg

from events.envelope import Position
from events.log import follow_to_head
from events.statement import Connection, Pool
from events.tokens import TokenCreated, TokenRevoked, TokenRotated
from events.usage import TokenUsed, UsageGap
from projections.read_models import FOLLOWING, READ_MODELS
from projections.rebuild import rebuild
from projections.runner import advance_once
from tests.replay.load import Acknowledged

DUPLICATES = "select count(*) - count(distinct event_id) from event_index"
INDEXED = "select count(*) from events join event_index using (position, organization_position)"
VAULT = "select token_id, generation from vault_secrets"


async def audit(owner_dsn: str, acknowledged: Sequence[Acknowledged], *, verified: int) -> Counter[str]:
    """Check everything, and return how many events there are of each type."""
    async with asyncpg.create_pool(owner_dsn, min_size=1, max_size=3) as pool:
        counts = await check_log(pool, acknowledged)
        await check_vault(pool)
        await check_usage(pool, verified)
        async with pool.acquire() as connection:
            await check_read_models(pool, connection)
    return counts


async def check_log(pool: Pool, acknowledged: Sequence[Acknowledged]) -> Counter[str]:
    """Check that positions have no gaps, times never go back, and what was acknowledged is there once."""
    heads: Counter[str] = Counter()
    found: dict[tuple[str, str], list[int]] = {}
    types: Counter[str] = Counter()
    expected, recorded_at = 1, None
    async for event in follow_to_head(pool, Position(0)):
        heads[event.organization] += 1
        assert (event.position, event.organization_position) == (expected, heads[event.organization])
        assert recorded_at is None or event.recorded_at >= recorded_at
        expected, recorded_at = expected + 1, event.recorded_at
        found.setdefault((event.type, event.subject), []).append(event.organization_position)
        types[event.type] += 1
    assert await pool.fetchval(INDEXED) == sum(types.values())
    assert await pool.fetchval(DUPLICATES) == 0
    told = Counter((one.type, one.token_id) for one in acknowledged)
    for one in acknowledged:
        positions = found[one.type, one.token_id]
        assert one.position is None or positions.count(one.position) == 1, one
        assert len(positions) == told[one.type, one.token_id], one  # every outcome was asked for until it was told
    assert types["TokenCreated"] == len({one.token_id for one in acknowledged}) + 1  # the first token
    return types


async def check_vault(pool: Pool) -> None:
    """Check that no command was half done: each secret that an event speaks of has its row, and no other is there."""
    issued: set[tuple[str, int]] = set()
    revoked: set[str] = set()
    async for recorded in follow_to_head(pool, Position(0)):
        match recorded.event:
            case TokenCreated():
                issued.add((recorded.event.token_id, 0))
            case TokenRotated():
                issued.add((recorded.event.token_id, recorded.event.generation))
            case TokenRevoked():
                revoked.add(recorded.event.token_id)
            case _:
                pass
    assert {(row[0], row[1]) for row in await pool.fetch(VAULT)} == issued
    tokens = await pool.fetch("select id, revoked_at is not null from tokens")
    assert {row[0]: row[1] for row in tokens} == {token_id: token_id in revoked for token_id, _ in issued}


async def check_usage(pool: Pool, verified: int) -> None:
    """Check that uses are missing only where the log says so, or a marker will make it say so."""
    counted, is_gap_told = 0, await pool.fetchval("select count(*) from usage_buffers") > 0
    async for recorded in follow_to_head(pool, Position(0)):
        if isinstance(recorded.event, TokenUsed):
            counted += recorded.event.count
        is_gap_told = is_gap_told or isinstance(recorded.event, UsageGap)
    assert counted >= verified or is_gap_told


async def check_read_models(pool: Pool, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> None:
    """Check that every read model is what a rebuild makes of the log."""
    for following in FOLLOWING:
        while await advance_once(pool, following, batch=1000):
            pass
    owner: Connection = connection  # type: ignore[assignment]  # the pool's proxy is one
    for name in READ_MODELS:
        live = await connection.fetch(f"select * from {name} order by 1")
        await rebuild(owner, name)
        assert await connection.fetch(f"select * from {name} order by 1") == live
