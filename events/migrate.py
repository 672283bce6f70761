"""Migrations: forward only, all that are missing in one transaction. Must never edit an applied one.

A migration is a `NNNN_what.sql` in the `migrations` folder of a layer; layers go in the order they are given. What was
applied is remembered with a checksum, so a file that changed later is refused instead of silently skipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import asyncpg


class MigrationError(Exception):
    """The database is not in a state that these migrations can bring forward."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of SQL and where it comes from."""

    package: str
    name: str
    text: str

    @property
    def checksum(self) -> bytes:
        """Hash the text, to notice when an applied file was edited."""
        return sha256(self.text.encode()).digest()


def migrations(packages: Sequence[str]) -> tuple[Migration, ...]:
    """List the migrations of the packages, in the order to apply them."""
    return tuple(
        Migration(package=package, name=file.name, text=file.read_text(encoding="utf-8"))
        for package in packages
        for file in sorted(files(package).iterdir(), key=lambda entry: entry.name)
        if file.name.endswith(".sql")
    )


async def migrate(connection: asyncpg.Connection, packages: Sequence[str]) -> tuple[str, ...]:
    """Apply what is missing and name it. Raises MigrationError where the database is newer or was edited."""
    async with connection.transaction():
        await connection.execute("set local search_path = public, pg_temp")
        await connection.execute("select pg_advisory_xact_lock(4270003)")
        await connection.execute(
            "create table if not exists schema_migrations (package text, name text, checksum bytea not null,"
            " applied_at timestamptz not null default clock_timestamp(), primary key (package, name))"
        )
        await connection.execute("set local lock_timeout = '10s'")
        missing = await pending(connection, migrations(packages))
        for migration in missing:
            await connection.execute(migration.text)
            await connection.execute(
                "insert into schema_migrations (package, name, checksum) values ($1, $2, $3)",
                migration.package,
                migration.name,
                migration.checksum,
            )
    return tuple(f"{migration.package}/{migration.name}" for migration in missing)


async def pending(connection: asyncpg.Connection, known: Sequence[Migration]) -> tuple[Migration, ...]:
    """List the migrations not applied yet. Raises MigrationError where the database is newer or was edited."""
    rows = await connection.fetch("select package, name, checksum from schema_migrations")
    applied = {(row["package"], row["name"]): row["checksum"] for row in rows}
    unknown = applied.keys() - {(migration.package, migration.name) for migration in known}
    if unknown:
        names = ", ".join(sorted("/".join(key) for key in unknown))
        raise MigrationError(f"the database is newer than this program: it has {names}; start the newer program")
    for migration in known:
        if applied.get((migration.package, migration.name), migration.checksum) != migration.checksum:
            raise MigrationError(f"{migration.package}/{migration.name} was changed after it was applied")
    return tuple(migration for migration in known if (migration.package, migration.name) not in applied)
