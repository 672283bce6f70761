"""Every enum of the API, each value with its description. Must never hold a type of another sort."""

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Any

import strawberry

from events.applications import Environment, SecretPolicy
from events.envelope import ActorKind
from events.members import MemberRole
from events.refusals import RefusalCode
from events.token_kinds import TokenKind
from events.usage import GapCause
from projections.tokens import TokenOrderField, TokenStatus
from service.credential import Failure

__all__ = (
    "ActorKind",
    "Environment",
    "EventOrder",
    "Failure",
    "GapCause",
    "MemberRole",
    "OrderDirection",
    "RefusalCode",
    "SecretPolicy",
    "TokenKind",
    "TokenOrderField",
    "TokenStatus",
)


@unique
class EventOrder(StrEnum):
    """Which way a history is read."""

    NEWEST_FIRST = "NEWEST_FIRST"
    OLDEST_FIRST = "OLDEST_FIRST"


@unique
class OrderDirection(StrEnum):
    """Which way an order goes."""

    ASC = "ASC"
    DESC = "DESC"


def show(cls: type[StrEnum], description: str, values: Mapping[str, str], *, name: str | None = None) -> None:
    """Make an enum part of the API. Raises KeyError for a value without a description."""
    strawberry.enum(cls, name=name, description=description)
    definition: Any = getattr(cls, "__strawberry_definition__")  # noqa: B009 -- Strawberry has put it there
    for value in definition.values:
        value.description = values[value.name]


show(
    ActorKind,
    "What kind of principal acted.",
    {
        "MEMBER": "A person in an organization.",
        "TOKEN": "A token.",
        "SYSTEM": "The service itself, or its operator.",
    },
)
show(
    TokenKind,
    "What a token is for; its kind fixes its policy.",
    {
        "API_TOKEN": "For calling services; may expire.",
        "API_SECRET": "An organization's own secret, of which few live and one signs webhooks.",
        "CLIENT_SECRET": "The one secret of an application.",
    },
)
show(
    TokenStatus,
    "Whether a token works.",
    {
        "ACTIVE": "It works.",
        "EXPIRED": "Its time has passed.",
        "REVOKING": "Its revocation is committed and not yet known to every process.",
        "REVOKED": "It was stopped for ever.",
    },
)
show(
    TokenOrderField,
    "What tokens can be ordered by. Equal ones go by id.",
    {
        "CREATED_AT": "When they were issued.",
        "LAST_USED_AT": "When they were used last; those never used are the earliest.",
        "EXPIRES_AT": "When they expire; those that do not are the latest.",
        "NAME": "What they are called, upper and lower case alike.",
    },
)
show(
    OrderDirection,
    "Which way an order goes.",
    {"ASC": "From the least to the greatest.", "DESC": "From the greatest to the least."},
)
show(
    EventOrder,
    "Which way a history is read.",
    {"NEWEST_FIRST": "Back from the head.", "OLDEST_FIRST": "Forward from the first event."},
)
show(
    Environment,
    "Where an application runs.",
    {
        "DEVELOPMENT": "Where it is made.",
        "STAGING": "Where it is tried before its users have it.",
        "PRODUCTION": "Where its users have it.",
        "SANDBOX": "Where its users may try it without consequences.",
    },
)
show(
    SecretPolicy,
    "Whether an application's secret is kept.",
    {
        "SHOW_ONCE": "It is shown when it is issued and never again.",
        "RECOVERABLE": "It is kept, sealed, and can be shown again to a member who has entered the password lately.",
    },
)
show(
    MemberRole,
    "What a member may do.",
    {
        "OWNER": "Everything.",
        "ADMIN": "Everything but to make, change or remove owners.",
        "MEMBER": "See the organization, its members, applications and tokens, and change tokens.",
        "AUDITOR": "See everything, the history among it, and change nothing.",
    },
)
show(
    GapCause,
    "Why uses went uncounted.",
    {"CRASH": "A process ended without writing them.", "OVERFLOW": "More came than a process may hold."},
    name="UsageGapCause",
)
show(
    Failure,
    "Why a key is not good, or not good enough.",
    {
        "MALFORMED": "It has not the form of a key.",
        "UNKNOWN": "No token of the organizations asked about has it.",
        "EXPIRED": "Its token has expired, or the overlap in which it still worked has ended.",
        "REVOKED": "Its token was revoked or got a new secret.",
        "MISSING_SCOPE": "Its token lacks a scope that is required.",
        "WRONG_ENVIRONMENT": "Its token is not of the environment that is required.",
    },
    name="VerificationFailure",
)
show(
    RefusalCode,
    "Why a command was refused.",
    {
        "INVALID": "The input is not acceptable.",
        "NOT_FOUND": "There is no such thing, or it may not be seen.",
        "TAKEN": "It exists already.",
        "CONFLICT": "Others changed it at the same time: read it and try again.",
        "LIMIT_REACHED": "No more of them may live at once.",
        "SCOPE_NOT_HELD": "Whoever gives or is handed a scope must hold it.",
        "CONFIRMATION_MISMATCH": "The typed confirmation is not what it must be.",
        "SIGNS_WEBHOOKS": "It signs the organization's webhooks: designate another first.",
        "NOT_RECOVERABLE": "Its secret was not kept.",
        "IDEMPOTENCY_KEY_REUSED": "The idempotency key came with another input before.",
        "WRONG_CREDENTIALS": "The e-mail address or the password is wrong.",
        "LAST_OWNER": "An organization keeps one owner.",
        "TOKEN_NOT_ACTIVE": "The token is revoked or has expired.",
    },
    name="UserErrorCode",
)
