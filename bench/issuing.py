"""A token as `createToken` issues it: decided, folded and encoded. Must never reuse anything from the one before.

All contenders get their commands here and pay for them alike, so that what differs between them is the writing.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from events import tokens
from events.batch import Append
from events.entry import NewEvent, new_event
from events.envelope import Circumstances, Version
from events.identifiers import new_id
from events.refusals import Refused
from events.token_kinds import TokenKind, stream_of_api_token
from events.tokens import TokenState
from projections.tokens import row_json
from service.authorization import Principal, operator, token_principal
from service.core import Core
from service.secret_text import SecretText
from service.vault import DIGEST_PREFIX_BYTES, Issued

VERIFIER: Final = "$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$8mJ3Gm1kBq0jX2rYl9gq6m2oV5Q0sJkq3zq7x3n2a1E"
"""Of the length and form of a real one: what hashing costs is measured with `create`."""
HINT: Final = "entri_aB3d…x9Zk"
ADDRESS: Final = "203.0.113.7"
NEW: Final = Version(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """A token about to be issued: its event, what its row is made of, and the vault's row of its secret."""

    event: NewEvent
    state: TokenState
    secret: dict[str, Any]

    def append(self, principal: Principal) -> Append:
        """Lay it out as the append that `createToken` makes of it."""
        return Append(
            events=(self.event,),
            expected=(self.event.stream, NEW),
            acting=principal.actor.id,
            companions={"new_tokens": [row_json(self.state)], "vault_secrets": [self.secret]},
        )


def issue(principal: Principal) -> Issuance:
    """Decide and encode a new token of the principal's organization, all but its secret's Argon2 hash."""
    now = datetime.now(UTC)
    token_id = new_id("tok", now, os.urandom)
    command = tokens.CreateToken(
        token_id=token_id, kind=TokenKind.API_TOKEN, name="deploy from ci", hint=HINT, scopes=("projects:read",)
    )
    decision = tokens.decide(command, None, now=now)
    if isinstance(decision, Refused):
        raise TypeError(f"refused: {decision}")
    state = tokens.evolve(None, decision[0], organization=principal.organization, actor=principal.actor, at=now)
    circumstances = Circumstances(
        organization=principal.organization, actor=principal.actor, at=now, address=ADDRESS, request_id=token_id
    )
    event = new_event(
        decision[0],
        circumstances,
        event_id=new_id("evt", now, os.urandom),
        placed=(stream_of_api_token(token_id), Version(1)),
        random_bytes=os.urandom,
    )
    return Issuance(event=event, state=state, secret=secret_row(state))


def secret_row(state: TokenState) -> dict[str, Any]:
    """Write the vault's row of a new secret."""
    issued = Issued(
        secret=SecretText(""),
        hint=HINT,
        organization=state.organization,
        token_id=state.id,
        generation=state.generation,
        digest_prefix=os.urandom(DIGEST_PREFIX_BYTES),
        pepper_id="p1",
        verifier=VERIFIER,
    )
    return issued.row()


async def organizations(core: Core, *, count: int) -> list[Principal]:
    """Make organizations, each with a token that may issue others."""
    principals: list[Principal] = []
    for number in range(count):
        organization = await core.organizations.create(f"organization {number}")
        if isinstance(organization, Refused):
            raise TypeError(f"refused: {organization}")
        command = tokens.CreateToken(
            token_id="", kind=TokenKind.API_TOKEN, name="issuer", hint="", scopes=("projects:read", "tokens:write")
        )
        done = await core.commands.create(operator(organization), command)
        if isinstance(done, Refused):
            raise TypeError(f"refused: {done}")
        principals.append(token_principal(done.token_id, organization, command.scopes))
    return principals
