"""How often signing in may be tried: for each account and for each network address, counted in the database.

A try is counted before anything is hashed, and taken back when it succeeds, so that many at once are as limited as one
after another. An account that does not exist is counted like one that does: both are an organization and an address, of
which only a keyed digest is kept. Must never tell the two apart.
"""

import hmac
import ipaddress
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from events.statement import Pool, load
from service.derived_peppers import DerivedPeppers
from service.keyring import KeyRing
from service.sealing import framed

CHARGE_ATTEMPTS: Final = load("service.statements", "charge_attempts")
TAKE_BACK_ATTEMPT: Final = load("service.statements", "take_back_attempt")
FORGET_ATTEMPTS_OF: Final = load("service.statements", "forget_attempts_of")
FORGET_PAID_ATTEMPTS: Final = load("service.statements", "forget_paid_attempts")
LABEL: Final = "entri/sign-in-attempts/1"
NETWORK_BITS: Final = 64
"""Of an IPv6 address: whoever has one has all that begin with these."""


class RateLimitedError(Exception):
    """Too many tries to sign in failed: another one may be made later, and says nothing about the password."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many attempts: try again in {retry_after_s} seconds")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many tries may fail at once; after that, as many in each window."""

    account: int = 10
    address: int = 100
    window: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """A try that was counted."""

    account: bytes
    address: bytes | None


class Throttle:
    """Counts tries to sign in."""

    def __init__(self, pool: Pool, peppers: Callable[[], KeyRing], limits: Limits) -> None:
        self._pool = pool
        self._peppers = DerivedPeppers(peppers, LABEL)
        self._window = limits.window
        self._of_account, self._of_address = limits.window / limits.account, limits.window / limits.address

    async def charge(self, account: Sequence[str], address: str | None) -> Charged:
        """Count a try against an account and the network address it comes from. Raises RateLimitedError."""
        of_account = self._digest("account", *account)
        of_address = None if address is None else self._digest("address", network_of(address))
        spacings = {of_account: self._of_account} | ({} if of_address is None else {of_address: self._of_address})
        keys = list(spacings)
        rows = await self._pool.fetch(CHARGE_ATTEMPTS.text, keys, list(spacings.values()), self._window)
        waits_s = [
            row["due_s"] + (spacings[row["key"]] - self._window).total_seconds() for row in rows if row["is_refused"]
        ]
        if waits_s:
            raise RateLimitedError(max(1, math.ceil(max(waits_s))))
        return Charged(account=of_account, address=of_address)

    async def succeeded(self, charged: Charged) -> None:
        """Forget the account's failures; the network address keeps those of other accounts."""
        await self._pool.execute(FORGET_ATTEMPTS_OF.text, charged.account)
        await self._take_back(charged.address, self._of_address)

    async def undo(self, charged: Charged) -> None:
        """Take a try back that was not made after all."""
        await self._take_back(charged.account, self._of_account)
        await self._take_back(charged.address, self._of_address)

    async def forget_paid(self) -> None:
        """Forget tries that count no more."""
        await self._pool.execute(FORGET_PAID_ATTEMPTS.text)

    async def _take_back(self, key: bytes | None, spacing: timedelta) -> None:
        if key is not None:
            await self._pool.execute(TAKE_BACK_ATTEMPT.text, key, spacing)

    def _digest(self, *parts: str) -> bytes:
        key, *_ = self._peppers.ring.all
        return hmac.digest(key, framed(*(part.encode("utf-8", "surrogatepass") for part in parts)), "sha256")


def network_of(address: str) -> str:
    """Name what one who tries can choose no other of: an IPv4 address, or the network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), NETWORK_BITS), strict=False))
