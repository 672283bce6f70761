"""The errors of the API: which may be told, in which words, and what becomes of all others.

graphql-core quotes what it was given (`Int cannot represent non-integer value: 'entri_…'`), and secrets are given to
us. Nothing that leaves here may quote a value, from a variable or from the document; names and types may be quoted.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

import structlog
from graphql import GraphQLError, GraphQLInputType, get_nullable_type, is_input_object_type, is_list_type
from strawberry.exceptions import StrawberryInputCoercionError

from events.writer import OutcomeUnknownError
from projections.past import TooLongError
from service.authorization import (
    ForbiddenError,
    ReauthenticationRequiredError,
    RestrictedError,
    SessionRequiredError,
    UnauthenticatedError,
)
from service.availability import is_unavailable
from service.cursors import ExpiredCursorError, InvalidCursorError
from service.enforcement import NotEnforcedError
from service.queries import ArchivedEventError, NotReachedError
from service.signing import NotSignedError
from service.tail import HistoryLostError
from service.throttle import RateLimitedError
from service.time_travel import ArchivedUseError, BeyondHeadError
from service.tree_proofs import NotProvableError

Code = Literal[
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "REAUTHENTICATION_REQUIRED",
    "BAD_USER_INPUT",
    "INVALID_CURSOR",
    "CURSOR_EXPIRED",
    "RATE_LIMITED",
    "QUERY_TOO_COMPLEX",
    "UNAVAILABLE",
    "INTERNAL",
]
# One entry of a response's `errors`, ready for JSON.
FormattedError = dict[str, Any]

# What the layers beneath raise to be told; their messages quote no value.
_CODES: Final[Mapping[type[Exception], Code]] = {
    ForbiddenError: "FORBIDDEN",
    SessionRequiredError: "FORBIDDEN",
    RestrictedError: "UNAUTHENTICATED",
    UnauthenticatedError: "UNAUTHENTICATED",
    ReauthenticationRequiredError: "REAUTHENTICATION_REQUIRED",
    InvalidCursorError: "INVALID_CURSOR",
    ExpiredCursorError: "CURSOR_EXPIRED",
    HistoryLostError: "CURSOR_EXPIRED",
    NotReachedError: "UNAVAILABLE",
    BeyondHeadError: "BAD_USER_INPUT",
    ArchivedUseError: "BAD_USER_INPUT",
    TooLongError: "QUERY_TOO_COMPLEX",
    ArchivedEventError: "BAD_USER_INPUT",
    NotProvableError: "BAD_USER_INPUT",
    NotSignedError: "UNAVAILABLE",
    OutcomeUnknownError: "UNAVAILABLE",
    NotEnforcedError: "UNAVAILABLE",
}
_LOG: Final = structlog.get_logger("service.api")
_LONGEST_MESSAGE: Final = 300

# The lexer and the parser put what they found last: after the kind of token, or after a colon.
_FOUND: Final = re.compile(r"\b(Name|Int|Float|String|BlockString|Comment) '.*|: (?:['\"<]|U\+).*", re.DOTALL)
# What of graphql-core's messages about values names only types and fields; all other messages about values are dropped.
_NAMES_ONLY: Final = re.compile(
    r"(Expected value of type '[\w!\[\]]+' (?:to include required|not to include unknown) field '\w{1,64}')[,.]"
    r"|(Expected (?:a )?value of non-null type '[\w!\[\]]+' (?:to be provided|not to be None))\.$"
    r"|(Within OneOf Input Object type '\w+', exactly one field must be specified.*)\.$"
)
_ARGUMENT: Final = re.compile(r"Argument '(\w+)' (?:has invalid|of required)")


class ApiError(Exception):
    """What a resolver raises to be told as it is: a code of the contract and a message that quotes no value."""

    def __init__(self, code: Code, message: str, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message
        self.extra = dict(extra or {})


def formatted(code: Code, message: str, *, error: GraphQLError | None = None) -> FormattedError:
    """Return one entry of `errors`, with the place of `error` if it knows one."""
    entry: FormattedError = {"message": message[:_LONGEST_MESSAGE]}
    if error is not None and error.locations:
        entry["locations"] = [location.formatted for location in error.locations]
    if error is not None and error.path:
        entry["path"] = error.path
    entry["extensions"] = {"code": code}
    return entry


def syntax_error(error: GraphQLError) -> FormattedError:
    """Format what the parser raised, without the token that it stumbled over."""
    if error.message.endswith("Parsing aborted."):  # one of the parser's own limits
        return formatted("QUERY_TOO_COMPLEX", error.message.removeprefix("Syntax Error: "), error=error)
    message = _FOUND.sub(lambda found: found[1] or "", error.message)
    return formatted("BAD_USER_INPUT", message.rstrip(".") + ".", error=error)


def value_message(error: GraphQLError, type_: GraphQLInputType, *, path: Iterable[str | int]) -> str:
    """Say what is wrong with an input value by its place and type only."""
    if isinstance(error.original_error, ApiError):
        return error.original_error.message
    names = _NAMES_ONLY.match(error.message)
    if names is None:
        return f"Expected a value of type '{_type_at(type_, path)}'."
    return names[names.lastindex or 0].replace("not to be None", "not to be null") + "."


def execution_errors(errors: Iterable[GraphQLError], request_id: str, *, most: int) -> list[FormattedError]:
    """Format what execution collected; log what must not be told, each exception once, and at most `most` of all."""
    entries: list[FormattedError] = []
    logged: set[int] = set()
    for error in list(errors)[:most]:
        cause = _cause(error)
        if told := told_as(cause):
            entry = formatted(told.code, told.message, error=error)
            entry["extensions"] |= told.extra
        elif argument := _argument(cause):
            entry = formatted("BAD_USER_INPUT", argument, error=error)
        else:
            entry = internal_error(None if id(cause) in logged else cause, request_id, error=error)
            logged.add(id(cause))
        entries.append(entry)
    return entries


def told_as(cause: Exception) -> ApiError | None:
    """Say what the layers beneath raise in the contract's codes; None for a defect, of which nothing is told."""
    if isinstance(cause, ApiError):
        return cause
    if code := _CODES.get(type(cause)):
        return ApiError(code, str(cause), {"scope": cause.scope} if isinstance(cause, ForbiddenError) else None)
    if isinstance(cause, RateLimitedError):
        return ApiError("RATE_LIMITED", str(cause), {"retryAfterS": cause.retry_after_s})
    return ApiError("UNAVAILABLE", "The service is busy: try again.") if is_unavailable(cause) else None


