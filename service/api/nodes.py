"""What every node, actor and payload has in common. Must never hold a resolver of one noun."""

from typing import Final

import strawberry

from events.envelope import Actor as ActorOfEvent
from events.envelope import OrganizationPosition
from events.refusals import Refused
from service.api.context import ApiInfo
from service.api.enums import ActorKind
from service.api.enums import RefusalCode as UserErrorCode
from service.barrier import Fence

POSITION: Final = "Where its last event is in the organization's history; null when nothing had to be appended."
USER_ERRORS: Final = "Why nothing was done; empty when it was."


@strawberry.interface(description="Anything that has an id of its own.")
class Node:
    """Anything with an id."""

    id: strawberry.ID = strawberry.field(description="Opaque, URL-safe, with a prefix that says what it is of.")


@strawberry.type(description="Who acted. The log holds ids only; the name is looked up when it is read.")
class Actor:
    """Who acted."""

    actor: strawberry.Private[ActorOfEvent]

    @strawberry.field(description="The id of the token or member, or the name of the part of the system.")
    def id(self) -> strawberry.ID:
        """Give the actor's id."""
        return strawberry.ID(self.actor.id)

    @strawberry.field(description="What kind of principal it is.")
    def kind(self) -> ActorKind:
        """Give the actor's kind."""
        return self.actor.kind

    @strawberry.field(description="What it is called now, or its id where it has no name any more.")
    async def display_name(self, info: ApiInfo) -> str:
        """Look the actor's name up."""
        return await info.context.actor_names.load(self.actor)


@strawberry.type(description="An expected refusal: what was wrong with the input, or why the state forbids it.")
class UserError:
    """An expected refusal."""

    code: UserErrorCode = strawberry.field(description="The kind of refusal, for programs.")
    message: str = strawberry.field(description="What was wrong and what would be right, for people.")
    field: list[str] | None = strawberry.field(description="The path to the input that is wrong.")


@strawberry.type(description="How a restriction reached every process before this answer was sent.")
class Enforcement:
    """How a restriction reached every process."""

    processes: int = strawberry.field(description="How many processes verify keys.")
    acknowledged: int = strawberry.field(description="How many confirmed that they know.")
    waited_out: int = strawberry.field(
        description="How many did not answer and were waited for until they could not accept."
    )
    took_ms: float = strawberry.field(description="How long it took, in milliseconds.")


def shown_enforcement(fence: Fence | None) -> Enforcement | None:
    """Show how a restriction was enforced, if there was one."""
    if fence is None:
        return None
    return Enforcement(
        processes=fence.processes,
        acknowledged=fence.acknowledged,
        waited_out=fence.waited_out,
        took_ms=fence.took_ms,
    )


def shown_position(position: OrganizationPosition | None) -> str | None:
    """Show where a command's last event is, if there is one."""
    return None if position is None else str(position)


def user_errors(refused: Refused) -> list[UserError]:
    """Write a refusal as the payload's `userErrors`."""
    return [
        UserError(
            code=refusal.code, message=refusal.message, field=None if refusal.field is None else list(refusal.field)
        )
        for refusal in refused.refusals
    ]
