"""Who may give which command about a token: what it asks of the principal, once it is known what it is about.

Must never let a principal hold, grant or be handed more than it has.
"""

from datetime import datetime

from events import applications, tokens
from events.applications import RevealSecret
from events.refusals import Refused
from events.scopes import missing
from events.token_kinds import TokenKind
from service.aggregates import Aggregate, Command, Decision
from service.authorization import Principal


def judge(principal: Principal, command: Command, aggregate: Aggregate, *, now: datetime) -> Decision:
    """Decide, and refuse what would let the principal hold or grant more than it has. Raises ForbiddenError."""
    authorise(principal, command, aggregate)
    decision = aggregate.decide(command, now=now)
    if isinstance(decision, Refused) or not decision:
        return decision
    field = "id" if isinstance(command, tokens.RotateToken | RevealSecret) else "scopes"
    return principal.hold_back(granted(command, aggregate), field) or decision


def authorise(principal: Principal, command: Command, aggregate: Aggregate) -> None:
    """Ask for what a command needs on this token, beyond what it needs on all. Raises ForbiddenError."""
    if not isinstance(command, tokens.RotateToken):
        return
    state = aggregate.token(command.token_id)
    if state is not None and state.kind is TokenKind.CLIENT_SECRET:
        principal.require("applications:write")


def granted(command: Command, aggregate: Aggregate) -> tuple[str, ...]:
    """List the scopes that a command hands to its caller or adds to a token."""
    match command:
        case tokens.CreateToken() | applications.CreateApplication():
            return command.scopes
        case tokens.RotateToken() | RevealSecret():
            state = aggregate.token(command.token_id)
            return () if state is None else state.scopes
        case tokens.UpdateToken():
            state = aggregate.token(command.token_id)
            added = () if command.scopes is tokens.UNCHANGED else command.scopes
            return missing(() if state is None else state.scopes, added)
        case _:
            return ()
