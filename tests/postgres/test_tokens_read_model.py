"""The read model `tokens`: written with the append, paged in every order, and nothing the service can write itself."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import asyncpg
import orjson
import pytest

from events.batch import ActorRestricted, Appended
from events.envelope import Actor, ActorKind
from events.statement import Connection, Pool, Statement
from events.token_kinds import TokenKind
from events.tokens import TokenCreated, TokenRevoked, TokenState, TokenUpdated
from projections.last_used import TOKEN_LAST_USED, LastUsed
from projections.organizations import find_organization
from projections.projection import Projection, State
from projections.token_row import TOKENS
from projections.tokens import (
    PAGES,
    SortValue,
    TokenFilter,
    TokenOrderField,
    TokenPageQuery,
    TokenStatus,
    TokenView,
    count_tokens,
    find_names,
    find_tokens,
    page_tokens,
    sort_value,
    status_of,
)
from tests.postgres.conftest import MEMBER, START, Database

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def created(token_id: str, *, expires_at: datetime | None = None) -> TokenCreated:
    """Say that a token was created."""
    return TokenCreated(
        token_id=token_id,
        kind=TokenKind.API_TOKEN,
        name=f"name of {token_id}",
        hint="aB3d…x9Zk",
        scopes=("projects:read",),
        expires_at=expires_at,
        application_id=None,
    )


async def test_the_row_changes_with_the_append(database: Database) -> None:
    """As soon as an append is answered its row is there, exactly as decisions fold it."""
    async with database.pool() as pool, database.history() as history:
        await history.organization("org_1")
        for event in (
            created("tok_1"),
            TokenUpdated(token_id="tok_1", name="Zoë", scopes=("a:b", "c:*"), expires_at=LATEST - DAY),
            TokenRevoked(token_id="tok_1", reason="lost"),
        ):
            await history.token(event)
            view = (await find_tokens(pool, "org_1", ["tok_1"]))["tok_1"]
            assert view == TokenView(
                state=history.tokens["tok_1"], use_count=0, last_used_at=None, previous_last_used_at=None
            )
        organization = await find_organization(pool, "org_1")
        assert organization is not None
        assert organization.name == "org_1"


async def test_an_append_that_loses_changes_no_row(database: Database) -> None:
    """The row of a command that a version conflict refused is not written."""
    async with database.pool() as pool, database.history() as history:
        await history.token(created("tok_1"))
        history.versions.clear()
        history.tokens.clear()
        outcome = await history.token(replace(created("tok_1"), name="another"))
        assert not isinstance(outcome, Appended)
        assert await find_names(pool, "org_1", ["tok_1"]) == {"tok_1": "name of tok_1"}


async def test_a_revoked_expired_or_missing_actor_is_refused(database: Database) -> None:
    """The guard answers within the append, so authority that ended cannot be used an instant later."""
    async with database.history() as history:
        await history.token(created("tok_live"))
        await history.token(created("tok_later", expires_at=NOW + DAY))
        await history.token(created("tok_expired", expires_at=NOW - DAY))
        await history.token(created("tok_revoked"))
        await history.token(TokenRevoked(token_id="tok_revoked", reason=None))
        for number, actor in enumerate(("tok_live", "tok_later")):
            assert isinstance(await history.token(created(f"tok_a{number}"), acting=actor), Appended)
        for number, actor in enumerate(("tok_expired", "tok_revoked", "tok_missing")):
            assert await history.token(created(f"tok_b{number}"), acting=actor) == ActorRestricted()


@pytest.mark.parametrize(
    "statement",
    [
        "insert into tokens select * from tokens",
        "update tokens set name = 'x'",
        "delete from tokens",
        "update tokens_v2 set name = 'x'",
        "update organizations set name = 'x'",
        "delete from token_last_used",
        "update read_models set physical_table = 'tokens_v2'",
        "select write_tokens('[]')",
        "select write_organizations('[]')",
        "select tokens_refused('{}')",
        "select begin_rebuild('tokens', '', 0, 0)",
        "select drop_rebuild_leftovers('tokens')",
        "delete from rebuilds",
        "select switch_read_model('tokens', 'tokens_v2', 0)",
    ],
)
async def test_the_service_cannot_write_what_appends_write(database: Database, statement: str) -> None:
    """The service's role reads tokens; only an append changes them."""
    async with database.pool() as pool:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)


