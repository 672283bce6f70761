"""A rebuilt read model is the live one, whatever happened and whatever happens meanwhile."""

import asyncio
import random
from datetime import timedelta
from typing import get_args

import asyncpg
import pytest

from events.applications import (
    ApplicationCreated,
    ApplicationDeleted,
    ApplicationUpdated,
    Environment,
    SecretPolicy,
)
from events.log import read_head
from events.members import MemberAdded, MemberRemoved, MemberRole, MemberRoleChanged, SignedIn, SignedOut
from events.statement import Connection
from events.token_kinds import TokenKind
from events.tokens import (
    TokenCreated,
    TokenEvent,
    TokenOverlapEnded,
    TokenRevealed,
    TokenRevoked,
    TokenRotated,
    TokenRotationCompleted,
    TokenUpdated,
    WebhookSignerDesignated,
)
from events.usage import TokenUsed
from projections import filling
from projections import rebuild as rebuilds
from projections.filling import fill, index
from projections.last_used import TOKEN_LAST_USED
from projections.read_models import FOLLOWING, READ_MODELS
from projections.rebuild import drop_leftovers, opened, rebuild, silently
from projections.rebuilding import Phase, Progress, RebuildError
from projections.runner import advance_once
from tests.postgres.conftest import START, Database, History

HOUR = timedelta(hours=1)
POSITION = "select position from read_models where name = $1"
TABLES = "select relname from pg_class where relkind = 'r' and relname like 'tokens\\_v%' order by 1"


def created(token_id: str, rng: random.Random) -> TokenCreated:
    """Create a token of any kind of content."""
    return TokenCreated(
        token_id=token_id,
        kind=rng.choice(list(TokenKind)),
        name=rng.choice(("plain", 'quo"te', "back\\slash", "tab\tand comma,", "naïve ☃", "\\N", "{}")),
        hint="aB3d…x9Zk",
        scopes=tuple(rng.sample(("a:read", "b:*", "c:write"), rng.randrange(4))),
        expires_at=rng.choice((None, START + 9 * HOUR)),
        application_id=rng.choice((None, "app_1")),
    )


def next_event(token_id: str, history: History, rng: random.Random) -> TokenEvent:
    """Make something happen to a token that is there; what is never decided need not be folded."""
    generation = history.tokens[token_id].generation
    kind = rng.choice([cls for cls in get_args(TokenEvent) if cls is not TokenCreated])
    events: dict[type, TokenEvent] = {
        TokenUpdated: TokenUpdated(token_id=token_id, name="ren'amed", scopes=("d:read",), expires_at=None),
        TokenRotated: TokenRotated(
            token_id=token_id,
            generation=generation + 1,
            hint="new",
            previous_hint="old",
            overlap_ends_at=rng.choice((None, START + HOUR)),
        ),
        TokenRotationCompleted: TokenRotationCompleted(token_id=token_id, generation=generation, hint="new"),
        TokenOverlapEnded: TokenOverlapEnded(token_id=token_id, previous_hint="old"),
        TokenRevealed: TokenRevealed(token_id=token_id, reason=None),
        WebhookSignerDesignated: WebhookSignerDesignated(
            token_id=token_id, previous_token_id=None, designation=rng.randrange(1, 9)
        ),
        TokenRevoked: TokenRevoked(token_id=token_id, reason=rng.choice((None, "why: “lost”"))),
    }
    return events[kind]


def use(token_id: str, history: History, rng: random.Random) -> TokenUsed:
    """Use any secret that the token had."""
    at = START + rng.randrange(1000) * HOUR
    return TokenUsed(
        token_id=token_id,
        generation=rng.randrange(history.tokens[token_id].generation + 1),
        hint="hint",
        count=rng.randrange(1, 5),
        first_used_at=at,
        last_used_at=at,
        ip_addresses=("192.0.2.1",),
    )


