"""The sockets that the service listens on: bound before anything else is begun, served last.

Must never share a port with another service. A port that is taken ends a start before a database was started or a first
token was made. Until `listen`, which the web server calls, clients are refused.
"""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, Final

from aiohttp import web

BACKLOG: Final = 1024
LINGER_S: Final = 1.0
"""How long an answered client may take to read its answer, and an unanswered one's request to end, at the last."""
LOOK_EVERY_S: Final = 0.05


class ListenError(Exception):
    """The address cannot be listened on; the message names it and says why."""


@contextmanager
def bound_sockets(host: str, port: int) -> Iterator[Sequence[socket.socket]]:
    """Bind one socket to each address that a host has; closed when left. Raises ListenError."""
    where = f"cannot listen on {host} port {port}"
    with ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            addresses = dict.fromkeys((entry[0], entry[4]) for entry in found)
            made = [bind(stack, family, address) for family, address in addresses]
        except OSError as error:
            raise ListenError(f"{where}: {error.strerror}") from None
        except UnicodeError:
            raise ListenError(f"{where}: that is no name of a host") from None
        sockets = [one for one in made if one is not None]
        if not sockets:
            raise ListenError(f"{where}: this machine has no such address")
        yield sockets


@contextmanager
def bound_slots(host: str, port: int, count: int) -> Iterator[Sequence[Sequence[socket.socket]]]:
    """Bind that many sets of sockets to the same addresses, among which the kernel spreads what connects.

    Raises ListenError. Any process of ours could join a port that is shared, so the first set is bound before it says
    that it shares: then a port that another service has, be it shared, is refused.
    """
    with bound_sockets(host, port) as first, ExitStack() as stack:
        for one in first:
            share(one)
        yield [first, *(siblings(stack, first) for _ in range(count - 1))]


def siblings(stack: ExitStack, first: Sequence[socket.socket]) -> Sequence[socket.socket]:
    """Bind sockets to the addresses, and the ports they got, of others that share theirs. Raises ListenError."""
    made = []
    for one in first:
        address = one.getsockname()
        try:
            sibling = bind(stack, one.family, address, is_shared=True)
        except OSError as error:
            raise ListenError(f"cannot listen twice on {address[0]} port {address[1]}: {error.strerror}") from None
        if sibling is not None:
            made.append(sibling)
    return made


def share(one: socket.socket) -> None:
    """Let others of our user listen on the same port."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def bind(
    stack: ExitStack, family: socket.AddressFamily, address: object, *, is_shared: bool = False
) -> socket.socket | None:
    """Bind a socket to one address; None where this machine does not have it, as IPv6's `localhost` on many."""
    try:
        unbound = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        prepare(unbound)
        if is_shared:
            share(unbound)
        unbound.bind(address)  # type: ignore[arg-type]  # typeshed wants to know which family it is of
    except OSError as error:
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return None
        raise
    return unbound


def prepare(unbound: socket.socket) -> None:
    """Let a socket take a port that a closed service has left, and keep IPv6 and IPv4 apart, as asyncio does."""
    unbound.settimeout(0)
    unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if unbound.family == socket.AF_INET6:
        unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


class Requests:
    """Counts the requests on their way, so that an end can wait for the last."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()
        self.hurry = asyncio.Event()
        self._ends: set[Callable[[], None]] = set()
        self._is_closing = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one for as long as it is on its way."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    @contextmanager
    def endless(self, end: Callable[[], None]) -> Iterator[None]:
        """Tell one that has no end of its own to end, once no more are taken."""
        self._ends.add(end)
        if self._is_closing:
            end()
        try:
            yield
        finally:
            self._ends.discard(end)

    def close(self) -> None:
        """Tell those that have no end of their own to end."""
        self._is_closing = True
        for end in tuple(self._ends):
            end()

    async def end(self, within_s: float) -> None:
        """Wait until none is on its way, but no longer than that, or until told to hurry."""
        await first_of(self._none.wait(), self.hurry.wait(), within_s=within_s)


async def first_of(*waits: Coroutine[Any, Any, object], within_s: float) -> None:
    """Wait until one of them has come to pass, but no longer than that."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class Door:
    """What listens: where connections come in, and how they are let go."""

    def __init__(self, runner: web.AppRunner, requests: Requests) -> None:
        self._runner = runner
        self._requests = requests

    def hurry(self) -> None:
        """Wait at the end for no request any more."""
        self._requests.hurry.set()

    async def close(self) -> None:
        """Take no more connections; those that are there go on."""
        for site in self._runner.sites:
            await site.stop()
        self._requests.close()

    async def empty(self) -> None:
        """Wait until the last connection has ended."""
        while self._runner.server is not None and self._runner.server.connections:  # noqa: ASYNC110 -- no event tells
            await asyncio.sleep(LOOK_EVERY_S)


@asynccontextmanager
async def listening(
    sockets: Sequence[socket.socket], app: web.Application, requests: Requests, *, idle_s: float, drain_s: float
) -> AsyncIterator[Door]:
    """Answer requests; when left, take no more and wait for those on their way, up to `drain_s`."""
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=idle_s, shutdown_timeout=LINGER_S, handle_signals=False
    )
    await runner.setup()
    try:
        for bound in sockets:
            await web.SockSite(runner, bound, backlog=BACKLOG).start()
        door = Door(runner, requests)
        yield door
        await door.close()
        await requests.end(drain_s)  # before aiohttp's own end, which takes no more of a body that is on its way
    finally:
        await runner.cleanup()


def url_of(sockets: Sequence[socket.socket], host: str) -> str:
    """Write the URL that is listened on, with the port it really got."""
    port = sockets[0].getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
