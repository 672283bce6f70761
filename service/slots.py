"""A worker's process, and the slot that always has one. Must never close a slot's sockets while it is to be filled.

A slot keeps its listening sockets while no process accepts from them: what connects meanwhile waits for the next one.
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from service.channel import Answer, Channel, ChannelError, open_channel

READY_WITHIN_S: Final = 300.0
"""Longer than PostgreSQL is given for crash recovery, and than another process is for its own start."""
ORDER_WITHIN_S: Final = 5.0
SOUND_AFTER_S: Final = 30.0
LONGEST_PAUSE_S: Final = 5.0

log = structlog.get_logger(__name__)


class WorkersError(Exception):
    """The workers cannot be started; each has said why itself."""


@dataclass(slots=True, eq=False, kw_only=True)
class Process:
    """A worker's process, from its start to its end, which shows as the end of its channel."""

    popen: subprocess.Popen[bytes]
    channel: Channel
    ready: asyncio.Event
    ended: asyncio.Task[int]
    started_at: float = field(default_factory=time.monotonic)

    async def order(self, word: str) -> None:
        """Tell it what to do; one that has ended need not know."""
        try:
            await self.channel.ask(word, within_s=ORDER_WITHIN_S)
        except ChannelError:
            return
        except TimeoutError:
            log.warning("worker_does_not_answer", pid=self.popen.pid, order=word)

    async def end(self, within_s: float) -> None:
        """Wait for its end, and bring that about when it does not come."""
        await asyncio.wait([self.ended], timeout=within_s)
        if not self.ended.done():
            log.error("worker_killed", pid=self.popen.pid, after_s=within_s)
            self.popen.kill()
            await self.ended


def command(slot: int, sockets: Sequence[socket.socket], channel: socket.socket) -> list[str]:
    """Write a worker's command. `-P`, as its `service` must be ours and not one in the working directory."""
    inherited = [argument for one in sockets for argument in ("--socket", str(one.fileno()))]
    program = [sys.executable, "-P", "-m", "service.worker", "--slot", str(slot)]
    return [*program, *inherited, "--channel", str(channel.fileno())]


@dataclass(slots=True, eq=False, kw_only=True)
class Slot:
    """One worker's place: its number, its sockets, and who fills it."""

    number: int
    sockets: Sequence[socket.socket]
    environment: Mapping[str, str]
    answer: Answer
    """Answers whatever else a worker asks."""
    current: Process | None = None
    living: set[Process] = field(default_factory=set)
    """The current process, one that is to take its place, and those that still end."""
    starts: int = 0
    _filling: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fill(self) -> None:
        """Start the first process, and wait until it is ready. Raises WorkersError."""
        self.current = await self._start()
        if self.current is None:
            raise WorkersError(f"worker {self.number} ended before it was ready")

    async def keep(self) -> None:
        """Start another process whenever the current one has ended, until cancelled."""
        failures = 0
        while (process := self.current) is not None:
            code = await asyncio.shield(process.ended)
            async with self._filling:
                if process is not self.current:  # it was replaced
                    continue
                lived_s = time.monotonic() - process.started_at
                failures = 0 if lived_s > SOUND_AFTER_S else failures + 1
                pause_s = pause_after(failures)
                told = {"worker": self.number, "pid": process.popen.pid, "code": code, "pause_s": pause_s}
                log.warning("worker_ended", **told, lived_s=round(lived_s, 1))
                await asyncio.sleep(pause_s)
                await self._refill(failures)

    async def _refill(self, failures: int) -> None:
        while (process := await self._start()) is None:
            failures += 1
            log.error("worker_not_started", worker=self.number, pause_s=pause_after(failures))
            await asyncio.sleep(pause_after(failures))
        self.current = process

    async def replace(self, end_within_s: float) -> bool:
        """Put a new process in the place of the current one, which ends; tells whether it could be started."""
        async with self._filling:
            former, process = self.current, await self._start()
            if process is None:
                return False
            self.current = process
        if former is not None:
            await former.order("retire")
            await former.end(end_within_s)
        return True

    async def _start(self) -> Process | None:
        """Start a process and wait until it is ready; None when it ended before."""
        try:
            process = await self._launch()
        except OSError as error:
            log.error("worker_not_launched", worker=self.number, error=str(error))  # noqa: TRY400 -- that says it all
            return None
        ready = asyncio.create_task(process.ready.wait())
        try:
            await asyncio.wait([ready, process.ended], timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not process.ready.is_set():
            await process.end(0)
            return None
        log.info("worker_ready", worker=self.number, pid=process.popen.pid)
        return process

    async def _launch(self) -> Process:
        ours, theirs = socket.socketpair()
        with theirs:
            channel = await open_channel(ours)
            try:
                popen = self._popen(theirs)
            except OSError:
                channel.close()
                raise
        self.starts += 1
        ready = asyncio.Event()
        ended = asyncio.create_task(self._follow(popen, channel, ready))
        process = Process(popen=popen, channel=channel, ready=ready, ended=ended)
        self.living.add(process)
        ended.add_done_callback(lambda _: self.living.discard(process))
        return process

    def _popen(self, channel: socket.socket) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 -- our own program
            command(self.number, self.sockets, channel),
            stdin=subprocess.DEVNULL,
            env=self.environment,
            pass_fds=[channel.fileno(), *(one.fileno() for one in self.sockets)],
            start_new_session=True,  # so that a terminal's signals reach the supervisor alone
        )

    async def _follow(self, popen: subprocess.Popen[bytes], channel: Channel, ready: asyncio.Event) -> int:
        """Answer a process until it ends; answers its exit code."""

        async def answer(word: str) -> str:
            if word != "ready":
                return await self.answer(word)
            ready.set()
            return ""

        await channel.run(answer)
        return await asyncio.to_thread(popen.wait)


def pause_after(failures: int) -> float:
    """Say how long to wait before a start: not at all at first, then ever longer, but never long."""
    return 0.0 if failures <= 1 else min(2.0 ** (failures - 3), LONGEST_PAUSE_S)
