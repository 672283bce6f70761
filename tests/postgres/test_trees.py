"""The trees of the log: however they grow, they are the trees of what the log holds, and what they hold stays."""

import asyncio
from collections import defaultdict
from random import Random

import asyncpg
import pytest

from events.merkle import Frontier, verify_consistency, verify_inclusion
from events.statement import Connection, Pool
from events.tiles import TilesMissingError
from events.tree_growth import TreesStoppedError, grow
from events.trees import OPERATOR, prove_consistency, prove_inclusion, prove_inclusions, root_at, tree_size
from events.writer import LogWriter
from tests.postgres.appends import decided
from tests.postgres.conftest import Database

ORGANIZATIONS = ("org_1", "org_2", "org_3")


async def append(database: Database, sizes: list[tuple[str, int]]) -> None:
    """Append so many events of one organization after the other."""
    async with LogWriter(database.connect, partition_size=10_000) as writer:
        for number, (organization, events) in enumerate(sizes):
            await writer.append(decided(f"tok_{number}_{id(sizes)}", organization=organization, events=events))


async def grow_to_head(pool: Pool, *, batch: int) -> None:
    """Let the trees grow as a process does until they hold the log, whoever else does so too."""
    async with asyncio.timeout(20):
        while await tree_size(pool, OPERATOR) < await pool.fetchval("select position from log_head"):
            await grow(pool, batch=batch)


async def from_scratch(connection: Connection) -> dict[str, Frontier]:
    """Compute the trees of what the log holds, leaf by leaf."""
    trees: defaultdict[str, Frontier] = defaultdict(Frontier)
    for row in await connection.fetch("select organization, leaf_hash from events order by position"):
        trees[OPERATOR].add(row["leaf_hash"])
        trees[row["organization"]].add(row["leaf_hash"])
    return trees


async def test_processes_grow_the_same_trees(database: Database) -> None:
    """While others append, two processes grow in batches of any size: every tree is the one computed from the log."""
    random = Random(4)
    async with database.pool() as one, database.pool() as two, database.owner() as owner:
        for _ in range(3):
            sizes = [(random.choice(ORGANIZATIONS), random.choice((1, 3, 64, 90))) for _ in range(12)]
            await asyncio.gather(
                append(database, sizes),
                *[grow_to_head(pool, batch=random.choice((1, 5, 64, 150))) for pool in (one, two)],
            )
            await asyncio.gather(*[grow_to_head(pool, batch=70) for pool in (one, two)])
        for tree, frontier in (await from_scratch(owner)).items():
            assert await tree_size(one, tree) == frontier.size
            assert await root_at(one, tree, frontier.size) == frontier.root()


async def test_proofs_come_from_tiles_alone(database: Database) -> None:
    """Random inclusion and consistency proofs verify, one statement each; what is beyond the tree is an error."""
    random = Random(5)
    async with database.pool(size=1) as pool, database.owner() as owner:
        await append(database, [("org_1", 90), ("org_2", 400)])
        await grow_to_head(pool, batch=64)
        leaves = [row["leaf_hash"] for row in await owner.fetch("select leaf_hash from events order by position")]
        for _ in range(10):
            size = random.randint(1, len(leaves))
            index, old, root = random.randrange(size), random.randint(0, size), await root_at(pool, OPERATOR, size)
            proof = await prove_inclusion(pool, OPERATOR, index, size)
            assert verify_inclusion(leaves[index], index, size, proof, root)
            proof = await prove_consistency(pool, OPERATOR, old, size)
            assert verify_consistency(old, size, await root_at(pool, OPERATOR, old), root, proof)
        proofs = await prove_inclusions(pool, "org_2", range(400), 400)
        root = await root_at(pool, "org_2", 400)
        assert all(verify_inclusion(leaves[90 + i], i, 400, proof, root) for i, proof in enumerate(proofs))
        for tree, size in ((OPERATOR, 491), ("org_1", 91), ("org_unknown", 1)):
            with pytest.raises(TilesMissingError):
                await root_at(pool, tree, size)


