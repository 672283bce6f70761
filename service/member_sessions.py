"""Members' sessions: made at sign-in, proved by a cookie, remembered like keys. Must never trust a row as it stands.

A cookie holds 256 random bits. The database has a keyed digest of it, to find the session by, and a proof: a MAC of
that digest and the whole row under the pepper, so that whoever writes the database can neither plant a session nor
alter one. A session that was verified is remembered under this process' lease by its digest, and forgotten with
everything else that is remembered of its member.
"""

import asyncio
import contextlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, Final

import asyncpg
import structlog

from events.identifiers import new_id
from events.members import MemberRole
from events.registry import utc_text
from events.statement import Pool, load
from projections.runner import happens, stopped
from service.authorization import MemberSession
from service.credential import Failure, MemberCredential, MemberVerification
from service.credential_reader import CredentialReader, ReadingUnavailableError
from service.denials import Denials
from service.derived_peppers import DerivedPeppers
from service.keyring import KeyRing, digesting
from service.lease import Clock, Node
from service.sealing import framed
from service.secret_text import SecretText
from service.vault import bytea
from service.verified_cache import Entry
from service.verify import MOST_READS, Watch

FIND_SESSIONS: Final = load("service.statements", "find_sessions")
NOTE_SESSIONS_SEEN: Final = load("service.statements", "note_sessions_seen")
FORGET_ENDED_SESSIONS: Final = load("service.statements", "forget_ended_sessions")
SECRET_BYTES: Final = 32
WELL_FORMED: Final = re.compile(r"[A-Za-z0-9_-]{43}")
DIGEST_LABEL: Final = "entri/session-digest/1"
PROOF_LABEL: Final = "entri/session-proof/1"
NOTE_EVERY_S: Final = 60.0
LOOK_EVERY_S: Final = 10.0
GATHER_S: Final = 0.2
MALFORMED: Final = MemberVerification(failure=Failure.MALFORMED)
UNKNOWN: Final = MemberVerification(failure=Failure.UNKNOWN)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStart:
    """Whose session begins, on which generation of the password, and since when it is the same one."""

    member_id: str
    organization: str
    generation: int
    started_at: datetime
    authenticated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session that was made: its id, what goes into the cookie, and the database's row of it."""

    id: str
    secret: SecretText
    start: SessionStart
    row: dict[str, Any]


class SessionKeys:
    """Makes and proves sessions: all that is done with a cookie and the peppers."""

    def __init__(self, peppers: Callable[[], KeyRing], random_bytes: Callable[[int], bytes]) -> None:
        """Take what says the peppers now."""
        self._digest_keys = DerivedPeppers(peppers, DIGEST_LABEL)
        self._proof_keys = DerivedPeppers(peppers, PROOF_LABEL)
        self.digested_with = self._digest_keys.ring
        self._digests = digesting(self.digested_with)
        self._random_bytes = random_bytes

    def digests(self, cookie: str) -> list[bytes]:
        """Digest a cookie under every readable pepper, the writing one first."""
        if (ring := self._digest_keys.ring) is not self.digested_with:
            self.digested_with, self._digests = ring, digesting(ring)
        return self._digests(cookie)

    def make(self, start: SessionStart) -> NewSession:
        """Make a session with an id and a cookie that nobody had before."""
        session_id = new_id("ses", start.authenticated_at, self._random_bytes)
        secret = urlsafe_b64encode(self._random_bytes(SECRET_BYTES)).decode().rstrip("=")
        digest = self.digests(secret)[0]
        proof_key, *_ = self._proof_keys.ring.all
        row = {
            "id": session_id,
            "digest": bytea(digest),
            "member_id": start.member_id,
            "organization": start.organization,
            "generation": start.generation,
            "started_at": utc_text(start.started_at),
            "authenticated_at": utc_text(start.authenticated_at),
            "last_seen_at": utc_text(start.authenticated_at),
            "proof": bytea(proof(proof_key, digest, session_id=session_id, start=start)),
        }
        return NewSession(id=session_id, secret=SecretText(secret), start=start, row=row)

    def proves(self, row: asyncpg.Record) -> bool:
        """Say whether a row is the session that was made with the cookie of the digest asked for, unaltered."""
        start = SessionStart(
            member_id=row["member_id"],
            organization=row["organization"],
            generation=row["generation"],
            started_at=row["started_at"],
            authenticated_at=row["authenticated_at"],
        )
        made = [proof(key, row["asked"], session_id=row["id"], start=start) for key in self._proof_keys.ring.all]
        return any(hmac.compare_digest(one, row["proof"]) for one in made)


def proof(key: bytes, digest: bytes, *, session_id: str, start: SessionStart) -> bytes:
    """Return the MAC of a session's row: HMAC-SHA-256 of its cookie's digest and its columns, each after its length."""
    columns = (
        session_id,
        start.member_id,
        start.organization,
        str(start.generation),
        utc_text(start.started_at),
        utc_text(start.authenticated_at),
    )
    return hmac.digest(key, framed(digest, *(column.encode() for column in columns)), "sha256")


