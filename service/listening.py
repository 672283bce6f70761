"""The sockets that the service listens on: bound before anything else is begun, served last. Must never share a port.

So a port that is taken ends a start before a database was started or a first token was made. Until `listen`, which the
web server calls, clients are refused.
"""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Final

from aiohttp import web

BACKLOG: Final = 1024
LINGER_S: Final = 1.0
"""How long an answered client may take to read its answer, and an unanswered one's request to end, at the last."""


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


def bind(stack: ExitStack, family: socket.AddressFamily, address: object) -> socket.socket | None:
    """Bind a socket to one address; None where this machine does not have it, as IPv6's `localhost` on many."""
    try:
        unbound = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        prepare(unbound)
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

    async def end(self, within_s: float) -> None:
        """Wait until none is on its way, but no longer than that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._none.wait()


@asynccontextmanager
async def listening(
    sockets: Sequence[socket.socket], app: web.Application, requests: Requests, *, idle_s: float, drain_s: float
) -> AsyncIterator[None]:
    """Answer requests; when left, take no more and wait for those on their way, up to `drain_s`."""
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=idle_s, shutdown_timeout=LINGER_S, handle_signals=False
    )
    await runner.setup()
    try:
        for bound in sockets:
            await web.SockSite(runner, bound, backlog=BACKLOG).start()
        yield
        for site in runner.sites:
            await site.stop()
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
