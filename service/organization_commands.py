"""Making organizations: the operator's business, from the host. Must never be reachable over the network."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from events import organizations
from events.batch import Append, Appended
from events.entry import new_event
from events.envelope import OPERATOR, Circumstances, Version
from events.identifiers import new_id
from events.refusals import Refused
from events.writer import LogWriter
from projections.organizations import row_json

NO_VERSION: Final = Version(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationCommands:
    """The commands on organizations and what they need."""

    writer: LogWriter
    clock: Callable[[], datetime]
    random_bytes: Callable[[int], bytes]

    async def create(
        self, name: str, *, organization_id: str | None = None, event_id: str | None = None
    ) -> str | Refused:
        """Make an organization and return its id; with ids given, making it again changes nothing."""
        now = self.clock()
        organization_id = organization_id or new_id("org", now, self.random_bytes)
        command = organizations.CreateOrganization(organization_id=organization_id, name=name)
        decision = organizations.decide(command, None)
        if isinstance(decision, Refused):
            return decision
        state = organizations.evolve(None, decision[0], at=now)
        stream = organizations.stream_of(organization_id)
        event = new_event(
            decision[0],
            Circumstances(organization=organization_id, actor=OPERATOR, at=now),
            event_id=event_id or new_id("evt", now, self.random_bytes),
            placed=(stream, Version(1)),
            random_bytes=self.random_bytes,
        )
        append = Append(events=(event,), expected=(stream, NO_VERSION), companions={"organizations": [row_json(state)]})
        outcome = await self.writer.append(append)
        match outcome:
            case Appended():
                return organization_id
            case _:
                raise AssertionError(f"a new stream cannot answer {outcome}")
