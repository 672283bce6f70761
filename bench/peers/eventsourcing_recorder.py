"""The PostgreSQL recorder of the `eventsourcing` package, in its default, order-safe mode.

`PostgresApplicationRecorder.insert_events` locks its table against other writers until it has committed, so that
notification ids are in commit order: one flush an event. Each thread has a connection of the pool to itself, which is
more than the package's own defaults give it (5, and 10 more when they are busy). Threads beyond a few only wait for
the lock and for Python's own, so it is measured with few as well.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from bench.callers import Contender
from bench.issuing import issue
from bench.server import Server
from service.authorization import Principal

if TYPE_CHECKING:
    from collections.abc import Callable


@contextmanager
def eventsourcing_recorder(
    server: Server, database: str, principals: Sequence[Principal], *, threads: Sequence[int]
) -> Iterator[list[Contender]]:
    """Make the recorder's tables and its pool of connections."""
    # Installed for benchmarks only, so not where types are checked.
    from eventsourcing.persistence import StoredEvent  # type: ignore[import-not-found]  # noqa: PLC0415
    from eventsourcing.postgres import (  # type: ignore[import-not-found]  # noqa: PLC0415
        PostgresApplicationRecorder,
        PostgresDatastore,
    )

    address = urlsplit(server.owner_dsn.format(database))
    query = parse_qs(address.query)
    datastore = PostgresDatastore(
        dbname=database,
        host=query["host"][0],
        port=query["port"][0],
        user=address.username,
        password="",
        pool_size=max(threads),
    )
    with datastore:
        recorder = PostgresApplicationRecorder(datastore)
        recorder.create_table()

        def record(number: int) -> float:
            event = issue(principals[number % len(principals)]).event
            stored = StoredEvent(originator_id=uuid4(), originator_version=1, topic=event.type, state=event.entry)
            began = time.perf_counter()
            recorder.insert_events([stored])
            return time.perf_counter() - began

        def of(count: int) -> Contender:
            return Contender(
                f"eventsourcing, {count} threads", lambda seconds: asyncio.to_thread(in_threads, record, count, seconds)
            )

        yield [of(count) for count in threads]


def in_threads(record: "Callable[[int], float]", threads: int, seconds: float) -> list[float]:
    """Let threads record for some seconds."""
    end = time.perf_counter() + seconds

    def caller(number: int) -> list[float]:
        latencies = []
        while time.perf_counter() < end:
            latencies.append(record(number))
        return latencies

    with ThreadPoolExecutor(threads) as pool:
        return [latency for latencies in pool.map(caller, range(threads)) for latency in latencies]
