"""A proxy between one process and PostgreSQL that can be slow, deaf, a black hole, or cut. Must never change a message.

It follows the messages of PostgreSQL's protocol (its documentation, "Frontend/Backend Protocol", 54.2 and 54.7), for
two faults are about messages. A `LISTEN` that was lost without a word is a connection on which no notification comes
any more, which nothing outside of the session can bring about: `deaf` drops notifications on their way, and `unlisten`
slips a real `UNLISTEN *` in between two statements of the process and keeps its answer to itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
NOTIFICATION: Final = ord("A")
READY: Final = ord("Z")
ENDS_A_QUERY: Final = frozenset(b"SQ")
UNLISTEN: Final = b"Q\x00\x00\x00\x0fUNLISTEN *\x00"
MOST_AT_ONCE: Final = 65536


@dataclass(slots=True, kw_only=True)
class Weather:
    """What a proxy does to what passes."""

    up_s: float = 0.0
    """How long what a process sends is on its way."""
    down_s: float = 0.0
    only: bytes = b""
    """Which connections are slow: those whose start-up message holds this."""
    is_deaf: bool = False
    is_black_hole: bool = False
    """Nothing arrives any more that had not been sent before, and nobody is told."""
    is_cut: bool = False
    catch: bytes | None = None
    """A message of a process that holds this is kept back, with all that comes after it."""


class Messages:
    """Cuts a stream into messages."""

    def __init__(self, *, has_startup: bool) -> None:
        self._rest = b""
        self._has_startup = has_startup

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each message that is whole; the first of a process has no type before its length."""
        data = self._rest + data
        at = 0
        while len(data) - at >= 5:
            kind = 0 if self._has_startup else 1
            size = kind + int.from_bytes(data[at + kind : at + kind + 4], "big")
            if len(data) - at < size:
                break
            yield data[at : at + size]
            at += size
            self._has_startup = False
        self._rest = data[at:]


class Delayed:
    """Writes what it is given after a while, in order."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._waiting: deque[bytes] = deque()
        self._last_s = 0.0

    def send(self, data: bytes, delay_s: float) -> None:
        """Write it, now where nothing is before it."""
        loop = asyncio.get_running_loop()
        due_s = max(self._last_s, loop.time() + delay_s)
        if delay_s == 0 and not self._waiting:
            self._write(data)
            return
        self._last_s = due_s
        self._waiting.append(data)
        loop.call_at(due_s, lambda: self._write(self._waiting.popleft()))


class Line:
    """One connection of the process."""

    def __init__(self, proxy: "Proxy", client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._up, self._down = (Delayed(self._writing(end)) for end in (server, client))
        self.ends = (client, server)
        self._startup = b""
        self._unanswered = 1
        self._is_between = True
        self._is_unlistening = False
        self.is_lost = False
        """It has lost something, and passes nothing any more."""
        self._held: list[bytes] | None = None

    @staticmethod
    def _writing(end: asyncio.StreamWriter) -> Callable[[bytes], None]:
        def write(data: bytes) -> None:
            if not end.is_closing():
                end.write(data)

        return write

    def _loses(self) -> bool:
        """Say whether what came now is lost; whoever lost something once gets nothing any more."""
        self.is_lost = self.is_lost or self._proxy.weather.is_black_hole
        return self.is_lost

    def _delay_s(self, delay_s: float) -> float:
        return delay_s if self._proxy.weather.only in self._startup else 0.0

    def sent_up(self, message: bytes) -> None:
        """Pass what the process sent."""
        self._startup = self._startup or message
        self._is_between = message[0] in ENDS_A_QUERY
        self._unanswered += self._is_between
        if self._loses():
            return
        catch = self._proxy.weather.catch
        if catch is not None and catch in message:
            self._held = self._held or []
            self._proxy.caught.set()
        if self._held is not None:
            self._held.append(message)
        else:
            self._up.send(message, self._delay_s(self._proxy.weather.up_s))

    def sent_down(self, message: bytes) -> None:
        """Pass what the server sent."""
        kind = message[0]
        if self._loses() or (kind == NOTIFICATION and self._proxy.weather.is_deaf):
            return
        if self._is_unlistening and kind != NOTIFICATION:
            self._is_unlistening = kind != READY
            return
        self._unanswered -= kind == READY
        self._down.send(message, self._delay_s(self._proxy.weather.down_s))

    def unlisten(self) -> bool:
        """End what the session listens to, if it is between two statements."""
        if self._unanswered or not self._is_between or self._is_unlistening or self._held is not None or self.is_lost:
            return False
        self._is_unlistening = True
        self._up.send(UNLISTEN, 0)
        return True

    def release(self) -> None:
        """Let go of what was kept back."""
        held, self._held = self._held, None
        for message in held or ():
            self._up.send(message, 0)

    def abort(self) -> None:
        """Break both ends."""
        for end in self.ends:
            end.transport.abort()


@dataclass(slots=True)
class Proxy:
    """The proxy of one process."""

    target: Path
    weather: Weather = field(default_factory=Weather)
    caught: asyncio.Event = field(default_factory=asyncio.Event)
    healed: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _lines: set[Line] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a port of its own choice."""
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Break everything."""
        if self._server is not None:
            self._server.close()
        self._abort()

    @property
    def url(self) -> str:
        """Write the URL for the process."""
        return f"postgresql://entri_service@{HOST}:{self.port}/entri?sslmode=disable"

    def heal(self) -> None:
        """Let everything pass; connections that lost something stay dead, and nobody is told."""
        self.weather = Weather()
        self.caught.clear()
        self.healed.set()
        for line in self._lines:
            line.release()

    def swallow(self) -> None:
        """Become a black hole for all that has not been received yet."""
        self.healed.clear()
        self.weather.is_black_hole = True

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self.weather = Weather(is_cut=True)
        self._abort()

    def bury(self) -> None:
        """Break the connections that lost something, as a peer does that is asked again."""
        for line in self._lines:
            if line.is_lost:
                line.abort()

    def unlisten(self) -> int:
        """Slip an `UNLISTEN *` into every session that is between statements, and count them."""
        return sum([line.unlisten() for line in self._lines])

    def _abort(self) -> None:
        for line in self._lines:
            line.abort()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            if self.weather.is_cut:
                raise ConnectionRefusedError
            from_server, server = await asyncio.open_unix_connection(self.target)
        except OSError:
            client.transport.abort()
            return
        line = Line(self, client, server)
        self._lines.add(line)
        up = asyncio.create_task(pump(reader, Messages(has_startup=True), line.sent_up))
        down = asyncio.create_task(pump(from_server, Messages(has_startup=False), line.sent_down))
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        down.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        if self.weather.is_black_hole:
            await self.healed.wait()  # that an end was closed does not come through either
        line.abort()
        self._lines.discard(line)


async def pump(reader: asyncio.StreamReader, messages: Messages, pass_on: Callable[[bytes], None]) -> None:
    """Read until the end."""
    with suppress(OSError):
        while data := await reader.read(MOST_AT_ONCE):
            for message in messages.feed(data):
                pass_on(message)
