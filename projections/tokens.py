"""The read model `tokens`: the questions asked of it, and what a token page shows. Must never write.

Rows are written within each append, so what is read here includes every mutation that was answered. What depends on the
clock (a token that expired) is computed when it is read. Use comes from `token_last_used`, which follows the log. Pages
go by key, never by counting rows: each costs the same wherever it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from typing import Final, assert_never

import asyncpg

from events.statement import Pool, load
from events.token_kinds import TokenKind
from events.tokens import TokenState
from projections.last_used import LastUsed
from projections.token_row import TOKENS, row_json, state_of

__all__ = (
    "TOKENS",
    "Home",
    "TokenFilter",
    "TokenOrderField",
    "TokenPageQuery",
    "TokenStatus",
    "TokenView",
    "count_tokens",
    "find_client_secrets",
    "find_home",
    "find_names",
    "find_signer",
    "find_tokens",
    "joined",
    "page_tokens",
    "row_json",
    "sort_value",
    "status_of",
)

FIND_TOKENS: Final = load("projections.statements.tokens", "find_tokens")
FIND_NAMES: Final = load("projections.statements.tokens", "find_names")
FIND_HOME: Final = load("projections.statements.tokens", "find_home")
FIND_SIGNER: Final = load("projections.statements.tokens", "find_signer")
FIND_CLIENT_SECRETS: Final = load("projections.statements.tokens", "find_client_secrets")
COUNT_TOKENS: Final = load("projections.statements.tokens", "count_tokens")


@unique
class TokenStatus(StrEnum):
    """Whether a token works."""

    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"
    REVOKING = "REVOKING"
    """Revoked, but not yet known to every process: no read model holds that."""
    REVOKED = "REVOKED"


def status_of(state: TokenState, now: datetime, *, is_revoking: bool = False) -> TokenStatus:
    """Say whether a token works at an instant."""
    if state.revoked_at is not None:
        return TokenStatus.REVOKING if is_revoking else TokenStatus.REVOKED
    return TokenStatus.ACTIVE if state.is_active(now) else TokenStatus.EXPIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """A token and its use, as a token page shows it."""

    state: TokenState
    use_count: int
    last_used_at: datetime | None
    previous_last_used_at: datetime | None
    """When the secret before the current one was used last; None where that is not known."""


def view_of(row: asyncpg.Record) -> TokenView:
    """Read a token and its use from a joined row; use that is not known yet is none."""
    state = state_of(row)
    return joined(state, used_of(state, row))


def used_of(state: TokenState, row: asyncpg.Record) -> LastUsed:
    """Read a token's use from a joined row."""
    return LastUsed(
        token_id=state.id,
        organization=state.organization,
        use_count=row["use_count"] or 0,
        last_used_at=row["last_used_at"],
        newest_generation=row["newest_generation"] or 0,
        newest_last_used_at=row["newest_last_used_at"],
        previous_last_used_at=row["previous_last_used_at"],
    )


def joined(state: TokenState, used: LastUsed) -> TokenView:
    """Put a token and its use together."""
    return TokenView(
        state=state,
        use_count=used.use_count,
        last_used_at=used.last_used_at,
        previous_last_used_at=used.generation_last_used_at(state.generation - 1) if state.generation else None,
    )


async def find_tokens(pool: Pool, organization: str, ids: Sequence[str]) -> dict[str, TokenView]:
    """Find those of the tokens that exist in the organization, by id."""
    rows = await pool.fetch(FIND_TOKENS.text, organization, ids)
    return {row["id"]: view_of(row) for row in rows}


