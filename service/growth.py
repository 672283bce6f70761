"""Tells that the log has grown: this process at once, the others soon and not often. Must never say more than that.

A notification takes a lock at its commit that the whole cluster shares, so it is sent outside of appends: at once after
a pause, and once in a while as long as the log keeps growing. One that is lost costs whoever waits for it its poll.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Self

import structlog

from events.statement import load
from projections.runner import stopped
from service.lease_keeper import Connect, connected

WAKE_FOLLOWERS: Final = load("service.statements", "wake_followers")
INTERVAL_S: Final = 0.01
LIMIT_S: Final = 1.0
RECONNECT_PAUSE_S: Final = 0.1

log = structlog.get_logger(__name__)


class Growth:
    """Owns a connection, and the task that notifies the others on it."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._grown = asyncio.Event()
        self._here: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to notify."""
        self._task = asyncio.create_task(self._run(), name="growth")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await stopped(self._task)

    def on_growth(self, callback: Callable[[], None]) -> None:
        """Call in this process, whenever it has made the log longer."""
        self._here.append(callback)

    def log_grew(self) -> None:
        """Tell that this process has made the log longer."""
        self._grown.set()
        for callback in self._here:
            callback()

    async def _run(self) -> None:
        while True:
            try:
                # It writes no row: nothing of it needs to be flushed.
                async with connected(self._connect, synchronous_commit="off") as connection:
                    while True:
                        await self._grown.wait()
                        self._grown.clear()
                        async with asyncio.timeout(LIMIT_S):
                            await connection.execute(WAKE_FOLLOWERS.text)
                        await asyncio.sleep(INTERVAL_S)
            except Exception as error:  # noqa: BLE001 -- whatever it was, who waits has a poll
                log.debug("followers_not_woken", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_PAUSE_S)