async def test_a_token_of_another_organization_does_not_exist(database: Database) -> None:
    """Nothing that is asked for one organization answers with tokens of another."""
    async with database.pool() as pool, database.history() as history:
        await history.token(created("tok_1"), organization="org_1")
        assert await find_tokens(pool, "org_2", ["tok_1"]) == {}
        assert await find_names(pool, "org_2", ["tok_1"]) == {}
        assert await count_tokens(pool, "org_2", TokenFilter()) == 0


def some_states(rng: random.Random, amount: int) -> list[tuple[TokenState, LastUsed]]:
    """Make tokens with many equal sort values, so that ids decide often."""
    states = []
    for number in range(amount):
        token = TokenState(
            id=f"tok_{rng.randrange(10**9):09d}{number}",
            organization=rng.choice(("org_0", "org_1", "org_1", "org_2")),
            kind=rng.choice(list(TokenKind)),
            name=rng.choice(("alpha", "Alpha", "BETA_1", "beta%2", "Äther", "äther", "z\\z", "zeta")),
            hint=rng.choice(("aB3d…x9Zk", "QQQQ…1111")),
            scopes=tuple(rng.sample(("a:read", "a:*", "b:read"), rng.randrange(4))),
            application_id=rng.choice((None, "app_1")),
            created_at=START + rng.randrange(5) * DAY,
            created_by=Actor(kind=ActorKind.MEMBER, id=MEMBER.id),
            expires_at=rng.choice((None, None, NOW - 9 * DAY, NOW + DAY, NOW + 2 * DAY)),
            revoked_at=rng.choice((None, None, NOW)),
        )
        at = rng.choice((None, START, START + DAY))
        use = LastUsed(
            token_id=token.id, organization=token.organization, use_count=0 if at is None else 3, last_used_at=at
        )
        states.append((token, use))
    return states


async def insert(owner: Connection, projection: Projection[State], states: Sequence[State]) -> None:
    """Write rows as an append does, without its events."""
    await owner.execute(projection.write.text, orjson.dumps([projection.row_json(state) for state in states]).decode())


def reference(view: TokenView, field: TokenOrderField) -> tuple[object, str]:
    """Say in Python what tokens are ordered by."""
    key: dict[TokenOrderField, object] = {
        TokenOrderField.CREATED_AT: view.state.created_at,
        TokenOrderField.LAST_USED_AT: view.last_used_at or EARLIEST,
        TokenOrderField.EXPIRES_AT: view.state.expires_at or LATEST,
        TokenOrderField.NAME: view.state.name.lower(),
    }
    return key[field], view.state.id


FILTERS: list[tuple[TokenFilter, Callable[[TokenView], bool]]] = [
    (TokenFilter(), lambda _: True),
    (TokenFilter(kinds=(TokenKind.API_SECRET,)), lambda v: v.state.kind == TokenKind.API_SECRET),
    (TokenFilter(kinds=()), lambda _: False),
    (TokenFilter(statuses=(TokenStatus.ACTIVE,)), lambda v: v.state.is_active(NOW)),
    (
        TokenFilter(statuses=(TokenStatus.EXPIRED, TokenStatus.REVOKED)),
        lambda v: status_of(v.state, NOW) in {TokenStatus.EXPIRED, TokenStatus.REVOKED},
    ),
    (TokenFilter(statuses=(TokenStatus.REVOKING,)), lambda _: False),
    (TokenFilter(search="ALPH"), lambda v: v.state.name.lower() == "alpha"),
    (TokenFilter(search="qq…11"), lambda v: v.state.hint == "QQQQ…1111"),
    (TokenFilter(search="a_"), lambda v: v.state.name == "BETA_1"),
    (TokenFilter(search="%"), lambda v: v.state.name == "beta%2"),
    (TokenFilter(search="\\"), lambda v: v.state.name == "z\\z"),
    (TokenFilter(application_id="app_1"), lambda v: v.state.application_id == "app_1"),
    (TokenFilter(has_scopes=("a:read", "a:*")), lambda v: {"a:read", "a:*"} <= set(v.state.scopes)),
    (
        TokenFilter(created_from=START + DAY, created_before=START + 3 * DAY),
        lambda v: START + DAY <= v.state.created_at < START + 3 * DAY,
    ),
    (
        TokenFilter(expires_from=NOW, expires_before=NOW + 2 * DAY),
        lambda v: v.state.expires_at is not None and NOW <= v.state.expires_at < NOW + 2 * DAY,
    ),
    (
        TokenFilter(last_used_from=START, last_used_before=START + DAY),
        lambda v: v.last_used_at is not None and START <= v.last_used_at < START + DAY,
    ),
    (TokenFilter(never_used=True), lambda v: v.last_used_at is None),
    (TokenFilter(never_used=False), lambda v: v.last_used_at is not None),
]


