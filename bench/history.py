"""A long history of one organization, appended through the log's writer. Made once a run, for all who read it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from bench.issuing import HINT, NEW, organizations, secret_row
from bench.plan import Plan
from bench.server import Server
from events.batch import Append
from events.entry import NewEvent, new_event
from events.envelope import Actor, ActorKind, Circumstances, Version
from events.identifiers import new_id
from events.token_kinds import TokenKind, stream_of_api_token
from events.tokens import TokenCreated, TokenEvent, TokenRevoked, TokenRotated, TokenState, TokenUpdated, evolve
from events.usage import TokenUsed, stream_of
from projections.tokens import row_json
from service.authorization import Principal
from service.core import Core

DATABASE: Final = "history"
BEGAN: Final = datetime(2025, 1, 1, tzinfo=UTC)
USES_AT_ONCE: Final = 200
LIVES_AT_ONCE: Final = 256
MIX: Final = """\
of every hundred events ten are tokens issued, two are updates, one a rotation, half a one a revocation, the rest
`TokenUsed`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """An organization with a long history, and how long it took to append."""

    organization: str
    events: int
    tokens: int
    seconds: float


made: dict[tuple[int, int], History] = {}
"""By server and length."""


@asynccontextmanager
async def history(server: Server, plan: Plan) -> AsyncIterator[tuple[Core, History]]:
    """Open the history, made first unless it is there; its read models are at the head."""
    key = (server.pid, plan.history_events)
    if key not in made:
        await server.create_database(DATABASE)
    async with server.core(DATABASE) as core:
        if key not in made:
            (principal,) = await organizations(core, count=1)
            made[key] = await fill(core, principal, plan.history_events)
            await server.as_superuser("vacuum analyze", "checkpoint", database=DATABASE)
        yield core, made[key]


async def fill(core: Core, principal: Principal, events: int) -> History:
    """Append so many events."""
    began = time.perf_counter()
    lives = list(tokens(principal, events // 10))
    await append_all(core, (life_append(principal, life) for life in lives), callers=LIVES_AT_ONCE)
    names = [life[0].token_id for life in lives]
    uses = events - sum(len(life) for life in lives)
    await append_all(core, usage_appends(principal, names, uses), callers=4)
    return History(
        organization=principal.organization, events=events, tokens=len(names), seconds=time.perf_counter() - began
    )


async def append_all(core: Core, appends: Iterator[Append], *, callers: int) -> None:
    """Append everything, so many at once."""

    async def caller() -> None:
        for append in appends:
            await core.writer.append(append)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller())


def tokens(principal: Principal, count: int) -> Iterator[list[TokenEvent]]:
    """Tell the lives of tokens: all are issued, some updated, rotated, revoked."""
    del principal
    for number in range(count):
        token_id = new_id("tok", BEGAN + timedelta(seconds=number), os.urandom)
        name, scopes = f"token {number}", ("projects:read", "projects:write")
        life: list[TokenEvent] = [
            TokenCreated(
                token_id=token_id,
                kind=TokenKind.API_TOKEN,
                name=name,
                hint=HINT,
                scopes=scopes,
                expires_at=None,
                application_id=None,
            )
        ]
        if number % 5 == 0:
            life.append(TokenUpdated(token_id=token_id, name=f"{name} (ci)", scopes=scopes, expires_at=None))
        if number % 10 == 0:
            life.append(
                TokenRotated(token_id=token_id, generation=1, hint=HINT, previous_hint=HINT, overlap_ends_at=None)
            )
        if number % 20 == 0:
            life.append(TokenRevoked(token_id=token_id, reason="leaked"))
        yield life


def life_append(principal: Principal, life: list[TokenEvent]) -> Append:
    """Append all that happened to a token."""
    state: TokenState | None = None
    written: list[NewEvent] = []
    stream = stream_of_api_token(life[0].token_id)
    for version, event in enumerate(life, start=1):
        now = datetime.now(UTC)
        state = evolve(state, event, organization=principal.organization, actor=principal.actor, at=now)
        circumstances = Circumstances(organization=principal.organization, actor=principal.actor, at=now)
        placed, event_id = (stream, Version(version)), new_id("evt", now, os.urandom)
        written.append(new_event(event, circumstances, event_id=event_id, placed=placed, random_bytes=os.urandom))
    if state is None:
        raise ValueError("a token to which nothing happened")
    rows = {"tokens": [row_json(state)], "vault_secrets": [secret_row(state)]}
    return Append(events=tuple(written), expected=(stream, NEW), companions=rows)


def usage_appends(principal: Principal, names: list[str], count: int) -> Iterator[Append]:
    """Tell of uses as the service does: many at once, each of another token."""
    for start in range(0, count, USES_AT_ONCE):
        used = (names[number % len(names)] for number in range(start, min(start + USES_AT_ONCE, count)))
        yield Append(events=tuple(use(principal, name) for name in used), expected=None)


def use(principal: Principal, token_id: str) -> NewEvent:
    """Write that a token was used."""
    now = datetime.now(UTC)
    event = TokenUsed(
        token_id=token_id,
        generation=0,
        hint=HINT,
        count=17,
        first_used_at=now - timedelta(seconds=50),
        last_used_at=now,
        ip_addresses=("203.0.113.7",),
    )
    actor = Actor(kind=ActorKind.TOKEN, id=token_id)
    circumstances = Circumstances(organization=principal.organization, actor=actor, at=now)
    return new_event(
        event,
        circumstances,
        event_id=new_id("evt", now, os.urandom),
        placed=(stream_of(event), None),
        random_bytes=os.urandom,
    )
