"""What callers may do to applications: make, change and delete them, and show a secret that was kept again.

Every entrance goes through here. Must never let a secret out before the log has it that it was shown.
"""

import dataclasses
from dataclasses import dataclass
from typing import Final

from events import applications
from events.applications import RevealSecret
from events.batch import Append
from events.refusals import Refused
from service.authorization import Caller
from service.deciding import Committed, carried_out
from service.issuing import Done, Issuing
from service.judging import judge
from service.seals import find_seal
from service.secret_text import SecretText

NEEDED: Final = "applications:write"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationCommands:
    """The commands on applications."""

    issuing: Issuing

    async def create(
        self, caller: Caller, command: applications.CreateApplication, *, key: str | None = None
    ) -> Done | Refused:
        """Make an application; the answer holds its client secret, as that of a token's creation does."""
        caller.principal.require(NEEDED)
        application_id, token_id = self.issuing.new_id("app"), self.issuing.new_id("tok")
        command = dataclasses.replace(command, application_id=application_id, token_id=token_id)
        return await self.issuing.issue(caller, command, key)

    async def update(self, caller: Caller, command: applications.UpdateApplication) -> Done | Refused:
        """Change an application's name or whether its secret is kept."""
        caller.principal.require(NEEDED)
        return await self.issuing.carry_out(self.issuing.attempt(caller, command))

    async def delete(self, caller: Caller, command: applications.DeleteApplication) -> Done | Refused:
        """Remove an application and revoke its secret. Raises ReauthenticationRequiredError too."""
        caller.principal.require(NEEDED)
        caller.principal.require_fresh(self.issuing.clock())
        return await self.issuing.carry_out(self.issuing.attempt(caller, command))

    async def reveal(self, caller: Caller, command: RevealSecret) -> SecretText | Refused:
        """Show a client secret that was kept. Raises ReauthenticationRequiredError and SealError too.

        It is opened at the version that the log then takes the event at: what is shown is what the event is about.
        """
        caller.principal.require(NEEDED)
        caller.principal.require_fresh(self.issuing.clock())
        attempt = self.issuing.attempt(caller, command)
        opened: SecretText | None = None

        async def decide() -> Append | Refused | None:
            nonlocal opened
            history, now = await self.issuing.history(caller, command), self.issuing.clock()
            decision = judge(caller.principal, command, history.aggregate, now=now)
            if isinstance(decision, Refused):
                return decision
            (generation,) = history.aggregate.sealed(command.token_id)
            opened = await self._opened(caller, command.token_id, generation)
            if opened is None:
                return applications.not_recoverable()
            return self.issuing.append(attempt, decision, history, now=now)

        outcome = await carried_out(self.issuing.writer, decide)
        if isinstance(outcome, Refused):
            return outcome
        if not isinstance(outcome, Committed) or opened is None:
            raise AssertionError("a revelation is one event and one secret")
        return opened

    async def _opened(self, caller: Caller, token_id: str, generation: int) -> SecretText | None:
        """Open the seal of the secret; None where it has just gone."""
        organization = caller.principal.organization
        return await find_seal(
            self.issuing.pool, self.issuing.keys, token_id=token_id, generation=generation, organization=organization
        )
