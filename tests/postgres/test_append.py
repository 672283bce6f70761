"""Appending: every command of a batch gets its own answer, and the log stays whole."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import asyncpg
import pytest

from events.batch import ActorRestricted, Append, Appended, Outcome, VersionConflict, lay_out, outcomes_of
from events.envelope import OrganizationPosition, Position, StreamId, Version
from events.log import read_after, read_organization_head, read_stream
from events.statement import Connection
from events.token_kinds import TokenKind, stream_of_api_token
from events.tokens import TokenCreated, TokenRevoked
from events.writer import APPEND, AppendRejectedError, LogWriter
from tests.postgres.appends import decided, ids, observed
from tests.postgres.conftest import START, Database

MODES = pytest.mark.parametrize("neighbours", [0, 2], ids=["alone", "in a batch"])
"""Alone, a command that is not appended leaves nothing to append; in a batch, it is left out."""


def token(token_id: str, *, expires_in: timedelta | None = None) -> TokenCreated:
    """Say that a token was created."""
    return TokenCreated(
        token_id=token_id,
        kind=TokenKind.API_TOKEN,
        name=token_id,
        hint="h",
        scopes=(),
        expires_at=None if expires_in is None else START + expires_in,
        application_id=None,
    )


def row(token_id: str, name: str) -> dict[str, object]:
    """Make a companion row of `tokens`."""
    return {
        "id": token_id,
        "organization": "org_1",
        "kind": "API_TOKEN",
        "name": name,
        "hint": "h",
        "scopes": [],
        "created_at": "2026-01-01T00:00:00Z",
        "created_by_kind": "MEMBER",
        "created_by_id": "mem_1",
        "generation": 0,
    }


def appended(position: int, organization_position: int) -> Appended:
    """Make the answer to a command that was appended."""
    return Appended(
        position=Position(position),
        organization_position=OrganizationPosition(organization_position),
        is_replay=False,
    )


async def together(writer: LogWriter, command: Append, neighbours: int) -> Outcome:
    """Append a command in one batch with neighbours, which must not come to harm."""
    before = writer.counts.batches
    others = [decided(f"tok_neighbour_{before}_{number}") for number in range(neighbours)]
    outcomes = await asyncio.gather(*(writer.append(append) for append in (*others, command)))
    assert all(isinstance(outcome, Appended) for outcome in outcomes[:-1])
    assert writer.counts.batches == before + 1
    return outcomes[-1]


@MODES
async def test_positions_are_answered(database: Database, neighbours: int) -> None:
    """An append answers the positions of its last event: in the log, and in its organization's history."""
    async with database.history() as history, database.pool() as pool:
        await history.writer.append(decided("tok_0", organization="org_other", events=3))
        command = decided("tok_1", events=1 + neighbours)
        outcome = await together(history.writer, command, neighbours)
        last = 1 + 2 * neighbours
        assert outcome == Appended(
            position=Position(3 + last), organization_position=OrganizationPosition(last), is_replay=False
        )
        assert await read_organization_head(pool, "org_1") == last
        assert [event.event_id for event in await read_stream(pool, stream_of_api_token("tok_1"))] == ids([command])


@MODES
async def test_a_replay_answers_the_same(database: Database, neighbours: int) -> None:
    """The same event ids again answer what they did, though the stream has moved on, and append nothing."""
    async with database.history() as history, database.pool() as pool:
        command = decided("tok_1", events=1 + neighbours)
        first = await history.writer.append(command)
        assert isinstance(first, Appended)
        await history.writer.append(decided("tok_1", 1 + neighbours))
        again = await together(history.writer, command, neighbours)
        assert again == replace(first, is_replay=True)
        assert len(await read_stream(pool, stream_of_api_token("tok_1"))) == 2 + neighbours


@MODES
@pytest.mark.parametrize("expected", [0, 1, 3, 2**31 - 2])
async def test_another_version_is_a_conflict(database: Database, neighbours: int, expected: int) -> None:
    """Who expected less or more than the stream's version is told the version, and nothing is appended."""
    async with database.history() as history, database.pool() as pool:
        await history.writer.append(decided("tok_1", events=2))
        outcome = await together(history.writer, decided("tok_1", expected), neighbours)
        assert outcome == VersionConflict(version=Version(2))
        assert len(await read_stream(pool, stream_of_api_token("tok_1"))) == 2


