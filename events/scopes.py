"""Scopes: `resource:action`, what they cover and which are ours. Must never know who holds them."""

import re
from collections.abc import Iterable
from typing import Final

EVERYTHING: Final = "*:*"
PATTERN: Final = re.compile(r"[a-z][a-z0-9._-]*:([a-z][a-z0-9._-]*|\*)")
MOST_SCOPES: Final = 100
LONGEST_SCOPE: Final = 64
LONGEST_SCOPES: Final = 3072
"""Bytes that all scopes of a token may take together, spaces between them included: gateways carry them in a header."""

RESERVED: Final = {
    "organization": frozenset({"read", "write"}),
    "members": frozenset({"read", "write"}),
    "applications": frozenset({"read", "write"}),
    "tokens": frozenset({"read", "write", "verify"}),
    "events": frozenset({"read"}),
    "webhooks": frozenset({"read", "write"}),
}
"""This service's own resources and their actions. Every other resource belongs to the services that rely on us.

`organization:write` is to say who owns the organization.
"""
RESERVED_SCOPES: Final = tuple(f"{resource}:{action}" for resource in RESERVED for action in sorted(RESERVED[resource]))


def problem_with(scope: str) -> str | None:
    """Say why a scope is not one, or None when it is. The sentence never quotes the scope."""
    if scope == EVERYTHING:
        return None
    if len(scope) > LONGEST_SCOPE:
        return f"a scope has at most {LONGEST_SCOPE} characters"
    if PATTERN.fullmatch(scope) is None:
        return "a scope is resource:action in lower case, such as projects:read or projects:*"
    resource, action = scope.split(":")
    if action != "*" and action not in RESERVED.get(resource, {action}):
        actions = ", ".join(sorted(RESERVED[resource]))
        return f"the resource {resource} is reserved and its actions are {actions} and *"
    return None


def covers(held: Iterable[str], wanted: str) -> bool:
    """Say whether any of the scopes held grants the one wanted."""
    resource = wanted.partition(":")[0]
    return any(scope in (wanted, EVERYTHING, f"{resource}:*") for scope in held)


def missing(held: Iterable[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """List the wanted scopes that none of those held covers, in their order."""
    held = frozenset(held)
    return tuple(scope for scope in wanted if not covers(held, scope))


def reserved_among(scopes: Iterable[str]) -> tuple[str, ...]:
    """List the reserved scopes that some scopes amount to; what else they cover means nothing to this service."""
    held = frozenset(scopes)
    return tuple(scope for scope in RESERVED_SCOPES if covers(held, scope))
