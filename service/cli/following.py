"""Following the history: printing what there is, and going on as events come. Must never skip or repeat one.

What is told on the channel only wakes: the log is read after a position, in order, at the latest at every poll.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import click

from events.log import Following, read_between, read_end
from events.statement import Pool
from projections.runner import happens
from service.availability import UNAVAILABLE
from service.cli.event_lines import Line
from service.cli.output import Output
from service.lease_keeper import Connect, connected
from service.tail import CHANNEL

POLL_S: Final = 1.0
RECONNECT_PAUSE_S: Final = 0.5
SPAN: Final = 2000
"""Positions read at once."""


@dataclass(slots=True, kw_only=True)
class Reading:
    """Prints events in order; knows how far it is."""

    pool: Pool
    following: Following
    line: Line
    output: Output
    position: int
    left: int | None
    """How many events may still be printed; None: any number."""

    async def to_the_end(self) -> None:
        """Print what there is from the position on. Raises ClickException where there is no such position."""
        end = await read_end(self.pool, self.following)
        if end < self.position:
            raise click.ClickException(f"there is no position {self.position}: the history ends at {end}")
        while self.position < end and self.left != 0:
            until = min(self.position + SPAN, end)
            rows = await read_between(self.pool, self.following, after=self.position, until=until)
            shown = rows[: self.left]
            await self.output.write(b"".join([self.line(row) for row in shown]))
            self.position = until
            if self.left is not None:
                self.left -= len(shown)


async def follow(reading: Reading, connect: Connect) -> None:
    """Print events as they come. While the database is away nothing is printed; then it goes on where it was."""
    async with woken(connect) as grown:
        is_away = False
        while reading.left != 0:
            grown.clear()
            try:
                await reading.to_the_end()
            except UNAVAILABLE as error:
                if not is_away:
                    click.echo(f"the database went away ({type(error).__name__}): waiting for it", err=True)
                is_away = True
            else:
                if is_away:
                    click.echo(f"the database is back: nothing is missing up to {reading.position}", err=True)
                is_away = False
            reading.output.check()
            if reading.left != 0:
                await happens(grown, within_s=POLL_S)


@asynccontextmanager
async def woken(connect: Connect) -> AsyncIterator[asyncio.Event]:
    """Set an event whenever it is told that the log has grown. Nobody may rely on it: what is told can be lost."""
    grown = asyncio.Event()
    listening = asyncio.create_task(listen(connect, grown), name="listen")
    try:
        yield grown
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def listen(connect: Connect, grown: asyncio.Event) -> None:
    """Listen, on one connection after another."""
    while True:
        with suppress(*UNAVAILABLE):
            async with connected(connect) as connection:
                is_lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=is_lost: lost.set())
                await connection.add_listener(CHANNEL, lambda *_: grown.set())
                await is_lost.wait()
        await asyncio.sleep(RECONNECT_PAUSE_S)
