"""What callers may do to tokens: each command is authorised, decided on the token's history, and appended at once.

Every entrance goes through here. Must never append anything for a refused command, nor touch another organization's
token: to its caller that one does not exist.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from events import tokens
from events.batch import Append
from events.entry import RecordedEvent
from events.envelope import Actor, ActorKind, OrganizationPosition, StreamId, Version
from events.identifiers import derived_id, new_id, prefix_of
from events.log import read_stream
from events.refusals import Refusal, RefusalCode, Refused, invalid
from events.scopes import missing
from events.statement import Pool
from events.token_kinds import POLICIES, stream_of_api_token
from events.tokens import TokenState
from events.writer import LogWriter
from projections.tokens import row_json
from service import vault
from service.authorization import Caller, Principal
from service.barrier import Fence
from service.cached_changes import change_row
from service.deciding import Committed, carried_out, circumstances_of, conflict, placed
from service.enforcement import Enforcer, NotEnforcedError
from service.hashing import HashingPool
from service.secret_text import SecretText

LONGEST_IDEMPOTENCY_KEY: Final = 255
KEY_FIELD: Final = ("input", "idempotencyKey")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that was carried out, or found that it was so already."""

    token_id: str
    position: OrganizationPosition | None
    """Where its last event is in the organization's history; None when nothing had to be appended."""
    secret: SecretText | None = None
    enforcement: Fence | None = None
    """How it reached every process, if it restricts what they may accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A command on its way: who gives it, the secret it issues, and how its event is to be known."""

    caller: Caller
    command: tokens.TokenCommand
    stream: StreamId
    event_id: str
    issued: vault.Issued | None = None
    key: vault.IdempotencyKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCommands:
    """The commands on tokens and what they need: the log, the vault's keys and a clock."""

    pool: Pool
    writer: LogWriter
    keys: vault.Keys
    hashing: HashingPool
    clock: Callable[[], datetime]
    enforcer: Enforcer | None = None
    """None where nothing is served, as in the commands of an operator: the processes that serve fence what those do."""

    async def create(self, caller: Caller, command: tokens.CreateToken, *, key: str | None = None) -> Done | Refused:
        """Issue a token; the answer holds its secret, here and never again but for a retry with the same key."""
        caller.principal.require("tokens:write")
        if not POLICIES[command.kind].issued_by_create:
            return Refused((invalid("kind", f"{command.kind} is not issued by createToken: only API_TOKEN is"),))
        command = dataclasses.replace(command, token_id=new_id("tok", self.clock(), self.keys.random_bytes))
        return await self._issue(caller, command, None, key=key)

    async def rotate(self, caller: Caller, command: tokens.RotateToken, *, key: str | None = None) -> Done | Refused:
        """Give a token a new secret; the answer holds it, here and never again but for a retry with the same key."""
        caller.principal.require("tokens:write")
        _, state = await self._history(caller.principal.organization, command)
        return await self._issue(caller, command, state, key=key)

    async def change(
        self, caller: Caller, command: tokens.UpdateToken | tokens.EndRotationOverlap | tokens.RevokeToken
    ) -> Done | Refused:
        """Update a token, end its overlap, or revoke it."""
        caller.principal.require("tokens:write")
        return await self._carry_out(self._attempt(caller, command))

    async def complete_rotation(self, organization: str, token_id: str, *, generation: int) -> Done | Refused:
        """Note the first use of a rotated token's new secret: once, whichever process sees it first."""
        actor = Actor(kind=ActorKind.TOKEN, id=token_id)
        caller = Caller(principal=Principal(actor=actor, organization=organization, scopes=()))
        command = tokens.CompleteRotation(token_id=token_id, generation=generation)
        event_id = derived_id("evt", "rotation-completed", token_id, str(generation))
        return await self._carry_out(dataclasses.replace(self._attempt(caller, command), event_id=event_id))

    async def _issue(
        self,
        caller: Caller,
        command: tokens.CreateToken | tokens.RotateToken,
        state: TokenState | None,
        *,
        key: str | None,
    ) -> Done | Refused:
        bound = self._bind(caller, command, key)
        if isinstance(bound, Refused):
            return bound
        if bound is not None and (replayed := await self._replayed(caller, bound)) is not None:
            return replayed
        # Decided once before the hash is paid for; decided again, with the hint, when it is appended.
        if isinstance(refused := judge(caller.principal, command, state, now=self.clock()), Refused):
            return refused
        with self.keys.writing():
            issued = await vault.issue(
                self.keys,
                self.hashing,
                organization=caller.principal.organization,
                token_id=command.token_id,
                generation=next_generation(state),
            )
            attempt = self._attempt(caller, dataclasses.replace(command, hint=issued.hint))
            attempt = dataclasses.replace(attempt, issued=issued, key=bound)
            if bound is not None:
                attempt = dataclasses.replace(attempt, event_id=bound.event_id)
            return await self._carry_out(attempt)

    def _attempt(self, caller: Caller, command: tokens.TokenCommand) -> Attempt:
        event_id = new_id("evt", self.clock(), self.keys.random_bytes)
        return Attempt(caller=caller, command=command, stream=stream_of_api_token(command.token_id), event_id=event_id)

    async def _carry_out(self, attempt: Attempt) -> Done | Refused:
        principal, command = attempt.caller.principal, attempt.command

        async def decide() -> Append | Refused | None:
            version, state = await self._history(principal.organization, command)
            now = self.clock()
            decision = judge(principal, command, state, now=now)
            if isinstance(decision, Refused):
                return decision
            if not decision:
                return None
            bound = await self._bound(attempt, state)
            return self._append(bound, decision, state, version=version, now=now)

        match await carried_out(self.writer, decide):
            case Refused() as refused:
                return refused
            case None:
                return await self._enforced(Done(token_id=command.token_id, position=None), command)
            case Committed(_, outcome) if outcome.is_replay and attempt.key is not None:
                return await self._replayed(attempt.caller, attempt.key) or conflict()
            case Committed(append, outcome):
                secret = None if attempt.issued is None else attempt.issued.secret
                done = Done(token_id=command.token_id, position=outcome.organization_position, secret=secret)
                is_restricting = any(row["restricting"] for row in append.companions.get("revocations", ()))
                return await self._enforced(done, command, is_new=True) if is_restricting else done

    async def _bound(self, attempt: Attempt, state: TokenState | None) -> Attempt:
        """Bind the new secret to the generation that it gets now, should another rotation have come first."""
        issued, generation = attempt.issued, next_generation(state)
        if issued is None or issued.generation == generation:
            return attempt
        bound = await vault.bind_anew(self.keys, self.hashing, issued, generation=generation)
        return dataclasses.replace(attempt, issued=bound)

    async def _enforced(self, done: Done, command: tokens.TokenCommand, *, is_new: bool = False) -> Done:
        """Wait until what was restricted holds everywhere; also when an earlier attempt did it, whoever died since."""
        if self.enforcer is None or isinstance(command, tokens.CreateToken | tokens.CompleteRotation):
            return done
        enforcement = await self.enforcer.enforce(command.token_id)
        if enforcement is None and is_new:
            raise NotEnforcedError("the database has lost what was just done: repeat it")
        return dataclasses.replace(done, enforcement=enforcement)

    def _append(
        self,
        attempt: Attempt,
        decided: tuple[tokens.TokenEvent, ...],
        state: TokenState | None,
        *,
        version: Version,
        now: datetime,
    ) -> Append:
        principal = attempt.caller.principal
        before, at = state, (attempt.stream, version)
        circumstances = circumstances_of(attempt.caller, now)
        written = placed(decided, circumstances, at=at, event_id=attempt.event_id, random_bytes=self.keys.random_bytes)
        for event in decided:
            state = tokens.evolve(state, event, organization=principal.organization, actor=principal.actor, at=now)
        if state is None:
            raise AssertionError("a decision with events leaves a state")
        is_create = isinstance(attempt.command, tokens.CreateToken)
        needs_authority = not isinstance(attempt.command, tokens.CompleteRotation)
        return Append(
            events=written,
            expected=at,
            acting=principal.acting if needs_authority else None,
            restricts=frozenset() if is_create else frozenset({state.id}),
            companions=self._companions(attempt, before, state),
        )

    def _companions(
        self, attempt: Attempt, before: TokenState | None, state: TokenState
    ) -> dict[str, list[Mapping[str, Any]]]:
        issued, key = attempt.issued, attempt.key
        companion = "new_tokens" if isinstance(attempt.command, tokens.CreateToken) else "tokens"
        rows: dict[str, list[Mapping[str, Any]]] = {companion: [row_json(state)]}
        if (change := change_row(before, state, attempt.event_id)) is not None:
            rows["revocations"] = [change]
        if isinstance(attempt.command, FORGETTING):
            rows["vault_forget"] = [{"token_id": state.id}]
        if issued is not None:
            rows["vault_secrets"] = [issued.row()]
        if issued is not None and key is not None:
            replay = vault.replay_row(
                self.keys, key, secret=issued.secret, token_id=state.id, organization=state.organization
            )
            rows["vault_replays"] = [replay]
        return rows

    async def _history(self, organization: str, command: tokens.TokenCommand) -> tuple[Version, TokenState | None]:
        if isinstance(command, tokens.CreateToken):
            return Version(0), None  # its stream is new: nothing to read
        if prefix_of(command.token_id) != "tok":
            return Version(0), None
        recorded = await read_stream(self.pool, stream_of_api_token(command.token_id))
        if not recorded or recorded[0].organization != organization:
            return Version(0), None
        return Version(len(recorded)), fold(recorded, command.token_id)

    def _bind(
        self, caller: Caller, command: tokens.CreateToken | tokens.RotateToken, key: str | None
    ) -> vault.IdempotencyKey | Refused | None:
        if key is None:
            return None
        if not 1 <= len(key) <= LONGEST_IDEMPOTENCY_KEY or not key.isprintable():
            message = f"is 1 to {LONGEST_IDEMPOTENCY_KEY} printable characters"
            return Refused((Refusal(code=RefusalCode.INVALID, message=message, field=KEY_FIELD),))
        given = dataclasses.asdict(command) | {"command": type(command).__name__}
        if isinstance(command, tokens.CreateToken):
            del given["token_id"]  # made for this attempt, not given
        principal = caller.principal
        return vault.idempotency_key(
            self.keys, key, principal=(principal.organization, principal.actor.id), command=given
        )

    async def _replayed(self, caller: Caller, key: vault.IdempotencyKey) -> Done | Refused | None:
        replay = await vault.find_replay(self.pool, self.keys, key)
        if replay is None:
            return None
        if not replay.same_input:
            message = "this idempotency key was used with another input: use a new key for a new command"
            return Refused((Refusal(code=RefusalCode.IDEMPOTENCY_KEY_REUSED, message=message, field=KEY_FIELD),))
        probe = tokens.EndRotationOverlap(token_id=replay.token_id)
        _, state = await self._history(caller.principal.organization, probe)
        if state is None:
            return tokens.not_found()
        if replay.secret is not None and (refused := caller.principal.hold_back(state.scopes, KEY_FIELD[-1])):
            return refused
        position = OrganizationPosition(replay.organization_position)
        done = Done(token_id=replay.token_id, position=position, secret=replay.secret)
        return await self._enforced(done, probe)


