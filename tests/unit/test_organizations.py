"""Organizations: made once, with a name."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from events.organizations import (
    CreateOrganization,
    OrganizationCreated,
    OrganizationState,
    decide,
    evolve,
    stream_of,
)
from events.refusals import RefusalCode, Refused

AT = datetime(2026, 1, 1, tzinfo=UTC)
CREATE = CreateOrganization(organization_id="org_1", name="Canary & Sons")
CREATED = OrganizationCreated(organization_id="org_1", name="Canary & Sons")
STATE = OrganizationState(id="org_1", name="Canary & Sons", created_at=AT)


def test_an_organization_is_created() -> None:
    """Given nothing, when it is created, then it has its name, and a stream of its own."""
    assert decide(CREATE, None) == (CREATED,)
    assert evolve(None, CREATED, at=AT) == STATE
    assert stream_of("org_1") == "organization-org_1"


def test_an_organization_is_created_once() -> None:
    """Given an organization, when it is created again, then that is refused, and a log that says so is not believed."""
    refused = decide(CREATE, STATE)
    assert isinstance(refused, Refused)
    assert [(refusal.code, refusal.field) for refusal in refused.refusals] == [(RefusalCode.TAKEN, None)]
    with pytest.raises(ValueError, match="org_1 is created twice"):
        evolve(STATE, CREATED, at=AT)


@pytest.mark.parametrize("name", ["", "  ", "canary" * 17, "canary\x00", "canary\u202e"], ids=ascii)
def test_its_name_is_a_name(name: str) -> None:
    """Given nothing, when it is created under what is no name, then that is refused, and the name is not quoted."""
    refused = decide(replace(CREATE, name=name), None)
    assert isinstance(refused, Refused)
    (refusal,) = refused.refusals
    assert (refusal.code, refusal.field) == (RefusalCode.INVALID, ("input", "name"))
    assert "canary" not in refusal.message
