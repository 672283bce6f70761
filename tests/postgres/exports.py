"""A log that can be exported: appends of two organizations, an exporter with its key, and what verifying says."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from events.checkpoint import parse_verifier_key
from events.export import Asked
from events.export_format import ExportError, Manifest
from events.writer import LogWriter
from service.export_files import open_output
from service.export_reader import open_export, read_checkpoint
from service.exporting import Exporter
from service.log_verifier import Trust, verify_export
from tests.postgres.appends import decided, observed
from tests.postgres.conftest import Database
from tests.postgres.logs import durable_pool, signer_of

ALL = Asked(None, None, None)
OURS, THEIRS = "org_ours", "org_theirs"
PART = 64
numbers = itertools.count()


@asynccontextmanager
async def exporter(database: Database, data_dir: Path) -> AsyncIterator[Exporter]:
    """Start as `entri export` does; parts and blocks are small."""
    async with durable_pool(database) as pool:
        signer, _ = await signer_of(pool, data_dir)
        yield Exporter(signer, part_size=PART)


async def fill(database: Database, rounds: int) -> None:
    """Append 20 events a round: of two organizations, decisions and usage in turn."""
    async with LogWriter(database.connect, partition_size=1_000) as writer:
        for number in itertools.islice(numbers, rounds):
            for organization in (OURS, THEIRS):
                name = f"tok_{organization}_{number}"
                await writer.append(decided(name, organization=organization, events=6))
                await writer.append(observed(name, organization=organization, events=4))


async def export(exporting: Exporter, path: Path, asked: Asked = ALL) -> Manifest:
    """Export into a file or directory."""
    with open_output(path) as output:
        return await exporting.export(asked, output, unseen)


def verdict(path: Path, *, key: str | None = None, kept: Path | None = None) -> str:
    """Verify an export as an auditor does: `OK`, or what is wrong."""
    trusted = () if key is None else (parse_verifier_key(key),)
    trust = Trust(keys=trusted, kept=None if kept is None else read_checkpoint(kept))
    try:
        with open_export(path) as reading:
            verify_export(reading, trust, unseen)
    except ExportError as error:
        return str(error)
    return "OK"


def contents(path: Path) -> dict[str, bytes]:
    """Read an export whole: its files by name."""
    return (
        {each.name: each.read_bytes() for each in path.iterdir()} if path.is_dir() else {path.name: path.read_bytes()}
    )


def unseen(*_: object) -> None:
    """Show progress to nobody."""
