"""The kinds of token and the policy of each: one table, in one place. Must never decide anything itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from events.envelope import StreamId


@unique
class TokenKind(StrEnum):
    """What a token is for."""

    API_TOKEN = "API_TOKEN"  # noqa: S105 -- the name of a kind, not a password
    API_SECRET = "API_SECRET"  # noqa: S105 -- the name of a kind, not a password
    CLIENT_SECRET = "CLIENT_SECRET"  # noqa: S105 -- the name of a kind, not a password


@dataclass(frozen=True, slots=True, kw_only=True)
class KindPolicy:
    """What holds for every token of a kind."""

    category: str
    """The category of the stream that its decisions are on: its own, its organization's or its application's."""
    may_expire: bool
    issued_by_create: bool
    """Whether `createToken` issues it (a client secret is issued with its application)."""
    confirmed_by_name: bool
    """Whether its revocation needs the token's name typed in."""
    revoked_alone: bool
    """Whether it can be revoked by itself (a client secret ends with its application)."""
    most_live: int | None
    """How many live at once in one stream; None for no limit."""


POLICIES: Final[Mapping[TokenKind, KindPolicy]] = {
    TokenKind.API_TOKEN: KindPolicy(
        category="token",
        may_expire=True,
        issued_by_create=True,
        confirmed_by_name=False,
        revoked_alone=True,
        most_live=None,
    ),
    TokenKind.API_SECRET: KindPolicy(
        category="api_secrets",
        may_expire=False,
        issued_by_create=True,
        confirmed_by_name=True,
        revoked_alone=True,
        most_live=3,
    ),
    TokenKind.CLIENT_SECRET: KindPolicy(
        category="application",
        may_expire=False,
        issued_by_create=False,
        confirmed_by_name=False,
        revoked_alone=False,
        most_live=1,
    ),
}


def stream_of(kind: TokenKind, owner: str) -> StreamId:
    """Name the stream that decisions about a token are on: by its own id, its organization's or its application's."""
    return StreamId(f"{POLICIES[kind].category}-{owner}")


def stream_of_api_token(token_id: str) -> StreamId:
    """Name the stream that the decisions about an `API_TOKEN` are on: its own."""
    return stream_of(TokenKind.API_TOKEN, token_id)