class MemberSessions:
    """Verifies session cookies: from memory under the node's lease, and against the database otherwise."""

    def __init__(
        self, node: Node[MemberVerification], reader: CredentialReader, *, keys: SessionKeys, pool: Pool, clock: Clock
    ) -> None:
        """Take a reader that finds sessions."""
        self._node = node
        self._reader = reader
        self._keys = keys
        self._pool = pool
        self._clock = clock
        self._denials = Denials(clock.steady)
        self._seen: dict[str, float] = {}
        """When each session was used last, of those whose use is not noted in the database yet."""
        self._noted: dict[str, float] = {}
        """When that was noted last, the first to be noted first: no session more often than once a minute."""
        self._wake = asyncio.Event()

    def recall(self, cookie: str) -> MemberVerification | None:
        """Verify a cookie from memory alone; None where that cannot tell."""
        if WELL_FORMED.fullmatch(cookie) is None:
            return MALFORMED
        for digest in self._keys.digests(cookie):
            if (remembered := self._node.recall(digest)) is not None:
                return remembered
            if self._denials.holds(digest):
                return UNKNOWN
        return None

    async def verify(self, cookie: str) -> MemberVerification:
        """Say whose session a cookie is, if it is one that goes on. Raises ReadingUnavailableError."""
        remembered = self.recall(cookie)
        return await self._look_up(self._keys.digests(cookie)) if remembered is None else remembered

    def watch(self, cookie: str) -> Watch[MemberVerification]:
        """Digest a cookie once, to recall its session as often as something is sent on its word."""
        return Watch(self._node, tuple(self._keys.digests(cookie)), self._keys.digested_with)

    async def verify_again(self, watch: Watch[MemberVerification]) -> MemberVerification:
        """Say whether a session that went on goes on now. Raises as `verify` does."""
        remembered = watch.recall()
        return await self._look_up(watch.digests) if remembered is None else remembered

    def touch(self, credential: MemberCredential) -> None:
        """Note that a session is used now: so it does not end for being idle."""
        session_id = credential.session.id
        self._seen[session_id] = self._clock.steady()
        if session_id not in self._noted:
            self._wake.set()

    async def run(self) -> None:
        """Note uses within a second, but none of a session twice in a minute."""
        while True:
            await happens(self._wake, within_s=LOOK_EVERY_S)
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            try:
                await self.note_seen()
            except Exception as error:  # noqa: BLE001 -- whatever it was, it is kept and tried again
                log.warning("sessions_not_noted", error=type(error).__name__, waiting=len(self._seen))

    async def note_seen(self, *, everything: bool = False) -> None:
        """Write down which sessions were used, if it is due or all. Raises the driver's errors, losing nothing."""
        now_s = self._clock.steady()
        for session_id in [*takewhile(lambda known: self._noted[known] + NOTE_EVERY_S <= now_s, self._noted)]:
            del self._noted[session_id]
        seen = {one: at_s for one, at_s in self._seen.items() if everything or one not in self._noted}
        if not seen:
            return
        ago_s = [max(0.0, now_s - at_s) for at_s in seen.values()]
        await self._pool.execute(NOTE_SESSIONS_SEEN.text, list(seen), ago_s)
        for session_id, at_s in seen.items():
            self._noted.pop(session_id, None)
            self._noted[session_id] = now_s
            if self._seen.get(session_id) == at_s:  # not used again meanwhile
                del self._seen[session_id]

    async def forget_ended(self) -> None:
        """Delete the rows of sessions that have ended."""
        await self._pool.execute(FORGET_ENDED_SESSIONS.text)

    async def _look_up(self, digests: Sequence[bytes]) -> MemberVerification:
        for _ in range(MOST_READS):
            incarnation = self._node.incarnation
            found = await self._reader.find(digests)
            # Nothing is waited for from here on: what is decided is decided on what the node has applied by now.
            if not self._node.is_current(found.epoch, found.sent_s, incarnation):
                continue
            row = found.row
            if row is None or not self._keys.proves(row):
                return self._denied(digests, Failure.UNKNOWN)
            if row["left_s"] <= 0 and row["id"] in self._seen:
                await self._catch_up()  # it was used here in time, which the database does not know yet
                continue
            deadline_s = found.sent_s + row["left_s"]
            if row["is_over"]:
                return self._denied(digests, Failure.REVOKED)
            if self._clock.steady() >= deadline_s:
                return self._denied(digests, Failure.EXPIRED)
            verification = MemberVerification(failure=None, credential=credential_of(row))
            self._node.remember(row["asked"], Entry(row["member_id"], verification, deadline_s))
            return verification
        raise ReadingUnavailableError("the session changes faster than it can be read")

    async def _catch_up(self) -> None:
        try:
            await self.note_seen(everything=True)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ReadingUnavailableError("the database does not take what it is told") from error

    def _denied(self, digests: Sequence[bytes], failure: Failure) -> MemberVerification:
        """Remember for a moment that a cookie is no session, which no session becomes again."""
        for digest in digests:
            self._denials.add(digest)
        return MemberVerification(failure=failure)


def credential_of(row: asyncpg.Record) -> MemberCredential:
    """Read whose session it is."""
    session = MemberSession(
        id=row["id"],
        role=MemberRole(row["role"]),
        authenticated_at=row["authenticated_at"],
        must_change_password=row["must_change"],
    )
    return MemberCredential(member_id=row["member_id"], organization=row["organization"], session=session)


@contextlib.asynccontextmanager
async def noting(sessions: MemberSessions) -> AsyncIterator[None]:
    """Note which sessions are used, as long as the process runs, and at its end."""
    task = asyncio.create_task(sessions.run(), name="member-sessions")
    try:
        yield
    finally:
        await stopped(task)
        try:
            await sessions.note_seen(everything=True)
        except Exception as error:  # noqa: BLE001 -- whatever it was, the rest is still to be closed in order
            log.warning("sessions_not_noted", error=type(error).__name__)
