"""The supervisor of `entri serve --workers N`: owns PostgreSQL and the port. Must never answer a request itself.

What is done once is done here before any worker starts: the database is started and migrated, the keys are made, and
the first token is. The workers end before PostgreSQL does, and by themselves when the supervisor is gone.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import click
import structlog
from prometheus_client.core import CounterMetricFamily

from service.channel import ChannelError
from service.core import first_token, open_core
from service.database import open_database
from service.settings import Settings
from service.slots import Process, Slot, WorkersError
from service.sockets import bound_slots, url_of
from service.worker_metrics import merged

METRICS_WITHIN_S: Final = 2.0
FLUSH_WITHIN_S: Final = 30.0
"""How long a worker may take for its last uses and appends, when no request is on its way any more."""

log = structlog.get_logger(__name__)


async def supervise(settings: Settings, environment: Mapping[str, str]) -> None:
    """Serve with several workers until a signal to stop."""
    async with AsyncExitStack() as stack:
        sockets = stack.enter_context(bound_slots(settings.host, settings.port, settings.workers))
        await stack.enter_async_context(open_database(settings))
        async with open_core(settings) as core:
            first = await first_token(core)
        if first is not None:
            click.echo(f"bootstrap token: {first.reveal()}")
        supervisor = Supervisor(settings)
        slots = [
            Slot(number=number, sockets=own, environment=environment, answer=supervisor.answer)
            for number, own in enumerate(sockets)
        ]
        await stack.enter_async_context(supervisor.filled(slots))
        signals = queue_signals()
        click.echo(f"serving {url_of(sockets[0], settings.host)}/graphql", err=True)
        await supervisor.serve(signals)


class Supervisor:
    """Keeps the slots filled."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots: Sequence[Slot] = ()
        self._is_on_a_terminal = is_on_a_terminal()
        self._restart = asyncio.Event()

    @asynccontextmanager
    async def filled(self, slots: Sequence[Slot]) -> AsyncIterator[None]:
        """Start the workers, and end whatever of them is left. Raises WorkersError."""
        self._slots = slots
        try:
            try:
                async with asyncio.TaskGroup() as group:
                    for slot in slots:
                        group.create_task(slot.fill())
            except BaseExceptionGroup as errors:  # not except*: what is raised there comes in a group again
                first = errors.exceptions[0]
                raise (first if isinstance(first, WorkersError) else errors) from None
            yield
        finally:
            await self._end("stop")

    async def serve(self, signals: asyncio.Queue[int]) -> None:
        """Keep the workers alive until told to end, then end them; a further signal leaves them less time."""
        told = await self._keep(signals)
        async with asyncio.TaskGroup() as group:
            hurrying = group.create_task(self._hurry(signals))
            await self._end("drain" if told == signal.SIGTERM else "stop")
            hurrying.cancel()

    async def _keep(self, signals: asyncio.Queue[int]) -> int:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(slot.keep()) for slot in self._slots]
            tasks.append(group.create_task(self._replace_when_asked()))
            # When its terminal is closed, it is told in the same way, and nobody is there any more who would stop it.
            while (told := await signals.get()) == signal.SIGHUP and is_on_a_terminal() == self._is_on_a_terminal:
                self._restart.set()
            for task in tasks:
                task.cancel()
        return told

    async def _replace_when_asked(self) -> None:
        """Replace one worker after the other whenever asked; once more when asked meanwhile."""
        end_within_s = self._settings.header_timeout_s + self._settings.drain_s + FLUSH_WITHIN_S
        while True:
            await self._restart.wait()
            self._restart.clear()
            log.info("rolling_restart")
            for slot in self._slots:
                if not await slot.replace(end_within_s):
                    log.error("rolling_restart_given_up", worker=slot.number)
                    break
            else:
                log.info("rolling_restart_done")

    def _living(self) -> list[Process]:
        return [process for slot in self._slots for process in slot.living]

    async def _end(self, order: str) -> None:
        """Close our copies of the sockets, so that the port is closed as soon as the workers close theirs; end them."""
        for slot in self._slots:
            for one in slot.sockets:
                one.close()
        within_s = self._settings.drain_delay_s + self._settings.drain_s + FLUSH_WITHIN_S
        async with asyncio.TaskGroup() as group:
            for process in self._living():
                group.create_task(process.order(order))
                group.create_task(process.end(within_s))

    async def _hurry(self, signals: asyncio.Queue[int]) -> None:
        while True:
            if await signals.get() != signal.SIGHUP:
                await asyncio.gather(*(process.order("stop") for process in self._living()))

    async def answer(self, word: str) -> str:
        """Answer what a worker asks: the metrics of all of them."""
        if word != "metrics":
            raise ValueError(word)
        current = {slot.number: slot.current for slot in self._slots if slot.current is not None}
        texts = await asyncio.gather(*(metrics_of(process) for process in current.values()))
        starts = CounterMetricFamily("entri_worker_starts", "Processes started for a worker.", labels=["worker"])
        for slot in self._slots:
            starts.add_metric([str(slot.number)], slot.starts)
        return merged(dict(zip(current, texts, strict=True)), [starts])


async def metrics_of(process: Process) -> str:
    """Ask a worker for its metrics; one that does not answer has none."""
    try:
        return await process.channel.ask("metrics", within_s=METRICS_WITHIN_S)
    except (ChannelError, TimeoutError):
        return ""


def queue_signals() -> asyncio.Queue[int]:
    """Queue the signals from now on, which whoever asked before does not see any more."""
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[int] = asyncio.Queue()
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal_number != signal.SIGHUP or signal.getsignal(signal_number) != signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(signal_number, told.put_nowait, signal_number)
    return told


def is_on_a_terminal() -> bool:
    """Say whether we have a terminal that may be closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
