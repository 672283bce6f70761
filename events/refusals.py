"""The domain's "no": a value, never an exception. Must never quote a secret or a whole input."""

from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class RefusalCode(StrEnum):
    """Why a command was refused, as clients read it."""

    INVALID = "INVALID"
    NOT_FOUND = "NOT_FOUND"
    TAKEN = "TAKEN"
    CONFLICT = "CONFLICT"
    LIMIT_REACHED = "LIMIT_REACHED"
    SCOPE_NOT_HELD = "SCOPE_NOT_HELD"
    CONFIRMATION_MISMATCH = "CONFIRMATION_MISMATCH"
    SIGNS_WEBHOOKS = "SIGNS_WEBHOOKS"
    NOT_RECOVERABLE = "NOT_RECOVERABLE"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    WRONG_CREDENTIALS = "WRONG_CREDENTIALS"
    LAST_OWNER = "LAST_OWNER"
    TOKEN_NOT_ACTIVE = "TOKEN_NOT_ACTIVE"  # noqa: S105 -- the name of an error, not a password


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One reason why nothing was appended; `field` leads to the input that is wrong."""

    code: RefusalCode
    message: str
    field: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that was refused, with every reason found."""

    refusals: tuple[Refusal, ...]


def invalid(field: str, message: str) -> Refusal:
    """Refuse one input field because its value is not acceptable."""
    return Refusal(code=RefusalCode.INVALID, message=message, field=("input", field))
