"""Clients that follow the history over WebSocket, leave when they like, and resume after what they saw last."""

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiohttp import ClientWebSocketResponse, WSMsgType

from service import embedded_postgres
from tests.replay.load import NOT_NOW, Target

FOLLOW: Final = """
subscription($after: String, $from: String) {
  events(after: $after, afterPosition: $from) { cursor node { id position } }
}
"""
HISTORY: Final = """
select array_agg(convert_from(entry, 'UTF8')::json ->> 'event_id' order by organization_position) from events
where organization = (select organization from events order by position limit 1)
"""
PROTOCOL: Final = "graphql-transport-ws"
GONE: Final = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})


class GoneError(Exception):
    """The connection ended."""


async def history(data_dir: Path) -> list[str]:
    """Read the ids of all events of the first organization in order."""
    postgres = await asyncio.to_thread(embedded_postgres.start, data_dir)
    try:
        connection = await asyncpg.connect(postgres.owner_dsn)
        try:
            return list(await connection.fetchval(HISTORY))
        finally:
            await connection.close()
    finally:
        await asyncio.to_thread(postgres.release)


@dataclass(slots=True, kw_only=True)
class Follower:
    """One client: what it saw, in the order in which it came."""

    target: Target
    rng: random.Random
    seen: list[str] = field(default_factory=list)
    """The ids of the events."""
    positions: list[int] = field(default_factory=list)
    cursor: str | None = None
    connections: int = 0

    async def run(self, stopping: asyncio.Event, *, most: int | None = None) -> None:
        """Follow, leave and come back until told to stop, or for that many connections."""
        while not stopping.is_set() and (most is None or self.connections < most):
            await self.target.serving.wait()
            await self.once(self.rng.randrange(40), longest_s=self.rng.uniform(0.01, 0.2))

    async def until(self, position: int) -> None:
        """Follow until an event is seen."""
        while not self.positions or self.positions[-1] < position:
            await self.target.serving.wait()
            await self.once(1_000_000, longest_s=1.0)

    async def once(self, events: int, *, longest_s: float) -> None:
        """Connect, take at most that many events for at most that long, and leave without a word."""
        try:
            async with self.target.session.ws_connect(f"{self.target.url}/graphql", protocols=(PROTOCOL,)) as socket:
                await self._subscribe(socket)
                self.connections += 1
                try:
                    async with asyncio.timeout(longest_s):
                        for _ in range(events):
                            self._take(await self._message(socket))
                finally:
                    if socket._response.connection is not None:
                        socket._response.connection.close()
        except (GoneError, *NOT_NOW):
            await asyncio.sleep(0.01)

    async def _subscribe(self, socket: ClientWebSocketResponse) -> None:
        await socket.send_json({"type": "connection_init", "payload": {"X-API-Key": self.target.key}})
        async with asyncio.timeout(5):
            assert (await self._message(socket))["type"] == "connection_ack"
        variables = {"from": "0"} if self.cursor is None else {"after": self.cursor}
        payload = {"query": FOLLOW, "variables": variables}
        await socket.send_json({"type": "subscribe", "id": "1", "payload": payload})

    async def _message(self, socket: ClientWebSocketResponse) -> dict[str, Any]:
        while True:
            message = await socket.receive()
            if message.type in GONE:
                raise GoneError
            answer: dict[str, Any] = message.json()
            if answer["type"] != "ping":
                return answer
            await socket.send_json({"type": "pong"})

    def _take(self, message: dict[str, Any]) -> None:
        assert message["type"] == "next", message
        edge = message["payload"]["data"]["events"]
        self.cursor = edge["cursor"]
        self.seen.append(edge["node"]["id"])
        self.positions.append(int(edge["node"]["position"]))
