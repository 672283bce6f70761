"""The log cannot be changed: not by the service, not by its owner, not in any partition."""

import asyncpg
import pytest

from events.statement import Connection
from events.writer import LogWriter
from tests.postgres.appends import decided, observed
from tests.postgres.conftest import Database, Server

PARTITION_SIZE = 200
RELATIONS = """
    select relid::regclass::text as name, isleaf from pg_partition_tree('events') order by level, relid::regclass::text
"""
CHANGES = (
    "update {} set actor = 'mem_forged'",
    "update {} set recorded_at = recorded_at, entry = '\\x00'",
    "update {} set position = position",
    "update {} set is_usage = not is_usage",
    "delete from {}",
    "truncate {}",
    "truncate {} restart identity cascade",
    "merge into {} e using (select 1) s on true when matched then delete",
)


@pytest.fixture
async def relations(database: Database) -> list[str]:
    """Fill a log of several partitions of both kinds; name its table, the sub-tables and every partition."""
    async with LogWriter(lambda: asyncpg.connect(database.service_dsn), partition_size=PARTITION_SIZE) as writer:
        for number in range(5):
            await writer.append(decided(f"tok_{number}", events=60))
            await writer.append(observed(f"tok_{number}", events=60))
    async with database.owner() as owner:
        rows = await owner.fetch(RELATIONS)
        for row in rows:
            if row["isleaf"] and not await owner.fetchval(f"select exists (select from {row['name']})"):
                rows = [other for other in rows if other["name"] != row["name"]]
    names = [row["name"] for row in rows]
    assert len(names) == 3 + 2 * 3
    return names


async def contents(connection: Connection) -> tuple[int, bytes]:
    """Count and hash the whole log."""
    row = await connection.fetchrow(
        "select count(*), sha256(string_agg(e::text, '|' order by position)::bytea) from events e"
    )
    assert row is not None
    return row[0], row[1]


async def refused(connection: Connection, statement: str) -> str:
    """Name the error that a statement meets."""
    try:
        await connection.execute(statement)
    except asyncpg.PostgresError as error:
        return type(error).__name__
    return "nothing"


async def test_its_owner_cannot_change_it(database: Database, relations: list[str]) -> None:
    """Triggers refuse the owner of the tables, in the table as in each partition that is named directly."""
    async with database.owner() as owner:
        before = await contents(owner)
        for change in CHANGES:
            for name in relations:
                assert await refused(owner, change.format(name)) == "RestrictViolationError", change.format(name)
        assert await contents(owner) == before


async def test_the_service_cannot_change_it(database: Database, relations: list[str]) -> None:
    """The service's role has no privilege to, before any trigger is asked."""
    service = await asyncpg.connect(database.service_dsn)
    for change in CHANGES:
        for name in relations:
            assert await refused(service, change.format(name)) == "InsufficientPrivilegeError", change.format(name)
    await service.close()


async def test_a_superuser_meets_the_triggers_too(database: Database, relations: list[str], server: Server) -> None:
    """Whoever has not switched triggers off for their session is refused, whatever their privileges."""
    name = database.owner_dsn.partition("@/")[2].partition("?")[0]
    superuser = await asyncpg.connect(server.superuser_dsn.format(name))
    for change in CHANGES:
        for relation in relations:
            assert await refused(superuser, change.format(relation)) == "RestrictViolationError", change
    await superuser.close()


