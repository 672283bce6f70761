"""How commands on members are carried out: decided on all members of the organization, appended with their rows.

Must never append anything for a refused command, nor answer for one that restricts before every process knows it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from events import members
from events.batch import Append, Outcome
from events.entry import new_event
from events.envelope import OrganizationPosition, Version
from events.identifiers import new_id
from events.log import read_stream
from events.members import (
    NOBODY,
    AddMember,
    DecidedEvent,
    MemberCommand,
    Members,
    SignedIn,
    SignedOut,
    stream_of_members,
    stream_of_sign_ins,
)
from events.refusals import Refused
from events.statement import Pool
from events.writer import LogWriter
from projections.members import row_json
from service.authorization import Caller
from service.barrier import Fence
from service.cached_changes import member_change_row
from service.deciding import Committed, carried_out, circumstances_of, placed
from service.enforcement import Enforcer, NotEnforcedError
from service.secret_text import SecretText

Rows = dict[str, list[Mapping[str, Any]]]
Check = Callable[[Members], Awaitable[Refused | None]]


async def unchecked(_: Members) -> Refused | None:
    """Refuse nothing."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDone:
    """A command that was carried out, or found that it was so already."""

    member_id: str
    position: OrganizationPosition | None
    """Where its event is in the organization's history; None when nothing had to be appended."""
    one_time_password: SecretText | None = None
    """To be changed at the first sign-in, within seven days; here and never again."""
    enforcement: Fence | None = None
    """How it reached every process, if it restricts what the member may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A command on its way, and the rows of people that are written with it."""

    caller: Caller
    command: MemberCommand
    rows: Rows = field(default_factory=dict)
    check: Check = unchecked
    """Refuses, by what the members are now, what the decision itself knows nothing of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDecisions:
    """What it takes to carry out commands on members."""

    pool: Pool
    writer: LogWriter
    clock: Callable[[], datetime]
    random_bytes: Callable[[int], bytes]
    enforcer: Enforcer | None = None
    """None where nothing is served, as in the commands of an operator: the processes that serve fence what those do."""

    def new_id(self, prefix: str) -> str:
        """Make an identifier."""
        return new_id(prefix, self.clock(), self.random_bytes)

    async def members_of(self, organization: str) -> tuple[Version, Members]:
        """Read all members of an organization, and the version of their stream that this is."""
        recorded = await read_stream(self.pool, stream_of_members(organization))
        state = NOBODY
        for one in recorded:
            if isinstance(one.event, DecidedEvent):
                state = members.evolve(
                    state, one.event, organization=one.organization, actor=one.actor, at=one.occurred_at
                )
        return Version(len(recorded)), state

    async def carry_out(self, change: Change) -> MemberDone | Refused:
        """Decide and append; again when others were faster. Raises RestrictedError and what the writer raises."""
        event_id = self.new_id("evt")

        async def attempt() -> Append | Refused | None:
            version, state = await self.members_of(change.caller.principal.organization)
            if (refused := await change.check(state)) is not None:
                return refused
            decision = members.decide(change.command, state)
            if isinstance(decision, Refused):
                return decision
            return self._append(change, decision, state, version=version, event_id=event_id) if decision else None

        member_id = change.command.member_id
        match await carried_out(self.writer, attempt):
            case Refused() as refused:
                return refused
            case None:
                return await self.enforced(MemberDone(member_id=member_id, position=None), change.command)
            case Committed(append, outcome):
                done = MemberDone(member_id=member_id, position=outcome.organization_position)
                is_restricting = any(row["restricting"] for row in append.companions.get("revocations", ()))
                return await self.enforced(done, change.command, is_new=True) if is_restricting else done

    async def enforced(self, done: MemberDone, command: MemberCommand | None, *, is_new: bool = False) -> MemberDone:
        """Wait until what was restricted holds everywhere; also when an earlier attempt did it, whoever died since."""
        if isinstance(command, AddMember):
            return done
        return replace(done, enforcement=await self.enforce(done.member_id, is_new=is_new))

    async def enforce(self, member_id: str, *, is_new: bool) -> Fence | None:
        """Wait until the last restriction of a member has reached every process. Raises NotEnforcedError."""
        if self.enforcer is None:
            return None
        enforcement = await self.enforcer.enforce(member_id)
        if enforcement is None and is_new:
            raise NotEnforcedError("the database has lost what was just done: repeat it")
        return enforcement

    async def observe(
        self, event: SignedIn | SignedOut, caller: Caller, rows: Rows, *, acting: str | None, is_restricting: bool
    ) -> Outcome:
        """Append what was seen of a member at the door. Raises what the writer raises."""
        event_id = self.new_id("evt")
        new = new_event(
            event,
            circumstances_of(caller, self.clock()),
            event_id=event_id,
            placed=(stream_of_sign_ins(event.member_id), None),
            random_bytes=self.random_bytes,
        )
        companions: Rows = dict(rows)
        if is_restricting:
            row = {"subject": event.member_id, "event_id": event_id, "restricting": True}
            companions["revocations"] = [row]
        restricts = frozenset({event.member_id}) if is_restricting else frozenset[str]()
        append = Append(events=(new,), expected=None, acting=acting, restricts=restricts, companions=companions)
        return await self.writer.append(append)

    def _append(
        self,
        change: Change,
        decided: tuple[DecidedEvent, ...],
        state: Members,
        *,
        version: Version,
        event_id: str,
    ) -> Append:
        principal, now = change.caller.principal, self.clock()
        at = (stream_of_members(principal.organization), version)
        written = placed(
            decided, circumstances_of(change.caller, now), at=at, event_id=event_id, random_bytes=self.random_bytes
        )
        member_id, before = change.command.member_id, state
        for event in decided:
            state = members.evolve(state, event, organization=principal.organization, actor=principal.actor, at=now)
        companions: Rows = {**change.rows, "members": [row_json(state[member_id])]}
        if (row := member_change_row(before.get(member_id), decided[0], event_id)) is not None:
            companions["revocations"] = [row]
        return Append(
            events=written,
            expected=at,
            acting=principal.acting,
            restricts=frozenset() if isinstance(change.command, AddMember) else frozenset({member_id}),
            companions=companions,
        )