async def live_elsewhere(history: History, rng: random.Random, *, organization: str) -> None:
    """Append something about an application or a member."""
    number = f"{rng.randrange(5)}{organization}"
    application, member = f"app_{number}", f"mem_{number}"
    if rng.random() < 0.5:
        policy = rng.choice(list(SecretPolicy))
        updated = ApplicationUpdated(application_id=application, name="ren'amed ☃", secret_policy=policy)
        made = ApplicationCreated(
            application_id=application, name="a", environment=rng.choice(list(Environment)), secret_policy=policy
        )
        gone = ApplicationDeleted(application_id=application)
        changed = rng.choice((updated, gone)) if application in history.applications else made
        await history.application(changed, organization=organization)
    elif member in history.members:
        role = rng.choice(list(MemberRole))
        before = history.members[member].role
        seen = rng.choice(
            (
                MemberRoleChanged(member_id=member, role=role, previous_role=before),
                MemberRemoved(member_id=member),
                SignedIn(member_id=member),
                SignedOut(member_id=member, everywhere=True),
            )
        )
        await history.member(seen, organization=organization)
    else:
        await history.member(MemberAdded(member_id=member, role=MemberRole.OWNER), organization=organization)


async def live(history: History, rng: random.Random, *, events: int) -> None:
    """Append a random history of a few organizations."""
    for _ in range(events):
        organization = f"org_{rng.randrange(3)}"
        if rng.random() < 0.2:
            await live_elsewhere(history, rng, organization=organization)
            continue
        mine = [token for token, state in history.tokens.items() if state.organization == organization]
        choice = rng.random()
        if not mine or choice < 0.2:
            token_id = f"tok_{rng.randrange(10**12):012d}"
            await history.token(created(token_id, rng), organization=organization)
        elif choice < 0.6:
            await history.token(next_event(rng.choice(mine), history, rng), organization=organization)
        else:
            await history.used(use(rng.choice(mine), history, rng), organization=organization)


async def contents(connection: Connection, name: str) -> list[tuple[object, ...]]:
    """Read a whole read model."""
    return [tuple(row) for row in await connection.fetch(f"select * from {name} order by 1")]


async def shape(connection: Connection, name: str) -> list[tuple[object, ...]]:
    """Read what the live table of a read model is like, but for its name."""
    return [
        tuple(row)
        for row in await connection.fetch(
            """
            select replace(pg_get_indexdef(indexrelid), physical_table, 'T'), indisprimary, reloptions, relowner::text,
                (select array_agg((attname, attnotnull, attoptions)::text order by attnum)
                 from pg_attribute where attrelid = c.oid and attnum > 0)
            from read_models join pg_class c on oid = physical_table::regclass join pg_index on indrelid = c.oid
            where name = $1
            order by 1
            """,
            name,
        )
    ]


async def physical_table(connection: Connection, name: str) -> str:
    """Read which table is live."""
    return str(await connection.fetchval("select physical_table from read_models where name = $1", name))


@pytest.mark.parametrize("seed", range(3))
async def test_a_rebuild_equals_the_live_table(database: Database, seed: int) -> None:
    """Every projection, over random histories: the rebuilt table is the live one, row for row, index for index."""
    rng = random.Random(seed)
    async with database.owner() as owner, database.pool() as pool, database.history() as history:
        for number in range(3):
            await history.organization(f"org_{number}")
        await live(history, rng, events=300)
        for following in FOLLOWING:
            while await advance_once(pool, following, batch=17):
                pass
        for name in READ_MODELS:
            rows, table = await contents(owner, name), await shape(owner, name)
            assert rows
            report = await rebuild(owner, name)
            assert await contents(owner, name) == rows
            assert await shape(owner, name) == table
            assert report.rows == len(rows)
            assert (await physical_table(owner, name)).endswith("_r1")
        assert await owner.fetchval(POSITION, "token_last_used") == await read_head(pool)


async def test_appends_go_on_during_and_after_a_rebuild(database: Database) -> None:
    """What is appended while a rebuild runs is in the new table, and later appends write to it."""
    rng = random.Random(1)
    async with database.owner() as owner, database.pool() as pool, database.history() as history:
        await live(history, rng, events=100)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(live(history, rng, events=300))
            tasks.create_task(rebuild(owner, "tokens"))
        await live(history, rng, events=50)
        rows = await pool.fetch(READ_MODELS["tokens"].find.text, list(history.tokens))
        assert {row["id"]: READ_MODELS["tokens"].state(row) for row in rows} == history.tokens


