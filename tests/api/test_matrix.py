"""Who may do what: every root field and every mutation, asked by everybody, held against a table of its own."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
import pytest_asyncio

from events.members import MemberRole
from tests.api.conftest import Answer, Json, Service
from tests.api.documents import MUTATIONS, QUERIES
from tests.api.front_end import PASSWORD, FrontEnd, numbers
from tests.api.members import joined
from tests.api.principals import EVERYBODY, NOBODY, ROLES, TABLE, TOKENS, Acting, World, acting, make_world

pytestmark = pytest.mark.asyncio(loop_scope="session")

TYPES: Final = {
    "secret": "String!",
    "email": "String!",
    "credentials": "SignInInput!",
    "password": "ReauthenticateInput!",
    "passwords": "ChangePasswordInput!",
}
"""Of the variables that are no ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table."""

    name: str
    ask: str
    needs: tuple[str, ...] = ()
    lacking: str = "whole"
    seen_with: str | None = None
    session: bool = False
    holds: tuple[str, ...] = ()
    fresh: bool = False
    refused: tuple[str, ...] = ()
    stranger: str | tuple[str, ...] = "own"
    anonymous: bool = False
    within: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """Name the root field that it is about."""
        return self.name.partition(",")[0]

    @property
    def variables(self) -> list[str]:
        """List the variables of its arguments."""
        return re.findall(r"\$(\w+)", self.ask)

    @property
    def is_mutation(self) -> bool:
        """Say whether it changes something."""
        return self.root in MUTATIONS

    def document(self) -> str:
        """Write the document that asks for it, beside a field that everybody may see."""
        declared = ", ".join(f"${name}: {TYPES.get(name, 'ID!')}" for name in self.variables)
        operation = "mutation" if self.is_mutation else "query"
        return f"{operation} {f'({declared})' if declared else ''} {{ cell: {self.ask} __typename }}"


def listed(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Read one text or several; a role stands for its scopes."""
    given = [value] if isinstance(value, str) else value or []
    return tuple(scope for one in given for scope in ROLES.get(one, [one]))


def line_of(name: str, given: Json) -> Line:
    """Read one line."""
    stranger = given.get("stranger", "own")
    return Line(
        **{key: value for key, value in given.items() if key not in {"needs", "holds", "refused", "stranger"}},
        name=name,
        needs=listed(given.get("needs")),
        holds=listed(given.get("holds")),
        refused=tuple(given.get("refused", [])),
        stranger=stranger if isinstance(stranger, str) else tuple(stranger),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(running: Service) -> World:
    """Make an organization with one of everything."""
    return await make_world(running)


# What is asked about


async def spare_token(world: World, _: Acting) -> str:
    """Make a token to be revoked."""
    return (await world.service.token(organization=world.organization)).id


async def spare_application(world: World, _: Acting) -> str:
    """Make an application to be deleted."""
    return (await world.service.application(organization=world.organization, name="spare")).id


async def spare_member(world: World, _: Acting) -> str:
    """Make a member."""
    return await joined(world.service, MemberRole.MEMBER, world.organization)


async def spare_owner(world: World, _: Acting) -> str:
    """Make an owner beside the others."""
    return await joined(world.service, MemberRole.OWNER, world.organization)


async def oneself(_: World, who: Acting) -> object:
    """Give the principal's own id."""
    return who.id


async def email(_: World, __: Acting) -> object:
    """Give an address that nobody has."""
    return f"new-{next(numbers)}@example.com"


async def credentials(world: World, _: Acting) -> object:
    """Give what the owner signs in with."""
    return {"email": world.email, "password": PASSWORD}


async def password(_: World, who: Acting) -> object:
    """Give the principal's own password."""
    return {"password": who.password}


async def passwords(_: World, who: Acting) -> object:
    """Give the principal's own password, and one that is too short."""
    return {"currentPassword": who.password, "newPassword": "short"}


VALUES: Final[Mapping[str, Callable[[World, Acting], Awaitable[object]]]] = {
    "self": oneself,
    "spareToken": spare_token,
    "spareApplication": spare_application,
    "spareMember": spare_member,
    "spareOwner": spare_owner,
    "email": email,
    "credentials": credentials,
    "password": password,
    "passwords": passwords,
}
LINES: Final = [line_of(name, given) for name, given in TABLE["lines"].items()]


# What should come of it


def check(line: Line, who: Acting, answer: Answer) -> None:
    """Hold an answer against the table."""
    if who.name == NOBODY and not line.anonymous:
        assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])
        return
    assert answer.status == 200
    if line.session and who.browser is None:
        check_refused(line, answer, "FORBIDDEN")
    elif lacking := who.lacks(line.needs):
        check_refused(line, answer, "FORBIDDEN")
        assert answer.body["errors"][0]["extensions"]["scope"] in lacking
    elif who.lacks([line.seen_with]):
        assert answer.data["cell"] is None
    elif who.is_stranger and line.stranger != "own":
        check_foreign(line, answer)
    elif line.fresh and not who.is_fresh:
        check_refused(line, answer, "REAUTHENTICATION_REQUIRED")
    else:
        codes = ["SCOPE_NOT_HELD"] if who.lacks_to_hand_over(line.holds) else list(line.refused)
        check_answered(line, who, answer, codes)


