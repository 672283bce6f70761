"""Conflicts: of all who decide at one version, in all processes, exactly one is right."""

from collections import Counter

from events.envelope import StreamId
from events.log import read_stream
from tests.postgres.conftest import Database
from tests.postgres.processes import processes

VERSIONS = 150


async def test_each_version_has_one_winner(database: Database) -> None:
    """Sixteen callers in two processes want every version of one stream: each is won once, and in the log as won."""
    async with processes(database, 2, work="race", callers=8, versions=VERSIONS) as racers:
        racers.begin()
        results = await racers.results()
    won = [(version, event_id) for result in results for version, event_id in result]
    assert Counter(version for version, _ in won) == dict.fromkeys(range(1, VERSIONS + 1), 1)
    async with database.pool() as pool:
        stream = await read_stream(pool, StreamId("token-tok_raced"))
    assert [(event.version, event.event_id) for event in stream] == sorted(won)
    assert all(results), "one process won nothing: the race was none"
