"""How commands about tokens and applications are carried out: authorised, decided on their history, appended at once.

Must never append anything for a refused command, nor let a secret out but in the answer to the command that issued it.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from events import applications, tokens
from events.api_secrets import DesignateWebhookSigner
from events.applications import RevealSecret
from events.batch import Append
from events.envelope import OrganizationPosition
from events.identifiers import new_id
from events.refusals import Refusal, RefusalCode, Refused
from events.statement import Pool
from events.writer import LogWriter
from service import vault
from service.aggregates import Aggregate, Command, DecidedEvent, LoneToken, application_of, token_of
from service.authorization import Caller
from service.barrier import Fence
from service.companions import rows_of, rows_of_secret, token_changes
from service.deciding import Committed, carried_out, circumstances_of, conflict, placed
from service.enforcement import Enforcer, NotEnforcedError
from service.hashing import HashingPool
from service.histories import History, read_history
from service.judging import authorise, judge
from service.secret_text import SecretText

LONGEST_IDEMPOTENCY_KEY: Final = 255
KEY_FIELD: Final = ("input", "idempotencyKey")

NO_TOKEN: Final = LoneToken()
IssuingCommand = tokens.CreateToken | tokens.RotateToken | applications.CreateApplication
"""What hands over a new secret."""
UNRESTRICTING: Final = (
    tokens.CreateToken,
    tokens.CompleteRotation,
    applications.CreateApplication,
    applications.UpdateApplication,
    RevealSecret,
    DesignateWebhookSigner,
)
"""What restricts no secret, now or on an earlier attempt: nobody waits for anything after it."""
GIVEN_BY_US: Final = ("token_id", "application_id")
"""What of a creation was made for the attempt, not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that was carried out, or found that it was so already."""

    token_id: str
    position: OrganizationPosition | None
    """Where its last event is in the organization's history; None when nothing had to be appended."""
    application_id: str | None = None
    """The application that the token is the client secret of."""
    secret: SecretText | None = None
    enforcement: Fence | None = None
    """How it reached every process, if it restricts what they may accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A command on its way: who gives it, the secret it issues, and how its event is to be known."""

    caller: Caller
    command: Command
    event_id: str
    issued: vault.Issued | None = None
    key: vault.IdempotencyKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuing:
    """What carrying out a command takes: the log, the vault's keys and a clock."""

    pool: Pool
    writer: LogWriter
    keys: vault.Keys
    hashing: HashingPool
    clock: Callable[[], datetime]
    enforcer: Enforcer | None = None
    """None where nothing is served, as in the commands of an operator: the processes that serve fence what those do."""

    def new_id(self, prefix: str) -> str:
        """Make an id of now."""
        return new_id(prefix, self.clock(), self.keys.random_bytes)

    def attempt(self, caller: Caller, command: Command) -> Attempt:
        """Begin a command."""
        return Attempt(caller=caller, command=command, event_id=self.new_id("evt"))

    async def history(self, caller: Caller, command: Command) -> History:
        """Read what a command is decided on."""
        return await read_history(self.pool, caller.principal.organization, command)

    async def issue(self, caller: Caller, command: IssuingCommand, key: str | None) -> Done | Refused:
        """Carry out a command whose answer holds a new secret, here and never again but for a retry with its key."""
        bound = self._bind(caller, command, key)
        if isinstance(bound, Refused):
            return bound
        if (replayed := await self._replayed(caller, command, bound)) is not None:
            return replayed
        # Decided once before the hash is paid for; decided again, with the hint, when it is appended.
        aggregate = (await self.history(caller, command)).aggregate
        if isinstance(refused := judge(caller.principal, command, aggregate, now=self.clock()), Refused):
            # A twin with the same key may have left no room for another.
            return await self._replayed(caller, command, bound) or refused
        with self.keys.writing():
            issued = await vault.issue(
                self.keys,
                self.hashing,
                organization=caller.principal.organization,
                token_id=command.token_id,
                generation=next_generation(command, aggregate),
            )
            attempt = Attempt(
                caller=caller,
                command=dataclasses.replace(command, hint=issued.hint),
                event_id=self.new_id("evt") if bound is None else bound.event_id,
                issued=issued,
                key=bound,
            )
            return await self.carry_out(attempt)

    async def carry_out(self, attempt: Attempt) -> Done | Refused:
        """Decide a command, append what it yields, and wait until what it restricts is known everywhere."""
        caller, command = attempt.caller, attempt.command
        met: Aggregate = NO_TOKEN

        async def decide() -> Append | Refused | None:
            nonlocal met
            history, now = await self.history(caller, command), self.clock()
            met = history.aggregate
            decision = judge(caller.principal, command, met, now=now)
            if isinstance(decision, Refused):
                return decision
            if not decision:
                return None
            return self.append(await self._bound(attempt, met), decision, history, now=now)

        outcome = await carried_out(self.writer, decide)
        if isinstance(outcome, Refused):
            return await self._replayed(caller, command, attempt.key) or outcome
        if outcome is not None and outcome.outcome.is_replay and attempt.key is not None:
            return await self._replayed(caller, command, attempt.key) or conflict()
        return await self._answered(attempt, met, outcome)

    async def _answered(self, attempt: Attempt, met: Aggregate, committed: Committed | None) -> Done:
        """Answer what was done, which is nothing where it was so already."""
        command, issued = attempt.command, attempt.issued
        done = Done(
            token_id=token_of(command, met) or "",
            application_id=application_of(command, met),
            position=None if committed is None else committed.outcome.organization_position,
            secret=None if committed is None or issued is None else issued.secret,
        )
        if committed is None:
            return await self._enforced(done, command)
        is_restricting = any(row["restricting"] for row in committed.append.companions.get("revocations", ()))
        return await self._enforced(done, command, is_new=True) if is_restricting else done

    def append(self, attempt: Attempt, decided: tuple[DecidedEvent, ...], history: History, *, now: datetime) -> Append:
        """Write what was decided, and the rows that go with it."""
        principal = attempt.caller.principal
        before = after = history.aggregate
        at = (history.stream, history.version)
        circumstances = circumstances_of(attempt.caller, now)
        written = placed(decided, circumstances, at=at, event_id=attempt.event_id, random_bytes=self.keys.random_bytes)
        for event in decided:
            after = after.evolve(event, organization=principal.organization, actor=principal.actor, at=now)
        needs_authority = not isinstance(attempt.command, tokens.CompleteRotation)
        changes, issued = token_changes(written, decided, before, after), attempt.issued
        rows = rows_of(changes, before, after)
        if issued is not None:
            is_kept = issued.generation in after.sealed(issued.token_id)
            rows |= rows_of_secret(self.keys, issued, attempt.key, is_kept=is_kept)
        return Append(
            events=written,
            expected=at,
            acting=principal.acting if needs_authority else None,
            restricts=frozenset(change.after.id for change in changes if change.before is not None),
            companions=rows,
        )

    async def _bound(self, attempt: Attempt, aggregate: Aggregate) -> Attempt:
        """Bind the new secret to the generation that it gets now, should another rotation have come first."""
        issued, generation = attempt.issued, next_generation(attempt.command, aggregate)
        if issued is None or issued.generation == generation:
            return attempt
        bound = await vault.bind_anew(self.keys, self.hashing, issued, generation=generation)
        return dataclasses.replace(attempt, issued=bound)

    async def _enforced(self, done: Done, command: Command, *, is_new: bool = False) -> Done:
        """Wait until what was restricted holds everywhere; also when an earlier attempt did it, whoever died since."""
        if self.enforcer is None or isinstance(command, UNRESTRICTING):
            return done
        enforcement = await self.enforcer.enforce(done.token_id)
        if enforcement is None and is_new:
            raise NotEnforcedError("the database has lost what was just done: repeat it")
        return dataclasses.replace(done, enforcement=enforcement)

    def _bind(self, caller: Caller, command: IssuingCommand, key: str | None) -> vault.IdempotencyKey | Refused | None:
        if key is None:
            return None
        if not 1 <= len(key) <= LONGEST_IDEMPOTENCY_KEY or not key.isprintable():
            message = f"is 1 to {LONGEST_IDEMPOTENCY_KEY} printable characters"
            return Refused((Refusal(code=RefusalCode.INVALID, message=message, field=KEY_FIELD),))
        given = dataclasses.asdict(command) | {"command": type(command).__name__}
        if not isinstance(command, tokens.RotateToken):
            given = {name: value for name, value in given.items() if name not in GIVEN_BY_US}
        principal = caller.principal
        return vault.idempotency_key(
            self.keys, key, principal=(principal.organization, principal.actor.id), command=given
        )

    async def _replayed(
        self, caller: Caller, command: Command, key: vault.IdempotencyKey | None
    ) -> Done | Refused | None:
        """Answer what the idempotency key led to before, if there is one and it did."""
        replay = None if key is None else await vault.find_replay(self.pool, self.keys, key)
        if replay is None:
            return None
        if not replay.same_input:
            message = "this idempotency key was used with another input: use a new key for a new command"
            return Refused((Refusal(code=RefusalCode.IDEMPOTENCY_KEY_REUSED, message=message, field=KEY_FIELD),))
        principal, probe = caller.principal, tokens.RotateToken(token_id=replay.token_id, hint="")
        aggregate = (await self.history(caller, probe)).aggregate
        state = aggregate.token(replay.token_id)
        if state is None:
            return tokens.not_found()
        authorise(principal, command, aggregate)
        if replay.secret is not None and (refused := principal.hold_back(state.scopes, KEY_FIELD[-1])):
            return refused
        done = Done(
            token_id=state.id,
            application_id=state.application_id,
            position=OrganizationPosition(replay.organization_position),
            secret=replay.secret,
        )
        return await self._enforced(done, probe)


def next_generation(command: Command, aggregate: Aggregate) -> int:
    """Say of which generation the next secret of a command's token is: 0 for the first."""
    token_id = token_of(command, aggregate)
    state = None if token_id is None else aggregate.token(token_id)
    return 0 if state is None else state.generation + 1