@MODES
async def test_a_new_stream_is_at_version_0(database: Database, neighbours: int) -> None:
    """A stream that has no events yet conflicts with any version but 0."""
    async with database.history() as history:
        outcome = await together(history.writer, decided("tok_1", 1), neighbours)
        assert outcome == VersionConflict(version=Version(0))


@MODES
@pytest.mark.parametrize(
    ("acting", "may"),
    [
        ("tok_live", True),
        ("tok_expiring", True),
        ("mem_1:1", False),
        ("ses_1:OWNER", False),
        ("tok_revoked", False),
        ("tok_expired", False),
        ("tok_unknown", False),
    ],
)
async def test_who_acts_is_checked_again(database: Database, neighbours: int, acting: str, *, may: bool) -> None:
    """A token that was revoked, has expired or never was does nothing, nor do members of whom nobody knows."""
    async with database.history() as history, database.pool() as pool:
        await history.token(token("tok_live"))
        await history.token(token("tok_expiring", expires_in=timedelta(days=36500)))
        await history.token(token("tok_expired", expires_in=timedelta(minutes=1)))
        await history.token(token("tok_revoked"))
        await history.token(TokenRevoked(token_id="tok_revoked", reason=None))
        outcome = await together(history.writer, replace(decided("tok_1"), acting=acting), neighbours)
        assert isinstance(outcome, Appended if may else ActorRestricted)
        assert len(await read_stream(pool, stream_of_api_token("tok_1"))) == int(may)


@MODES
async def test_what_is_observed_expects_no_version(database: Database, neighbours: int) -> None:
    """Uses of a token follow each other without one, and are still appended once."""
    async with database.history() as history:
        used = observed("tok_1", events=1 + neighbours)
        first = await together(history.writer, used, neighbours)
        again = await together(history.writer, used, neighbours)
        assert isinstance(first, Appended)
        assert again == replace(first, is_replay=True)


@MODES
async def test_companion_rows_go_with_the_winners_only(database: Database, neighbours: int) -> None:
    """What loses by its version or its actor, or was appended before, leaves the read models alone."""
    async with database.history() as history, database.pool() as pool:
        winner = replace(decided("tok_1"), companions={"tokens": [row("tok_1", "won")]})
        await together(history.writer, winner, neighbours)
        losers = (
            replace(winner, companions={"tokens": [row("tok_1", "replayed")]}),
            replace(decided("tok_1"), companions={"tokens": [row("tok_1", "conflicted")]}),
            replace(decided("tok_1", 1), acting="tok_nobody", companions={"tokens": [row("tok_1", "restricted")]}),
        )
        for loser in losers:
            await together(history.writer, loser, neighbours)
        assert [r["name"] for r in await pool.fetch("select name from tokens")] == ["won"]


async def test_one_batch_holds_every_outcome(database: Database) -> None:
    """A replay, a conflict, a restricted actor and winners share a batch and each gets its own answer."""
    async with database.history() as history, database.pool() as pool:
        done, moved_on = decided("tok_1"), replace(decided("tok_2"), companions={"tokens": [row("tok_2", "late")]})
        await asyncio.gather(history.writer.append(done), history.writer.append(decided("tok_2")))
        batches = history.writer.counts.batches
        batch = (
            replace(decided("tok_3"), companions={"tokens": [row("tok_3", "three")]}),
            done,
            moved_on,
            replace(decided("tok_4"), acting="tok_nobody"),
            observed("tok_1", organization="org_2"),
            decided("tok_5", events=2),
        )
        outcomes = await asyncio.gather(*(history.writer.append(append) for append in batch))
        assert history.writer.counts.batches == batches + 1
        assert outcomes == [
            appended(3, 3),
            replace(appended(1, 1), is_replay=True),
            VersionConflict(version=Version(1)),
            ActorRestricted(),
            appended(4, 1),
            appended(6, 5),
        ]
        assert [event.position for event in await read_after(pool, Position(0), limit=10)] == [1, 2, 3, 4, 5, 6]
        assert [r["id"] for r in await pool.fetch("select id from tokens")] == ["tok_3"]


POISON = {
    "a companion that is not there": {"forgeries": [{"id": "tok_1"}]},
    "a row that is not JSON": {"tokens": [{"id": object()}]},
    "a row that the table refuses": {"tokens": [{"id": "tok_1"}]},
    "a row with half a character": {"tokens": [{"id": "tok_\ud800"}]},
    "a row with a NUL": {"tokens": [row("tok_1", "\x00")]},
}