async def test_a_process_that_dies_leaves_nothing_half_done(database: Database) -> None:
    """A batch whose process is cut off before its end is not there at all, and the next one takes it in."""
    async with database.pool() as pool, database.owner() as owner:
        await append(database, [("org_1", 100)])
        await owner.execute("alter table trees add constraint crash check (size < 100) not valid")
        with pytest.raises(asyncpg.CheckViolationError):
            await grow(pool)
        assert await pool.fetchval("select count(*) from tree_tiles") == 0
        await owner.execute("alter table trees drop constraint crash")
        await grow_to_head(pool, batch=1000)
        assert await root_at(pool, "org_1", 100) == (await from_scratch(owner))["org_1"].root()


HARM = {
    "delete from events where position = 70": (70, "the event is missing"),
    "update events set position = 999 where position = 71": (71, "the event is missing"),
    "update events set position = 71 where position = 70": (70, "the event is missing"),
    "insert into events (is_usage, position, organization, organization_position, recorded_at, occurred_at, type,"
    " subject, actor, entry) select is_usage, position, organization, organization_position, recorded_at, occurred_at,"
    " type, subject, actor, '' from events where position = 80": (80, "there is more than one event"),
    "update events set organization = 'org_2' where position = 75": (
        75,
        "the event is number 75 of its organization's history, and number 1 is next",
    ),
    "update log_head set position = 64": (65, "the log ends before it, and its tree holds 66 events"),
}


@pytest.mark.parametrize(("harm", "found"), HARM.items(), ids=[text for _, text in HARM.values()])
async def test_a_gap_stops_growth(database: Database, harm: str, found: tuple[int, str]) -> None:
    """What is missing, moved or there twice stops the trees, again and again, and is named by its position."""
    async with database.pool() as pool, database.owner() as owner:
        await append(database, [("org_1", 66)])
        await grow_to_head(pool, batch=1000)
        await append(database, [("org_1", 20)])
        await owner.execute("alter table events_decisions_1 disable trigger all")
        await owner.execute(harm)
        for _ in range(2):
            with pytest.raises(TreesStoppedError, match=found[1]) as stopped:
                await grow(pool)
            assert stopped.value.position == found[0]
        assert await tree_size(pool, OPERATOR) == 66


async def test_tiles_out_of_step_stop_growth(database: Database) -> None:
    """A tile that is not as long as its tree says is never added to."""
    async with database.pool() as pool, database.owner() as owner:
        await append(database, [("org_1", 10)])
        await grow_to_head(pool, batch=1000)
        await owner.execute("update tree_tiles set hashes = hashes || hashes where tree = 'org_1'")
        await append(database, [("org_1", 10)])
        with pytest.raises(AssertionError, match="not as long"):
            await grow(pool)


KEPT = {
    "trees": ("size = size - 1", "tree = 'x'"),
    "tree_tiles": ("hashes = substr(hashes, 33)", "hashes = sha256('') || substr(hashes, 33)", "tile = tile + 1"),
    "checkpoints": ("text = ''", "size = 2"),
    "generations": ("restored_size = 2",),
}


async def test_what_is_kept_stays(database: Database) -> None:
    """Not even the owner shortens a tile or a tree, changes a hash, or removes what was signed."""
    async with database.pool() as pool, database.owner() as owner:
        await append(database, [("org_1", 3)])
        await grow_to_head(pool, batch=1000)
        await owner.execute("insert into checkpoints values ('', 1, 1, 'k', sha256(''), 'signed')")
        assert await owner.fetchval("select begin_generation(1, 2, 1, sha256(''))")
        assert not await owner.fetchval("select begin_generation(1, 3, 1, sha256(''))")
        for table, changes in KEPT.items():
            statements = [f"update {table} set {change}" for change in changes]
            for statement in (*statements, f"delete from {table}", f"truncate {table}"):
                with pytest.raises(asyncpg.RestrictViolationError):
                    await owner.execute(statement)