async def walk(pool: Pool, query: TokenPageQuery) -> list[TokenView]:
    """Read every page after another."""
    views: list[TokenView] = []
    after: tuple[SortValue, str] | None = None
    while page := await page_tokens(pool, replace(query, after=after)):
        assert len(page) <= query.limit
        views += page
        after = (sort_value(page[-1], query.field), page[-1].state.id)
    return views


async def test_pages_are_what_sorting_and_filtering_in_python_gives(database: Database) -> None:
    """Every order, in both directions, with every filter: nothing is skipped, doubled or out of order."""
    states = some_states(random.Random(7), 150)
    async with database.owner() as owner, database.pool() as pool:
        await insert(owner, TOKENS, [token for token, _ in states])
        await insert(owner, TOKEN_LAST_USED, [use for _, use in states])
        mine = [
            TokenView(state=token, use_count=use.use_count, last_used_at=use.last_used_at, previous_last_used_at=None)
            for token, use in states
            if token.organization == "org_1"
        ]
        for (token_filter, passes), field, descending in product(FILTERS, TokenOrderField, (False, True)):
            expected = sorted((v for v in mine if passes(v)), key=lambda v: reference(v, field), reverse=descending)
            query = TokenPageQuery(
                organization="org_1", filter=token_filter, field=field, descending=descending, after=None, limit=13
            )
            assert await walk(pool, query) == expected
            assert await count_tokens(pool, "org_1", token_filter) == len(expected)


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("largest", [1, 2], ids=["one organization", "one large among many small"])
async def test_a_page_walks_its_index_wherever_it_is(database: Database, mode: str, largest: int) -> None:
    """Whatever the plan is made from, a page starts at the cursor in an index and sorts nothing."""
    async with database.owner() as owner:
        await owner.execute(FILL.replace("%", str(largest)))
        await owner.execute("analyze tokens_v2")
        await owner.execute("analyze token_last_used_v1")
        await owner.execute(f"set plan_cache_mode = {mode}")
        row = await owner.fetchrow("select * from tokens where organization = 'org_large' order by md5(id) limit 1")
        assert row is not None
        for (field, _), statement in PAGES.items():
            value = row["name"] if field is TokenOrderField.NAME else START
            arguments = ["org_large", value, row["id"], 51, *TokenFilter().arguments()]
            plan = await explained(owner, statement, arguments)
            assert "Index Cond: ((organization = " in plan
            assert "AND (ROW(" in plan
            for costly in ("Sort", "Bitmap", "Seq Scan", "Hash", "Gather"):
                assert costly not in plan, plan


FILL = """
    with filled as (
        insert into tokens
        select 'tok_' || i, case when mod(i, %) = 0 then 'org_large' else 'org_' || i / 50 end, 'API_TOKEN',
            md5(i::text), 'hint', '{}', null, now() - make_interval(secs => i), 'MEMBER', 'mem_1', null, 0
        from generate_series(1, 20000) i
        order by md5(i::text)
        returning id, organization
    )
    insert into token_last_used select id, organization, 0, null, 0, null, null from filled
"""


async def explained(owner: Connection, statement: Statement, arguments: Sequence[object]) -> str:
    """Explain a statement with arguments, as the plan mode of the connection has it planned."""
    name = statement.name.rpartition(".")[2]
    # asyncpg calls an array type `text[]`, which is also how SQL writes it.
    types = ", ".join(parameter.name for parameter in (await owner.prepare(statement.text)).get_parameters())
    values = ", ".join("null" if value is None else f"'{value or '{}'}'" for value in arguments)
    await owner.execute(f"prepare {name} ({types}) as {statement.text}")
    return "\n".join(row[0] for row in await owner.fetch(f"explain execute {name} ({values})"))
