"""A rebuild that is stopped, anywhere and by anything, is gone on with, and what it ends in is the live read model."""

import asyncio
import json
import os
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from operator import itemgetter
from typing import Any, TypeAlias

import asyncpg
import pytest

from events.envelope import Position
from events.log import follow_to_head
from events.statement import Connection, DriverPool
from events.tokens import TokenState
from projections import filling, rebuild, switching
from projections.definition import definition_of
from projections.projection import Foldable
from projections.read_models import FOLLOWING, READ_MODELS
from projections.rebuild import opened, silently
from projections.rebuilding import Phase, Progress, RebuildError
from projections.runner import advance_once
from projections.token_row import TOKENS
from tests.postgres.conftest import Database, History
from tests.postgres.processes import PATIENCE_S, ROOT, line_of
from tests.postgres.test_rebuild import contents, created, live, next_event, use

GONE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
States: TypeAlias = dict[str, TokenState]
MOST_WRITES = 300
READ_ALL = "select position, (select array_agg(t) from tokens t) from log_head"
WAITS_FOR_VIEW = """
    select exists (
        select from pg_locks where relation = 'tokens'::regclass and mode = 'AccessExclusiveLock' and not granted)
"""


@asynccontextmanager
async def rebuilding(database: Database, name: str, *, step: int) -> AsyncIterator[Process]:
    """Rebuild in a process of its own, killed at the end of the block if not before."""
    arguments = ("-m", "tests.postgres.rebuilding_process", name, database.owner_dsn, str(step))
    running = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT, stdout=PIPE)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def said(running: Process) -> Any:  # noqa: ANN401 -- whatever JSON holds
    """Read what the process says next."""
    return json.loads(await line_of(running))


async def test_killed_again_and_again_it_goes_on_where_it_was(database: Database) -> None:
    """Processes killed -9 at random steps of each phase, under appends: none begins anew, the last ends as live."""
    rng = random.Random(5)
    async with database.owner() as owner, database.pool() as pool, database.history() as history:
        await live(history, rng, events=250)
        reached = events = 0
        for phase in (Phase.FILL, Phase.FILL, Phase.INDEX, Phase.FOLLOW):
            async with rebuilding(database, "token_last_used", step=7) as running:
                steps = rng.randrange(1, 4)
                while steps:
                    at, events, before = await said(running)
                    assert before >= reached
                    steps -= at == phase
                running.send_signal(signal.SIGKILL)
                reached = events
                await use_often(history, rng, count=260 if phase is Phase.INDEX else 5)
        async with rebuilding(database, "token_last_used", step=1000) as running:
            while isinstance(last := await said(running), list):
                assert last[0] == Phase.FOLLOW
        assert last["resumed"] >= reached > 100
        await settle_and_compare(owner, pool, "token_last_used")


async def use_often(history: History, rng: random.Random, *, count: int) -> None:
    """Append so many uses of tokens at once."""
    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            token = rng.choice(list(history.tokens.values()))
            tasks.create_task(history.used(use(token.id, history, rng), organization=token.organization))


async def settle_and_compare(owner: Connection, pool: DriverPool, name: str) -> None:
    """Follow the log to its head, and compare with a rebuild that nothing disturbs."""
    for following in FOLLOWING:
        while await advance_once(pool, following, batch=1000):
            pass
    rows = await contents(owner, name)
    await rebuild.rebuild(owner, name)
    assert await contents(owner, name) == rows != []


async def test_it_goes_on_after_postgresql_was_killed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server process killed -9 takes all of PostgreSQL down; what was committed by then is gone on with."""
    monkeypatch.setattr(filling, "CHUNK", 10)
    rng = random.Random(6)
    async with database.owner() as owner:
        name = await owner.fetchval("select current_database()")
        await owner.execute(f"alter database {name} set synchronous_commit = on")  # a crash forgets nothing of it
    async with database.history() as history:
        await live(history, rng, events=200)
    connection = await asyncpg.connect(database.owner_dsn)
    backend = connection.get_server_pid()

    def kill(progress: Progress) -> None:
        if progress.events > 50:
            os.kill(backend, signal.SIGKILL)

    try:
        with pytest.raises(GONE):
            await rebuild.rebuild(connection, "tokens", on_progress=kill)
    finally:
        connection.terminate()
        await recovered(database)
    async with database.owner() as owner:
        rows = await contents(owner, "tokens")
        report = await rebuild.rebuild(owner, "tokens")
        assert await contents(owner, "tokens") == rows
        assert report.rows == len(rows) > 0


async def recovered(database: Database) -> None:
    """Wait until the server lets somebody in again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                connection = await asyncpg.connect(database.owner_dsn)
            except GONE:
                await asyncio.sleep(0.02)
            else:
                await connection.close()
                return


