"""Organizations: the tenants. Must never do I/O or read a clock."""

from dataclasses import dataclass
from datetime import datetime

from events.envelope import StreamId
from events.names import name_problems
from events.refusals import Refusal, RefusalCode, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationCreated:
    """A tenant came to be."""

    organization_id: str
    name: str


OrganizationEvent = OrganizationCreated


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOrganization:
    """Make a tenant."""

    organization_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationState:
    """All that is decided about one organization."""

    id: str
    name: str
    created_at: datetime


def stream_of(organization_id: str) -> StreamId:
    """Name the stream that an organization's own decisions are on."""
    return StreamId(f"organization-{organization_id}")


def evolve(state: OrganizationState | None, event: OrganizationEvent, *, at: datetime) -> OrganizationState:
    """Fold one event into an organization's state. Raises ValueError where the log contradicts itself."""
    if state is not None:
        raise ValueError(f"{event.organization_id} is created twice")
    return OrganizationState(id=event.organization_id, name=event.name, created_at=at)


def decide(command: CreateOrganization, state: OrganizationState | None) -> tuple[OrganizationEvent, ...] | Refused:
    """Answer a command with the events it yields or with why it is refused."""
    if state is not None:
        return Refused((Refusal(code=RefusalCode.TAKEN, message="this organization exists already"),))
    if problems := name_problems("name", command.name):
        return Refused(problems)
    return (OrganizationCreated(organization_id=command.organization_id, name=command.name),)
