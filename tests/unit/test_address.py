"""The address of a client: headers are believed only from trusted proxies, and only as far as those vouch for them."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from service.settings import networks
from service.web.address import client_address

TRUSTED = networks("10.0.0.0/8, fd00::/8")


def seen(peer: str | None, *forwarded: str, trusted: bool = True) -> str | None:
    """Say what is taken for the address of a client behind these headers."""
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=peer or "")
    return client_address(request, TRUSTED if trusted else ())


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.7",), "192.0.2.1"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        ("fd00::1", ("2001:db8::7",), "2001:db8::7"),
        ("10.0.0.1", ("203.0.113.9, 198.51.100.7",), "198.51.100.7"),
        ("10.0.0.1", ("198.51.100.7, 10.0.0.2",), "198.51.100.7"),
        ("10.0.0.1", ("203.0.113.9", "198.51.100.7, 10.0.0.2 , 10.0.0.3"), "198.51.100.7"),
        ("10.0.0.1", ("10.0.0.2",), "10.0.0.2"),
        ("10.0.0.1", ("198.51.100.7, nonsense",), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.7, nonsense, 10.0.0.2",), "10.0.0.2"),
        ("10.0.0.1", ("198.51.100.7:1234",), "10.0.0.1"),
        ("10.0.0.1", ("2001:db8::7%<any text>",), "10.0.0.1"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("/run/a.sock", ("198.51.100.7",), "/run/a.sock"),
    ],
)
def test_the_nearest_address_that_is_not_a_trusted_proxy(peer: str, forwarded: tuple[str, ...], expected: str) -> None:
    """Hops are read from the nearest on, and believed as long as each was named by a trusted one."""
    assert seen(peer, *forwarded) == expected


def test_nobody_is_trusted_by_default() -> None:
    """Without the setting the header is not looked at."""
    assert seen("10.0.0.1", "198.51.100.7", trusted=False) == "10.0.0.1"
