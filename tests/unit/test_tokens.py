"""Tokens: given what happened, when a command comes, then these events or this refusal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from events.envelope import Actor, ActorKind
from events.refusals import RefusalCode, Refused
from events.token_kinds import TokenKind
from events.tokens import (
    CompleteRotation,
    CreateToken,
    EndRotationOverlap,
    RevokeToken,
    RotateToken,
    TokenCommand,
    TokenCreated,
    TokenEvent,
    TokenOverlapEnded,
    TokenRevoked,
    TokenRotated,
    TokenRotationCompleted,
    TokenState,
    TokenUpdated,
    UpdateToken,
    decide,
    evolve,
)

BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = BEFORE + timedelta(days=1)
HOUR = timedelta(hours=1)
MONTH_S = 2_592_000
MEMBER = Actor(kind=ActorKind.MEMBER, id="mem_1")
LONGEST_ALLOWED = tuple(f"{'a' * 51}{number:02d}:readable.x" for number in range(46))
"""46 scopes of 64 characters and 45 spaces: 2989 bytes, so with one of 64 more there are 17 left of 3 KiB."""

CREATED = TokenCreated(
    token_id="tok_1",
    kind=TokenKind.API_TOKEN,
    name="deploy",
    hint="entri_1111…1111",
    scopes=("projects:read",),
    expires_at=None,
    application_id=None,
)
SECRET = replace(CREATED, kind=TokenKind.API_SECRET)
EXPIRED = replace(CREATED, expires_at=NOW)
ROTATED = TokenRotated(
    token_id="tok_1",
    generation=1,
    hint="entri_2222…2222",
    previous_hint="entri_1111…1111",
    overlap_ends_at=NOW + HOUR,
)
COMPLETED = TokenRotationCompleted(token_id="tok_1", generation=1, hint="entri_2222…2222")
REVOKED = TokenRevoked(token_id="tok_1", reason=None)

CREATE = CreateToken(
    token_id="tok_1",
    kind=TokenKind.API_TOKEN,
    name="deploy",
    hint="entri_1111…1111",
    scopes=("projects:read",),
)
UPDATE = UpdateToken(token_id="tok_1")
ROTATE = RotateToken(token_id="tok_1", hint="entri_3333…3333")
COMPLETE = CompleteRotation(token_id="tok_1", generation=1)
END = EndRotationOverlap(token_id="tok_1")
REVOKE = RevokeToken(token_id="tok_1")

Given = tuple[TokenEvent, ...]


def after(events: Given) -> TokenState | None:
    """Fold what happened."""
    state = None
    for event in events:
        state = evolve(state, event, organization="org_1", actor=MEMBER, at=BEFORE)
    return state


def rotated(
    *, generation: int = 1, previous_hint: str = "entri_1111…1111", overlap_ends_at: datetime | None = None
) -> TokenRotated:
    """Say what rotating the token once more, now, yields."""
    return TokenRotated(
        token_id="tok_1",
        generation=generation,
        hint="entri_3333…3333",
        previous_hint=previous_hint,
        overlap_ends_at=overlap_ends_at,
    )


UPDATED = TokenUpdated(token_id="tok_1", name="deploy", scopes=("projects:read",), expires_at=None)

ACCEPTED: dict[str, tuple[Given, TokenCommand, Given]] = {
    "create": ((), CREATE, (CREATED,)),
    "create with everything": (
        (),
        replace(CREATE, expires_at=NOW + timedelta(microseconds=1), scopes=("*:*", "tokens:verify")),
        (replace(CREATED, expires_at=NOW + timedelta(microseconds=1), scopes=("*:*", "tokens:verify")),),
    ),
    "create for an application": (
        (),
        replace(CREATE, kind=TokenKind.CLIENT_SECRET, application_id="app_1"),
        (replace(CREATED, kind=TokenKind.CLIENT_SECRET, application_id="app_1"),),
    ),
    "update the name": ((CREATED,), replace(UPDATE, name="build"), (replace(UPDATED, name="build"),)),
    "update the scopes": ((CREATED,), replace(UPDATE, scopes=()), (replace(UPDATED, scopes=()),)),
    "set an expiry": (
        (CREATED,),
        replace(UPDATE, expires_at=NOW + HOUR),
        (replace(UPDATED, expires_at=NOW + HOUR),),
    ),
    "remove an expiry": (
        (replace(CREATED, expires_at=NOW + HOUR),),
        replace(UPDATE, expires_at=None),
        (UPDATED,),
    ),
    "update nothing": ((CREATED,), UPDATE, ()),
    "update to the same": (
        (CREATED,),
        replace(UPDATE, name="deploy", scopes=("projects:read",), expires_at=None),
        (),
    ),
    "rotate": ((CREATED,), ROTATE, (rotated(),)),
    "rotate with a second of overlap": (
        (CREATED,),
        replace(ROTATE, overlap_s=1),
        (rotated(overlap_ends_at=NOW + timedelta(seconds=1)),),
    ),
    "rotate with the longest overlap": (
        (CREATED,),
        replace(ROTATE, overlap_s=MONTH_S),
        (rotated(overlap_ends_at=NOW + timedelta(days=30)),),
    ),
    "rotate again during an overlap": (
        (CREATED, ROTATED, COMPLETED),
        ROTATE,
        (rotated(generation=2, previous_hint="entri_2222…2222"),),
    ),
    "complete a rotation": ((CREATED, ROTATED), COMPLETE, (COMPLETED,)),
    "complete a rotation twice": ((CREATED, ROTATED, COMPLETED), COMPLETE, ()),
    "end an overlap": (
        (CREATED, ROTATED),
        END,
        (TokenOverlapEnded(token_id="tok_1", previous_hint="entri_1111…1111"),),
    ),
    "end an overlap after its completion": (
        (CREATED, ROTATED, COMPLETED),
        END,
        (TokenOverlapEnded(token_id="tok_1", previous_hint="entri_1111…1111"),),
    ),
    "end an overlap twice": (
        (CREATED, ROTATED, TokenOverlapEnded(token_id="tok_1", previous_hint="entri_1111…1111")),
        END,
        (),
    ),
    "end an overlap that is over": ((CREATED, replace(ROTATED, overlap_ends_at=NOW)), END, ()),
    "end an overlap that never was": ((CREATED, replace(ROTATED, overlap_ends_at=None)), END, ()),
    "end the overlap of a revoked token": ((CREATED, ROTATED, REVOKED), END, ()),
    "revoke": ((CREATED,), REVOKE, (REVOKED,)),
    "revoke with a reason": (
        (CREATED,),
        replace(REVOKE, reason="r" * 500),
        (replace(REVOKED, reason="r" * 500),),
    ),
    "revoke an expired token": ((EXPIRED,), REVOKE, (REVOKED,)),
    "revoke twice": ((CREATED, REVOKED), replace(REVOKE, reason="again"), ()),
    "revoke an API secret by its name": ((SECRET,), replace(REVOKE, confirmation="deploy"), (REVOKED,)),
    "revoke an API secret twice": ((SECRET, REVOKED), REVOKE, ()),
    "the most scopes": (
        (CREATED,),
        replace(UPDATE, scopes=tuple(f"a:r{number}" for number in range(100))),
        (replace(UPDATED, scopes=tuple(f"a:r{number}" for number in range(100))),),
    ),
    "the most bytes of scopes": (
        (CREATED,),
        replace(UPDATE, scopes=(*LONGEST_ALLOWED, f"{'b' * 62}:a", f"c:{'d' * 15}")),
        (replace(UPDATED, scopes=(*LONGEST_ALLOWED, f"{'b' * 62}:a", f"c:{'d' * 15}")),),
    ),
}


@pytest.mark.parametrize(("given", "when", "then"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_command_yields_events(given: Given, when: TokenCommand, then: Given) -> None:
    """What may be is decided in exactly these events, and they fold."""
    state = after(given)
    assert decide(when, state, now=NOW) == then
    for event in then:
        state = evolve(state, event, organization="org_1", actor=MEMBER, at=NOW)


NOT_FOUND = (RefusalCode.NOT_FOUND, ("input", "id"))
NOT_ACTIVE = (RefusalCode.TOKEN_NOT_ACTIVE, ("input", "id"))
OVERLAP = (RefusalCode.INVALID, ("input", "overlapSeconds"))
SCOPES = (RefusalCode.INVALID, ("input", "scopes"))
NAME = (RefusalCode.INVALID, ("input", "name"))
EXPIRY = (RefusalCode.INVALID, ("input", "expiresAt"))

REFUSED: dict[str, tuple[Given, TokenCommand, tuple[RefusalCode, tuple[str, ...] | None]]] = {
    "create what exists": ((CREATED,), CREATE, (RefusalCode.TAKEN, None)),
    "create without a name": ((), replace(CREATE, name=""), NAME),
    "create with a scope that is none": ((), replace(CREATE, scopes=("projects",)), SCOPES),
    "create expired": ((), replace(CREATE, expires_at=NOW), EXPIRY),
    "create long expired": ((), replace(CREATE, expires_at=BEFORE), EXPIRY),
    "an API secret that expires": (
        (),
        replace(CREATE, kind=TokenKind.API_SECRET, expires_at=NOW + HOUR),
        EXPIRY,
    ),
    "a client secret that expires": (
        (),
        replace(CREATE, kind=TokenKind.CLIENT_SECRET, expires_at=NOW + HOUR),
        EXPIRY,
    ),
    "update what is not there": ((), UPDATE, NOT_FOUND),
    "update what is revoked": ((CREATED, REVOKED), UPDATE, NOT_ACTIVE),
    "update what is expired": ((EXPIRED,), replace(UPDATE, expires_at=None), NOT_ACTIVE),
    "update to no name": ((CREATED,), replace(UPDATE, name=" "), NAME),
    "update to an expiry now": ((CREATED,), replace(UPDATE, expires_at=NOW), EXPIRY),
    "make an API secret expire": ((SECRET,), replace(UPDATE, expires_at=NOW + HOUR), EXPIRY),
    "a scope twice": ((CREATED,), replace(UPDATE, scopes=("a:b", "c:d", "a:b")), SCOPES),
    "101 scopes": ((CREATED,), replace(UPDATE, scopes=tuple(f"a:r{n}" for n in range(101))), SCOPES),
    "a scope of 65 characters": ((CREATED,), replace(UPDATE, scopes=(f"{'a' * 63}:b",)), SCOPES),
    "an unknown action of ours": ((CREATED,), replace(UPDATE, scopes=("tokens:revoke",)), SCOPES),
    "too many bytes of scopes": (
        (CREATED,),
        replace(UPDATE, scopes=(*LONGEST_ALLOWED, f"{'b' * 62}:a", f"c:{'d' * 16}")),
        SCOPES,
    ),
    "rotate what is not there": ((), ROTATE, NOT_FOUND),
    "rotate what is revoked": ((CREATED, REVOKED), ROTATE, NOT_ACTIVE),
    "rotate what is expired": ((EXPIRED,), ROTATE, NOT_ACTIVE),
    "rotate with less than no overlap": ((CREATED,), replace(ROTATE, overlap_s=-1), OVERLAP),
    "rotate with too long an overlap": ((CREATED,), replace(ROTATE, overlap_s=MONTH_S + 1), OVERLAP),
    "rotate with an endless overlap": ((CREATED,), replace(ROTATE, overlap_s=10**30), OVERLAP),
    "rotate with a huge negative overlap": ((CREATED,), replace(ROTATE, overlap_s=-(10**30)), OVERLAP),
    "complete what is not there": ((), COMPLETE, NOT_FOUND),
    "complete what is revoked": ((CREATED, ROTATED, REVOKED), COMPLETE, NOT_ACTIVE),
    "complete what never began": ((CREATED,), replace(COMPLETE, generation=0), (RefusalCode.CONFLICT, None)),
    "complete an older rotation": (
        (CREATED, ROTATED, rotated(generation=2)),
        COMPLETE,
        (RefusalCode.CONFLICT, None),
    ),
    "end the overlap of what is not there": ((), END, NOT_FOUND),
    "end an overlap without a rotation": ((CREATED,), END, (RefusalCode.INVALID, ("input", "id"))),
    "revoke what is not there": ((), REVOKE, NOT_FOUND),
    "revoke with too long a reason": (
        (CREATED,),
        replace(REVOKE, reason="r" * 501),
        (RefusalCode.INVALID, ("input", "reason")),
    ),
    "revoke an API secret unconfirmed": (
        (SECRET,),
        REVOKE,
        (RefusalCode.CONFIRMATION_MISMATCH, ("input", "confirmation")),
    ),
    "revoke an API secret by another name": (
        (SECRET,),
        replace(REVOKE, confirmation="Deploy"),
        (RefusalCode.CONFIRMATION_MISMATCH, ("input", "confirmation")),
    ),
}


@pytest.mark.parametrize(("given", "when", "then"), REFUSED.values(), ids=REFUSED)
def test_a_command_is_refused(
    given: Given, when: TokenCommand, then: tuple[RefusalCode, tuple[str, ...] | None]
) -> None:
    """What may not be is refused once, by its code and the input that is wrong."""
    decision = decide(when, after(given), now=NOW)
    assert isinstance(decision, Refused)
    assert [(refusal.code, refusal.field) for refusal in decision.refusals] == [then]
