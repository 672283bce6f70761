"""A database that is put back to an earlier state, as an operator does: the service notices, and says so."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from events.log import read_head
from events.token_kinds import TokenKind
from events.tokens import CreateToken
from events.trees import OPERATOR, root_at
from service.authorization import operator
from service.core import Core, open_core
from service.cursors import Cursors, ExpiredCursorError
from service.log_key import verify
from service.settings import load
from service.tree_keeper import TreeKeeper
from tests.places import data_directory

ORGANIZATION = "org_01jd0000000000000000000000"


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Name a data directory that is not there yet."""
    with data_directory() as path:
        yield path


@asynccontextmanager
async def serving(data_dir: Path) -> AsyncIterator[Core]:
    """Run what keeps the log on the embedded PostgreSQL, and stop it in order."""
    async with open_core(load({}, {"data_dir": str(data_dir)})) as core, TreeKeeper(core.signer, core.host):
        yield core


async def work(core: Core, tokens: int) -> int:
    """Make some tokens; answers how long the log is."""
    for number in range(tokens):
        command = CreateToken(token_id="", kind=TokenKind.API_TOKEN, name=f"token {number}", hint="", scopes=())
        await core.commands.create(operator(ORGANIZATION), command)
    return await read_head(core.pool)


async def test_a_file_copy_that_is_put_back(data_dir: Path) -> None:
    """After a copy from before is put back a generation begins, once, and what was signed still proves its part."""
    cluster, copy = data_dir / "postgresql", data_dir.parent / "copy"
    async with serving(data_dir) as core:
        before = await work(core, 3)
    shutil.copytree(cluster.resolve(), copy, symlinks=True)
    async with serving(data_dir) as core:
        lost = await work(core, 4)
        cursor = Cursors(installation=core.installation, organization=ORGANIZATION).of_event(lost)
    old = core.signer.key.verifier_key(core.installation.origin().text)
    known = verify((data_dir / "log-checkpoint").read_text(), old)
    assert (before, lost, known.size) == (3, 7, 7)

    owner = cluster.stat()
    shutil.rmtree(cluster.resolve())
    copy.rename(cluster.resolve())
    for path in (cluster.resolve(), *cluster.resolve().rglob("*")):
        shutil.chown(path, owner.st_uid, owner.st_gid)

    with structlog.testing.capture_logs() as lines:
        async with serving(data_dir) as core:
            assert core.installation.generation == 2
            assert core.installation.origin().text == f"{known.origin}/2-7-{known.root.hex()}"
            with pytest.raises(ExpiredCursorError):
                Cursors(installation=core.installation, organization=ORGANIZATION).event_position(cursor)
            assert await work(core, 9) == 12
    assert [line["found"] for line in lines if line["event"] == "log_restored"] == ["the log ends at 3"]
    async with serving(data_dir) as core:
        assert core.installation.generation == 2
        new = core.signer.key.verifier_key(core.installation.origin().text)
        assert verify((data_dir / "log-checkpoint").read_text(), new).size == 12
        assert await root_at(core.pool, OPERATOR, 7) != known.root
