"""Members' passwords: what is acceptable, and what is kept of one. Must never keep, log or quote a password.

What is hashed is not the password but its HMAC under the pepper, which is bound to whose password it is and under which
conditions it works: a verifier that somebody moves to another member, or whose conditions somebody changes, matches
nothing. The hash is Argon2id in the second recommended form of RFC 9106 (section 4): 64 MiB, 3 passes, 4 lanes. So few
of them may run at once, with the lowest priority, so that keys are verified meanwhile as ever.
"""

import hmac
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import asyncpg
from argon2 import PasswordHasher
from argon2.profiles import RFC_9106_LOW_MEMORY

from events.registry import utc_text
from service.derived_peppers import DerivedPeppers
from service.hashing import Cost
from service.hashing_workers import HashingWorkers
from service.keyring import KEY_BYTES, KeyRing, UnknownKeyError
from service.sealing import framed
from service.secret_text import SecretText

SHORTEST: Final = 12
LONGEST: Final = 256
LONGEST_PRESENTED: Final = 4 * LONGEST
"""Characters of an unnormalised text that can still become a password; longer ones are not even normalised."""
PROCESSES: Final = 2
PLACES: Final = 2 * PROCESSES
"""How many try a password at once: while one is hashed, the next one's rows are read."""
MOST_WAITING: Final = 64
LONGEST_WAIT_S: Final = 10.0
LABEL: Final = "entri/password/1"
ONE_TIME_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"
ONE_TIME_GROUPS: Final = 5
GROUP_CHARACTERS: Final = 5
COST: Final = Cost(
    hasher=PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY),
    most_memory_kib=131_072,
    most_passes=6,
    most_lanes=8,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Whose a password is, and under which conditions it works."""

    organization: str
    member_id: str
    must_change: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Kept:
    """What is kept of a password, with the terms it was set under."""

    terms: Terms
    verifier: str
    pepper_id: str


def password_row(kept: Kept, *, generation: int) -> dict[str, Any]:
    """Write the row of a password, for the companion."""
    terms = kept.terms
    return {
        "member_id": terms.member_id,
        "organization": terms.organization,
        "generation": generation,
        "verifier": kept.verifier,
        "pepper_id": kept.pepper_id,
        "must_change": terms.must_change,
        "expires_at": None if terms.expires_at is None else utc_text(terms.expires_at),
    }


def kept_of(row: asyncpg.Record) -> Kept:
    """Read what is kept of a password."""
    terms = Terms(
        organization=row["organization"],
        member_id=row["member_id"],
        must_change=row["must_change"],
        expires_at=row["expires_at"],
    )
    return Kept(terms=terms, verifier=row["verifier"], pepper_id=row["pepper_id"])


class Passwords:
    """Hashes and verifies passwords, a few at a time; `close` when nothing is verified any more."""

    def __init__(
        self, peppers: Callable[[], KeyRing], random_bytes: Callable[[int], bytes], *, cost: Cost = COST
    ) -> None:
        """Take what says the peppers now."""
        self._peppers = DerivedPeppers(peppers, LABEL)
        self._nobodys = verifier_of_nothing(cost, random_bytes)
        self._hashing = HashingWorkers(cost=cost, processes=PROCESSES, queue_bound=MOST_WAITING)

    @property
    def in_flight(self) -> int:
        """How many hashes run or wait."""
        return self._hashing.permits_held

    async def keep(self, password: SecretText, terms: Terms) -> Kept:
        """Hash a password that is to be kept. Raises HashingOverloadError."""
        pepper_id = self._peppers.ring.writing_id
        verifier = await self._hashing.hash(self._digest(password, terms, pepper_id))
        return Kept(terms=terms, verifier=verifier, pepper_id=pepper_id)

    async def matches(self, password: SecretText, kept: Kept | None) -> bool:
        """Say whether a password is the one that was kept; where none was, in the same time, that it is not.

        Raises HashingOverloadError, VerifierError and UnknownKeyError.
        """
        if kept is None:
            await self._hashing.verify(self._nobodys, bytes(KEY_BYTES))
            return False
        return await self._hashing.verify(kept.verifier, self._digest(password, kept.terms, kept.pepper_id))

    def is_outdated(self, kept: Kept) -> bool:
        """Say whether a password should be hashed anew, now that it is known: the cost or the pepper is another."""
        return kept.pepper_id != self._peppers.ring.writing_id or self._hashing.is_outdated(kept.verifier)

    async def close(self) -> None:
        """Refuse further passwords and wait for the processes."""
        await self._hashing.close()

    def _digest(self, password: SecretText, terms: Terms, pepper_id: str) -> bytes:
        ring = self._peppers.ring
        key = ring.key(pepper_id)
        if key is None:
            raise UnknownKeyError(f"a pepper is not loaded; loaded are {', '.join(ring.ids)}")
        conditions = (
            terms.organization,
            terms.member_id,
            "must change" if terms.must_change else "",
            "" if terms.expires_at is None else utc_text(terms.expires_at),
        )
        # What is presented may hold lone surrogates; they are encoded too, so that no text can raise here.
        octets = normalised(password).reveal().encode("utf-8", "surrogatepass")
        return hmac.digest(key, framed(*(part.encode() for part in conditions), octets), "sha256")


def verifier_of_nothing(cost: Cost, random_bytes: Callable[[int], bytes]) -> str:
    """Write a verifier that takes as long as any and that nothing matches: its hash is random."""
    hasher = cost.hasher
    salt, made_up = (b64encode(random_bytes(length)).decode().rstrip("=") for length in (16, 32))
    parameters = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${parameters}${salt}${made_up}"


def normalised(password: SecretText) -> SecretText:
    """Write a password in the one form (Unicode's NFC) that all keyboards lead to; too long a text becomes empty."""
    text = password.reveal()
    # Normalisation can take quadratic time, so it is not done to what cannot be a password.
    return SecretText("" if len(text) > LONGEST_PRESENTED else unicodedata.normalize("NFC", text))


def problem_with(password: SecretText, known: Iterable[str]) -> str | None:
    """Say why a text is not acceptable as a password, or None; `known` are names and addresses that it must not be."""
    text = normalised(password).reveal()
    if not SHORTEST <= len(text) <= LONGEST:
        return f"has {SHORTEST} to {LONGEST} characters"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half a character: use whole ones"
    if text.casefold() in common_passwords():
        return "is one of the commonest passwords: choose another"
    if text.casefold().strip() in {name.casefold().strip() for name in known}:
        return "is a name or an address that others know: choose another"
    return None


def one_time_password(random_bytes: Callable[[int], bytes]) -> SecretText:
    """Make a password that is to be changed at the first sign-in: 25 characters in five groups, about 123 bits."""
    groups = []
    number = int.from_bytes(random_bytes(KEY_BYTES), "big")
    for _ in range(ONE_TIME_GROUPS):
        group = ""
        for _ in range(GROUP_CHARACTERS):
            number, place = divmod(number, len(ONE_TIME_ALPHABET))
            group += ONE_TIME_ALPHABET[place]
        groups.append(group)
    return SecretText("-".join(groups))


@lru_cache(maxsize=1)
def common_passwords() -> frozenset[str]:
    """Read the commonest passwords, each as `casefold` leaves it."""
    return frozenset((files("service") / "common_passwords.txt").read_text(encoding="utf-8").splitlines())