def internal_error(cause: Exception | None, request_id: str, *, error: GraphQLError | None = None) -> FormattedError:
    """Log the cause under the request's id, and return the entry that tells the id only. `None`: logged before."""
    if cause is not None:
        _LOG.error("internal_error", request_id=request_id, path=error and error.path, exc_info=cause)
    entry = formatted("INTERNAL", "Internal error", error=error)
    entry["extensions"]["requestId"] = request_id
    return entry


def on_value_error(
    report: Callable[[str, list[str | int]], None], type_: GraphQLInputType
) -> Callable[[GraphQLError, list[str | int]], None]:
    """Return the callback that graphql-core's validation of values wants, reporting safe messages."""
    return lambda error, path: report(value_message(error, type_, path=path), path)


def _cause(error: GraphQLError) -> Exception:
    cause: Exception = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _argument(cause: Exception) -> str | None:
    # A nullable variable at an argument with a default can turn out null as late as now.
    if isinstance(cause, StrawberryInputCoercionError):
        return "An argument has an invalid value."
    named = _ARGUMENT.match(cause.message) if isinstance(cause, GraphQLError) else None
    return f"Argument '{named[1]}' has an invalid value." if named else None


def _type_at(type_: GraphQLInputType, path: Iterable[str | int]) -> GraphQLInputType:
    for step in path:
        inside = get_nullable_type(type_)
        if is_list_type(inside):
            type_ = inside.of_type
        elif is_input_object_type(inside) and step in inside.fields:
            type_ = inside.fields[str(step)].type
    return type_