async def test_another_definition_or_the_word_starts_anew(database: Database) -> None:
    """What another definition began is dropped, and so is any when told to; the definitions differ by their code."""
    rng = random.Random(7)
    seen: list[Progress] = []
    async with database.owner() as owner, database.history() as history:
        await live(history, rng, events=60)
        for restart, resumes, outdated in ((False, None, True), (True, None, False), (False, Phase.INDEX, False)):
            work = await opened(owner, TOKENS, restart=True, on_progress=silently)
            await filling.fill(work)
            await owner.execute(
                "update rebuilds set definition = case when $1 then 'older' else definition end", outdated
            )
            seen.clear()
            await rebuild.rebuild(owner, "tokens", restart=restart, on_progress=seen.append)
            assert (seen[0].start.resumes, seen[0].start.outdated) == (resumes, outdated)
            assert seen[-1].events == seen[-1].expected > 0
    words = {definition_of(projection) for projection in READ_MODELS.values()}
    assert len(words) == len(READ_MODELS)
    assert definition_of(replace(TOKENS, types=frozenset())) not in words
    assert definition_of(replace(TOKENS, evolve=slow)) not in words


def slow(state: TokenState | None, recorded: Foldable) -> TokenState:
    """Fold like the real one, after longer than the switch may take."""
    time.sleep(0.3)
    return TOKENS.evolve(state, recorded)


async def test_a_program_that_stops_in_the_switch_holds_nobody_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends the switch when its program does not go on; then appends do, and so does the next rebuild."""
    monkeypatch.setattr(switching, "LONGEST_STEP_MS", 100)
    rng = random.Random(8)
    async with database.owner() as owner, database.history() as history:
        work = await opened(owner, TOKENS, restart=False, on_progress=silently)
        await filling.fill(work)
        await filling.index(work)
        await history.token(created("tok_1", rng))
        work.projection = replace(TOKENS, evolve=slow)
        with pytest.raises(GONE):
            await switching.switch(work)
        await history.token(created("tok_2", rng))
    async with database.owner() as owner:
        rows = await contents(owner, "tokens")
        assert len(rows) == 2
        assert (await rebuild.rebuild(owner, "tokens")).rows == 0
        assert await contents(owner, "tokens") == rows


async def test_a_long_query_delays_the_switch_not_the_appends(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The switch gives way to whoever waits behind it, tries again, gives up in the end, and is gone on with later."""
    monkeypatch.setattr(switching, "PAUSES_S", (0.01, 0.01))
    rng = random.Random(9)
    async with database.owner() as owner, database.owner() as reader, database.history() as history:
        await history.token(created("tok_1", rng))
        async with reader.transaction():
            await reader.execute("select from tokens")
            given_up = asyncio.create_task(rebuild.rebuild(owner, "tokens"))
            while not await reader.fetchval(WAITS_FOR_VIEW):
                pass
            began = time.perf_counter()
            await history.token(created("tok_2", rng))
            waited_s = time.perf_counter() - began
            with pytest.raises(RebuildError, match="long queries hold it"):
                await given_up
        assert waited_s < 2 * switching.LONGEST_LOCK_WAIT_MS / 1000 + 0.5
        report = await rebuild.rebuild(owner, "tokens")
        assert (report.rows, await owner.fetchval("select count(*) from tokens")) == (1, 2)
        assert report.locked_s < switching.LONGEST_STEP_MS / 1000


async def test_readers_see_only_states_that_the_log_had(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read all through three rebuilds, under four writers, `tokens` is each time what the log up to its head says."""
    monkeypatch.setattr(filling, "CHUNK", 50)
    reads: list[tuple[Position, States]] = []
    async with database.owner() as owner, database.pool() as pool, database.history() as history:
        await live(history, random.Random(0), events=100)
        is_rebuilt = asyncio.Event()

        async def write(name: str) -> None:
            rng = random.Random(name)
            for number in range(MOST_WRITES):
                token_id = f"tok_{name}_{number // 3}"
                await history.token(next_event(token_id, history, rng) if number % 3 else created(token_id, rng))
                if is_rebuilt.is_set():
                    return

        async def read() -> None:
            while not is_rebuilt.is_set():
                for position, rows in await pool.fetch(READ_ALL):
                    reads.append((position, {row["id"]: TOKENS.state(row) for row in rows}))

        async with asyncio.TaskGroup() as tasks:
            for name in "abcd":
                tasks.create_task(write(name))
            for _ in range(2):
                tasks.create_task(read())
            locked_s = [(await rebuild.rebuild(owner, "tokens")).locked_s for _ in range(3)]
            is_rebuilt.set()
        assert max(locked_s) < switching.LONGEST_STEP_MS / 1000
        await check(pool, reads)


async def check(pool: DriverPool, reads: list[tuple[Position, States]]) -> None:
    """Compare each read with the log, folded up to the position that was read with it."""
    states: States = {}
    reads.sort(key=itemgetter(0), reverse=True)
    async for recorded in follow_to_head(pool, Position(0)):
        if (token_id := TOKENS.key(recorded.event)) is not None:
            states[token_id] = TOKENS.evolve(states.get(token_id), recorded)
        while reads and reads[-1][0] == recorded.position:
            assert reads.pop()[1] == states
    assert reads == []
