"""Members who act: what the tests let them do, as the resolvers see them, without a browser."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from events.members import MemberRole
from service.api.context import Context
from service.api.execution import GraphQLRequest
from service.authorization import Caller, MemberSession, member_principal
from tests.api.conftest import Json, Service
from tests.api.documents import REVEAL

ADDRESS = "192.0.2.7"


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
            allow_mutation=True,
        )
        return done.payload()

    async def data(self, query: str, variables: Mapping[str, object] | None = None) -> Json:
        """Execute a document that has no errors."""
        answer = await self.execute(query, variables)
        assert "errors" not in answer, answer
        data: Json = answer["data"]
        return data


def member(service: Service, organization: str, role: MemberRole = MemberRole.OWNER, *, entered_s: float = 0) -> Member:
    """Act as a member whose password was entered so many seconds ago."""
    session = MemberSession(
        id="ses_01jd0000000000000000000000",
        role=role,
        authenticated_at=datetime.now(UTC) - timedelta(seconds=entered_s),
        must_change_password=False,
    )
    principal = member_principal("mem_01jd0000000000000000000000", organization, session)
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
