"""Migrations apply once, in order, and refuse a database that is not what they left."""

import asyncpg
import pytest

from events.migrate import MigrationError, migrate, migrations
from tests.postgres.conftest import LAYERS, Database


async def test_everything_is_applied_once(empty_database: Database) -> None:
    """A second start of the same program finds nothing to apply."""
    async with empty_database.owner() as owner:
        applied = await migrate(owner, LAYERS)
        again = await migrate(owner, LAYERS)
    assert applied == tuple(f"{migration.package}/{migration.name}" for migration in migrations(LAYERS))
    assert again == ()


async def test_an_edited_migration_is_refused(database: Database) -> None:
    """A file that changed after it was applied is named, not silently skipped."""
    async with database.owner() as owner:
        await owner.execute("update schema_migrations set checksum = '\\x00' where name = '0001_log.sql'")
        with pytest.raises(MigrationError, match=r"events\.migrations/0001_log\.sql was changed"):
            await migrate(owner, LAYERS)


async def test_a_newer_database_is_refused(database: Database) -> None:
    """A program older than the database does not touch it and says what it lacks."""
    async with database.owner() as owner:
        await owner.execute("insert into schema_migrations values ('events.migrations', '9999_future.sql', '\\x00')")
        with pytest.raises(
            MigrationError, match=r"newer than this program: it has events\.migrations/9999_future\.sql"
        ):
            await migrate(owner, LAYERS)


async def test_a_migration_that_fails_leaves_nothing(empty_database: Database) -> None:
    """All that is missing is applied in one transaction."""
    async with empty_database.owner() as owner:
        await owner.execute("create table tokens_v2 (in_the_way integer)")
        with pytest.raises(asyncpg.DuplicateTableError):
            await migrate(owner, LAYERS)
        tables = await owner.fetch("select relname from pg_class where relnamespace = 'public'::regnamespace")
    assert [row["relname"] for row in tables] == ["tokens_v2"]