def check_refused(line: Line, answer: Answer, code: str) -> None:
    """Expect one error, and that the rest of the answer stands where it can."""
    assert answer.codes == [code]
    whole = line.is_mutation or line.lacking == "whole"
    assert answer.body["data"] == (None if whole else {"cell": None, "__typename": "Query"})


def check_foreign(line: Line, answer: Answer) -> None:
    """Expect what there is for things that do not exist."""
    cell = answer.data["cell"]
    if line.stranger == "absent":
        assert cell is None
    else:
        assert [error["code"] for error in cell["userErrors"]] == list(line.stranger)


def check_answered(line: Line, who: Acting, answer: Answer, codes: list[str]) -> None:
    """Expect an answer, with these refusals; and nothing inside of it that takes another scope."""
    cell, hidden = answer.body["data"]["cell"], []
    for name, scope in line.within.items():
        if who.lacks([scope]):
            hidden.append(["cell", name])
            assert cell[name] is None
        else:
            assert cell[name] is not None
    assert [error["path"] for error in answer.body.get("errors", [])] == hidden
    assert answer.codes == ["FORBIDDEN"] * len(hidden)
    assert [error["code"] for error in cell.get("userErrors", [])] == codes
    assert (next(iter(cell.values())) is None) is bool(codes)


async def asked(world: World, who: Acting, line: Line) -> Answer:
    """Ask for a line; who signs in does so in another window, where another cookie is kept."""
    variables = {
        name: await VALUES[name](world, who) if name in VALUES else world.fixed[name] for name in line.variables
    }
    if line.anonymous and who.name not in TOKENS:
        cookies = {} if who.browser is None else dict(who.browser.cookies)
        return await FrontEnd(service=world.service, cookies=cookies).ask(line.document(), variables)
    return await who.ask(line.document(), variables)


@pytest.mark.parametrize("name", EVERYBODY)
async def test_every_line_as_everybody(service: Service, world: World, name: str) -> None:
    """Each is answered, hidden or refused as the table says, and never with what is another organization's."""
    assert service is world.service
    who = await acting(world, name)
    wrong: list[str] = []
    for line in LINES:
        answer = await asked(world, who, line)
        try:
            check(line, who, answer)
            assert not who.is_stranger or world.organization not in answer.text
        except (AssertionError, KeyError, TypeError) as error:
            wrong.append(f"{line.name}: {answer.status} {answer.text} {error}")
    assert wrong == []


async def test_every_root_field_is_in_the_table() -> None:
    """A field of the schema without a line in the table has not been thought about."""
    assert {line.root for line in LINES if "." not in line.root} == {*QUERIES, *MUTATIONS}
