"""One worker: `python -m service.worker`, as the supervisor starts it. Must never outlive it, nor bind a port.

It serves on sockets that it inherits until it gets an order, from the supervisor or by a signal:

- `retire`: a replacement accepts from the same sockets; end with the last connection, none closed before its time;
- `drain`: the whole service ends; say so on /readyz first;
- `stop`: end now, or sooner than was said before. That the supervisor is gone means the same.
"""

import asyncio
import signal
import socket
from contextlib import suppress
from functools import partial
from typing import Final

import click
import structlog

from service.app import Expose, serving_on
from service.channel import Channel, ChannelError, open_channel
from service.cli.running import run, tell_signals
from service.entrances import Entrances
from service.listening import Door
from service.requests import first_of
from service.settings import Settings

ASK_WITHIN_S: Final = 5.0

log = structlog.get_logger(__name__)


class Worker:
    """Serves, and talks with the supervisor meanwhile."""

    def __init__(self, settings: Settings, channel: Channel) -> None:
        self._settings = settings
        self._channel = channel
        self._order: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._sooner = asyncio.Event()
        self._door: Door | None = None
        self._own: Expose | None = None

    async def run(self, sockets: list[socket.socket]) -> None:
        """Serve until there is an order; one that comes before everything is ready cancels the start."""
        listening = asyncio.create_task(self._listen(), name="channel")
        serving = asyncio.create_task(self._serve(sockets), name="serving")
        self._order.add_done_callback(lambda _: self._door is not None or serving.cancel())
        tell_signals().add_done_callback(
            lambda told: self._obey("drain" if told.result() == signal.SIGTERM else "stop")
        )
        try:
            with suppress(asyncio.CancelledError):
                await serving
        finally:
            listening.cancel()

    async def _serve(self, sockets: list[socket.socket]) -> None:
        async with serving_on(sockets, self._settings, expose=self._expose) as (entrances, self._door):
            with suppress(ChannelError, TimeoutError):
                await self._channel.ask("ready", within_s=ASK_WITHIN_S)
            await self._let_go(entrances, self._door, await self._order)

    async def _let_go(self, entrances: Entrances, door: Door, order: str) -> None:
        """Let clients go elsewhere: all their connections are closed with an answer, but for those that idle."""
        if order == "retire":
            entrances.replaced.set()
            entrances.draining.set()
            await door.close()
            idle_and_busy_s = self._settings.header_timeout_s + self._settings.drain_s
            await first_of(door.empty(), self._sooner.wait(), within_s=idle_and_busy_s)
        elif order == "drain":
            entrances.draining.set()
            await first_of(self._sooner.wait(), within_s=self._settings.drain_delay_s)

    def _obey(self, order: str) -> None:
        """Take an order: the first, and of the later ones those that leave less time."""
        if not self._order.done():
            self._order.set_result(order)
            return
        if order == "stop" or self._order.result() == "retire":
            self._sooner.set()
        if order == "stop" and self._door is not None:
            self._door.hurry()

    async def _listen(self) -> None:
        await self._channel.run(self._answer)
        log.warning("supervisor_gone")
        self._obey("stop")

    async def _answer(self, word: str) -> str:
        if word == "metrics":
            return await self._own() if self._own is not None else ""
        self._obey(word)
        return ""

    def _expose(self, own: Expose) -> Expose:
        """Let /metrics answer for all workers, or for this one while the supervisor does not answer."""
        self._own = own

        async def expose() -> str:
            try:
                return await self._channel.ask("metrics", within_s=ASK_WITHIN_S)
            except (ChannelError, TimeoutError):
                return await own()

        return expose


def inherited(descriptor: int) -> socket.socket:
    """Take over a socket, so that no process that we start inherits it in turn."""
    one = socket.socket(fileno=descriptor)
    one.set_inheritable(False)
    one.settimeout(0)
    return one


async def work(settings: Settings, sockets: list[int], channel: int) -> None:
    """Serve on these sockets, told what to do over that channel."""
    worker = Worker(settings, await open_channel(inherited(channel)))
    await worker.run([inherited(descriptor) for descriptor in sockets])


@click.command()
@click.option("--slot", type=int, required=True)
@click.option("--socket", "sockets", type=int, multiple=True, required=True)
@click.option("--channel", type=int, required=True)
def main(slot: int, sockets: tuple[int, ...], channel: int) -> None:
    """Serve as a worker; only the supervisor knows what to inherit."""
    structlog.contextvars.bind_contextvars(worker=slot)
    run({}, partial(work, sockets=list(sockets), channel=channel))


if __name__ == "__main__":
    main()