async def find_names(pool: Pool, organization: str, ids: Sequence[str]) -> dict[str, str]:
    """Find the names of those of the tokens that exist in the organization, by id."""
    rows = await pool.fetch(FIND_NAMES.text, organization, ids)
    return {row["id"]: row["name"] for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What leads to the stream that a token is decided on."""

    kind: TokenKind
    application_id: str | None


async def find_home(pool: Pool, organization: str, token_id: str) -> Home | None:
    """Find where a token is decided on, if it exists in the organization."""
    row = await pool.fetchrow(FIND_HOME.text, organization, token_id)
    return None if row is None else Home(kind=TokenKind(row["kind"]), application_id=row["application_id"])


async def find_signer(pool: Pool, organization: str) -> TokenState | None:
    """Find the token that signs an organization's webhooks: the last one chosen, unless it was revoked since."""
    row = await pool.fetchrow(FIND_SIGNER.text, organization)
    return None if row is None or row["revoked_at"] is not None else state_of(row)


async def find_client_secrets(pool: Pool, organization: str, applications: Sequence[str]) -> dict[str, str]:
    """Find the ids of the client secrets of some of an organization's applications, by application."""
    rows = await pool.fetch(FIND_CLIENT_SECRETS.text, organization, applications)
    return {row["application_id"]: row["id"] for row in rows}


@unique
class TokenOrderField(StrEnum):
    """What tokens can be ordered by; tokens that are equal in it go by id, in the same direction."""

    CREATED_AT = "CREATED_AT"
    LAST_USED_AT = "LAST_USED_AT"
    """A token that was never used is the earliest."""
    EXPIRES_AT = "EXPIRES_AT"
    """A token that does not expire is the latest."""
    NAME = "NAME"
    """Upper and lower case alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFilter:
    """Which tokens to show; what is None lets everything through. From is included, before is not."""

    kinds: tuple[TokenKind, ...] | None = None
    statuses: tuple[TokenStatus, ...] | None = None
    search: str | None = None
    """Part of the name or the hint, upper and lower case alike."""
    application_id: str | None = None
    has_scopes: tuple[str, ...] | None = None
    """Each is among the token's own, as it stands."""
    created_from: datetime | None = None
    created_before: datetime | None = None
    expires_from: datetime | None = None
    expires_before: datetime | None = None
    last_used_from: datetime | None = None
    last_used_before: datetime | None = None
    never_used: bool | None = None
    revoking: tuple[str, ...] = ()
    """Tokens whose revocation is not known to every process yet, which no read model holds."""

    def arguments(self) -> tuple[object, ...]:
        """Lay the filter out as the arguments that every statement with filters takes."""
        return (
            self.kinds,
            self.statuses,
            None if self.search is None else f"%{escaped(self.search)}%",
            self.application_id,
            self.has_scopes,
            self.created_from,
            self.created_before,
            self.expires_from,
            self.expires_before,
            self.last_used_from,
            self.last_used_before,
            self.never_used,
            self.revoking,
        )


def escaped(text: str) -> str:
    """Take the special meaning from what `like` has as wildcards."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


SortValue = datetime | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPageQuery:
    """Which page to read. To page backward, flip `descending` and reverse what comes."""

    organization: str
    filter: TokenFilter
    field: TokenOrderField
    descending: bool
    after: tuple[SortValue, str] | None
    """The sort value and the id of the token that the page comes after; None for the first page."""
    limit: int


PAGES: Final = {
    (TokenOrderField.CREATED_AT, False): load("projections.statements.tokens", "page_by_created_at_ascending"),
    (TokenOrderField.CREATED_AT, True): load("projections.statements.tokens", "page_by_created_at_descending"),
    (TokenOrderField.LAST_USED_AT, False): load("projections.statements.tokens", "page_by_last_used_at_ascending"),
    (TokenOrderField.LAST_USED_AT, True): load("projections.statements.tokens", "page_by_last_used_at_descending"),
    (TokenOrderField.EXPIRES_AT, False): load("projections.statements.tokens", "page_by_expires_at_ascending"),
    (TokenOrderField.EXPIRES_AT, True): load("projections.statements.tokens", "page_by_expires_at_descending"),
    (TokenOrderField.NAME, False): load("projections.statements.tokens", "page_by_name_ascending"),
    (TokenOrderField.NAME, True): load("projections.statements.tokens", "page_by_name_descending"),
}


def sort_value(view: TokenView, field: TokenOrderField) -> SortValue:
    """Read what a cursor needs of a token, besides its id, to go on after it."""
    match field:
        case TokenOrderField.CREATED_AT:
            return view.state.created_at
        case TokenOrderField.LAST_USED_AT:
            return view.last_used_at
        case TokenOrderField.EXPIRES_AT:
            return view.state.expires_at
        case TokenOrderField.NAME:
            return view.state.name
        case _:
            assert_never(field)


async def page_tokens(pool: Pool, query: TokenPageQuery) -> list[TokenView]:
    """Read a page of an organization's tokens. A token just created joins the order by last use a moment later."""
    value, token_id = query.after or (None, None)
    statement = PAGES[query.field, query.descending]
    arguments = (query.organization, value, token_id, query.limit, *query.filter.arguments())
    return [view_of(row) for row in await pool.fetch(statement.text, *arguments)]


async def count_tokens(pool: Pool, organization: str, token_filter: TokenFilter) -> int:
    """Count an organization's tokens that a filter lets through; costs a look at each of them."""
    return int(await pool.fetchval(COUNT_TOKENS.text, organization, *token_filter.arguments()))
