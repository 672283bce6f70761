"""What was: the tokens of any position are what folding the log up to there makes of them."""

import random
from pathlib import Path
from typing import Any

import pytest

from events.envelope import Position
from events.log import BEYOND, follow_to_head, read_organization_head
from events.statement import Connection
from projections.last_used import TOKEN_LAST_USED
from projections.past import Leave, PastError, Place, Question, TooLongError, rows_at, state_at
from projections.token_row import TOKENS
from service.time_travel import ArchivedUseError, TimeTravel
from tests.postgres.appends import decided
from tests.postgres.conftest import Database
from tests.postgres.test_rebuild import live
from tests.postgres.usage_log import SIZE, archive_before, create_tokens, settle, use_tokens, writing

EVENTS = 60
Row = tuple[object, ...]


def comparable(row: Row) -> Row:
    """Write a row as the driver reads it."""
    return tuple(list(value) if isinstance(value, tuple) else value for value in row)


async def tokens_at(connection: Connection, place: Place, *, chunk: int = 7) -> list[Row]:
    """Read the tokens of a place, in pages that end anywhere."""
    return [comparable(row) async for rows in rows_at(connection, TOKENS, place, chunk=chunk) for row in rows]


@pytest.mark.parametrize("seed", range(2))
async def test_the_past_is_the_folded_prefix(database: Database, seed: int) -> None:
    """At every position of a random history: the whole table, each organization's, and each token alone."""
    rng = random.Random(seed)
    async with database.pool() as pool, database.history() as history, database.owner() as owner:
        for number in range(3):
            await history.organization(f"org_{number}")
        await live(history, rng, events=EVENTS)
        states: dict[str, Any] = {}
        uses: dict[str, Any] = {}
        heads: dict[str, int] = {}
        async for recorded in follow_to_head(pool, Position(0)):
            if (key := TOKENS.key(recorded.event)) is not None:
                states[key] = TOKENS.evolve(states.get(key), recorded)
            if (key := TOKEN_LAST_USED.key(recorded.event)) is not None:
                uses[key] = TOKEN_LAST_USED.evolve(uses.get(key), recorded)
            heads[recorded.organization] = recorded.organization_position
            in_order = sorted(states.values(), key=lambda state: (state.organization, state.id))
            place = Place(position=recorded.position)
            assert await tokens_at(owner, place) == [comparable(TOKENS.row(state)) for state in in_order]
            own = Place(position=recorded.organization_position, organization=recorded.organization)
            assert await tokens_at(owner, own) == [
                comparable(TOKENS.row(state)) for state in in_order if state.organization == recorded.organization
            ]
            subject, leave = recorded.subject, Leave(EVENTS)
            used = Question(projection=TOKEN_LAST_USED, key=subject)
            assert await state_at(pool, Question(projection=TOKENS, key=subject), place=own, leave=leave) == states.get(
                subject
            )
            assert await state_at(pool, used, place=own, leave=leave) == uses.get(subject)
        now = [tuple(row) for row in await owner.fetch("select * from tokens order by organization, id")]
        assert await tokens_at(owner, Place(position=sum(heads.values())), chunk=5000) == now
        assert await tokens_at(owner, Place(position=0)) == []


async def test_the_past_costs_no_more_than_it_may(database: Database) -> None:
    """Folding ends where there is no more leave for it, and shows the event that cannot be folded."""
    async with database.pool() as pool, database.history() as history, database.owner() as owner:
        await history.organization("org_1")
        await live(history, random.Random(3), events=40)
        key = max(history.versions, key=lambda stream: history.versions[stream]).removeprefix("token-")
        place = Place(position=100, organization=history.tokens[key].organization)
        question = Question(projection=TOKENS, key=key)
        longest = max(history.versions.values())
        await state_at(pool, question, place=place, leave=Leave(longest))
        with pytest.raises(TooLongError, match="too many events"):
            await state_at(pool, question, place=place, leave=Leave(longest - 1))
        await history.writer.append(decided("tok_never", organization="org_9"))
        with pytest.raises(PastError, match=r"event at position 42 cannot be folded.*never created.*\n.*tok_never"):
            await tokens_at(owner, Place(position=42))
        assert await tokens_at(owner, Place(position=41))


async def test_use_that_was_archived_is_counted_or_told(database: Database, tmp_path: Path) -> None:
    """Use is what it was after the archive, and refused within it, but for a token of which nothing is there."""
    async with writing(database) as history, database.pool() as pool, database.owner() as owner:
        await create_tokens(history, ("tok_1", "tok_2"))
        await use_tokens(history, 1_100, ("tok_1",))
        await settle(pool)
        travel, states = TimeTravel(pool=pool), history.tokens
        head = await read_organization_head(pool, "org_1")
        before = {key: await travel.view(state, head, Leave(BEYOND)) for key, state in states.items()}
        assert before["tok_1"].use_count > before["tok_2"].use_count == 0
        await archive_before(owner, tmp_path, SIZE + 1)
        assert {key: await travel.view(state, head, Leave(BEYOND)) for key, state in states.items()} == before
        with pytest.raises(ArchivedUseError, match="ask for a later position"):
            await travel.view(states["tok_1"], 5, Leave(BEYOND))
        assert (await travel.view(states["tok_2"], 5, Leave(BEYOND))).use_count == 0
