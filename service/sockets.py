"""The sockets that the service listens on, bound before anything else is begun.

Must never share a port with another service. A port that is taken ends a start before a database was started or a first
token was made. Until a web server listens on them, clients are refused.
"""

import errno
import ipaddress
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager


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
