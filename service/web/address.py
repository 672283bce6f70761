"""The address that a request came from. Must never believe a header from a peer that is not a trusted proxy."""

import ipaddress
from collections.abc import Sequence

from aiohttp import web

from service.settings import Network


def client_address(request: web.Request, trusted: Sequence[Network]) -> str | None:
    """Find the nearest address that is not a trusted proxy: the peer's, or one that such a proxy vouches for."""
    peer = request.remote
    if not trusted or peer is None or not is_trusted(peer, trusted):
        return peer
    hops = [hop.strip() for value in request.headers.getall("X-Forwarded-For", []) for hop in value.split(",")]
    for hop in reversed(hops):
        if "%" in hop or not is_address(hop):  # what follows a % may be any text
            return peer
        if not is_trusted(hop, trusted):
            return hop
        peer = hop
    return peer


def is_address(text: str) -> bool:
    """Say whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Say whether an address is a trusted proxy's."""
    return is_address(address) and any(ipaddress.ip_address(address) in network for network in trusted)