INSERT = """
    insert into {} (
        is_usage, position, organization, organization_position, recorded_at, occurred_at, type, subject, actor, entry)
    values (false, 1, 'org_1', 1, now(), now(), 'TokenRevoked', 'tok_1', 'mem_1', '\\x00')
"""
FORBIDDEN = [
    *[INSERT.format(name) for name in ("events", "events_decisions", "events_decisions_1")],
    "copy events from stdin",
    "select * from events_decisions_1",
    "insert into event_index values ('evt_forged', 1, 1, 'token-tok_1', 1)",
    "update event_index set position = 0",
    "delete from event_index",
    "truncate event_index",
    "update log_head set position = 0",
    "delete from log_head",
    "update organization_heads set position = 0",
    "insert into organization_heads values ('org_forged', 1)",
    "delete from organization_heads",
    "update installation set cursor_key = '\\x00'",
    "update installation set generation = 2",
    "insert into generations values (2, 0, sha256(''), 0)",
    "update checkpoints set text = 'forged'",
    "delete from tree_tiles",
    "delete from event_partitions",
    "insert into event_partitions values ('forged', false, 5, 6)",
    "select * from append_hooks",
    "insert into append_hooks values ('guard', 'forged', 'now')",
    "delete from schema_migrations",
    "insert into tokens (id) values ('tok_forged')",
    "update tokens set scopes = '{*:*}'",
    "delete from tokens",
    "update tokens_v2 set revoked_at = null",
    "delete from organizations",
    "select make_event_partition(false, 100000, 10)",
    "select register_append_hook('guard', 'forged', 'now')",
    "select append_guards('{}')",
    "select append_companion('tokens', '[]')",
    "select write_tokens('[]')",
    "select begin_rebuild('tokens', '', 0, 0)",
    "create table forged ()",
    "create schema forged",
    "create function forged() returns int language sql return 1",
    "create view forged as select 1",
    "create index forged on events (actor)",
    "create trigger forged before insert on events for each row execute function refuse_change()",
    "create policy forged on events using (false)",
    "create extension pg_trgm",
    "create role forged",
    "alter table events add column forged integer",
    "alter table events disable trigger all",
    "alter table events_decisions_1 disable trigger all",
    "alter table events_decisions detach partition events_decisions_1",
    "alter table events owner to entri_service",
    "alter function append_events security invoker",
    "alter role entri_service superuser",
    "drop table events",
    "drop table events_decisions_1",
    "drop trigger append_only_row on events_decisions_1",
    "drop function refuse_change cascade",
    "drop index events_position",
    "set role entri_owner",
    "set session authorization entri_owner",
    "set session_replication_role = replica",
    "comment on table events is 'forged'",
    "reassign owned by entri_owner to entri_service",
]


async def test_the_service_may_do_nothing_else(database: Database, relations: list[str]) -> None:
    """Around the log too, everything is closed to the service: heads, index, hooks, functions, and the schema."""
    assert "events_decisions_1" in relations
    service = await asyncpg.connect(database.service_dsn)
    for statement in FORBIDDEN:
        assert await refused(service, statement) == "InsufficientPrivilegeError", statement
    await service.close()


async def test_a_hash_cannot_be_given(database: Database, relations: list[str]) -> None:
    """The leaf hash follows from the entry: even the owner cannot write another beside it."""
    async with database.owner() as owner:
        for name in relations:
            forged = INSERT.format(name).replace("entry)", "entry, leaf_hash)").replace("'\\x00')", "'\\x00', '\\x01')")
            assert await refused(owner, forged) == "GeneratedAlwaysError"
        wrong = "select count(*) from events where leaf_hash is distinct from sha256('\\x00'::bytea || entry)"
        assert await owner.fetchval(wrong) == 0


FUNCTIONS = """
    select p.proname from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype
      and has_function_privilege('entri_service', p.oid, 'execute')
"""
TABLES = """
    select c.relname, p.privilege
    from pg_class c
    cross join unnest(array['insert', 'update', 'delete', 'truncate', 'trigger', 'references']) p (privilege)
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
      and has_table_privilege('entri_service', c.oid, p.privilege)
"""


async def test_the_service_holds_what_it_needs(database: Database) -> None:
    """Which functions it may call and which tables it may write is a closed list: a new one is thought about."""
    async with database.owner() as owner:
        functions = {row["proname"] for row in await owner.fetch(FUNCTIONS)}
        tables = {(row["relname"], row["privilege"]) for row in await owner.fetch(TABLES)}
    assert functions == {
        "append_events",
        "ensure_event_partitions",
        "why_wal_is_not_safe",
        "begin_generation",
        "hold_keys",
        "key_is_needed",
        "key_uses",
        "secret_may_work",
        "member_session_ends_at",
    }
    assert tables == {
        ("trees", "insert"),
        ("trees", "update"),
        ("tree_tiles", "insert"),
        ("tree_tiles", "update"),
        ("checkpoints", "insert"),
        ("vault_seals", "delete"),
        ("vault_data_keys", "insert"),
        ("key_holders", "insert"),
        ("key_holders", "update"),
        ("key_holders", "delete"),
        ("people", "delete"),
        ("member_sessions", "delete"),
        ("sign_in_attempts", "insert"),
        ("sign_in_attempts", "update"),
        ("sign_in_attempts", "delete"),
        ("member_sign_ins", "insert"),
        ("member_sign_ins", "update"),
        ("token_last_used", "insert"),
        ("token_last_used", "update"),
        ("revocation_log", "delete"),
        ("auth_node", "insert"),
        ("auth_node", "update"),
        ("auth_node", "delete"),
        ("usage_buffers", "insert"),
        ("usage_buffers", "update"),
        ("usage_buffers", "delete"),
        ("vault_keys", "insert"),
    }
