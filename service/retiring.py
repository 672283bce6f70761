"""Retires a pepper by force: what still depends on it is revoked, as any token is, through the log and the barrier.

Must never touch a token that has a newer secret elsewhere but to end its overlap, nor call a pepper needless while
something is under it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from events.refusals import Refused
from events.statement import Pool, load
from events.tokens import EndRotationOverlap, RevokeToken
from service.authorization import Caller, operator
from service.token_commands import TokenCommands

FIND_SECRETS_UNDER: Final = load("service.statements", "find_secrets_under")
MOST_AT_ONCE: Final = 500
TOGETHER: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """A token that has a secret under a pepper."""

    organization: str
    token_id: str
    is_newest: bool
    """It is the newest secret: without it the token is of no use. Else the one that overlaps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """What became of the tokens that depended on a pepper."""

    revoked: int
    overlaps_ended: int
    refused: tuple[str, ...]
    """Tokens that could not be changed, each with why."""


async def find_dependents(pool: Pool, pepper_id: str, *, after: str = "") -> tuple[Dependent, ...]:
    """List tokens that have a secret under a pepper which works, by id, some at a time."""
    rows = await pool.fetch(FIND_SECRETS_UNDER.text, pepper_id, after, MOST_AT_ONCE)
    return tuple(
        Dependent(organization=row["organization"], token_id=row["token_id"], is_newest=row["is_newest"])
        for row in rows
    )


async def count_dependents(pool: Pool, pepper_id: str) -> tuple[int, int]:
    """Count the tokens that would be revoked with a pepper, and the overlaps that would be ended."""
    newest = overlapping = 0
    after = ""
    while found := await find_dependents(pool, pepper_id, after=after):
        newest += sum(dependent.is_newest for dependent in found)
        overlapping += sum(not dependent.is_newest for dependent in found)
        after = found[-1].token_id
    return newest, overlapping


async def retire(pool: Pool, commands: TokenCommands, pepper_id: str, *, on_progress: Callable[[int], None]) -> Retired:
    """Revoke or end whatever depends on a pepper, each known to every process when it is counted as done."""
    revoked = ended = 0
    refused: list[str] = []
    after = ""
    while found := await find_dependents(pool, pepper_id, after=after):
        newest = [dependent for dependent in found if dependent.is_newest]
        overlapping = [dependent for dependent in found if not dependent.is_newest]
        not_revoked = await revoke_by_force(commands, newest, reason=f"its pepper {pepper_id} was retired")
        not_ended = await end_overlaps(commands, overlapping)
        revoked += len(newest) - len(not_revoked)
        ended += len(overlapping) - len(not_ended)
        refused += (*not_revoked, *not_ended)
        on_progress(len(found))
        after = found[-1].token_id
    return Retired(revoked=revoked, overlaps_ended=ended, refused=tuple(refused))


async def revoke_by_force(commands: TokenCommands, tokens: Sequence[Dependent], *, reason: str) -> list[str]:
    """Revoke tokens as the operator; answers those that could not be, each with why.

    The one place where an operator's revocation goes past what protects a kind of token from its owner.
    """

    async def revoke(caller: Caller, token_id: str) -> object:
        return await commands.change(caller, RevokeToken(token_id=token_id, reason=reason, is_forced=True))

    return await all_changed(tokens, revoke)


async def end_overlaps(commands: TokenCommands, tokens: Sequence[Dependent]) -> list[str]:
    """Stop the secret before the last rotation, as the operator; answers those that could not be, each with why."""

    async def end(caller: Caller, token_id: str) -> object:
        return await commands.change(caller, EndRotationOverlap(token_id=token_id))

    return await all_changed(tokens, end)


async def all_changed(tokens: Sequence[Dependent], change: Callable[[Caller, str], Awaitable[object]]) -> list[str]:
    """Change tokens, some at a time, and say of which it was refused, and why."""
    room = asyncio.Semaphore(TOGETHER)
    refused: list[str] = []

    async def one(dependent: Dependent) -> None:
        async with room:
            outcome = await change(operator(dependent.organization), dependent.token_id)
        if isinstance(outcome, Refused):
            refused.append(f"{dependent.token_id}: {'; '.join(refusal.message for refusal in outcome.refusals)}")

    async with asyncio.TaskGroup() as group:
        for dependent in tokens:
            group.create_task(one(dependent))
    return refused
