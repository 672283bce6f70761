"""A front end in a browser, for the tests: what a page of the service's own origin does, with the cookie it holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from itertools import count
from typing import Final

from events.members import AddMember, MemberRole
from events.refusals import Refused
from service import people as who
from service.authorization import operator
from service.member_decisions import Change
from service.passwords import Terms, password_row
from service.secret_text import SecretText
from tests.api.conftest import ACCEPT, Answer, Json, Service

SIGN_IN: Final = """
mutation ($input: SignInInput!) {
  signIn(input: $input) {
    viewer { scopes mustChangePassword principal { __typename ... on Member { id email name role } } }
    userErrors { code message field }
  }
}"""
CHANGE_PASSWORD: Final = """
mutation ($input: ChangePasswordInput!) {
  changePassword(input: $input) { member { id role } enforcement { processes } userErrors { code field } }
}"""
REAUTHENTICATE: Final = """
mutation ($input: ReauthenticateInput!) { reauthenticate(input: $input) { validUntil userErrors { code field } } }"""
PASSWORD: Final = "seven ordinary words in a row"
numbers = count(1)


@dataclass(slots=True, kw_only=True)
class FrontEnd:
    """One browser."""

    service: Service
    cookies: dict[str, str] = field(default_factory=dict)

    async def ask(self, query: str, variables: Mapping[str, object] | None = None) -> Answer:
        """Post a document, and keep the cookie that comes."""
        headers = {"Origin": self.service.url, **ACCEPT}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = {"query": query, "variables": variables}
        answer = await self.service.request("POST", "/graphql", json=body, headers=headers)
        for name, morsel in SimpleCookie(answer.headers.get("Set-Cookie", "")).items():
            self.cookies.pop(name, None)
            if morsel["max-age"] != "0":
                self.cookies[name] = morsel.value
        return answer

    async def done(self, query: str, **given: object) -> Json:
        """Carry out a mutation and return its payload."""
        (payload,) = (await self.ask(query, {"input": given})).data.values()
        found: Json = payload
        return found

    async def sign_in(self, email: str, password: str = PASSWORD, **given: object) -> Json:
        """Sign in."""
        return await self.done(SIGN_IN, email=email, password=password, **given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A member, and the browser that the member is signed in with."""

    id: str
    organization: str
    email: str
    browser: FrontEnd

    async def ask(self, query: str, variables: Mapping[str, object] | None = None) -> Answer:
        """Post a document as this member."""
        return await self.browser.ask(query, variables)


async def invited(service: Service, role: MemberRole, organization: str) -> tuple[str, str, str]:
    """Make a member as the operator does: the id, the address and the one-time password."""
    email = f"front-end-{next(numbers)}@example.com"
    made = await service.entrances.services.members.create(
        organization, email=email, name=f"{role} of tests", role=role
    )
    assert not isinstance(made, Refused)
    assert made.one_time_password is not None
    return made.member_id, email, made.one_time_password.reveal()


async def person(service: Service, role: MemberRole, organization: str | None = None) -> Person:
    """Make a member with a password of its own, and sign in over HTTP."""
    organization = organization or await service.organization()
    members, email = service.entrances.services.members, f"front-end-{next(numbers)}@example.com"
    one = who.Person(member_id=members.decisions.new_id("mem"), email=email, name=f"{role} of tests")
    terms = Terms(organization=organization, member_id=one.member_id)
    kept = await members.passwords.keep(SecretText(PASSWORD), terms)
    change = Change(
        caller=operator(organization),
        command=AddMember(member_id=one.member_id, role=role),
        rows={
            "people_new": [who.person_row(one, organization)],
            "people_passwords": [password_row(kept, generation=1)],
        },
    )
    assert not isinstance(await members.decisions.carry_out(change), Refused)
    browser = FrontEnd(service=service)
    assert (await browser.sign_in(email))["userErrors"] == []
    return Person(id=one.member_id, organization=organization, email=email, browser=browser)