@pytest.mark.parametrize("companions", POISON.values(), ids=POISON)
async def test_a_defect_fails_alone(database: Database, companions: dict[str, list[dict[str, object]]]) -> None:
    """Should a command be one that cannot be appended, its neighbours and those after it are, and it is not."""
    async with database.history() as history, database.pool() as pool:
        poisoned = replace(decided("tok_1"), companions=companions)
        good = [replace(decided(f"tok_{n}"), companions={"tokens": [row(f"tok_{n}", "good")]}) for n in (2, 3)]
        answers = await asyncio.gather(
            *(history.writer.append(append) for append in (good[0], poisoned, good[1])), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [Appended, AppendRejectedError, Appended]
        assert isinstance(await history.writer.append(decided("tok_1")), Appended)
        assert [event.position for event in await read_after(pool, Position(0), limit=10)] == [1, 2, 3]


async def test_a_rejection_does_not_quote_the_row(database: Database) -> None:
    """What the database says about a row that it refused may hold a verifier, and stays out of the error."""
    async with database.history() as history:
        rows = [{"id": "tok_1", "hint": "canary"}]
        with pytest.raises(AppendRejectedError, match="NotNullViolationError: null value in column") as caught:
            await history.writer.append(replace(decided("tok_1"), companions={"tokens": rows}))
        assert "canary" not in str(caught.value)


async def answered(connection: Connection, batch: list[Append]) -> list[tuple[bool, int]]:
    """Send a batch as the writer does; answer whether each was a replay, and its position."""
    layout = lay_out(batch)
    answer = await connection.fetchrow(APPEND.text, *layout.arguments)
    assert answer is not None
    outcomes = outcomes_of(answer, batch, layout)
    return [(outcome.is_replay, outcome.position) for outcome in outcomes if isinstance(outcome, Appended)]


@pytest.mark.parametrize("size", [1, 5])
async def test_an_identical_batch_wins_once(database: Database, size: int) -> None:
    """Sent twice at the same time over two connections, and once more, a batch is in the log once."""
    batch = [decided(f"tok_{number}") for number in range(size)]
    one, other = await asyncpg.connect(database.service_dsn), await asyncpg.connect(database.service_dsn)
    async with database.pool() as pool, database.history():
        answers = await asyncio.gather(answered(one, batch), answered(other, batch))
        first, again = ([(is_replay, position + 1) for position in range(size)] for is_replay in (False, True))
        assert sorted(answers) == [first, again]
        assert await answered(one, batch) == again
        assert [event.event_id for event in await read_after(pool, Position(0), limit=100)] == ids(batch)
    await one.close()
    await other.close()


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_only_read_committed_sees_who_came_before(
    database: Database, isolation: Literal["repeatable_read", "serializable"]
) -> None:
    """A transaction whose snapshot is older than the lock is refused before it reads anything."""
    connection = await asyncpg.connect(database.service_dsn)
    async with database.history(), database.pool() as pool:
        with pytest.raises(asyncpg.InvalidTransactionStateError, match="read committed only"):
            async with connection.transaction(isolation=isolation):
                await answered(connection, [decided("tok_1")])
        assert await read_after(pool, Position(0), limit=1) == []
    await connection.close()


async def test_recorded_at_never_goes_back(database: Database) -> None:
    """Though the clock of the host should, the log's instants follow its positions."""
    async with database.history() as history, database.owner() as owner, database.pool() as pool:
        await history.writer.append(decided("tok_1"))
        await owner.execute("update log_head set recorded_at = clock_timestamp() + interval '1 hour'")
        await history.writer.append(decided("tok_2"))
        await asyncio.gather(*(history.writer.append(decided(f"tok_{number}")) for number in (3, 4)))
        instants = [event.recorded_at for event in await read_after(pool, Position(0), limit=10)]
        assert instants == sorted(instants)
        assert instants[1] == instants[2] == instants[3] > instants[0] + timedelta(minutes=59)


async def test_the_database_refuses_a_second_event_of_a_version(database: Database) -> None:
    """Two commands on one stream in one batch, which the writer never sends, do not both get in."""
    connection = await asyncpg.connect(database.service_dsn)
    async with database.history(), database.pool() as pool:
        with pytest.raises(asyncpg.UniqueViolationError, match="event_index_stream"):
            await answered(connection, [decided("tok_1"), decided("tok_1")])
        assert await read_stream(pool, StreamId("token-tok_1")) == []
    await connection.close()
