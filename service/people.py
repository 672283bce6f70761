"""People: how members are called and reached, which is in no event. Must never be read across organizations.

Addresses are compared in one form, so that nobody has two accounts by writing theirs in capitals.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from events.names import text_problems
from events.refusals import Refusal, invalid
from events.statement import Pool, load

FIND_PEOPLE: Final = load("service.statements", "find_people")
FIND_ADDRESS: Final = load("service.statements", "find_address")
FORGET_PERSON: Final = load("service.statements", "forget_person")
LONGEST_ADDRESS: Final = 254
ADDRESS: Final = re.compile(r"[^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """How a member is called and reached."""

    member_id: str
    email: str
    name: str


def address_problems(field: str, email: str) -> tuple[Refusal, ...]:
    """List what is wrong with an e-mail address; whether it is anybody's, only a message to it can tell."""
    if problems := text_problems(field, email, LONGEST_ADDRESS):
        return problems
    if ADDRESS.fullmatch(email) is None:
        return (invalid(field, "is no e-mail address: give one such as grace@example.com"),)
    return ()


def address_key(email: str) -> str:
    """Write an address in the form in which addresses are compared; what is none is nobody's."""
    if address_problems("email", email):
        return ""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", email).casefold())


def person_row(person: Person, organization: str) -> dict[str, Any]:
    """Write the row of a member, for the companion."""
    return {
        "member_id": person.member_id,
        "organization": organization,
        "email": person.email,
        "email_key": address_key(person.email),
        "name": person.name,
    }


async def find_people(pool: Pool, organization: str, ids: Sequence[str]) -> dict[str, Person]:
    """Find those of the organization's members, present and former, who were not forgotten; by id."""
    rows = await pool.fetch(FIND_PEOPLE.text, organization, ids)
    return {row["member_id"]: Person(**row) for row in rows}


async def find_address(pool: Pool, organization: str, email: str) -> str | None:
    """Find which member of an organization has an address."""
    member_id: str | None = await pool.fetchval(FIND_ADDRESS.text, organization, address_key(email))
    return member_id


async def forget_person(pool: Pool, member_id: str) -> bool:
    """Forget how a member who was removed was called and reached; says whether there was anything to forget."""
    return await pool.fetchval(FORGET_PERSON.text, member_id) is not None
