"""Members who act: what the tests let them do, as the resolvers see them, without a browser."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, Final

from events.members import AddMember, MemberRole, SignedIn
from events.refusals import Refused
from service import people
from service.api.context import Context
from service.api.execution import GraphQLRequest, Way
from service.authorization import Caller, MemberSession, member_principal, operator
from service.member_decisions import Change, Rows
from service.member_sessions import NewSession, SessionStart
from service.passwords import Kept, Terms, password_row
from tests.api.conftest import Json, Service
from tests.api.documents import REVEAL

ADDRESS: Final = "192.0.2.7"
NOBODYS: Final = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$8mJ3Gm1kBq0jX2rYl9gq6m2oV5Q0sJkq3zq7x3n2a1E"
"""A verifier that matches no password."""
numbers = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of an organization, in a session."""

    service: Service
    caller: Caller

    async def execute(self, query: str, variables: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Execute a document and return the whole answer."""
        entrances = self.service.entrances
        done = await entrances.executor.execute(
            GraphQLRequest(query=query, variables=dict(variables or {}), operation_name=None),
            context=Context(caller=self.caller, services=entrances.services),
            request_id="0" * 32,
            way=Way.POST,
        )
        return done.payload()

    async def data(self, query: str, variables: Mapping[str, object] | None = None) -> Json:
        """Execute a document that has no errors."""
        answer = await self.execute(query, variables)
        assert "errors" not in answer, answer
        data: Json = answer["data"]
        return data


async def joined(service: Service, role: MemberRole, organization: str) -> str:
    """Make a member who has no password that anybody knows, which takes no hash, and return the id."""
    members = service.entrances.services.members
    one = people.Person(member_id=members.decisions.new_id("mem"), email=f"m{next(numbers)}@example.com", name="M")
    terms = Terms(organization=organization, member_id=one.member_id)
    kept = Kept(terms=terms, verifier=NOBODYS, pepper_id=service.entrances.core.keys.peppers.writing_id)
    rows: Rows = {
        "people_new": [people.person_row(one, organization)],
        "people_passwords": [password_row(kept, generation=1)],
    }
    command = AddMember(member_id=one.member_id, role=role)
    made = await members.decisions.carry_out(Change(caller=operator(organization), command=command, rows=rows))
    assert not isinstance(made, Refused)
    return made.member_id


async def session_of(service: Service, member_id: str, organization: str, *, entered_s: float) -> NewSession:
    """Begin a session of a member whose password was entered so many seconds ago."""
    members, now = service.entrances.services.members, service.entrances.core.clock()
    entered_at = now - timedelta(seconds=entered_s)
    start = SessionStart(
        member_id=member_id,
        organization=organization,
        generation=1,
        started_at=entered_at,
        authenticated_at=entered_at,
    )
    made, event = members.sessions.make(start), SignedIn(member_id=member_id)
    rows: Rows = {"people_sessions": [made.row]}
    await members.decisions.observe(event, operator(organization), rows, acting=None, is_restricting=False)
    return made


async def member(
    service: Service, organization: str, role: MemberRole = MemberRole.OWNER, *, entered_s: float = 0
) -> Member:
    """Act as a member whose password was entered so many seconds ago."""
    member_id = await joined(service, role, organization)
    made = await session_of(service, member_id, organization, entered_s=entered_s)
    session = MemberSession(
        id=made.id, role=role, authenticated_at=made.start.authenticated_at, must_change_password=False
    )
    principal = member_principal(member_id, organization, session)
    return Member(service=service, caller=Caller(principal=principal, address=ADDRESS, request_id="0" * 32))


def codes(answer: Json) -> list[str]:
    """List the codes of an answer's errors."""
    return [error["extensions"]["code"] for error in answer.get("errors", ())]


async def revealed(by: Member, token_id: str, **given: object) -> Json:
    """Ask for a secret and return the payload."""
    payload: Json = (await by.data(REVEAL, {"input": {"id": token_id, **given}}))["revealSecret"]
    return payload


async def seals(service: Service, token_id: str) -> list[int]:
    """List the generations of a token whose secrets are kept."""
    rows = await service.sql("select generation from vault_seals where token_id = $1 order by 1", token_id)
    return [row["generation"] for row in rows]
