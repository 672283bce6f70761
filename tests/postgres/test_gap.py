"""The gap test: who reads the log while many write it sees every event once, in order, and misses none."""

import asyncio
from typing import Any

from events.entry import RecordedEvent
from events.envelope import Position
from events.log import HistoryQuery, read_after, read_history
from events.statement import Pool
from tests.postgres.conftest import Database
from tests.postgres.processes import processes

ORGANIZATIONS = 5
CALLERS = 8
COMMANDS = 600
PAGE = 64


class Tail:
    """Follows the whole log and each organization's history, from nothing on, while they grow."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.log = list[RecordedEvent]()
        self.histories = {f"org_{number}": list[RecordedEvent]() for number in range(ORGANIZATIONS)}

    async def look(self) -> int:
        """Read the next page of everything; answer how much was new."""
        page = await read_after(self._pool, self.log[-1].position if self.log else Position(0), limit=PAGE)
        self.log += page
        found = len(page)
        for organization, history in self.histories.items():
            after = history[-1].organization_position if history else 0
            query = HistoryQuery(organization=organization, after=after, limit=PAGE, newest_first=False)
            page = await read_history(self._pool, query)
            history.extend(page)
            found += len(page)
        return found

    async def follow(self, writers: asyncio.Task[list[list[Any]]]) -> int:
        """Look again and again until the writers are done and nothing is new; answer how often something was."""
        fruitful = 0
        while not writers.done():
            fruitful += bool(await self.look())
        while await self.look():
            pass
        return fruitful


async def test_a_reader_misses_nothing(database: Database) -> None:
    """Sixteen callers in two processes append for five organizations, and a reader comes along."""
    async with (
        database.pool() as pool,
        processes(
            database, 2, work="append", callers=CALLERS, commands=COMMANDS, organizations=ORGANIZATIONS
        ) as all_of,
    ):
        tail = Tail(pool)
        all_of.begin()
        writers = asyncio.create_task(all_of.results())
        fruitful = await tail.follow(writers)
        acknowledged = [command for result in await writers for command in result]
    assert len(acknowledged) == 2 * CALLERS * COMMANDS
    assert fruitful > 10, "the reader came too late to miss anything"
    assert [event.position for event in tail.log] == list(range(1, len(tail.log) + 1))
    assert_histories(tail)
    assert_acknowledged(tail, acknowledged)
    instants = [event.recorded_at for event in tail.log]
    assert instants == sorted(instants)


def assert_histories(tail: Tail) -> None:
    """Check that each organization's history is its part of the log, counted from 1."""
    for organization, history in tail.histories.items():
        part = [event for event in tail.log if event.organization == organization]
        assert history == part
        assert [event.organization_position for event in part] == list(range(1, len(part) + 1))
    assert sum(len(history) for history in tail.histories.values()) == len(tail.log)


def assert_acknowledged(tail: Tail, acknowledged: list[Any]) -> None:
    """Check that what was acknowledged is what is there: each command's events together, where it was told."""
    expected: dict[int, str] = {}
    for event_ids, last, last_of_organization in acknowledged:
        expected |= {last - behind: event_id for behind, event_id in enumerate(reversed(event_ids))}
        assert tail.log[last - 1].organization_position == last_of_organization
    assert [expected[event.position] for event in tail.log] == [event.event_id for event in tail.log]
    assert len(expected) == len(tail.log)
