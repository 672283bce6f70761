"""What callers may do to tokens: issue, rotate, update, revoke them, and choose the one that signs webhooks.

Every entrance goes through here. Must never touch another organization's token: to its caller that one does not exist.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from events import tokens
from events.api_secrets import DesignateWebhookSigner
from events.envelope import Actor, ActorKind
from events.identifiers import derived_id
from events.refusals import Refused, invalid
from events.token_kinds import POLICIES
from service.authorization import Caller, Principal
from service.enforcement import Enforcer
from service.issuing import Done, Issuing

ChangeOfToken = tokens.UpdateToken | tokens.EndRotationOverlap | tokens.RevokeToken


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCommands:
    """The commands on tokens."""

    issuing: Issuing

    @property
    def clock(self) -> Callable[[], datetime]:
        """Tell the time by which commands are decided."""
        return self.issuing.clock

    def enforced_by(self, enforcer: Enforcer) -> "TokenCommands":
        """Give the same commands, answered when what they restrict is known to every process that verifies."""
        return TokenCommands(issuing=dataclasses.replace(self.issuing, enforcer=enforcer))

    async def create(self, caller: Caller, command: tokens.CreateToken, *, key: str | None = None) -> Done | Refused:
        """Issue a token; the answer holds its secret, here and never again but for a retry with the same key."""
        caller.principal.require("tokens:write")
        if not POLICIES[command.kind].issued_by_create:
            return Refused(
                (invalid("kind", f"a {command.kind} is issued with its application: use createApplication"),)
            )
        command = dataclasses.replace(command, token_id=self.issuing.new_id("tok"))
        return await self.issuing.issue(caller, command, key)

    async def rotate(self, caller: Caller, command: tokens.RotateToken, *, key: str | None = None) -> Done | Refused:
        """Give a token a new secret; the answer holds it, here and never again but for a retry with the same key."""
        caller.principal.require("tokens:write")
        return await self.issuing.issue(caller, command, key)

    async def change(self, caller: Caller, command: ChangeOfToken) -> Done | Refused:
        """Update a token, end its overlap, or revoke it."""
        caller.principal.require("tokens:write")
        return await self.issuing.carry_out(self.issuing.attempt(caller, command))

    async def designate(self, caller: Caller, command: DesignateWebhookSigner) -> Done | Refused:
        """Choose the API secret that signs the organization's webhooks."""
        caller.principal.require("webhooks:write")
        return await self.issuing.carry_out(self.issuing.attempt(caller, command))

    async def complete_rotation(self, organization: str, token_id: str, *, generation: int) -> Done | Refused:
        """Note the first use of a rotated token's new secret: once, whichever process sees it first."""
        actor = Actor(kind=ActorKind.TOKEN, id=token_id)
        caller = Caller(principal=Principal(actor=actor, organization=organization, scopes=()))
        command = tokens.CompleteRotation(token_id=token_id, generation=generation)
        event_id = derived_id("evt", "rotation-completed", token_id, str(generation))
        attempt = dataclasses.replace(self.issuing.attempt(caller, command), event_id=event_id)
        return await self.issuing.carry_out(attempt)
