"""The decider of members: who may become what, and that an organization keeps an owner."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.envelope import OPERATOR
from events.members import (
    NOBODY,
    ROLE_SCOPES,
    AddMember,
    ChangeMemberRole,
    ChangePassword,
    DecidedEvent,
    MemberAdded,
    MemberCommand,
    MemberRemoved,
    MemberRole,
    MemberRoleChanged,
    Members,
    PasswordChanged,
    RemoveMember,
    decide,
    evolve,
    stream_of_members,
    stream_of_sign_ins,
)
from events.refusals import RefusalCode, Refused
from events.scopes import RESERVED_SCOPES, missing, problem_with

AT = datetime(2026, 1, 1, tzinfo=UTC)
IDS = st.sampled_from(["mem_1", "mem_2", "mem_3"])
ROLES = st.sampled_from(MemberRole)
COMMANDS: st.SearchStrategy[MemberCommand] = st.one_of(
    st.builds(AddMember, member_id=IDS, role=ROLES),
    st.builds(ChangeMemberRole, member_id=IDS, role=ROLES),
    st.builds(RemoveMember, member_id=IDS),
    st.builds(ChangePassword, member_id=IDS),
)


def folded(*events: DecidedEvent) -> Members:
    """Fold what happened."""
    state = NOBODY
    for event in events:
        state = evolve(state, event, organization="org_1", actor=OPERATOR, at=AT)
    return state


def owners(state: Members) -> int:
    """Count the owners there are."""
    return sum(member.role is MemberRole.OWNER and member.removed_at is None for member in state.values())


ADA = MemberAdded(member_id="mem_ada", role=MemberRole.OWNER)
BOB = MemberAdded(member_id="mem_bob", role=MemberRole.ADMIN)


@dataclass(frozen=True)
class Case:
    """What happened, what is wanted, and what comes of it."""

    given: tuple[DecidedEvent, ...]
    when: MemberCommand
    then: tuple[DecidedEvent, ...] | RefusalCode


CASES = {
    "the first one": Case((), AddMember(member_id="mem_ada", role=MemberRole.OWNER), (ADA,)),
    "twice": Case((ADA,), AddMember(member_id="mem_ada", role=MemberRole.MEMBER), RefusalCode.TAKEN),
    "promoted": Case(
        (ADA, BOB),
        ChangeMemberRole(member_id="mem_bob", role=MemberRole.OWNER),
        (MemberRoleChanged(member_id="mem_bob", role=MemberRole.OWNER, previous_role=MemberRole.ADMIN),),
    ),
    "the same role": Case((ADA, BOB), ChangeMemberRole(member_id="mem_bob", role=MemberRole.ADMIN), ()),
    "the last owner steps down": Case(
        (ADA, BOB), ChangeMemberRole(member_id="mem_ada", role=MemberRole.ADMIN), RefusalCode.LAST_OWNER
    ),
    "the last owner goes": Case((ADA, BOB), RemoveMember(member_id="mem_ada"), RefusalCode.LAST_OWNER),
    "another goes": Case((ADA, BOB), RemoveMember(member_id="mem_bob"), (MemberRemoved(member_id="mem_bob"),)),
    "gone already": Case((ADA, BOB, MemberRemoved(member_id="mem_bob")), RemoveMember(member_id="mem_bob"), ()),
    "a role for one who is gone": Case(
        (ADA, BOB, MemberRemoved(member_id="mem_bob")),
        ChangeMemberRole(member_id="mem_bob", role=MemberRole.MEMBER),
        RefusalCode.NOT_FOUND,
    ),
    "a new password": Case((ADA,), ChangePassword(member_id="mem_ada"), (PasswordChanged(member_id="mem_ada"),)),
    "a password for nobody": Case((ADA,), ChangePassword(member_id="mem_bob"), RefusalCode.NOT_FOUND),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_decided(case: Case) -> None:
    """Given what happened, a command yields these events or this refusal."""
    decision = decide(case.when, folded(*case.given))
    if isinstance(decision, Refused):
        assert decision.refusals[0].code is case.then
    else:
        assert decision == case.then


@given(st.lists(COMMANDS, max_size=20))
def test_an_organization_keeps_an_owner(commands: list[MemberCommand]) -> None:
    """Whatever is decided can be folded, and once there is an owner there always is one."""
    state, had_owner = NOBODY, False
    for command in commands:
        decision = decide(command, state)
        for event in () if isinstance(decision, Refused) else decision:
            state = evolve(state, event, organization="org_1", actor=OPERATOR, at=AT)
        assert owners(state) > 0 or not had_owner
        had_owner = owners(state) > 0


@given(st.lists(COMMANDS, max_size=20), COMMANDS)
def test_what_is_decided_twice_is_decided_the_same(commands: list[MemberCommand], last: MemberCommand) -> None:
    """A decision depends on its command and its state alone."""
    state = NOBODY
    for command in commands:
        decision = decide(command, state)
        for event in () if isinstance(decision, Refused) else decision:
            state = evolve(state, event, organization="org_1", actor=OPERATOR, at=AT)
    assert decide(last, state) == decide(last, dict(state))


@pytest.mark.parametrize("event", [MemberRemoved(member_id="mem_x"), PasswordChanged(member_id="mem_x")])
def test_a_log_that_contradicts_itself_is_noticed(event: DecidedEvent) -> None:
    """Nothing happens to somebody who was never added, and nobody is added twice."""
    with pytest.raises(ValueError, match="never added"):
        folded(event)
    with pytest.raises(ValueError, match="added twice"):
        folded(ADA, ADA)


def test_roles_hold_what_they_should() -> None:
    """Owners hold everything, admins all but the owners' own, auditors see all, and each scope is one."""
    assert missing(ROLE_SCOPES[MemberRole.OWNER], RESERVED_SCOPES) == ()
    assert missing(ROLE_SCOPES[MemberRole.ADMIN], RESERVED_SCOPES) == ("organization:write",)
    assert all(scope.endswith(":read") for scope in ROLE_SCOPES[MemberRole.AUDITOR])
    assert {scope for scope in RESERVED_SCOPES if scope.endswith(":read")} == set(ROLE_SCOPES[MemberRole.AUDITOR])
    assert not missing(ROLE_SCOPES[MemberRole.ADMIN], ROLE_SCOPES[MemberRole.MEMBER])
    assert all(problem_with(scope) is None for scopes in ROLE_SCOPES.values() for scope in scopes)


def test_what_is_observed_has_streams_of_its_own() -> None:
    """A sign-in never waits for a decision about members."""
    assert stream_of_members("org_1") == "members-org_1"
    assert stream_of_sign_ins("mem_1") == "sign_ins-mem_1"
