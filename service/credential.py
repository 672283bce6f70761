"""What a presented secret turns out to be: a token's credential, or why not, and whether that is enough.

Must never do I/O, nor hold a secret.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from functools import lru_cache
from sys import intern
from typing import Final

import asyncpg

from events.applications import Environment
from events.scopes import missing
from events.token_kinds import TokenKind
from service.authorization import MemberSession, Principal, member_principal, token_principal


@unique
class Failure(StrEnum):
    """Why a key is not good, or not good enough."""

    MALFORMED = "MALFORMED"
    UNKNOWN = "UNKNOWN"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"
    MISSING_SCOPE = "MISSING_SCOPE"
    WRONG_ENVIRONMENT = "WRONG_ENVIRONMENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """The token that a secret was proved to belong to, whether it works or not."""

    token_id: str
    organization: str
    kind: TokenKind
    application_id: str | None
    environment: Environment | None = None
    """Of the application that it is the client secret of."""
    scopes: tuple[str, ...]
    expires_at: datetime | None
    hint: str
    """Of the secret that was presented, which may be the one before the last rotation."""
    generation: int
    completes_rotation: bool
    """This is the first time that the newest secret of a rotated token is seen."""

    @property
    def subject(self) -> str:
        """Name what is to be forgotten when it changes: the token."""
        return self.token_id

    @property
    def principal(self) -> Principal:
        """Act as the token."""
        return token_principal(self.token_id, self.organization, self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCredential:
    """The member that a session was proved to be of, whether it goes on or not."""

    member_id: str
    organization: str
    session: MemberSession

    @property
    def subject(self) -> str:
        """Name what is to be forgotten when it changes: the member."""
        return self.member_id

    @property
    def principal(self) -> Principal:
        """Act as the member."""
        return member_principal(self.member_id, self.organization, self.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What is known of a presented secret: it is good when `failure` is None; whose it is, when it was right."""

    failure: Failure | None
    credential: Credential | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberVerification:
    """What is known of a presented session: it is good when `failure` is None; whose it is, when it was right."""

    failure: Failure | None
    credential: MemberCredential | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a key must be good for: an organization (None: any), an environment, and every one of the scopes."""

    organization: str | None = None
    environment: Environment | None = None
    scopes: tuple[str, ...] = ()


MOST_SHARED: Final = 10_000
ANYTHING: Final = Wanted()
MALFORMED: Final = Verification(failure=Failure.MALFORMED)
UNKNOWN: Final = Verification(failure=Failure.UNKNOWN)


def failure_of(row: asyncpg.Record) -> Failure | None:
    """Say why a token whose secret was right does not work, if it does not."""
    age = row["generation"] - row["secret_generation"]
    if row["revoked_at"] is not None:
        return Failure.REVOKED
    if row["is_expired"]:
        return Failure.EXPIRED
    if age > 1 or (age == 1 and row["overlap_ends_at"] is None):
        return Failure.REVOKED
    if age == 1 and not row["has_overlap"]:
        return Failure.EXPIRED
    return None


def credential_of(row: asyncpg.Record) -> Credential:
    """Read the token that a secret belongs to."""
    is_newest = row["secret_generation"] == row["generation"]
    return Credential(
        token_id=row["id"],
        organization=intern(row["organization"]),
        kind=TokenKind(row["kind"]),
        application_id=row["application_id"],
        environment=None if row["environment"] is None else Environment(row["environment"]),
        scopes=shared(tuple(row["scopes"])),
        expires_at=row["expires_at"],
        hint=row["hint"] if is_newest else (row["previous_hint"] or ""),
        generation=row["secret_generation"],
        completes_rotation=is_newest and row["generation"] > 0 and row["new_secret_used_at"] is None,
    )


@lru_cache(maxsize=MOST_SHARED)
def shared(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Answer one and the same tuple for the same scopes: many keys that are remembered have the same."""
    return tuple(map(intern, scopes))


def held_against(verification: Verification, wanted: Wanted) -> Verification:
    """Narrow a verification to what the key is wanted for: another organization's key is unknown."""
    credential = verification.credential
    if credential is None:
        return verification
    if wanted.organization is not None and credential.organization != wanted.organization:
        return UNKNOWN
    if verification.failure is None and wanted.environment is not None and credential.environment != wanted.environment:
        # What belongs to no application is of no environment.
        return Verification(failure=Failure.WRONG_ENVIRONMENT, credential=credential)
    if verification.failure is None and wanted.scopes and missing(credential.scopes, wanted.scopes):
        return Verification(failure=Failure.MISSING_SCOPE, credential=credential)
    return verification
