"""Members over HTTP, as a page in a browser asks: with the real schema, and the one cookie."""

from typing import Final

import pytest

from events.members import MemberRole
from service.api.session_mutations import ChangePasswordInput, ReauthenticateInput, SignInInput
from tests.api.conftest import Json, Service, eventually
from tests.api.front_end import (
    CHANGE_PASSWORD,
    PASSWORD,
    REAUTHENTICATE,
    SIGN_IN,
    FrontEnd,
    Person,
    invited,
    person,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADD: Final = """
mutation ($input: AddMemberInput!) {
  addMember(input: $input) {
    member { id email name role createdAt lastSignedInAt } oneTimePassword position userErrors { code field }
  }
}"""
CHANGE_ROLE: Final = """
mutation ($input: ChangeMemberRoleInput!) {
  changeMemberRole(input: $input) { member { id role } position enforcement { processes } userErrors { code field } }
}"""
REMOVE: Final = """
mutation ($input: RemoveMemberInput!) {
  removeMember(input: $input) { removedMemberId position enforcement { processes } userErrors { code field } }
}"""
SIGN_OUT: Final = "mutation ($all: Boolean!) { signOut(everywhere: $all) { signedOut enforcement { processes } } }"
MEMBERS: Final = """
query ($first: Int, $after: String, $last: Int, $before: String) {
  members(first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node { id email } } nodes { id } totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}"""
NODE: Final = "query ($id: ID!) { node(id: $id) { id ... on Member { email name role } } }"
ACTORS: Final = (
    '{ events(first: 1, filter: {types: ["TokenCreated"]}) { nodes { type actor { id kind displayName } } } }'
)


def refused(payload: Json) -> list[tuple[str, list[str] | None]]:
    """List why a mutation was refused, and for which input."""
    return [(error["code"], error["field"]) for error in payload["userErrors"]]


async def test_a_one_time_password_is_good_for_changing_it_alone(service: Service) -> None:
    """Who has not changed it yet sees itself and holds nothing; after that the role holds."""
    organization = await service.organization()
    member_id, email, password = await invited(service, MemberRole.OWNER, organization)
    browser = FrontEnd(service=service)
    viewer = (await browser.sign_in(email, password))["viewer"]
    assert (viewer["mustChangePassword"], viewer["scopes"]) == (True, [])
    assert viewer["principal"] == {
        "__typename": "Member",
        "id": member_id,
        "email": email,
        "name": "OWNER of tests",
        "role": "OWNER",
    }
    for document in ("{ organization { id } }", "{ members { totalCount } }", "{ events { nodes { id } } }"):
        assert (await browser.ask(document)).codes == ["FORBIDDEN"]
    assert (await browser.ask(ADD, {"input": {"email": "x@y.z", "name": "x", "role": "AUDITOR"}})).codes == [
        "FORBIDDEN"
    ]
    assert (await browser.done(REAUTHENTICATE, password=password))["validUntil"]
    changed = await browser.done(CHANGE_PASSWORD, currentPassword=password, newPassword=PASSWORD)
    assert (changed["member"], changed["userErrors"]) == ({"id": member_id, "role": "OWNER"}, [])
    assert (await browser.ask("{ viewer { scopes mustChangePassword } }")).data["viewer"] == {
        "scopes": ["*:*"],
        "mustChangePassword": False,
    }


async def test_who_signs_in_learns_only_that_it_was_wrong(service: Service) -> None:
    """An unknown address, a wrong password, a removed member and another organization get one answer, and no cookie."""
    owner = await person(service, MemberRole.OWNER)
    gone = await person(service, MemberRole.MEMBER, owner.organization)
    await owner.browser.done(REMOVE, id=gone.id)
    visitor = FrontEnd(service=service)
    answers = {
        (await visitor.ask(SIGN_IN, {"input": given})).text
        for given in (
            {"email": owner.email, "password": PASSWORD + "!"},
            {"email": "nobody@example.com", "password": PASSWORD},
            {"email": gone.email, "password": PASSWORD},
            {"email": owner.email, "password": PASSWORD, "organizationId": await service.organization()},
        )
    }
    assert (len(answers), visitor.cookies) == (1, {})
    assert '"WRONG_CREDENTIALS"' in answers.pop()
    nothing = await visitor.sign_in(owner.email, organizationId=None)
    assert (refused(nothing), visitor.cookies) == ([("INVALID", ["input", "organizationId"])], {})
    assert (await visitor.sign_in(owner.email.upper(), organizationId=owner.organization))["viewer"]["principal"]


async def test_what_holds_a_password_does_not_show_it() -> None:
    """The inputs are objects that a traceback or a log might print."""
    for given in (
        SignInInput(email="grace@example.com", password="canary"),
        ReauthenticateInput(password="canary"),
        ChangePasswordInput(current_password="canary", new_password="canary"),
    ):
        assert "canary" not in f"{given!r} {given}"


async def test_too_many_tries_are_told_when_to_come_back(service: Service) -> None:
    """The error is a top-level one, with a code and the seconds to wait."""
    email, throttle = "nobody-at-all@example.com", service.entrances.services.members.throttle
    for _ in range(service.entrances.core.settings.sign_in_failures):
        await throttle.charge(("sign in", "", email), None)
    answer = await FrontEnd(service=service).ask(SIGN_IN, {"input": {"email": email, "password": "no password"}})
    assert (answer.codes, answer.body["data"]) == (["RATE_LIMITED"], None)
    assert answer.body["errors"][0]["extensions"]["retryAfterS"] > 0


async def test_a_member_is_added_once(service: Service) -> None:
    """The answer holds the member and a one-time password; a second one with the address is refused."""
    owner = await person(service, MemberRole.OWNER)
    given = {"email": "Grace@example.com", "name": "Grace", "role": "AUDITOR"}
    added = await owner.browser.done(ADD, **given)
    assert added["userErrors"] == []
    shown = {"email": "Grace@example.com", "name": "Grace", "role": "AUDITOR", "lastSignedInAt": None}
    assert shown.items() <= added["member"].items()
    assert (await FrontEnd(service=service).sign_in("grace@EXAMPLE.com", added["oneTimePassword"]))["viewer"]
    before = await service.decided(owner.organization)
    for wrong, why in (
        ({"email": "grace@example.com"}, ("TAKEN", ["input", "email"])),
        ({"email": "grace"}, ("INVALID", ["input", "email"])),
        ({"name": " "}, ("INVALID", ["input", "name"])),
    ):
        again = await owner.browser.done(ADD, **(given | {"email": "ada@example.com"} | wrong))
        assert (again["member"], again["oneTimePassword"], again["position"]) == (None, None, None)
        assert refused(again) == [why]
    assert [name for name, _ in (await service.decided(owner.organization))[len(before) :]] == []


async def test_owners_are_made_and_unmade_by_owners_alone(service: Service) -> None:
    """An admin adds and changes everybody else; the last owner stays."""
    owner = await person(service, MemberRole.OWNER)
    admin = await person(service, MemberRole.ADMIN, owner.organization)
    peer = await person(service, MemberRole.MEMBER, owner.organization)
    boss = {"email": "boss@example.com", "name": "Boss", "role": "OWNER"}
    assert refused(await admin.browser.done(ADD, **boss)) == [("SCOPE_NOT_HELD", ["input", "role"])]
    assert refused(await admin.browser.done(CHANGE_ROLE, id=peer.id, role="OWNER")) == [
        ("SCOPE_NOT_HELD", ["input", "role"])
    ]
    for mutation, given in ((CHANGE_ROLE, {"role": "MEMBER"}), (REMOVE, {})):
        assert refused(await admin.browser.done(mutation, id=owner.id, **given)) == [
            ("SCOPE_NOT_HELD", ["input", "id"])
        ]
        assert refused(await owner.browser.done(mutation, id=owner.id, **given)) == [("LAST_OWNER", ["input", "id"])]
    raised = await admin.browser.done(CHANGE_ROLE, id=peer.id, role="ADMIN")
    assert raised["member"] == {"id": peer.id, "role": "ADMIN"}
    assert (await peer.ask("{ viewer { principal { ... on Member { role } } } }")).data["viewer"] == {
        "principal": {"role": "ADMIN"}
    }
    lowered = await owner.browser.done(CHANGE_ROLE, id=peer.id, role="AUDITOR")
    assert lowered["enforcement"]["processes"] >= 1
    assert (await peer.ask(ADD, {"input": boss})).codes == ["FORBIDDEN"]


async def test_who_is_removed_is_gone_but_for_the_name(service: Service) -> None:
    """The session ends, lists and nodes do not show the member; the history says the name until that is forgotten."""
    owner = await person(service, MemberRole.OWNER)
    peer = await person(service, MemberRole.ADMIN, owner.organization)
    await peer.browser.done(ADD, email="ada@example.com", name="Ada", role="MEMBER")
    removed = await owner.browser.done(REMOVE, id=peer.id)
    assert (removed["removedMemberId"], removed["userErrors"]) == (peer.id, [])
    assert removed["enforcement"]["processes"] >= 1
    assert (await peer.ask("{ viewer { scopes } }")).status == 401
    assert peer.browser.cookies == {}
    listed = (await owner.ask(MEMBERS)).data["members"]
    assert (peer.id in [node["id"] for node in listed["nodes"]], listed["totalCount"]) == (False, 2)
    assert (await owner.ask(NODE, {"id": peer.id})).data["node"] is None
    assert (await owner.browser.done(REMOVE, id=peer.id))["userErrors"] == []
    chosen = "{ nodes { actor { displayName } } }"
    by_peer = f'{{ events(filter: {{actorIds: ["{peer.id}"], types: ["MemberAdded"]}}) {chosen} }}'
    assert (await owner.ask(by_peer)).data["events"]["nodes"] == [{"actor": {"displayName": "ADMIN of tests"}}]
    assert await service.entrances.services.members.forget(peer.id) is None
    assert (await owner.ask(by_peer)).data["events"]["nodes"] == [{"actor": {"displayName": peer.id}}]


async def test_members_are_paged_in_both_directions(service: Service) -> None:
    """Pages neither repeat nor skip, and lead back; a cursor of another connection is none."""
    owner = await person(service, MemberRole.OWNER)
    ids = [(await invited(service, MemberRole.MEMBER, owner.organization))[0] for _ in range(4)]
    ids = [*reversed(ids), owner.id]
    seen: list[str] = []
    page = (await owner.ask(MEMBERS, {"first": 2})).data["members"]
    assert (page["totalCount"], page["pageInfo"]["hasPreviousPage"]) == (5, False)
    while True:
        seen += [node["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        page = (await owner.ask(MEMBERS, {"first": 2, "after": page["pageInfo"]["endCursor"]})).data["members"]
    assert seen == ids
    back = (await owner.ask(MEMBERS, {"last": 2, "before": page["pageInfo"]["startCursor"]})).data["members"]
    assert [node["id"] for node in back["nodes"]] == ids[2:4]
    assert (await owner.ask(MEMBERS, {"last": 1})).data["members"]["nodes"] == [{"id": ids[-1]}]
    cursor = (await owner.ask("{ events(first: 1) { pageInfo { endCursor } } }")).data["events"]["pageInfo"][
        "endCursor"
    ]
    assert (await owner.ask(MEMBERS, {"after": cursor})).codes == ["INVALID_CURSOR"]


async def test_a_session_ends_when_it_is_signed_out(service: Service) -> None:
    """One ends alone, and the cookie goes; everywhere ends all of the member's, and nobody else's."""
    owner = await person(service, MemberRole.OWNER)
    other, third = FrontEnd(service=service), FrontEnd(service=service)
    for browser in (other, third):
        await browser.sign_in(owner.email)
    kept = dict(other.cookies)
    assert (await other.ask(SIGN_OUT, {"all": False})).data["signOut"]["signedOut"] is True
    assert other.cookies == {}
    other.cookies = kept
    assert (await other.ask("{ viewer { scopes } }")).status == 401
    assert (await third.ask("{ viewer { scopes } }")).data["viewer"]["scopes"] == ["*:*"]
    assert (await third.ask(SIGN_OUT, {"all": True})).data["signOut"]["enforcement"]["processes"] >= 1
    assert (await owner.ask("{ viewer { scopes } }")).status == 401


async def test_entering_the_password_again_makes_another_cookie(service: Service) -> None:
    """The old cookie is good for nothing after; a wrong password changes nothing; a token has no password."""
    owner = await person(service, MemberRole.OWNER)
    before = dict(owner.browser.cookies)
    wrong = await owner.browser.done(REAUTHENTICATE, password=PASSWORD + "!")
    assert (wrong["validUntil"], refused(wrong), owner.browser.cookies) == (
        None,
        [("WRONG_CREDENTIALS", ["input", "password"])],
        before,
    )
    until = (await owner.browser.done(REAUTHENTICATE, password=PASSWORD))["validUntil"]
    assert owner.browser.cookies.keys() == before.keys()
    assert owner.browser.cookies != before
    assert (await owner.ask("{ viewer { reauthenticatedUntil } }")).data["viewer"] == {"reauthenticatedUntil": until}
    assert (await FrontEnd(service=service, cookies=before).ask("{ viewer { scopes } }")).status == 401
    token = await service.token("*:*", organization=owner.organization)
    asked = await service.gql(token.key, REAUTHENTICATE, {"input": {"password": PASSWORD}})
    assert (asked.codes, asked.body["data"]) == (["FORBIDDEN"], None)


async def test_a_password_that_is_no_good_is_refused(service: Service) -> None:
    """Too short, too long, or the one that was: the field is named and the session goes on."""
    owner = await person(service, MemberRole.OWNER)
    for new in ("short", PASSWORD, "1" * 257):
        payload = await owner.browser.done(CHANGE_PASSWORD, currentPassword=PASSWORD, newPassword=new)
        assert (payload["member"], refused(payload)) == (None, [("INVALID", ["input", "newPassword"])])
    assert (await owner.ask("{ viewer { scopes } }")).data["viewer"]["scopes"] == ["*:*"]


async def names_seen(by: Person) -> Json:
    """Read what the actor of the newest event is called."""
    actor: Json = (await by.ask(ACTORS)).data["events"]["nodes"][0]["actor"]
    return actor


async def test_names_of_members_are_for_those_who_may_read_them(service: Service) -> None:
    """Whoever may read members or events sees what an actor is called, others its id; other organizations never do."""
    owner = await person(service, MemberRole.OWNER)
    auditor = await person(service, MemberRole.AUDITOR, owner.organization)
    create = 'mutation ($s: [String!]!) { createToken(input: {name: "x", scopes: $s}) { secret } }'
    document = "{ viewer { principal { ... on Token { createdBy { id kind displayName } } } } }"
    for scopes, name in (([], owner.id), (["members:read"], "OWNER of tests"), (["events:read"], "OWNER of tests")):
        secret = (await owner.ask(create, {"s": scopes})).data["createToken"]["secret"]
        principal = (await service.gql(secret, document)).data["viewer"]["principal"]
        assert principal["createdBy"] == {"id": owner.id, "kind": "MEMBER", "displayName": name}
    assert await names_seen(auditor) == {"id": owner.id, "kind": "MEMBER", "displayName": "OWNER of tests"}


async def test_the_audit_is_filtered_by_actor_and_subject(service: Service) -> None:
    """What a member did, what was done to one, and both together."""
    owner = await person(service, MemberRole.OWNER)
    peer = await person(service, MemberRole.MEMBER, owner.organization)
    await owner.browser.done(CHANGE_ROLE, id=peer.id, role="AUDITOR")
    document = (
        "query ($f: EventFilter!) { events(filter: $f, order: OLDEST_FIRST) { nodes { type subjectId ipAddress } } }"
    )

    async def types(**given: object) -> list[str]:
        nodes = (await owner.ask(document, {"f": given})).data["events"]["nodes"]
        return [node["type"] for node in nodes]

    changed = ["MemberRoleChanged"]
    assert await types(subjectIds=[peer.id]) == ["MemberAdded", "SignedIn", *changed]
    assert await types(subjectIds=[peer.id], actorIds=[peer.id]) == ["SignedIn"]
    assert await types(subjectIds=[peer.id], actorIds=[owner.id]) == changed
    assert await types(subjectIds=[peer.id], tokenIds=[owner.id]) == []
    by_owner = (await owner.ask(document, {"f": {"actorIds": [owner.id]}})).data["events"]["nodes"]
    assert {node["ipAddress"] for node in by_owner} == {"127.0.0.1"}


async def test_when_a_member_signed_in_last_is_shown(service: Service) -> None:
    """A moment after it happened."""
    owner = await person(service, MemberRole.OWNER)
    document = "query ($id: ID!) { node(id: $id) { ... on Member { lastSignedInAt createdAt } } }"

    async def signed_in() -> Json | None:
        node: Json = (await owner.ask(document, {"id": owner.id})).data["node"]
        return node if node["lastSignedInAt"] is not None else None

    node = await eventually(signed_in)
    assert node["lastSignedInAt"] > node["createdAt"]
