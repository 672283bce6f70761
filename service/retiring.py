"""Retires a pepper by force: what still depends on it ends, as anything does, through the log and the barrier.

Tokens are revoked. What always has exactly one secret gets one that nobody knows: a member until the operator gives
another password, an application until its owner resets its secret. Must never touch a token that has a newer secret
elsewhere but to end its overlap, nor call a pepper needless while something is under it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from events.refusals import Refused
from events.statement import Pool, load
from events.token_kinds import POLICIES, TokenKind
from events.tokens import EndRotationOverlap, RevokeToken, RotateToken
from service.authorization import Caller, operator
from service.member_commands import MemberCommands
from service.token_commands import TokenCommands

FIND_SECRETS_UNDER: Final = load("service.statements", "find_secrets_under")
FIND_PASSWORDS_UNDER: Final = load("service.statements", "find_passwords_under")
MOST_AT_ONCE: Final = 500
TOGETHER: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """A token that has a secret under a pepper."""

    organization: str
    token_id: str
    kind: TokenKind
    is_newest: bool
    """It is the newest secret: without it the token is of no use. Else the one that overlaps it."""

    @property
    def is_revoked(self) -> bool:
        """Say whether the token is revoked with the pepper."""
        return self.is_newest and POLICIES[self.kind].revoked_alone

    @property
    def is_reset(self) -> bool:
        """Say whether the token gets another secret, for it cannot be without one."""
        return self.is_newest and not POLICIES[self.kind].revoked_alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """How many tokens depend on a pepper, by what becomes of them without it."""

    revoked: int
    reset: int
    overlaps_ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """What became of the tokens that depended on a pepper."""

    revoked: int
    reset: tuple[str, ...]
    """The client secrets that were replaced by one that nobody was told."""
    overlaps_ended: int
    refused: tuple[str, ...]
    """Tokens that could not be changed, each with why."""


async def find_dependents(pool: Pool, pepper_id: str, *, after: str = "") -> tuple[Dependent, ...]:
    """List tokens that have a secret under a pepper which works, by id, some at a time."""
    rows = await pool.fetch(FIND_SECRETS_UNDER.text, pepper_id, after, MOST_AT_ONCE)
    return tuple(
        Dependent(
            organization=row["organization"],
            token_id=row["token_id"],
            kind=TokenKind(row["kind"]),
            is_newest=row["is_newest"],
        )
        for row in rows
    )


async def count_dependents(pool: Pool, pepper_id: str) -> Dependents:
    """Count the tokens that would be changed if a pepper were retired by force."""
    revoked = reset = ended = 0
    after = ""
    while found := await find_dependents(pool, pepper_id, after=after):
        revoked += sum(dependent.is_revoked for dependent in found)
        reset += sum(dependent.is_reset for dependent in found)
        ended += sum(not dependent.is_newest for dependent in found)
        after = found[-1].token_id
    return Dependents(revoked=revoked, reset=reset, overlaps_ended=ended)


async def retire(pool: Pool, commands: TokenCommands, pepper_id: str, *, on_progress: Callable[[int], None]) -> Retired:
    """Revoke, reset or end whatever depends on a pepper, each known to every process when it is counted as done."""
    revoked = ended = 0
    reset: list[str] = []
    refused: list[str] = []
    after = ""
    while found := await find_dependents(pool, pepper_id, after=after):
        to_revoke = [dependent for dependent in found if dependent.is_revoked]
        to_reset = [dependent for dependent in found if dependent.is_reset]
        to_end = [dependent for dependent in found if not dependent.is_newest]
        not_revoked = await revoke_by_force(commands, to_revoke, reason=f"its pepper {pepper_id} was retired")
        not_reset = await reset_by_force(commands, to_reset)
        not_ended = await end_overlaps(commands, to_end)
        revoked += len(to_revoke) - len(not_revoked)
        ended += len(to_end) - len(not_ended)
        reset += [dependent.token_id for dependent in to_reset if dependent.token_id not in not_reset]
        refused += [f"{token_id}: {why}" for token_id, why in {**not_revoked, **not_reset, **not_ended}.items()]
        on_progress(len(found))
        after = found[-1].token_id
    return Retired(revoked=revoked, reset=tuple(reset), overlaps_ended=ended, refused=tuple(refused))


async def end_passwords(pool: Pool, members: MemberCommands, pepper_id: str) -> tuple[str, ...]:
    """End the passwords that are under a pepper, and the sessions of their members; answers whose they were."""
    ended: list[str] = []
    while rows := await pool.fetch(FIND_PASSWORDS_UNDER.text, pepper_id, TOGETHER):
        for row in rows:
            # The new password is let go of: it cannot be handed to anybody from here.
            await members.reset_password(row["member_id"])
            ended.append(row["member_id"])
    return tuple(ended)


async def revoke_by_force(commands: TokenCommands, tokens: Sequence[Dependent], *, reason: str) -> Mapping[str, str]:
    """Revoke tokens as the operator; answers those that could not be, each with why.

    The one place where an operator's revocation goes past what protects a kind of token from its owner.
    """

    async def revoke(caller: Caller, token_id: str) -> object:
        return await commands.change(caller, RevokeToken(token_id=token_id, reason=reason, is_forced=True))

    return await all_changed(tokens, revoke)


async def reset_by_force(commands: TokenCommands, tokens: Sequence[Dependent]) -> Mapping[str, str]:
    """Replace secrets as the operator, and let go of the new ones; answers those that could not be, each with why."""

    async def reset(caller: Caller, token_id: str) -> object:
        return await commands.rotate(caller, RotateToken(token_id=token_id, hint="", overlap_s=0))

    return await all_changed(tokens, reset)


async def end_overlaps(commands: TokenCommands, tokens: Sequence[Dependent]) -> Mapping[str, str]:
    """Stop the secret before the last rotation, as the operator; answers those that could not be, each with why."""

    async def end(caller: Caller, token_id: str) -> object:
        return await commands.change(caller, EndRotationOverlap(token_id=token_id))

    return await all_changed(tokens, end)


async def all_changed(
    tokens: Sequence[Dependent], change: Callable[[Caller, str], Awaitable[object]]
) -> Mapping[str, str]:
    """Change tokens, some at a time, and say of which it was refused, and why."""
    room = asyncio.Semaphore(TOGETHER)
    refused: dict[str, str] = {}

    async def one(dependent: Dependent) -> None:
        async with room:
            outcome = await change(operator(dependent.organization), dependent.token_id)
        if isinstance(outcome, Refused):
            refused[dependent.token_id] = "; ".join(refusal.message for refusal in outcome.refusals)

    async with asyncio.TaskGroup() as group:
        for dependent in tokens:
            group.create_task(one(dependent))
    return refused