FORGETTING: Final = (tokens.RotateToken, tokens.RevokeToken)
"""The commands after which an earlier secret is not given again."""


def next_generation(state: TokenState | None) -> int:
    """Say of which generation the next secret of a token is: 0 for the first."""
    return 0 if state is None else state.generation + 1


def judge(
    principal: Principal, command: tokens.TokenCommand, state: TokenState | None, *, now: datetime
) -> tokens.Decision:
    """Decide, and refuse what would let the principal hold or grant more than it has."""
    decision = tokens.decide(command, state, now=now)
    if isinstance(decision, Refused) or not decision:
        return decision
    field = "id" if isinstance(command, tokens.RotateToken) else "scopes"
    return principal.hold_back(granted(command, state), field) or decision


def granted(command: tokens.TokenCommand, state: TokenState | None) -> tuple[str, ...]:
    """List the scopes that a command hands to its caller or adds to a token."""
    match command:
        case tokens.CreateToken():
            return command.scopes
        case tokens.RotateToken():
            return () if state is None else state.scopes
        case tokens.UpdateToken():
            added = () if command.scopes is tokens.UNCHANGED else command.scopes
            return missing(() if state is None else state.scopes, added)
        case _:
            return ()


def fold(recorded: list[RecordedEvent], token_id: str) -> TokenState | None:
    """Fold the events of a stream that are about one token."""
    state = None
    for event in recorded:
        if event.subject == token_id and isinstance(event.event, tokens.TokenEvent):
            state = tokens.evolve(
                state, event.event, organization=event.organization, actor=event.actor, at=event.occurred_at
            )
    return state
