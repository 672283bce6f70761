"""Which page a request comes from, as its browser says: ours, another one, or none at all.

Browsers say it in `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/) and in `Origin` (RFC 6454), and let no page
write either. A client that is no browser may write both; it has no one's cookies but its own. This file only looks at
headers. Must never take a page for ours because it nearly is: a sub-domain, another port and another scheme are others.
"""

import re
from enum import Enum, auto
from typing import Final, NamedTuple

from service.sockets import is_loopback
from service.web.credentials import Headers

SAME_ORIGIN: Final = "same-origin"
_ORIGIN: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII | re.IGNORECASE,
)
_PORTS: Final = {"http": 80, "https": 443}
_LARGEST_PORT: Final = 65_535


class Origin(NamedTuple):
    """A scheme, a host and a port: what a browser keeps apart from everything else."""

    scheme: str
    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Say whether only this machine can be meant."""
        return is_loopback(self.host.strip("[]"))


class Source(Enum):
    """Which page made a request."""

    OWN = auto()
    FOREIGN = auto()
    UNTOLD = auto()
    """No browser of today would leave it out: there is no page, or it is an old one's."""


def read_origin(text: str) -> Origin | None:
    """Read an origin; None for what is none, `null` among it."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme = found["scheme"].lower()
    port = int(found["port"] or _PORTS[scheme])
    return Origin(scheme, found["host"].lower(), port) if 0 < port <= _LARGEST_PORT else None


def source_of(headers: Headers, public: Origin | None) -> Source:
    """Say which page made the request; `public` is where browsers find us, if that is known."""
    sites, origins = headers.getall("Sec-Fetch-Site", []), headers.getall("Origin", [])
    if not sites and not origins:
        return Source.UNTOLD
    if len(sites) > 1 or len(origins) > 1 or (sites and sites[0] != SAME_ORIGIN):
        return Source.FOREIGN
    origin = read_origin(origins[0]) if origins else None
    if origins and origin is None:
        return Source.FOREIGN
    if origin is None or is_own(origin, headers, public):
        return Source.OWN
    # A proxy may have written another Host: then the browser is to be believed, unless we know better.
    return Source.OWN if sites and public is None else Source.FOREIGN


def is_own(origin: Origin, headers: Headers, public: Origin | None) -> bool:
    """Say whether an origin is the public one, or the host that the request was sent to."""
    if origin == public:
        return True
    if origin.scheme != "https" and not origin.is_local:  # whoever is on the way may have written that page
        return False
    return origin == asked_of(headers, origin.scheme)


def asked_of(headers: Headers, scheme: str = "http") -> Origin | None:
    """Read which host a request was sent to; None where it does not say, or says it twice."""
    hosts = headers.getall("Host", [])
    return read_origin(f"{scheme}://{hosts[0]}") if len(hosts) == 1 else None
