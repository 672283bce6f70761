"""Clients that subscribe over WebSocket and look at little of what comes. Must never run beside what it times.

`python -m bench.subscribers` is a process of its own that reads a `Crowd` as JSON, writes a line when all have
subscribed, and a `Received` as JSON at the end. Each subscriber checks that positions follow one another; one of them
may stop reading for a while. This file imports nothing of the service. The frames are those of RFC 6455.
"""

import asyncio
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, cast

import uvloop

HOST: Final = "127.0.0.1"
QUERY: Final = "subscription ($from: String) { events(afterPosition: $from) { cursor node { %s } } }"
POSITION: Final = b'"position":"'
RECORDED: Final = b'"recordedAt":"'
ACKNOWLEDGED: Final = b'"connection_ack"'
PING, TEXT = 9, 1
LONG, LONGER = 126, 127
PATIENCE_S: Final = 300.0
SMALL_BYTES: Final = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Who subscribes, where to begin, and when it is enough."""

    port: int
    key: str
    subscribers: int
    fields: str
    """Of each event; `position` must be among them, and `recordedAt` where the time is taken."""
    begin: str | None
    """After which position; None: at the head."""
    events: int
    """How many each is to get."""
    stalls_s: float = 0.0
    """How long the last one does not read, from its first event on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What came of it, over all subscribers but the one that stalls."""

    seconds: float
    """From the first event to the last."""
    p50_ms: float
    """From when the log took an event to when it came; 0 without times."""
    p99_ms: float
    most_ms: float
    cpu_s: float
    stalled_s: float
    """From when the one that stalls read on until it had everything; 0 without one."""
    event_bytes: int
    """Of the last event that came."""


class Subscriber(asyncio.Protocol):
    """One client: owns what was received and is not a whole frame yet."""

    def __init__(self, crowd: Crowd, *, stalls_s: float) -> None:
        self.subscribed = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies_s: list[float] = []
        self.first_s = self.last_s = 0.0
        self._crowd = crowd
        self._stalls_s = stalls_s
        self.resumed_s = 0.0
        self._received = bytearray()
        self._is_open = False
        self._events = 0
        self.event_bytes = 0
        self._position: int | None = None if crowd.begin is None else int(crowd.begin)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        lines = [
            "GET /graphql HTTP/1.1",
            f"Host: {HOST}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: graphql-transport-ws",
            "",
            "",
        ]
        self._transport.write("\r\n".join(lines).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """End; before the last event that is a failure."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))
        if not self.subscribed.done():
            self.subscribed.set_exception(ConnectionError("no subscription"))

    def data_received(self, data: bytes) -> None:
        """Take the frames that are whole."""
        self._received += data
        if not self._is_open:
            head, found, rest = bytes(self._received).partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._is_open, self._received = True, bytearray(rest)
            self._send({"type": "connection_init", "payload": {"X-API-Key": self._crowd.key}})
        received, begin = bytes(self._received), 0
        while (found_frame := frame_at(received, begin)) is not None:
            kind, payload, begin = found_frame
            self._take(kind, payload)
        del self._received[:begin]

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == PING:
            self._transport.write(masked(10, payload))
        elif POSITION in payload:
            self._event(payload)
        elif ACKNOWLEDGED in payload:
            query = {"query": QUERY % self._crowd.fields, "variables": {"from": self._crowd.begin}}
            if self._crowd.begin is None:
                del query["variables"]
            self._send({"type": "subscribe", "id": str(id(self)), "payload": query})
            self.subscribed.set_result(None)
        elif kind != TEXT or b'"error"' in payload:
            self.done.set_exception(ValueError(payload[:200]))

    def _event(self, payload: bytes) -> None:
        now = time.time()
        position = int(text_after(payload, POSITION))
        assert self._position is None or position == self._position + 1, (self._position, position)
        self._position = position
        self._events += 1
        self.event_bytes = len(payload)
        self.last_s = now
        if self._events == 1:
            self.first_s = now
            if self._stalls_s:
                self._transport.pause_reading()
                asyncio.get_running_loop().call_later(self._stalls_s, self._resume)
        if RECORDED in payload:
            self.latencies_s.append(now - instant(text_after(payload, RECORDED)))
        if self._events == self._crowd.events and not self.done.done():
            self.done.set_result(None)

    def _resume(self) -> None:
        self.resumed_s = time.time()
        self._transport.resume_reading()

    def _send(self, message: object) -> None:
        self._transport.write(masked(TEXT, json.dumps(message).encode()))

    def close(self) -> None:
        """Leave."""
        self._transport.abort()


instants: dict[bytes, float] = {}


def instant(text: bytes) -> float:
    """Read an instant, which many have in common."""
    found = instants.get(text)
    if found is None:
        found = instants[text] = datetime.fromisoformat(text.decode()).timestamp()
    return found


def text_after(payload: bytes, mark: bytes) -> bytes:
    """Cut out the text that a mark begins."""
    begin = payload.index(mark) + len(mark)
    return payload[begin : payload.index(b'"', begin)]


def frame_at(received: bytes, begin: int) -> tuple[int, bytes, int] | None:
    """Find the frame that begins at a place: its kind, what it holds, and where it ends; None while it is not whole."""
    if len(received) < begin + 2:
        return None
    length, head = received[begin + 1] & 127, begin + 2
    if length == LONG:
        head += 2
        length = struct.unpack_from(">H", received, begin + 2)[0] if len(received) >= head else len(received)
    elif length == LONGER:
        head += 8
        length = struct.unpack_from(">Q", received, begin + 2)[0] if len(received) >= head else len(received)
    end = head + length
    return None if len(received) < end else (received[begin] & 15, received[head:end], end)


def masked(kind: int, payload: bytes) -> bytes:
    """Write a client's frame, which RFC 6455 wants masked; of up to 65,535 bytes."""
    mask = os.urandom(4)
    short = len(payload) < LONG
    head = bytes([128 | kind, 128 | (len(payload) if short else LONG)])
    length = b"" if short else struct.pack(">H", len(payload))
    return head + length + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


async def receive(crowd: Crowd) -> Received:
    """Subscribe, say so, and wait for everything."""
    loop = asyncio.get_running_loop()
    opened: list[Subscriber] = []
    for number in range(crowd.subscribers):
        stalls_s = crowd.stalls_s if number == crowd.subscribers - 1 else 0.0
        made = Subscriber(crowd, stalls_s=stalls_s)
        connected = socket.create_connection((HOST, crowd.port))
        if stalls_s:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
        connected.settimeout(0)
        await loop.create_connection(lambda made=made: made, sock=connected)  # type: ignore[misc]  # of this round
        await made.subscribed
        opened.append(made)
    cpu_s = time.process_time()
    print("subscribed", flush=True)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(one.done for one in opened))
    cpu_s = time.process_time() - cpu_s
    quick = opened[:-1] if crowd.stalls_s else opened
    latencies = sorted(latency for one in quick for latency in one.latencies_s) or [0.0]
    for one in opened:
        one.close()
    return Received(
        seconds=max(one.last_s for one in quick) - min(one.first_s for one in quick),
        p50_ms=share(latencies, 0.5),
        p99_ms=share(latencies, 0.99),
        most_ms=share(latencies, 1),
        cpu_s=cpu_s,
        stalled_s=opened[-1].last_s - opened[-1].resumed_s if crowd.stalls_s else 0.0,
        event_bytes=opened[-1].event_bytes,
    )


def share(ordered: Sequence[float], part: float) -> float:
    """Pick how long the given part took at most, in milliseconds."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(receive(Crowd(**json.loads(sys.stdin.readline())))))))