async def test_what_comes_after_the_bulk_is_folded_by_position(database: Database) -> None:
    """More than a batch appended after the fill is in the new table, whoever goes on with it."""
    rng = random.Random(4)
    async with database.owner() as owner, database.pool() as pool, database.history() as history:
        await live(history, rng, events=20)
        projection, token = TOKEN_LAST_USED, next(iter(history.tokens.values()))
        work = await opened(owner, projection, restart=False, on_progress=silently)
        await fill(work)
        await index(work)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(1300):
                tasks.create_task(history.used(use(token.id, history, rng), organization=token.organization))
        seen: list[Progress] = []
        await rebuild(owner, projection.name, on_progress=seen.append)
        assert {progress.phase for progress in seen} == {Phase.FOLLOW} == {seen[0].start.resumes}
        assert await owner.fetchval(POSITION, projection.name) == await read_head(pool) == 1320
        rebuilt = await contents(owner, projection.name)
        await rebuild(owner, projection.name)
        assert await contents(owner, projection.name) == rebuilt
        assert sum(row[2] for row in rebuilt if isinstance(row[2], int)) > 1300
        assert await advance_once(pool, projection, batch=10) is None


async def test_following_goes_on_where_a_rebuild_ended(database: Database) -> None:
    """After the switch the runner folds only what came later, into the new table."""
    rng = random.Random(2)
    async with database.owner() as owner, database.pool() as pool, database.history() as history:
        await live(history, rng, events=60)
        await advance_once(pool, TOKEN_LAST_USED, batch=30)
        await rebuild(owner, "token_last_used")
        await live(history, rng, events=60)
        await advance_once(pool, TOKEN_LAST_USED, batch=1000)
        followed = await contents(owner, "token_last_used")
        await rebuild(owner, "token_last_used")
        assert await contents(owner, "token_last_used") == followed


async def test_only_the_table_before_is_kept(database: Database) -> None:
    """Each rebuild drops what earlier ones left, but keeps the table that was live until now, until that is dropped."""
    async with database.owner() as owner:
        for _ in range(3):
            await rebuild(owner, "tokens")
        await opened(owner, READ_MODELS["token_last_used"], restart=False, on_progress=silently)
        assert [row["relname"] for row in await owner.fetch(TABLES)] == ["tokens_v2_r2", "tokens_v2_r3"]
        assert await drop_leftovers(owner, "tokens") == ["tokens_v2_r2"]
        assert await drop_leftovers(owner, "tokens") == []
        assert await drop_leftovers(owner, "token_last_used") == ["token_last_used_v1_r1"]
        assert [row["relname"] for row in await owner.fetch(TABLES)] == ["tokens_v2_r3"]
        assert await contents(owner, "tokens") == await contents(owner, "rebuilds") == []


async def test_an_event_that_cannot_be_folded_stops_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the position and shows the whole entry; the live table goes on; mended, the rebuild goes on."""
    monkeypatch.setattr(filling, "CHUNK", 2)
    async with database.owner() as owner, database.history() as history:
        rng = random.Random(3)
        for number in range(1, 4):
            await history.token(created(f"tok_0{number}", rng))
        orphan = TokenRevoked(token_id="tok_2", reason="was never created")
        await history.token(created("tok_2", rng))
        await history.token(orphan)
        await owner.execute("alter table events_decisions_1 disable trigger all")
        await owner.execute("delete from events where subject = 'tok_2' and type = 'TokenCreated'")
        before = await contents(owner, "tokens")
        with pytest.raises(RebuildError, match=r"position 5 cannot be folded.*never created[\s\S]*\"TokenRevoked\""):
            await rebuild(owner, "tokens")
        assert await contents(owner, "tokens") == before
        assert await physical_table(owner, "tokens") == "tokens_v2"
        await owner.execute("delete from events where subject = 'tok_2'")
        report = await rebuild(owner, "tokens")
        assert (report.rows, report.events, report.resumed) == (3, 3, 1)


async def test_one_rebuild_at_a_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second rebuild is refused soon instead of dropping the first one's table."""
    monkeypatch.setattr(rebuilds, "PATIENCE_MS", 50)
    async with database.owner() as owner, database.owner() as other:
        await other.execute("select pg_advisory_lock(4270004)")
        with pytest.raises(RebuildError, match="another rebuild is running"):
            await rebuild(owner, "tokens")


async def test_only_the_owner_may_rebuild(database: Database) -> None:
    """The service's role cannot put another table behind a view."""
    connection = await asyncpg.connect(database.service_dsn)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await rebuild(connection, "tokens")
    finally:
        await connection.close()
