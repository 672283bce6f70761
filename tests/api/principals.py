"""Everybody who may come to the door of one organization, for the tests, and what there is to ask for inside."""

import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from events.applications import SecretPolicy
from events.members import MemberRole
from events.scopes import RESERVED
from events.token_kinds import TokenKind
from tests.api.conftest import Answer, Issued, Json, Service, eventually
from tests.api.documents import create, do
from tests.api.front_end import PASSWORD, FrontEnd, invited, person
from tests.api.members import session_of

TABLE: Final = tomllib.loads(Path(__file__).with_name("matrix.toml").read_text(encoding="utf-8"))
ROLES: Final[Mapping[str, list[str]]] = TABLE["roles"]
EVERY_RESERVED: Final = [f"{resource}:{action}" for resource, actions in RESERVED.items() for action in sorted(actions)]
MEMBERS: Final = (*ROLES, "an owner of long ago", "a newcomer", "a stranger")
TOKENS: Final = ("", "*:*", "projects:read", *(f"{resource}:*" for resource in RESERVED), *EVERY_RESERVED)
NOBODY: Final = "nobody"
EVERYBODY: Final = (*MEMBERS, *TOKENS, NOBODY)
LONG_AGO_S: Final = 660.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """Who asks, and what it should be able to do by the table alone."""

    name: str
    ask: Callable[[str, Json], Awaitable[Answer]]
    id: str | None = None
    scopes: Sequence[str] = ()
    browser: FrontEnd | None = None
    """Of a member."""
    password: str = PASSWORD
    is_fresh: bool = False

    @property
    def is_stranger(self) -> bool:
        """Say whether it belongs to another organization."""
        return self.name == "a stranger"

    def lacks(self, wanted: Sequence[str | None]) -> list[str]:
        """List what is wanted and not held, worked out apart from the code under test."""
        return [one for one in wanted if one and not {one, "*:*", f"{one.partition(':')[0]}:*"} & set(self.scopes)]

    def lacks_to_hand_over(self, carried: Sequence[str]) -> list[str]:
        """List what must be held to hand it over: of a member no more than what this service knows itself."""
        if self.browser is None:
            return self.lacks(carried)
        return self.lacks([one for one in EVERY_RESERVED if one in carried or "*:*" in carried])


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is asked about."""

    service: Service
    organization: str
    email: str
    """Of the owner, who can sign in."""
    root: Issued
    """A token that may do everything."""
    fixed: Mapping[str, str]


async def make_world(service: Service) -> World:
    """Make an organization with one of everything."""
    root = await service.token("*:*", name="the root token")
    owner = await person(service, MemberRole.OWNER, root.organization)
    await eventually(partial(signed_in, service, root, owner.id))
    made = await owner.browser.ask('mutation { createToken(input: {name: "the target"}) { token { id } } }')
    target = made.data["createToken"]["token"]["id"]
    rotated = (await create(service, root, name="rotated", scopes=[]))["token"]["id"]
    await do(service, root, "rotateToken", id=rotated, overlapSeconds=86_400)
    application = await service.application(organization=root.organization, secret_policy=SecretPolicy.RECOVERABLE)
    signer = await service.token(organization=root.organization, name="the signer", kind=TokenKind.API_SECRET)
    shown = (await service.gql(root.key, "{ events(first: 1) { nodes { id } } }")).data["events"]["nodes"][0]
    verified = await service.token("projects:read", organization=root.organization, name="verified")
    manager = await service.token("members:write", organization=root.organization, name="the manager")
    fixed = {
        "token": target,
        "rotated": rotated,
        "application": application.id,
        "clientSecret": application.token_id,
        "signer": signer.id,
        "event": shown["id"],
        "root": root.id,
        "organization": root.organization,
        "member": owner.id,
        "secret": verified.key,
        "manager": manager.id,
    }
    return World(service=service, organization=root.organization, email=owner.email, root=root, fixed=fixed)


async def signed_in(service: Service, root: Issued, member_id: str) -> bool:
    """Say whether a member's sign-in is shown: it follows in a moment, and would change what there is to see."""
    document = "query ($id: ID!) { node(id: $id) { ... on Member { lastSignedInAt } } }"
    node = (await service.gql(root.key, document, {"id": member_id})).data["node"]
    return node["lastSignedInAt"] is not None


async def acting(world: World, name: str) -> Acting:
    """Make a principal."""
    if name == NOBODY:
        return Acting(name=name, ask=FrontEnd(service=world.service).ask)
    if name in TOKENS:
        issued = await world.service.token(*([name] if name else []), organization=world.organization)

        async def ask(document: str, variables: Json) -> Answer:
            return await world.service.gql(issued.key, document, variables)

        return Acting(name=name, ask=ask, id=issued.id, scopes=(name,))
    return await MAKE.get(name, in_role)(world, name)


async def in_role(world: World, name: str) -> Acting:
    """Make a member in a role, who has just signed in."""
    made = await person(world.service, MemberRole(name), world.organization)
    browser = made.browser
    return Acting(name=name, ask=browser.ask, id=made.id, scopes=ROLES[name], browser=browser, is_fresh=True)


async def stranger(world: World, name: str) -> Acting:
    """Make the owner of another organization."""
    made = await person(world.service, MemberRole.OWNER)
    return Acting(
        name=name, ask=made.browser.ask, id=made.id, scopes=ROLES["OWNER"], browser=made.browser, is_fresh=True
    )


async def newcomer(world: World, name: str) -> Acting:
    """Make an owner who has not changed the one-time password yet."""
    member_id, email, password = await invited(world.service, MemberRole.OWNER, world.organization)
    browser = FrontEnd(service=world.service)
    assert (await browser.sign_in(email, password))["userErrors"] == []
    return Acting(name=name, ask=browser.ask, id=member_id, browser=browser, password=password, is_fresh=True)


async def of_long_ago(world: World, name: str) -> Acting:
    """Make an owner whose password was entered more than ten minutes ago."""
    made = await in_role(world, "OWNER")
    session = await session_of(world.service, made.id or "", world.organization, entered_s=LONG_AGO_S)
    browser = FrontEnd(service=world.service, cookies={"entri_session": session.secret.reveal()})
    return replace(made, name=name, ask=browser.ask, browser=browser, is_fresh=False)


MAKE: Final = {"an owner of long ago": of_long_ago, "a newcomer": newcomer, "a stranger": stranger}
