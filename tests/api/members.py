"""Members who act on applications: signed in for real, with a password entered as long ago as a test wants."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from events.members import MemberRole
from service.api.context import Context
from service.api.execution import GraphQLRequest, Way
from service.authorization import Caller
from tests.api.conftest import Json, Service
from tests.api.documents import REVEAL
from tests.api.people import ADDRESS, Someone, someone

__all__ = ("ADDRESS", "Member", "codes", "member", "revealed", "seals")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of an organization, in a session."""

    service: Service
    someone: Someone
    entered_s: float
    """How long ago the password was entered."""

    @property
    def caller(self) -> Caller:
        """Act in the session, in which the password was entered earlier than it was."""
        caller = self.someone.caller
        session = caller.principal.session
        assert session is not None
        earlier = replace(session, authenticated_at=session.authenticated_at - timedelta(seconds=self.entered_s))
        return replace(caller, principal=replace(caller.principal, session=earlier), request_id="0" * 32)

    async def execute(self, query: str, variables: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Execute a document and return the whole answer."""
        entrances = self.service.entrances
        done = await entrances.executor.execute(
            GraphQLRequest(query=query, variables=dict(variables or {})),
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


async def member(
    service: Service, organization: str, role: MemberRole = MemberRole.OWNER, *, entered_s: float = 0
) -> Member:
    """Make a member whose password was entered so many seconds ago."""
    return Member(service=service, someone=await someone(service, role, organization=organization), entered_s=entered_s)


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
