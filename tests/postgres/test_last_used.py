"""How tokens were used follows from the log, per secret as far as a page asks."""

from datetime import datetime, timedelta

from events.token_kinds import TokenKind
from events.tokens import TokenCreated, TokenRotated
from events.usage import TokenUsed
from projections.last_used import TOKEN_LAST_USED
from projections.runner import advance_once
from projections.tokens import find_tokens
from tests.postgres.conftest import START, Database

DAY = timedelta(days=1)


def created(token_id: str) -> TokenCreated:
    """Say that a token was created."""
    return TokenCreated(
        token_id=token_id,
        kind=TokenKind.API_TOKEN,
        name=token_id,
        hint="aB3d…x9Zk",
        scopes=(),
        expires_at=None,
        application_id=None,
    )


def used(token_id: str, *, generation: int, at: datetime, times: int = 1) -> TokenUsed:
    """Say that a secret of a token was used up to an instant."""
    return TokenUsed(
        token_id=token_id,
        generation=generation,
        hint="aB3d…x9Zk",
        count=times,
        first_used_at=at,
        last_used_at=at,
        ip_addresses=(),
    )


def rotated(token_id: str, *, generation: int) -> TokenRotated:
    """Say that a token got a new secret."""
    return TokenRotated(
        token_id=token_id, generation=generation, hint="new", previous_hint="old", overlap_ends_at=START + 9 * DAY
    )


async def test_use_is_counted_and_the_latest_instant_kept(database: Database) -> None:
    """Windows of several processes may come out of order: counts add up, the last use never goes back."""
    async with database.pool() as pool, database.history() as history:
        await history.token(created("tok_1"))
        await history.used(used("tok_1", generation=0, at=START + DAY, times=3))
        await history.used(used("tok_1", generation=0, at=START, times=2))
        await advance_once(pool, TOKEN_LAST_USED, batch=100)
        view = (await find_tokens(pool, "org_1", ["tok_1"]))["tok_1"]
    assert (view.use_count, view.last_used_at, view.previous_last_used_at) == (5, START + DAY, None)


async def test_the_old_secret_is_told_from_the_new(database: Database) -> None:
    """After a rotation the view says when the secret before it was used last, used since or not."""
    async with database.pool() as pool, database.history() as history:
        await history.token(created("tok_1"))
        await history.used(used("tok_1", generation=0, at=START))
        await history.token(rotated("tok_1", generation=1))
        await advance_once(pool, TOKEN_LAST_USED, batch=100)
        unused = (await find_tokens(pool, "org_1", ["tok_1"]))["tok_1"]
        await history.used(used("tok_1", generation=1, at=START + 2 * DAY))
        await history.used(used("tok_1", generation=0, at=START + DAY))
        await advance_once(pool, TOKEN_LAST_USED, batch=100)
        both_used = (await find_tokens(pool, "org_1", ["tok_1"]))["tok_1"]
        await history.token(rotated("tok_1", generation=2))
        await history.token(rotated("tok_1", generation=3))
        skipped = (await find_tokens(pool, "org_1", ["tok_1"]))["tok_1"]
    assert (unused.last_used_at, unused.previous_last_used_at) == (START, START)
    assert (both_used.last_used_at, both_used.previous_last_used_at) == (START + 2 * DAY, START + DAY)
    assert skipped.previous_last_used_at is None


async def test_a_token_nobody_used_has_a_row(database: Database) -> None:
    """From its creation on a token takes part in the order by last use."""
    async with database.pool() as pool, database.history() as history:
        await history.token(created("tok_1"))
        await advance_once(pool, TOKEN_LAST_USED, batch=100)
        rows = await pool.fetch("select token_id, organization, use_count, last_used_at from token_last_used")
    assert [tuple(row) for row in rows] == [("tok_1", "org_1", 0, None)]
