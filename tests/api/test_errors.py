"""What may be told of an exception: the contract's code and our own words, or nothing at all."""

import asyncpg
import pytest

from events.writer import AppendRejectedError, LogUnavailableError, OutcomeUnknownError
from service.api.errors import ApiError, told_as
from service.authorization import ForbiddenError, RestrictedError
from service.cursors import ExpiredCursorError, InvalidCursorError
from service.hashing import HashingOverloadError, VerifierError
from service.queries import NotReachedError


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (ApiError("RATE_LIMITED", "said"), "RATE_LIMITED"),
        (ForbiddenError("tokens:read"), "FORBIDDEN"),
        (RestrictedError("said"), "UNAUTHENTICATED"),
        (InvalidCursorError("said"), "INVALID_CURSOR"),
        (ExpiredCursorError("said"), "CURSOR_EXPIRED"),
        (NotReachedError("said"), "UNAVAILABLE"),
        (OutcomeUnknownError("said"), "UNAVAILABLE"),
        (LogUnavailableError("internal"), "UNAVAILABLE"),
        (HashingOverloadError("internal"), "UNAVAILABLE"),
        (asyncpg.CannotConnectNowError("internal"), "UNAVAILABLE"),
        (asyncpg.ConnectionDoesNotExistError("internal"), "UNAVAILABLE"),
        (ConnectionRefusedError("internal"), "UNAVAILABLE"),
        (TimeoutError("internal"), "UNAVAILABLE"),
    ],
)
def test_what_is_expected_has_a_code(cause: Exception, code: str) -> None:
    """What the layers beneath say to callers is told; what the driver says is not."""
    told = told_as(cause)
    assert told is not None
    assert told.code == code
    assert "internal" not in told.message
    assert (told.extra == {"scope": "tokens:read"}) == (code == "FORBIDDEN")


@pytest.mark.parametrize(
    "cause",
    [
        AppendRejectedError("internal"),
        VerifierError("internal"),
        asyncpg.UniqueViolationError("internal"),
        asyncpg.CharacterNotInRepertoireError("internal"),
        LookupError("internal"),
        RuntimeError("internal"),
    ],
)
def test_a_defect_is_told_nothing_of(cause: Exception) -> None:
    """Whatever nobody expected is INTERNAL, in words that are not its own."""
    assert told_as(cause) is None
